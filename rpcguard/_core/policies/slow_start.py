"""Slow start: how much of its weight a new or restored node carries."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rpcguard._checks import is_whole, require, require_amounts, require_positive, require_shares


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowStart:
    """The ramp of a new or restored node.

    The effective weight is weight · max(floor, (age / window) ** curve), with the age in seconds
    by the local monotonic clock. `window` 0 turns slow start off. After `calls` good calls the
    ramp is done early. The form is Envoy's and Sermant's; a curve above 1 starts gently.
    """

    window: float = 120.0
    """Seconds of the ramp, 0 for none: Sermant's default, which covers a JVM's compilers."""

    curve: float = 2.0
    """Power of the ramp: 1 is a straight line; 2 gives a node a quarter of its weight at half
    time, when what is slow in a cold node is mostly its first calls."""

    floor: float = 0.1
    """Least share of its weight, 0 to 1: Envoy's default. With none a node would never warm up."""

    calls: int = 200
    """Good calls after which the ramp is done early: a node that has served so many is warm, and a
    busy one need not wait for the clock."""

    def __post_init__(self) -> None:
        require_amounts(self, "window")
        require_positive(self, "curve", "floor")
        require_shares(self, "floor")
        require("calls", self.calls, "a whole number, 1 or more", is_whole(self.calls, least=1))

    def ramp(self, age: float, good_calls: int) -> float:
        """Give the share of its weight, `floor` to 1, that a node of this age carries."""
        if age >= self.window or good_calls >= self.calls:
            return 1.0
        return max(self.floor, math.pow(max(age, 0.0) / self.window, self.curve))

    def worth(self, good_calls: int) -> float:
        """Give the seconds of the ramp that so many good calls stand for."""
        return self.window * good_calls / self.calls

    def head_start(self, started_at: float | None, wall: float) -> float:
        """Give the seconds by which the registry's start time shortens the ramp.

        A start time in the future or longer ago than the window is no credit: a clock that is
        wrong must neither lengthen the ramp nor skip it.
        """
        if started_at is None:
            return 0.0
        age = wall - started_at
        return age if 0.0 < age < self.window else 0.0
