"""The demo as a person runs it: short runs of the whole thing as a process of its own."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

SHORT = ("--seconds", "8", "--providers", "3", "--rate", "50")


def demo_processes(run_id: str) -> list[int]:
    """Find every process that inherited a run's environment, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environ = (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has ended meanwhile, or is not ours
            continue
        if f"RPCGUARD_TEST_RUN={run_id}".encode() in environ.split(b"\0") and state not in "ZX":
            found.append(int(entry.name))
    return found


@contextmanager
def demo(*arguments: str, run_id: str, stdout: int = subprocess.PIPE):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "rpcguard", "demo", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"RPCGUARD_TEST_RUN": run_id, "COLUMNS": "140", "LINES": "40"},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
            for pid in demo_processes(run_id):
                os.kill(pid, signal.SIGKILL)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read the output up to a line with these words."""
    seen = ""
    while words not in seen:
        line = process.stdout.readline()
        assert line, f"the demo ended early: {seen}{process.stderr.read()}"
        seen += line
    return seen


@pytest.mark.timeout(120)
def test_a_short_run_plays_the_whole_script(tmp_path):
    """Status 0, every event with its time, both clients' figures, a picture, no process left."""
    report = tmp_path / "release.html"
    run_id = f"whole-{os.getpid()}"
    with demo(*SHORT, "--report", str(report), run_id=run_id) as process:
        out, err = process.communicate(timeout=100)
        assert demo_processes(run_id) == []
    assert (process.returncode, err) == (0, ""), out
    for words in ("announces that it leaves", "SIGTERM", "cold", "SIGKILL", "SIGSTOP", "500"):
        assert re.search(rf"^\d\d:\d\d\.\d  orders-\d +.*{words}", out, re.MULTILINE), words
    assert out.count("announces that it leaves") == 3
    figures = dict(re.findall(r"^ ?([A-Za-z0-9 ]+?)  +([\d,]+) ", out, re.MULTILINE))
    row = next(line for line in out.splitlines() if line.startswith("calls "))
    (calls,) = {int(figure.replace(",", "")) for figure in row.split()[1:]}  # as many of each
    assert calls > 300  # of 400, for what is late when the time is over is not sent
    assert figures[" could have been saved"] == "0"
    assert figures["POSTs executed twice"] == "0"
    assert "No call of rpcguard failed" in out
    html = report.read_text()
    assert "What rpcguard knew of them" in html
    assert html.count("<polygon") > 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.timeout(120)
def test_a_signal_in_mid_run_leaves_nothing_behind(number):
    """Ctrl-C and SIGTERM while a provider is frozen: status 130, no process, no traceback."""
    run_id = f"signal-{os.getpid()}"
    with demo(*SHORT, "--plain", run_id=run_id) as process:
        read_until(process, "SIGSTOP")
        assert len(demo_processes(run_id)) == 4
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert demo_processes(run_id) == []
    assert (process.returncode, err) == (130, "")


@pytest.mark.timeout(120)
def test_ctrl_c_while_the_providers_start_leaves_nothing_behind():
    """The moment before the first provider listens is no hole."""
    run_id = f"start-{os.getpid()}"
    with demo(*SHORT, run_id=run_id) as process:
        read_until(process, "starting 3 providers")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert demo_processes(run_id) == []
    assert (process.returncode, err) == (130, "")


@pytest.mark.timeout(120)
def test_a_killed_demo_leaves_nothing_behind():
    """SIGKILL cannot be caught; the providers end by themselves, the frozen one too."""
    run_id = f"killed-{os.getpid()}"
    with demo(*SHORT, run_id=run_id) as process:
        read_until(process, "SIGSTOP")
        process.kill()
        process.wait()
        end = time.monotonic() + 60
        while demo_processes(run_id) and time.monotonic() < end:
            time.sleep(0.05)
        assert demo_processes(run_id) == []


@pytest.mark.timeout(120)
def test_a_terminal_gets_the_live_view():
    """A terminal shows the table with states and totals; Ctrl-C gives the cursor back."""
    run_id = f"live-{os.getpid()}"
    terminal, other_end = pty.openpty()
    with demo(*SHORT, run_id=run_id, stdout=other_end) as process:
        os.close(other_end)
        shown = b""
        end = time.monotonic() + 30
        while not (b"SIGTERM" in shown and b"is offline" in shown) and time.monotonic() < end:
            shown += os.read(terminal, 65536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # Linux says so when the other end of a terminal is closed
                break
            if not part:
                break
            shown += part
        os.close(terminal)
        assert process.wait(20) == 130
        assert demo_processes(run_id) == []
    text = shown.decode()
    for words in ("in flight", "p99 ms", "saved calls", "orders-3", "available", "offline"):
        assert words in text, words
    assert text.rstrip().endswith("\x1b[?25h")
