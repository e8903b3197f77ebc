"""The keys that somebody presses while a list is watched."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from types import TracebackType

Wish = Literal["next", "quit"]
"""What a key can ask for beside an order: the next service, or the end."""

SORT: Final = "s"
NEXT: Final = "n"
QUIT: Final = "q"


class Keys:
    """The keys of a terminal, one by one, while they are not shown; a context manager.

    None are read where standard input is no terminal, or is that of a program in the background,
    which would be stopped for it.
    """

    def __init__(self, terminal: int | None = None) -> None:
        """Take the keys of an open terminal, that of standard input where it is left out."""
        self._terminal = _own_terminal() if terminal is None else terminal
        self._before: list[int | list[bytes | int]] | None = None

    @property
    def are_there(self) -> bool:
        """Tell whether there is somebody who can press them."""
        return self._terminal is not None

    def __enter__(self) -> Keys:
        if self._terminal is not None:
            self._before = termios.tcgetattr(self._terminal)
            tty.setcbreak(self._terminal, termios.TCSADRAIN)  # Ctrl-C is a signal as ever
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._terminal is not None and self._before is not None:
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    async def pressed(self, within: float) -> str:
        """Give the next key; an empty string when none was pressed for so many seconds."""
        if self._terminal is None:
            await asyncio.sleep(within)
            return ""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._terminal, readable.set)
        try:
            async with asyncio.timeout(within):
                await readable.wait()
        except TimeoutError:
            return ""
        finally:
            loop.remove_reader(self._terminal)
        # A terminal that is gone reads as its end, and nobody looks any more.
        return os.read(self._terminal, 1).decode("ascii", "replace") or QUIT


def _own_terminal() -> int | None:
    if not sys.stdin.isatty():
        return None
    terminal = sys.stdin.fileno()
    try:
        in_front = os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        in_front = True  # another session's terminal stops nobody here
    return terminal if in_front else None
