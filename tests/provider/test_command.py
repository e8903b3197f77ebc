"""`rpcguard offline` and `rpcguard online`, as a hook runs them: real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from rpcguard import cli
from rpcguard._commands import switch
from rpcguard.provider import OfflineSwitch


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """Give what the command has waited, instead of waiting."""
    waits: list[float] = []
    monkeypatch.setattr(switch, "time", SimpleNamespace(sleep=waits.append))  # its own alone
    return waits


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "rpcguard", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=os.environ | environment,
    )


def test_the_command_turns_the_switch_and_turns_it_back(own_file):
    """The app and the command find the same file by the environment."""
    told = run("offline")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"offline: {own_file}\n", "")
    assert OfflineSwitch().offline
    told = run("online")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"online: {own_file}\n", "")
    assert not OfflineSwitch().offline
    assert run("online").returncode == 0


def test_a_file_may_be_given(tmp_path, own_file, monkeypatch):
    """It comes before the environment; a relative one is where the command was typed."""
    monkeypatch.chdir(tmp_path)
    assert run("offline", "--file", "leaving").stdout == f"offline: {tmp_path / 'leaving'}\n"
    assert not own_file.exists()
    assert OfflineSwitch(file=tmp_path / "leaving").offline


def test_the_command_waits(slept, own_file, capsys):
    """After the file is there and told, for as long as it is asked to."""
    assert cli.main(["offline", "--wait", "8.5"]) == 0
    assert slept == [8.5]
    assert own_file.exists()
    assert capsys.readouterr().out == f"offline: {own_file}\n"


def test_the_command_waits_also_where_it_fails(slept, tmp_path, capsys):
    """A hook that ends at once would cut the calls that it is there to save."""
    missing = tmp_path / "missing" / "leaving"
    assert cli.main(["offline", "--wait", "8", "--file", str(missing)]) == 1
    assert slept == [8.0]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"rpcguard: cannot write {missing}: No such file or directory\n"


def test_the_command_waits_also_where_nothing_can_be_told(slept, monkeypatch, own_file):
    """A reader that has left is no reason to hurry."""

    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", broken)
    monkeypatch.setattr(cli.os, "dup2", lambda *_: None)
    assert cli.main(["offline", "--wait", "8"]) == 1
    assert slept == [8.0]
    assert own_file.exists()


def test_a_relative_path_in_the_environment_is_told(slept, monkeypatch, capsys):
    """App and command would look for it in different folders."""
    monkeypatch.setenv("RPCGUARD_OFFLINE_FILE", "leaving")
    assert cli.main(["offline", "--wait", "8"]) == 2
    assert slept == [8.0]
    wanted = "RPCGUARD_OFFLINE_FILE must be an absolute path, not 'leaving'"
    assert capsys.readouterr().err == f"rpcguard: {wanted}\n"


def test_a_file_that_cannot_be_removed_is_told(tmp_path):
    """With what the system says, in one line."""
    told = run("online", "--file", str(tmp_path))
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith(f"rpcguard: cannot remove {tmp_path}: ")


def test_the_command_loads_little(own_file):
    """A hook in a container at its memory limit brings in no transport and no event loop."""
    code = "import sys; from rpcguard.cli import main; main(['offline']); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"asyncio", "rpcguard.transport", "uvicorn"}.isdisjoint(ran.stdout.split())
