"""A bound on frames that cost work and bring nothing: PING, SETTINGS, RST_STREAM and their like."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_BURST = 1000
"""Frames that may come at once. A node answers each upload of 16 KiB with two window updates, and
a proxy that drains resets a hundred streams: a tenth of this in practice."""

_RATE = 100.0
"""Frames a second for ever. The busiest pinger that is known, grpc's bandwidth probe, sends ten."""


class FloodGuard:
    """A token bucket for the frames of one connection that carry no part of an answer.

    After the attacks of CVE-2019-9512 (PING), 9515 (SETTINGS), 9514 and 2023-44487 (RST_STREAM),
    9513 (PRIORITY) and 9518 (empty frames), from the client's side.
    """

    __slots__ = ("_clock", "_left", "_stamp")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = float(_BURST)
        self._stamp = clock()

    def admit(self) -> bool:
        """Take a frame; False where it is one too many."""
        self._left -= 1.0
        if self._left >= 0.0:
            return True
        now = self._clock()
        self._left = min(_BURST, self._left + (now - self._stamp) * _RATE)
        self._stamp = now
        return self._left >= 0.0

    def earn(self, frames: int) -> None:
        """Allow for frames that the peer owes us: window updates for what was sent."""
        self._left = min(_BURST, self._left + frames)
