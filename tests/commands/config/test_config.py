"""`rpcguard config` prints what is in force and where it came from, and checks a file."""

from __future__ import annotations

import json

import pytest

from rpcguard import cli

GOOD = '[retry]\nattempts = 3\n[incident]\nejection = "shadow"\nuntil = 9999-01-01T00:00:00Z\n'


@pytest.fixture
def config(tmp_path, capsys, monkeypatch):
    """Run the command on a file of this text; give status, output and errors."""
    monkeypatch.delenv("RPCGUARD_CONFIG", raising=False)
    monkeypatch.delenv("RPCGUARD_REGISTRY", raising=False)

    def run(text: str | None, *arguments: str):
        path = tmp_path / "rpcguard.toml"
        if text is not None:
            path.write_text(text)
            arguments = (str(path), *arguments)
        status = cli.main(["config", *arguments])
        return status, *capsys.readouterr()

    return run


def test_values_have_their_sources(config):
    """One line each: name, source, value."""
    status, out, _ = config(GOOD)
    lines = [line.split(maxsplit=2) for line in out.splitlines()]
    assert status == 0
    assert ["retry.attempts", "file", "3"] in lines
    assert ["ejection.enforce", "switch", "false"] in lines
    assert ["drain_timeout", "default", "10.0"] in lines
    assert ["balancer", "default", "LeastLoaded"] in lines


def test_as_json(config):
    """The same for programs."""
    status, out, _ = config(GOOD, "--json")
    assert status == 0
    assert {"name": "retry.attempts", "value": 3, "source": "file"} in json.loads(out)


def test_without_a_file_the_defaults_are_shown(config):
    """What a transport of this environment would be."""
    status, out, _ = config(None)
    assert status == 0
    assert "retry.attempts" in out
    assert " file " not in out


def test_a_check_says_good_or_what_is_wrong(config):
    """By its exit status, for a pipeline; in one line on standard error."""
    status, out, _ = config(GOOD, "--check")
    assert (status, out.endswith("rpcguard.toml: good\n")) == (0, True)
    status, out, said = config("[retry]\nattempts = 0\n", "--check")
    assert (status, out, said.count("\n")) == (1, "", 1)
    assert "rpcguard.toml: retry: attempts must be a whole number, 1 or more, not 0" in said
    status, _, said = config("[retry]\nattempts = 0\n")
    assert (status, said.count("\n")) == (1, 1)


def test_a_check_needs_a_file(config, monkeypatch, tmp_path):
    """Named, or by `RPCGUARD_CONFIG`."""
    status, _, said = config(None, "--check")
    assert (status, "no file to check: name one, or set RPCGUARD_CONFIG" in said) == (1, True)
    path = tmp_path / "other.toml"
    path.write_text("")
    monkeypatch.setenv("RPCGUARD_CONFIG", str(path))
    assert config(None, "--check")[0] == 0
