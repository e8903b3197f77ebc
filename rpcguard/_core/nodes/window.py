"""Counts over the last seconds."""

from __future__ import annotations

_BUCKETS = 10
"""A window of 10 s forgets a second at a time: smooth enough for rates, and cheap."""


class RollingCounts:
    """Two counts over a sliding window, in ten buckets that expire one by one.

    Not thread-safe; a time before the newest one seen counts as the newest.
    """

    __slots__ = ("_end", "_epoch", "_marks", "_totals", "_width", "marked", "total")

    def __init__(self, window: float, now: float) -> None:
        self._width = window / _BUCKETS
        self._epoch = int(now / self._width)
        self._end = (self._epoch + 1) * self._width
        self._totals = [0] * _BUCKETS
        self._marks = [0] * _BUCKETS
        self.total: int = 0
        self.marked: int = 0

    def add_total(self, now: float) -> None:
        """Add one of the first kind; this is on the path of every call."""
        if now >= self._end:
            self.advance(now)
        self._totals[self._epoch % _BUCKETS] += 1
        self.total += 1

    def add(self, now: float, total: int, marked: int) -> None:
        """Add to both counts at `now`."""
        if now >= self._end:
            self.advance(now)
        slot = self._epoch % _BUCKETS
        self._totals[slot] += total
        self._marks[slot] += marked
        self.total += total
        self.marked += marked

    def take_back(self, at: float, total: int, marked: int) -> None:
        """Undo what was added at the time `at`, unless the window has left it behind."""
        epoch = min(int(at / self._width), self._epoch)
        if epoch > self._epoch - _BUCKETS:
            self._totals[epoch % _BUCKETS] -= total
            self._marks[epoch % _BUCKETS] -= marked
            self.total -= total
            self.marked -= marked

    def advance(self, now: float) -> None:
        """Forget what the window has left behind; `total` and `marked` are then up to date."""
        epoch = int(now / self._width)
        if epoch <= self._epoch:
            return
        for step in range(min(epoch - self._epoch, _BUCKETS)):
            slot = (self._epoch + 1 + step) % _BUCKETS
            self.total -= self._totals[slot]
            self.marked -= self._marks[slot]
            self._totals[slot] = self._marks[slot] = 0
        self._epoch = epoch
        self._end = (epoch + 1) * self._width
