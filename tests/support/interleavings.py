"""Two threads, one of which stands still at a chosen line while the other does all that it can."""

from __future__ import annotations

import sys
import threading
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCKED = 0.02
"""Seconds that the other one sleeps at one place until it counts as blocked, by what the first one
holds. One that is only slow goes on, or all that it does would be done beside the first."""

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


def _place(thread: threading.Thread) -> tuple[object, ...] | None:
    """Tell where a thread sleeps; None for one that runs, or would if it had a processor.

    Without `/proc` one that stands at one place counts as asleep.
    """
    frame = sys._current_frames().get(thread.ident or 0)
    try:
        state = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(") ")[2][0]
    except OSError:  # it has ended, or this is not Linux
        state = "S"
    return (id(frame), frame.f_lasti) if frame is not None and state == "S" else None


def _join_or_block(thread: threading.Thread) -> None:
    before, end = None, time.monotonic() + _JOIN
    while thread.is_alive() and time.monotonic() < end:
        place = _place(thread)
        if place is not None and place == before:
            return
        before = place
        thread.join(_BLOCKED)


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
    if held.where:
        _join_or_block(other)
    else:
        other.join(_JOIN)
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
