"""What comes from outside steers no terminal."""

from __future__ import annotations

import logging

from rpcguard import cli
from rpcguard._commands.base import CommandError
from rpcguard._core.service.effects import Event
from rpcguard._telemetry.log import EventLog

ESCAPE = "\x1b]0;owned\x07\x1b[2J"


def test_an_error_of_any_command(monkeypatch, capsys):
    """Line by line, with what cannot be printed escaped."""

    def fail(_options: object) -> int:
        raise CommandError(f"it says {ESCAPE}\nand more")

    monkeypatch.setattr(
        "argparse.ArgumentParser.parse_args", lambda *_: type("O", (), {"run": fail})
    )
    cli.main(["nodes"])
    told = capsys.readouterr().err
    assert told.isascii()
    assert "\x1b" not in told
    assert told.count("\n") == 2


def test_a_log_line_of_an_event(caplog):
    """Reasons come from headers and registries."""
    caplog.set_level(logging.INFO, "rpcguard")
    EventLog().record(Event("offline", "orders", "a", ESCAPE))
    assert "\x1b" not in caplog.text
    assert "owned" in caplog.text


def test_the_path_of_a_switch(tmp_path, capsys):
    """It may come from the environment of a container that somebody else wrote."""
    path = tmp_path / ESCAPE
    assert cli.main(["offline", "--file", str(path)]) == 0
    assert path.exists()
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "owned" in told
