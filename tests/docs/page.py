"""Run the blocks of one page in order, as its reader would: `python -m tests.docs.page < JSON`.

Python without a title runs in one namespace per page, `await` allowed. A block whose title names a
file is written to the working directory. Console lines after `$ ` are commands, the others are
what they print, with `...` for anything. In a block titled "Terminal N" the command stays running
while the page goes on, and `^C` interrupts it; a text block titled "Terminal N prints" is what it
prints from then on. A text block titled "output" is what the Python block before it prints.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 100.0


class PageError(Exception):
    """Say which block did not do what the page says."""


class Terminal:
    """A shell window of the reader."""

    def __init__(self) -> None:
        self.output = ""
        self.checked = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self, command: str) -> None:
        self.output, self.checked = "", 0
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            self.output += line

    def interrupt(self, how: int = signal.SIGINT) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)

    def wait(self) -> None:
        if self._process is not None:
            self._process.wait(DEADLINE)


def matches(expected: str, told: str) -> bool:
    """Tell whether the expected lines stand together among those told, however far apart words are.

    `...` stands for anything in a line, and alone on a line for any lines.
    """
    pattern = ""
    for line in expected.strip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
            continue
        words = (re.escape(part) for part in re.sub(r" +", " ", line.rstrip()).split("..."))
        pattern += ".*".join(words) + r"\n"
    lines = "".join(f"{line.rstrip()}\n" for line in re.sub(r" +", " ", told).splitlines())
    return re.search(f"^{pattern}", lines, re.MULTILINE) is not None


def commands_of(text: str) -> list[tuple[str, str]]:
    """Give each command with what it prints."""
    found: list[tuple[str, str]] = []
    continued = False
    for line in text.splitlines():
        if continued:
            found[-1] = (f"{found[-1][0]}\n{line}", "")
        elif line.startswith("$ ") or line == "^C":
            found.append((line.removeprefix("$ "), ""))
        else:
            command, printed = found[-1]
            found[-1] = (command, f"{printed}{line}\n")
        continued = line.endswith("\\") and not found[-1][1]
    return found


def wait_until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise PageError(what())
        time.sleep(0.02)


def listens(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


class Page:
    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._namespace: dict[str, Any] = {"__name__": "__page__"}
        self._terminals: dict[str, Terminal] = {}
        self._printed = ""

    def run(self, block: dict[str, Any]) -> None:
        title, language = block["title"], block["language"]
        if block["file"]:
            Path(title).write_text(block["text"], encoding="utf-8")
        elif language == "python":
            self._execute(block)
        elif language == "console":
            for command, printed in commands_of(block["text"]):
                if title.startswith("Terminal"):
                    self._type(title.partition(":")[0], command, printed)
                else:
                    self._shell(command, printed)
        elif title.startswith("Terminal"):
            self._await(title.removesuffix(" prints"), block["text"])
        elif title == "output" and not matches(block["text"], self._printed):
            raise PageError(f"expected:\n{block['text']}\nprinted:\n{self._printed}")

    def _execute(self, block: dict[str, Any]) -> None:
        exec(block["given"], self._namespace)
        source = "\n" * (block["line"] - 1) + block["text"]
        code = compile(source, block["path"], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if code.co_flags & inspect.CO_COROUTINE:
                self._runner.run(eval(code, self._namespace))
            else:
                exec(code, self._namespace)
        self._printed = printed.getvalue()

    def _shell(self, command: str, printed: str) -> None:
        done = subprocess.run(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        if done.returncode or not matches(printed, done.stdout):
            raise PageError(f"$ {command}\nexit {done.returncode}, printed:\n{done.stdout}")

    def _type(self, name: str, command: str, printed: str) -> None:
        terminal = self._terminals.setdefault(name, Terminal())
        if command == "^C":
            terminal.interrupt()
            return
        terminal.wait()
        terminal.start(command)
        if printed:
            self._await(name, printed)
            return
        for port in re.findall(r"\b[0-9]{4,5}\b", command):
            wait_until(
                lambda port=port: listens(port),
                lambda port=port: f"$ {command}\nport {port} is silent:\n{terminal.output}",
            )

    def _await(self, name: str, printed: str) -> None:
        terminal = self._terminals[name]
        start = terminal.checked
        wait_until(
            lambda: matches(printed, terminal.output[start:]),
            lambda: f"{name} lacks:\n{printed}\nin:\n{terminal.output[start:]}",
        )
        terminal.checked = len(terminal.output)

    def close(self) -> None:
        for terminal in self._terminals.values():
            terminal.interrupt(signal.SIGKILL)
            terminal.wait()


def main() -> int:
    blocks = json.load(sys.stdin)
    sys.path.insert(0, os.getcwd())
    with asyncio.Runner() as runner:
        page = Page(runner)
        try:
            for block in blocks:
                try:
                    page.run(block)
                except PageError as wrong:
                    print(f"{block['where']}: {wrong}", file=sys.stderr)
                    return 1
        finally:
            page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
