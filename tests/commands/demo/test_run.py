"""What a run comes to: its exit status, its output, and what the providers' logs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpcguard._commands.demo import options
from rpcguard._commands.demo.options import DemoOptions
from rpcguard._commands.demo.recording import CallRecord
from rpcguard._commands.demo.run import Demo, run_demo
from rpcguard._commands.demo.view import PlainView


@pytest.fixture
def finished(monkeypatch, recording):
    """Let the demo end at once, with the made-up run."""

    async def run(self) -> object:
        return recording

    monkeypatch.setattr(Demo, "run", run)
    return recording


def test_a_kept_promise_is_status_0(finished, capsys, tmp_path):
    """The summary is printed, the picture is written where it was asked for."""
    report = tmp_path / "release.html"
    assert run_demo(DemoOptions(plain=True, report=report)) == 0
    out = capsys.readouterr().out
    assert "plain httpx, round robin" in out
    assert str(report) in out
    assert report.exists()


def test_a_lost_call_that_could_have_been_saved_is_status_1(finished, capsys):
    """One GET is enough, and the summary says it."""
    finished.calls.append(
        CallRecord("rpcguard", "GET", 1.0, 0.1, None, 1, "ReadTimeout", saveable=True)
    )
    assert run_demo(DemoOptions(plain=True)) == 1
    assert "1 call of rpcguard failed without need." in capsys.readouterr().out


def test_what_plain_httpx_loses_is_not_counted_against_rpcguard(finished):
    """The made-up run has hundreds of such calls, and POSTs of httpx that ran twice."""
    finished.executed_twice["httpx"] = 2
    assert run_demo(DemoOptions(plain=True)) == 0


def test_the_providers_logs_tell_what_ran_twice(tmp_path):
    """A POST that two providers executed counts once, for the client that sent it; a GET never."""
    demo = Demo(DemoOptions(providers=3), PlainView(), tmp_path)
    first, second, _ = (provider.log for provider in demo.providers)
    first.write_text("POST r1\nPOST r2\nGET r3\nPOST h4\nPOST h5\n")
    second.write_text("POST r2\nGET r3\nPOST h4\nPOST h5\n")
    demo._count_posts()
    assert demo.recording.executed_twice == {"rpcguard": 1, "httpx": 2}


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 4},
        {"rate": 0},
        {"providers": 21},
        {"rate": float("inf")},
        {"report": Path("picture.png")},
        {"report": Path("picture")},
    ],
)
def test_wrong_options_are_named(wrong):
    """Each option says what it takes, before anything is started."""
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name} must be"):
        DemoOptions(**wrong)


@pytest.mark.parametrize("installed", [True, False])
def test_a_third_side_that_is_missing_is_told(finished, capsys, monkeypatch, installed):
    """One line says how to get it; with it there is nothing to say."""
    monkeypatch.setattr(options, "find_spec", lambda name: name if installed else None)
    assert run_demo(DemoOptions(plain=True)) == 0
    told = "pip install httpx-retries" in capsys.readouterr().out
    assert told is not installed
    assert ("httpx-retries" in DemoOptions().clients()) is installed
    assert DemoOptions(lanes=True).clients() == ("httpx", "rpcguard")
