"""Two threads, one of which stands still at a chosen line while the other does all that it can."""

from __future__ import annotations

import sys
import threading
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCKED = 0.02
"""Seconds after which the other one counts as blocked, by what the first one holds. One that is
only slow goes on beside it, which is an interleaving as well."""

_SLOW = 0.5
"""Seconds after which the first one counts as blocked, by what the second one is to do."""

_JOIN = 20.0
"""Seconds: what takes longer waits for ever."""


class _Held:
    """Stop the thread that runs this at its nth line of some files, counted from 0."""

    def __init__(self, nth: int, ours: Callable[[str], bool]) -> None:
        self.left, self.ours = nth, ours
        self.where: str | None = None
        self.stands, self.goes_on = threading.Event(), threading.Event()

    def trace(self, frame, event, _arg):
        if not self.ours(frame.f_code.co_filename):
            return None
        if event == "line":
            self.left -= 1
            if self.left < 0 and self.where is None:
                self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                self.stands.set()
                self.goes_on.wait(_JOIN)
        return self.trace


def interleave(
    first: Callable[[], object], second: Callable[[], object], nth: int, ours: Callable[[str], bool]
) -> tuple[str | None, list[BaseException]]:
    """Run the second amid the first, which stands at its nth line; give that, and what they raised.

    The line is None where the first one has ended before. One that waits for the other in vain goes
    on after a while, as if it had been slow.
    """
    held, raised = _Held(nth, ours), []

    def begin() -> None:
        sys.settrace(held.trace)
        try:
            first()
        except BaseException as error:
            raised.append(error)
        finally:
            sys.settrace(None)
            held.stands.set()

    def follow() -> None:
        try:
            second()
        except BaseException as error:
            raised.append(error)

    one, other = (threading.Thread(target=run, daemon=True) for run in (begin, follow))
    one.start()
    held.stands.wait(_SLOW)
    other.start()
    other.join(_BLOCKED if held.where else _JOIN)
    held.goes_on.set()
    for thread in (one, other):
        thread.join(_JOIN)
        assert not thread.is_alive(), f"{held.where}: it waits for ever"
    return held.where, raised


def interleavings(
    scene: Callable[[], tuple[Callable[[], object], Callable[[], object]]],
    ours: Callable[[str], bool],
) -> Iterator[tuple[str, list[BaseException]]]:
    """Play a scene again and again, its first one held at one line after the other.

    `scene` sets it up and gives the two; `ours` picks the files whose lines count.
    """
    for nth in count():
        where, raised = interleave(*scene(), nth, ours)
        yield where or "one after the other", raised
        if where is None:
            return
