"""Counts over the last seconds."""

from __future__ import annotations

_BUCKETS = 10


class RollingCounts:
    """Count two kinds of things over a sliding window, in ten buckets that expire one by one.

    Not thread-safe; a time before the newest one seen counts as the newest.
    """

    __slots__ = ("_end", "_epoch", "_first", "_second", "_width", "first", "second")

    def __init__(self, window: float, now: float) -> None:
        self._width = window / _BUCKETS
        self._epoch = int(now / self._width)
        self._end = (self._epoch + 1) * self._width
        self._first = [0] * _BUCKETS
        self._second = [0] * _BUCKETS
        self.first: int = 0
        self.second: int = 0

    def add_first(self, now: float) -> None:
        """Add one of the first kind; this is on the path of every call."""
        if now >= self._end:
            self.advance(now)
        self._first[self._epoch % _BUCKETS] += 1
        self.first += 1

    def add(self, now: float, first: int, second: int) -> None:
        """Add to both counts at `now`."""
        if now >= self._end:
            self.advance(now)
        slot = self._epoch % _BUCKETS
        self._first[slot] += first
        self._second[slot] += second
        self.first += first
        self.second += second

    def take_back(self, at: float, first: int, second: int) -> None:
        """Undo what was added at the time `at`, unless the window has left it behind."""
        epoch = min(int(at / self._width), self._epoch)
        if epoch > self._epoch - _BUCKETS:
            self._first[epoch % _BUCKETS] -= first
            self._second[epoch % _BUCKETS] -= second
            self.first -= first
            self.second -= second

    def advance(self, now: float) -> None:
        """Forget what the window has left behind; `first` and `second` are then up to date."""
        epoch = int(now / self._width)
        if epoch <= self._epoch:
            return
        for step in range(min(epoch - self._epoch, _BUCKETS)):
            slot = (self._epoch + 1 + step) % _BUCKETS
            self.first -= self._first[slot]
            self.second -= self._second[slot]
            self._first[slot] = self._second[slot] = 0
        self._epoch = epoch
        self._end = (epoch + 1) * self._width
