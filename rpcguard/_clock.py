"""The clock by which lists and idle connections grow old: it goes on while the machine sleeps."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _lasting() -> Callable[[], float]:
    # Linux's monotonic clock stands still in sleep, and so does Python's own on macOS, where the
    # system's CLOCK_MONOTONIC does not. Windows counts its sleep in all of them.
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        number = getattr(time, name, None)
        if number is None:
            continue
        clock = partial(time.clock_gettime, number)
        try:
            clock()
        except OSError:  # a sandbox that lets few system calls through
            continue
        return clock
    return time.monotonic


lasting: Callable[[], float] = _lasting()
"""Give seconds that only go forward, those among them in which the machine was suspended."""
