"""What a node's answers are compared with: those of the others."""

from __future__ import annotations

import math

LEAST_LATENCY = 0.001
"""Seconds below which one latency is as good as another: the caller's own noise is that large."""

_LATE = 1.8
"""An answer that took more than so many times the usual is late: of exponential ones one in
three."""

_GOOD, _GOOD_SPREADS = 1.8, 1.4
"""Of a node that is slow as such, an answer is good that took less than so many times the usual: of
exponential ones nine in ten when it is well, one in five when it is ten times slower. With 2.2 a
node that was well waited for its next turn after three tries in ten."""

_SLOW, _SPREADS = 2.0, 2.5
"""A slow answer took more than twice the usual and e to the 2.5 spreads: of exponential answers one
in a thousand. At 1.5 spreads one in twelve stood back for nothing."""

_APART, _ERRORS = 1.5, 3.5
"""A node is slow as such when its average is this far from the others': so many times, and so many
standard errors of an average over as many answers. Nearer ones are left to the count of calls in
flight, which is what spreads calls of mixed length best."""

_FEW, _SOME = 5, 8
"""Answers from which on an average can tell that a node is slow, and from which on it is known how
far they differ; before, they may as exponential ones do. With eight in any case a hundred callers
gave a slow node half as much again, before each of them knew."""

_OWED = 8.0
"""So many usual latencies of owed answers without a word make a silent node: of exponential answers
one in a hundred is so late."""

_OWED_SPREADS = 2.1
"""The same in spreads, where long and short calls are mixed; both meet at the exponential."""


class Peers:
    """The usual latency of the nodes of one pool, and what is late, slow or silent beside it.

    In seconds; owned by the balancer, which shares one among the nodes that it was given. Without
    knowledge nothing is late.
    """

    __slots__ = ("apart", "good", "late", "silent", "slow", "spread", "usual")

    def __init__(self) -> None:
        self.usual: float = 0.0
        self.spread: float = 0.0
        self.late: float = math.inf
        self.good: float = math.inf
        self.slow: float = math.inf
        self.apart: float = math.inf
        self.silent: float = math.inf

    def expect(self, usual: float, spread: float) -> None:
        """Say when a node that owes answers is silent."""
        self.usual = max(usual, LEAST_LATENCY)
        self.spread = spread
        self.silent = self.usual * max(_OWED, math.exp(_OWED_SPREADS * spread))

    def compare(self) -> None:
        """Say from when on an answer, or a node's average, is slow beside what is expected."""
        self.late = self.usual * _LATE
        self.good = self.usual * max(_GOOD, math.exp(_GOOD_SPREADS * self.spread))
        self.slow = self.usual * max(_SLOW, math.exp(_SPREADS * self.spread))
        self.apart = self.usual * _APART

    def beyond_luck(self, known: int) -> float:
        """Give the average of so many answers beyond which a node is slow as such."""
        if known < _FEW:
            return math.inf
        spread = self.spread if known >= _SOME else max(self.spread, 1.0)
        return self.usual * math.exp(_ERRORS * spread / math.sqrt(known))


NO_PEERS = Peers()
"""Of a node that no balancer compares: nothing is ever late."""
