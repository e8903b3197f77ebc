"""The timeouts of one attempt, cut to what its deadline leaves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rpcguard._core.call.plan import CallPlan

SHORTEST = 0.001
"""Seconds that are always left to an operation: a timeout of 0 means something else to sockets."""


class Timeouts(dict[str, Any]):
    """The timeouts of one attempt; each is cut to what is left when it is looked up.

    `clamp` does the same for a timeout that was looked up before; a copy has what was left when
    the attempt began. `until` may be moved: infinite means that nothing is cut.
    """

    def __init__(self, given: Mapping[str, Any], until: float, clock: Callable[[], float]) -> None:
        self.until = until
        self._clock = clock
        self._given = dict.fromkeys(("connect", "read", "write", "pool")) | dict(given)
        super().__init__({name: self[name] for name in self._given})

    def __getitem__(self, key: str) -> Any:
        return self._some(self._given[key])

    def get(self, key: str, default: Any = None) -> Any:
        """Give what is left of a timeout, never nothing."""
        return self._some(self._given.get(key, default))

    @property
    def left(self) -> float:
        """Give the seconds that are left of the attempt; infinite where nothing is cut."""
        return self.until - self._clock()

    def clamp(self, timeout: float | None) -> float | None:
        """Cut a timeout to what is left of the attempt; 0 or less when its time is up."""
        if self.until == math.inf:
            return timeout
        left = self.until - self._clock()
        return left if timeout is None else min(timeout, left)

    def _some(self, timeout: float | None) -> float | None:
        if self.until == math.inf or (cut := self.clamp(timeout)) is None:
            return timeout
        return max(cut, SHORTEST)


def limited(plan: CallPlan, now: float, clock: Callable[[], float]) -> dict[str, Any]:
    """Give the timeouts of an attempt that begins now."""
    if plan.until is None and plan.attempt_timeout is None:
        return {**plan.timeouts}
    until = plan.until if plan.until is not None else math.inf
    if plan.attempt_timeout is not None:
        until = min(until, now + plan.attempt_timeout)
    return Timeouts(plan.timeouts, until, clock)


def hurry(timeouts: dict[str, Any], seconds: float, now: float) -> None:
    """Let what is still to be read of an answer take so long at most, from now."""
    if isinstance(timeouts, Timeouts):
        timeouts.until = min(timeouts.until, now + seconds)
    else:
        timeouts["read"] = seconds
