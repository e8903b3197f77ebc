"""The keys of `rpcguard nodes --watch`, pressed on a real terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SEVERAL = "static:///billing=127.0.0.1:9003;orders=127.0.0.1:9001,127.0.0.1:9002"


class Watch:
    """A watch in a process of its own, and the terminal before which it is watched."""

    def __init__(self, terminal: int, process: subprocess.Popen[bytes]) -> None:
        self.terminal = terminal
        self.process = process
        self.shown = b""

    def press(self, key: str) -> None:
        """Press a key; what was shown so far is forgotten."""
        self.shown = b""
        os.write(self.terminal, key.encode())

    def until(self, words: str) -> None:
        """Read the screen until it has these words."""
        while words.encode() not in re.sub(rb"\x1b\[[0-9;]*m", b"", self.shown):
            self.shown += os.read(self.terminal, 65536)


@contextlib.contextmanager
def watched(url: str, service: str) -> Iterator[Watch]:
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "rpcguard", "nodes", url, service, "--watch"],
        stdin=other_end,
        stdout=other_end,
        stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"},
    )
    try:
        with process:
            yield Watch(terminal, process)
            assert process.stderr.read() == b""
    finally:
        process.kill()
        os.close(other_end)
        os.close(terminal)


def test_keys_sort_go_on_and_end():
    """`s` takes the next order, `n` the next service and after the last the first, `q` ends."""
    with watched(SEVERAL, "orders") as watch:
        watch.until("s sort: listed  n next service  q quit")
        watch.press("s")
        watch.until("s sort: state")
        watch.press("n")
        watch.until("billing  1 node: 1 available")
        watch.press("n")
        watch.until("orders  2 nodes: 2 available")
        watch.press("q")
        assert watch.process.wait(20) == 0


def test_the_terminal_is_given_back_as_it_was():
    """After the watch, what is typed is shown and waits for Enter again."""
    with watched(SEVERAL, "orders") as watch:
        before = termios.tcgetattr(watch.terminal)
        watch.until("q quit")
        during = termios.tcgetattr(watch.terminal)
        watch.press("q")
        watch.process.wait(20)
        after = termios.tcgetattr(watch.terminal)
    assert before[3] & termios.ECHO
    assert not during[3] & termios.ECHO
    assert after[3] == before[3]


def test_other_keys_do_nothing():
    """Not letters that mean nothing, nor arrows, which are several characters."""
    with watched(SEVERAL, "orders") as watch:
        watch.until("q quit")
        watch.press("xS\x1b[As")
        watch.until("s sort: state")
        assert watch.process.poll() is None
        watch.press("q")


def test_a_registry_that_cannot_list_says_so():
    """The watch goes on with the service that it has."""
    with watched("hosts://", "localhost:9001") as watch:
        watch.until("q quit")
        watch.press("n")
        watch.until("cannot list its services")
        watch.press("q")
        assert watch.process.wait(20) == 0
