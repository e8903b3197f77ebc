"""Rules by which others pick a node, or which were thought of, as balancers of the simulation.

Each draws and compares as its source says, as far as a caller without probes and reports can. What
a rule says nothing of is as in `Random`: nodes are drawn by weight, and a warming one is thinned.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from rpcguard import LeastLoaded, LeastRequests, LiveNode, Random, RoundRobin
from rpcguard._core.balancing.draw import WeightedDraw

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Sequence

TYPICAL = 0.05
"""Seconds that a node without history is taken for."""
MISSED = 4.0
"""Turns that a node may be behind before it gets one."""
ROUNDS = 5
"""Rounds of the whole list after which what is known of a node is too old."""
HOT = 0.84
"""The quantile of calls in flight above which a node is hot, as in the paper."""
REMEMBERED = 128
"""Numbers of calls in flight that the quantile is taken of."""


class FewChoices(WeightedDraw):
    """Draw a few nodes by weight and take the cheapest."""

    choices = 2

    def __init__(self, *, rng: random.Random) -> None:
        super().__init__(rng=rng)
        self.considered: tuple[tuple[LiveNode, float], ...] = ()

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        drawn = self._drawn_nodes(excluded)
        if not drawn:
            return None
        picked = self.best(drawn, now)
        if picked.ramp < 1.0 and len(drawn) > 1 and self._random() >= picked.ramp:
            picked = self.best([one for one in drawn if one is not picked], now)
        self.considered = tuple((one, self.cost(one, now)) for one in drawn)
        return picked

    def _drawn_nodes(self, excluded: Collection[LiveNode]) -> list[LiveNode]:
        drawn: list[LiveNode] = []
        while len(drawn) < min(self.choices, len(self)):
            one = self._draw_excluding((*excluded, *drawn))
            if one is None:
                break
            drawn.append(one)
        return drawn

    def best(self, drawn: Sequence[LiveNode], now: float) -> LiveNode:
        """Give the cheapest; the first of equal ones."""
        return min(drawn, key=lambda one: self.cost(one, now))

    def cost(self, live: LiveNode, now: float) -> float:
        """Say what another call to a node would cost."""
        del now
        return float(live.in_flight)


class PeakEwma(FewChoices):
    """Peak EWMA of the latency times calls in flight, of two: Finagle and linkerd."""

    def cost(self, live: LiveNode, now: float) -> float:
        return live.load(TYPICAL, now)


class FairTurns(PeakEwma):
    """Peak EWMA, but a node that missed some turns for its weight gets one."""

    def add(self, live: LiveNode) -> None:
        live.turns = max((one.turns for one in self._places), default=0.0)
        super().add(live)

    def best(self, drawn: Sequence[LiveNode], now: float) -> LiveNode:
        low = min(drawn, key=lambda one: one.turns)
        if all(low.turns + MISSED / low.weight <= one.turns for one in drawn if one is not low):
            return low
        return super().best(drawn, now)


class Exploring(PeakEwma):
    """Peak EWMA, but a node that was not called for five rounds gets one call."""

    def __init__(self, *, rng: random.Random) -> None:
        super().__init__(rng=rng)
        self._picks = 0
        self._last: dict[LiveNode, int] = {}

    def best(self, drawn: Sequence[LiveNode], now: float) -> LiveNode:
        self._picks += 1
        old = [one for one in drawn if self._age(one) > ROUNDS * len(self)]
        picked = old[0] if old else super().best(drawn, now)
        self._last[picked] = self._picks
        return picked

    def _age(self, live: LiveNode) -> int:
        return self._picks - self._last.setdefault(live, self._picks)


class TieBreak(FewChoices):
    """Fewer calls in flight for its weight, of two; of equal ones the one with less latency."""

    def best(self, drawn: Sequence[LiveNode], now: float) -> LiveNode:
        del now
        return min(drawn, key=lambda one: (one.in_flight / one.weight, one.latency))


class HotAndCold(FewChoices):
    """Of three the cold one with less latency, or the least hot: Prequal, what it has of calls."""

    choices = 3

    def __init__(self, *, rng: random.Random) -> None:
        super().__init__(rng=rng)
        self._flights: deque[int] = deque(maxlen=REMEMBERED)

    def best(self, drawn: Sequence[LiveNode], now: float) -> LiveNode:
        del now
        self._flights.extend(one.in_flight for one in drawn)
        limit = sorted(self._flights)[int(HOT * (len(self._flights) - 1))]
        cold = [one for one in drawn if one.in_flight <= limit]
        if cold:
            return min(cold, key=lambda one: one.latency)
        return min(drawn, key=lambda one: one.in_flight)


class WithReplacement(FewChoices):
    """Fewer calls in flight of two that may be the same, whatever they weigh: gRPC (A48)."""

    def _drawn_nodes(self, excluded: Collection[LiveNode]) -> list[LiveNode]:
        left = [one for one in self._places if one not in excluded]
        drawn = {left[int(self._random() * len(left))] for _ in range(2) if left}
        return list(drawn)


class EarliestDeadline(WithReplacement):
    """As in gRPC while weights are equal, else turns by weight ÷ (calls in flight + 1): Envoy."""

    def __init__(self, *, rng: random.Random) -> None:
        super().__init__(rng=rng)
        self._time = 0.0
        self._number = count()
        self._turns: list[tuple[float, int, LiveNode]] = []

    def add(self, live: LiveNode) -> None:
        super().add(live)
        self._push(live)

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        weights = {one.effective_weight for one in self._places}
        if len(weights) < 2 or excluded:
            return super().pick(now, excluded)
        while True:
            self._time, _, live = heapq.heappop(self._turns)
            if live in self._places:
                self._push(live)
                self.considered = ((live, self._time),)
                return live

    def _push(self, live: LiveNode) -> None:
        due = self._time + (live.in_flight + 1) / live.effective_weight
        heapq.heappush(self._turns, (due, next(self._number), live))


class LeastConnections(WithReplacement):
    """The fewest calls in flight for its weight of all nodes, in turn: HAProxy's leastconn."""

    def __init__(self, *, rng: random.Random) -> None:
        super().__init__(rng=rng)
        self._number = count()
        self._last: dict[LiveNode, int] = {}

    def _drawn_nodes(self, excluded: Collection[LiveNode]) -> list[LiveNode]:
        return [one for one in self._places if one not in excluded]

    def best(self, drawn: Sequence[LiveNode], now: float) -> LiveNode:
        picked = min(drawn, key=lambda one: (self.cost(one, now), self._last.get(one, 0)))
        self._last[picked] = next(self._number)
        return picked

    def cost(self, live: LiveNode, now: float) -> float:
        del now
        return live.in_flight / live.weight


CANDIDATES: dict[str, Callable[..., object]] = {
    "LeastLoaded": LeastLoaded,
    "LeastRequests": LeastRequests,
    "RoundRobin": RoundRobin,
    "Random": Random,
    "peak EWMA (Finagle, linkerd)": PeakEwma,
    "peak EWMA, fair turns": FairTurns,
    "peak EWMA, exploring": Exploring,
    "latency as tie-break": TieBreak,
    "Prequal without probes": HotAndCold,
    "gRPC least request": WithReplacement,
    "Envoy least request": EarliestDeadline,
    "HAProxy leastconn": LeastConnections,
}
