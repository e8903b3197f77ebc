"""A clock that a test sets."""

from __future__ import annotations

import threading


class ManualClock:
    """A clock whose time a test sets, in seconds.

    Call it for the time; it stands still until `advance`. Thread-safe.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Give the time."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Pass so many seconds and give the new time; `ValueError` for a step back."""
        if not seconds >= 0:
            raise ValueError(f"seconds must be 0 or more, not {seconds!r}")
        with self._lock:
            self._now += seconds
            return self._now
