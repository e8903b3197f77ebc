"""Pauses that grow while something does not work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_FIRST = 0.2  # seconds: a registry that restarts is back soon
_LONGEST = 30.0  # seconds: callers of a dead registry ask it twice a minute


class Backoff:
    """Growing pauses: from 0.2 to 30 seconds, each jittered down to half."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next = _FIRST

    def pause(self) -> float:
        """Give the next pause."""
        longest, self._next = self._next, min(self._next * 2.0, _LONGEST)
        return longest * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = _FIRST
