"""What a node's answers are compared with: those of the others."""

from __future__ import annotations

import math

LEAST_LATENCY = 0.001
"""Seconds below which one latency is as good as another: the caller's own noise is that large."""

_SAY = 1.0 / 32.0
"""The say of one answer in the drift: as in an average, which is what it is to make up for."""

_NOISE = 0.25
"""Spreads that are no drift: twice the standard error of a mean of so many answers."""

_RISE = 0.1
"""Powers of e that a drift has to grow by until more is expected: that takes microseconds."""

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

_FEW, SOME = 5, 8
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
    knowledge nothing is late; nor is anything but silence where latency is not compared.
    """

    __slots__ = (
        "_compares",
        "_drift",
        "_learned",
        "_limit",
        "apart",
        "good",
        "late",
        "silent",
        "slow",
        "spread",
        "usual",
    )

    def __init__(self, *, compares: bool = False) -> None:
        self._compares = compares
        self._learned = 0.0
        self._drift = 0.0
        self._limit = math.inf
        self.usual: float = 0.0
        self.spread: float = 0.0
        self.late: float = math.inf
        self.good: float = math.inf
        self.slow: float = math.inf
        self.apart: float = math.inf
        self.silent: float = math.inf

    def expect(self, usual: float, spread: float) -> None:
        """Take in the average of the nodes, and how far their answers lie from it."""
        self._learned = max(usual, LEAST_LATENCY)
        self.spread = spread
        self._set()

    def follow(self, step: float) -> None:
        """Take in how far an answer was from the average of its node, if that is known.

        In powers of e. Where all nodes become slower at once, as on one busy machine or before one
        database, averages are of a time that is past, and a new node's is of now: it would look
        slow beside them.
        """
        if not self._learned:
            return
        self._drift += (step - self._drift) * _SAY
        if self._drift > self._limit:
            self._set()

    def _set(self) -> None:
        noise = _NOISE * self.spread
        risen = max(self._drift - noise, 0.0)
        self._limit = risen + noise + _RISE
        self.usual = usual = self._learned * math.exp(risen)
        self.silent = usual * max(_OWED, math.exp(_OWED_SPREADS * self.spread))
        if self._compares:
            self.late = usual * _LATE
            self.good = usual * max(_GOOD, math.exp(_GOOD_SPREADS * self.spread))
            self.slow = usual * max(_SLOW, math.exp(_SPREADS * self.spread))
            self.apart = usual * _APART

    def beyond_luck(self, known: int) -> float:
        """Give the average of so many answers beyond which a node is slow as such."""
        if known < _FEW:
            return math.inf
        spread = self.spread if known >= SOME else max(self.spread, 1.0)
        return self.usual * math.exp(_ERRORS * spread / math.sqrt(known))


NO_PEERS = Peers()
"""Of a node that no balancer compares: nothing is ever late."""
