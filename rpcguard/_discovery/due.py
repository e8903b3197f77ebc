"""When a list is due, told by clocks of which not all stand still with the process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_OVERDUE = 2.0
"""Seconds that an answer may be late where the process only has much to do."""


class DueTime:
    """The time by which a registry is asked next, by a lasting clock and by the wall clock.

    Only a process that did not run misses it: stopped by a signal, on a machine that slept, or in a
    virtual machine that was paused, which only the wall clock tells afterwards. That one may be set
    by hand or by NTP. Set back, it delays nothing; set forward, it costs one question too many.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clocks = clock, wall
        self._at = math.inf, math.inf

    def put_off(self, seconds: float) -> None:
        """Be due so many seconds from now; `math.inf` for never."""
        clock, wall = self._clocks
        self._at = clock() + seconds, wall() + seconds

    @property
    def overdue(self) -> bool:
        """Tell whether it was due long ago, by either clock."""
        (clock, wall), (at, wall_at) = self._clocks, self._at
        return clock() > at + _OVERDUE or wall() > wall_at + _OVERDUE
