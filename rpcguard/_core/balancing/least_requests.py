"""The fewer calls in flight for its weight, of two nodes."""

from __future__ import annotations

from statistics import median, median_low
from typing import TYPE_CHECKING

from rpcguard._core.balancing.draw import WeightedDraw
from rpcguard._core.nodes.peers import Peers

if TYPE_CHECKING:
    import random
    from collections.abc import Collection

    from rpcguard._core.nodes.live import LiveNode

_SAMPLE = 9
"""Nodes that are asked for what is usual: enough that one slow node of them does not matter."""

_SOONEST, _REFRESH = 8, 128
"""Picks until what is usual is learned anew: soon at first, then seldom, to keep a pick cheap."""

_CREDIT = 4.0
"""Turns of the lighter node that are made up for. More lets a node that comes back be flooded: with
16 the busiest node of a rolling release had 4 % more."""

_FAILURE_PEAK = 5.0
"""Seconds that a call on a failing node counts as, however fast it fails: linkerd's base penalty.
Peers under load hold a queue, beside which 1 s is little."""

_TURN_SECONDS, _FAILING_TURN_SECONDS = 88.0, 1024.0
"""A node that stands back is tried at the latest when the turns that it let pass times the seconds
since it was called come to this. At 5 calls/s for each node a slow one is tried every 4 s; of two
nodes with 20 calls/s a failing one gets a hundredth, and where hardly anything is called it is not
left out for hours."""

_SLOW_TURNS = 20.0
"""Equal turns that a slow node lets pass however long they take: of ten nodes one that is ten times
slower makes the p99 of all calls with an eighth of its share. With 12, and what a try that looks
good by luck costs, a hundred callers gave it that."""

_PAUSE = 4.0
"""A node is no worse than one that is slow as such before it is silent for a quarter of what that
one takes: of two nodes the other one has a queue, and hardly answers one by one."""

_COLD_PATIENCE = 8.0
"""How much longer than another a cold node may be silent, and how many calls it owes says nothing:
the slowest that we played took 30 times the usual."""

_ALMOST_NOW = 1e-6
"""Seconds, where the clock stands still between two picks."""

ALONE = "there was no other"
LESS = "less loaded"
TURN = "as loaded, and its turn"
SOUND = "as loaded, and the other stands back after slow or failed answers"
RAMP = "drawn by the ramps"
"""Why a node was picked, for `explain`."""


class LeastRequests(WeightedDraw):
    """The balancer that picks, of two nodes drawn by weight, the one with fewer calls in flight.

    For calls that differ in length by their nature: streams, uploads, answers of language models.
    Where the call would leave one node less loaded than the other is now, that one is picked; else
    both are as loaded as can be, and the one is that had fewer turns for its weight, so shares
    follow the weights at any number of calls. What fails, refuses or is silent counts as loaded.
    O(1), at any number of nodes. `why` says what decided the last pick.
    """

    considered: tuple[tuple[LiveNode, float], ...]
    _compares = False

    def __init__(self, *, rng: random.Random | None = None) -> None:
        super().__init__(rng=rng)
        self.why: str = ""
        self._peers = Peers(compares=self._compares)
        self._turns = 0.0
        self._every = self._left = _SOONEST

    def add(self, live: LiveNode) -> None:
        """Take in a node; it starts level with the turns of the others."""
        if self._left != self._every and self._places:
            self._learn()
        live.level_with(self._turns)
        live.peers = self._peers
        super().add(live)

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node in O(1)."""
        self._left -= 1
        if self._left <= 0 and self._places:
            self._every = min(2 * self._every, _REFRESH)
            self._learn()
        draw = self._draw_two or self._prepare_two()
        if excluded or draw is None:
            return self._pick_again(now, excluded)
        first, second = draw()
        return self._better(first, second, now)

    def _pick_again(self, now: float, excluded: Collection[LiveNode]) -> LiveNode | None:
        """Pick where some are excluded, or where there is one at most."""
        first = self._draw_excluding(excluded) if self._places else None
        second = None
        if first is not None and len(self._places) > 1:
            second = self._draw_excluding((*excluded, first))
        if first is not None and second is not None:
            return self._better(first, second, now)
        self.why = ALONE
        self.considered = ((first, (first.in_flight + 1) / first.weight),) if first else ()
        return first

    def _better(self, first: LiveNode, second: LiveNode, now: float) -> LiveNode:
        weight_one, weight_two = first.weight, second.weight
        one, two = first.in_flight / weight_one, second.in_flight / weight_two
        slow_one = slow_two = 1.0
        # Spelt out for either: two calls would make the pick a third dearer.
        silent = self._peers.silent
        if (
            first.stand_back
            or first.ghosts
            or (first.unanswered and (now - first.waiting_since) * first.unanswered > silent)
        ):
            one, slow_one = self._troubled(first, second, now)
        if (
            second.stand_back
            or second.ghosts
            or (second.unanswered and (now - second.waiting_since) * second.unanswered > silent)
        ):
            two, slow_two = self._troubled(second, first, now)
        with_one, with_two = one + slow_one / weight_one, two + slow_two / weight_two
        if first.cold > 1 or second.cold > 1 or first.ramp != second.ramp:
            swap = self._swap_new(first, second, (one, with_one), (two, with_two), now)
        elif with_one <= two or with_two <= one:
            self.why, swap = LESS, with_one > two
        elif first.stand_back or second.stand_back:
            swap = self._swap_turns(first, second, now)
        else:
            self.why, swap = TURN, first.turns > second.turns
        if swap:
            first, second, with_one, with_two = second, first, with_two, with_one
        self.considered = ((first, with_one), (second, with_two))
        if (second.turns - first.turns) * weight_one > 1.0:  # else it is behind by no credit
            self._forgive(first, second)
        return first

    def _forgive(self, first: LiveNode, second: LiveNode) -> None:
        """Take turns from a node that it missed, slow or away, and would make up for in a burst."""
        credit = 1.0 if first.stand_back else _CREDIT
        behind = second.turns - first.turns
        if behind * first.weight > credit and behind * second.weight > credit:
            first.catch_up(second.turns - credit / min(first.weight, second.weight))

    def _is_silent(self, live: LiveNode, now: float) -> bool:
        return live.unanswered > 0 and self._owed(live, now) > self._peers.silent

    def _owed(self, live: LiveNode, now: float) -> float:
        silence = now - live.waiting_since
        return silence / _COLD_PATIENCE if live.cold > 1 else silence * live.unanswered

    def _is_quicker(self, live: LiveNode, other: LiveNode, now: float) -> bool:
        """Tell whether a node that is silent is quicker than the other, slow one all the same."""
        apart = other.stand_back > 0.0 and other.stands_apart
        return apart and now - live.waiting_since < other.latency / _PAUSE

    def _troubled(self, live: LiveNode, other: LiveNode, now: float) -> tuple[float, float]:
        """Give the load of a node for its weight, and how many times as slow as usual it is."""
        peers, slow = self._peers, 1.0
        usual = peers.usual or _ALMOST_NOW
        if self._is_silent(live, now) and not self._is_quicker(live, other, now):
            slow = self._owed(live, now) / usual
        if live.failing:
            slow = max(slow, _FAILURE_PEAK / usual)
        elif live.stand_back and live.stands_apart:
            slow = max(slow, live.latency / usual)
        return (live.in_flight + live.haunting(now)) * slow / live.weight, slow

    def _swap_new(
        self,
        first: LiveNode,
        second: LiveNode,
        one: tuple[float, float],
        two: tuple[float, float],
        now: float,
    ) -> bool:
        """Tell whether the second of two nodes is to be picked, where one is new.

        Loads are those without and with another call. A cold node does not lose by its load: it
        would never get warm. It gets what its ramp allows, and more only where the other has so
        much more in flight.
        """
        cold_one = first.cold > 1 and not first.stand_back and not self._is_silent(first, now)
        cold_two = second.cold > 1 and not second.stand_back and not self._is_silent(second, now)
        self.why = LESS
        if one[1] <= two[0] * first.ramp and (cold_one or not cold_two):
            return False
        if two[1] <= one[0] * second.ramp and (cold_two or not cold_one):
            return True
        if first.ramp == second.ramp:
            return self._swap_turns(first, second, now)
        self.why = RAMP
        if second.ramp < first.ramp:
            return self._random() < self._odds(second, first)
        return self._random() >= self._odds(first, second)

    def _odds(self, new: LiveNode, other: LiveNode) -> float:
        """Give the chance of the warming one, so that its share is ramp ÷ (others + ramp)."""
        size, ramp = len(self._places), new.ramp / other.ramp
        if size == 2:
            return ramp * new.weight / (other.weight + ramp * new.weight)
        if new.weight < other.weight and (new.turns - other.turns) * new.weight > 1.0:
            return 0.0  # beside a heavy node it is drawn far more often than it weighs
        return ramp * size / (2.0 * (size - 1.0 + ramp))

    def _swap_turns(self, first: LiveNode, second: LiveNode, now: float) -> bool:
        one, two = first.turns, second.turns
        if not first.stand_back and not second.stand_back:
            self.why = TURN
            return one > two
        swap = self._due(first, second, now) > self._due(second, first, now)
        self.why = TURN if swap == (one > two) else SOUND
        return swap

    def _due(self, live: LiveNode, other: LiveNode, now: float) -> float:
        wait = live.stand_back
        if wait:
            since = now - live.last_pick + _ALMOST_NOW
            if live.failing:
                wait = min(wait, _FAILING_TURN_SECONDS / since)
            elif live.unanswered and live.stands_apart:
                wait = live.turns_apart
            else:
                size = len(self._places)
                # A slow node's calls are others' turns: of two nodes they have twice the equal one.
                # A light one makes no tail, and its turns take longer by as much as it is lighter.
                least = _SLOW_TURNS * size / (size - 1.0) * min(live.weight / other.weight, 1.0)
                wait = min(wait, max(least, _TURN_SECONDS / since))
        return live.turns + wait / live.weight

    def _learn(self) -> None:
        few = len(self._places) <= _SAMPLE
        draw = self._draw_one or self._prepare_one()
        sample = list(self._places) if few else [draw() for _ in range(_SAMPLE)]
        known = [live for live in sample if live.latency]
        if known:
            # Of two, the faster: a slow one must not make itself the measure.
            usual = median_low(live.latency for live in known)
            self._peers.expect(usual, median(live.spread for live in known))
        self._turns = median(live.turns for live in sample)
        self._left = self._every
