"""What a balancer compares of one node: its calls in flight, and how its last answers were."""

from __future__ import annotations

import math

from rpcguard._core.nodes.peers import LEAST_LATENCY, NO_PEERS, SOME, Peers

COLD_CALLS = 30
"""Answers of a new or restored node that say nothing of its latency: connections, caches and
compilers are cold. Half as many again as the slowest starts that we played took."""

FIRST_STAND_BACK = 5.0
"""Turns that a node lets pass after one slow answer, which is to be forgiven within five rounds."""

STAND_BACK = 64.0
"""Turns that a slow node lets pass at most: to try it costs one call in 65 of its share."""

_STEEPNESS = 6.0
"""How steeply the turns grow with how many times as slow a node is: 64 for three times, one for
twice. With 64 for any, equal nodes on a busy machine, of which one looked twice as slow by chance,
had no call for seconds; with 4, nodes ten times slower had a tenth more of their share."""

FAILURE_STAND_BACK = 256.0
"""Turns that a node lets pass which fails, or refuses, again and again: of two nodes it gets one
call in 250."""

_STREAK = 20.0
"""The same while the node is not known to be slow as such. A busy machine gives two slow answers in
a row to any node, and one that let 64 turns pass for them had less than half of its share for
seconds."""

_TIMES = 4.0
"""A slow answer makes the turns to let pass so many times as many: three in a row, the most."""

_EASING = 8.0
"""A good answer divides the turns of a failing node by this: two in a row end it."""

_AVERAGED = 31
"""Answers that the average remembers beside the last one: with 8, equal nodes with calls of mixed
length looked apart, and p99 was 1.4 times that of least requests; with 32 it is the same."""

_NEXT_TRY, _LAST_TRY = 2.0, 1.0
"""Turns after which a slow node that gave a good answer is tried again, and once more: soon, since
of one that is well such an answer is four times as likely. The third in a row ends it, and the
balancer forgets what it knew: after two of them a slow node was back by luck once in 25 tries, and
an average that follows by and by kept nodes out that were well, for each late answer anew."""

_LEAP = 2.0
"""How far one answer counts from the average, in powers of e: one of 5 s counts no more than one
of seven times the usual. So does the first, or it would make a node slow for its next twenty."""

_SPREAD_SHARE = 1.0 / 16.0
"""The say of one answer in the spread, which needs no more than a rough value."""

_SPREAD = 1.0
"""The spread before there is history: that of exponential answers."""

_MOST_LATE = 2.0
"""Turns that a late answer costs at most. Without this cost callers of few calls gave nodes three
times as slow as many calls as the others, and p99 was a third higher."""

_TIME_CONSTANT = 5.0
"""Seconds in which an old peak has 1/e of the say. With Finagle's 10 s a balanced fleet sent 22 %
of its calls to other zones."""

_FAILURE_PEAK = 5.0
"""Seconds that a repeated failure counts as in the peak, however fast it came."""

_GHOST_SPAN = 2.0
"""Usual latencies in which the load that a refused call leaves fades to 1/e."""

_GHOST_LEAST = 0.01
"""What is left of such load when it is forgotten."""


class Contender:
    """The fields of a node that every pick reads of two nodes, and writes of one.

    CPython lays slots out class by class. By themselves these take two lines of the cache, among
    the others four, and of 10,000 nodes a pick finds none there: it was a tenth of its time.
    """

    __slots__ = (
        "cold",
        "ghosts",
        "in_flight",
        "last_pick",
        "ramp",
        "stand_back",
        "turns",
        "unanswered",
        "waiting_since",
        "weight",
    )


class NodeLoad(Contender):
    """The part of a node's history that picks go by.

    Changed only under the lock of its service. `weight` is the registry's, `ramp` the share of it
    that slow start allows. `in_flight` counts from the pick to the close of the response stream,
    `unanswered` to the headers; `waiting_since` is the time since which the node owes a word.
    `turns` is the number of picks, and what late answers cost, divided by the weight.
    `peak` is the peak EWMA of the latency in seconds, as of `peak_at`.

    `latency` is the geometric mean of the seconds to the headers of the last good answers (0
    without history), `known` of how many, `spread` how far they lie from it, in powers of e; the
    next `cold` answers count for none of these. `peers` is what they are compared with.
    `stand_back` are the turns that the node must be behind before it gets one, since its last
    answers were slow or, if it is `failing`, failures or refusals. `ghosts` are calls that it
    refused at once, as of `ghosts_at`.
    """

    __slots__ = (
        "failing",
        "ghosts_at",
        "known",
        "latency",
        "peak",
        "peak_at",
        "peers",
        "spread",
    )

    def __init__(self, weight: float, now: float) -> None:
        self.weight: float = weight
        self.ramp: float = 1.0
        self.in_flight: int = 0
        self.unanswered: int = 0
        self.waiting_since: float = now
        self.turns: float = 0.0
        self.last_pick: float = 0.0
        self.peers: Peers = NO_PEERS
        self.forget_load(now)

    def forget_load(self, now: float) -> None:
        """Drop what is known of the node's answers."""
        self.peak: float = 0.0
        self.peak_at: float = now
        self.latency: float = 0.0
        self.known: int = 0
        self.spread: float = _SPREAD
        self.cold: int = 1
        self.stand_back: float = 0.0
        self.failing: bool = False
        self.ghosts: float = 0.0
        self.ghosts_at: float = now

    @property
    def effective_weight(self) -> float:
        """Give the weight that slow start leaves."""
        return self.weight * self.ramp

    def be_cold(self) -> None:
        """Leave the next answers out of what is known: connections and caches are new."""
        self.cold = COLD_CALLS

    @property
    def stands_apart(self) -> bool:
        """Tell whether the node is slow as such, by more than its answers differ."""
        latency, peers = self.latency, self.peers
        return latency > peers.apart and latency > peers.beyond_luck(self.known)

    @property
    def turns_apart(self) -> float:
        """Give the turns that the node lets pass if it is slow as such: more, the slower it is."""
        return min(STAND_BACK, math.pow(self.latency / self.peers.usual - 1.0, _STEEPNESS))

    def load(self, typical: float, now: float) -> float:
        """Give the seconds that another call may take: peak latency · (in flight + 1).

        For people, and between pools: it hears of a queue by one answer, which between zones is
        worth its noise. `typical` stands in for the latency of a node without history. A node that
        owes answers is at least as slow as it has been silent.
        """
        latency = max(self.peak or typical, LEAST_LATENCY)
        if self.unanswered:
            latency = max(latency, now - self.waiting_since)
        return latency * (self.in_flight + 1)

    def _heave(self, seconds: float, now: float) -> None:
        # A higher peak counts at once, a lower one by and by.
        kept = math.exp((self.peak_at - now) / _TIME_CONSTANT)
        self.peak = max(seconds, self.peak * kept + seconds * (1.0 - kept))
        self.peak_at = now

    def observe(self, seconds: float, now: float) -> float:
        """Take in how long a good answer took; give the turns that it costs, by being late.

        The first ones do not count for the average, but even then a slow one lets turns pass.
        """
        self._heave(seconds, now)
        cost = 0.0
        if self.cold:
            self.cold -= 1
            slow = not self.cold and seconds > self.peers.slow
        else:
            self._average(max(seconds, LEAST_LATENCY))
            peers = self.peers
            slow = seconds > (peers.good if self.stands_apart else peers.slow)
            if not slow and seconds > peers.late:
                # Drained since it was picked, it has no weight, and nobody counts its turns.
                cost = min(seconds / peers.late - 1.0, _MOST_LATE) / (self.weight or 1.0)
        if slow:
            self._be_late()
        elif self.stand_back:
            self._ease()
        return cost

    def _ease(self) -> None:
        if self.failing or not self.stands_apart:
            self.failing = False
            self.stand_back /= _EASING
            if self.stand_back < FIRST_STAND_BACK:
                self.stand_back = 0.0
        elif self.stand_back > _NEXT_TRY:
            self.stand_back = _NEXT_TRY
        elif self.stand_back > _LAST_TRY:
            self.stand_back = _LAST_TRY
        else:
            self.known, self.latency, self.stand_back = 0, 0.0, 0.0

    def _average(self, seconds: float) -> None:
        if not self.known:
            self.latency = self.peers.usual or seconds
        step = math.log(seconds / self.latency)
        leap = max(-_LEAP, min(_LEAP, step))
        if self.known >= SOME:  # a node that is hardly known says nothing of the others
            self.peers.follow(leap)
        if self.known:
            self.spread += (abs(step) - self.spread) * _SPREAD_SHARE
        say = 1.0 / (self.known + 1)
        self.known = min(self.known + 1, _AVERAGED)
        self.latency *= math.exp(leap * say)

    def _be_late(self) -> None:
        if self.failing:
            self.stand_back = STAND_BACK
        elif self.stands_apart:
            self.stand_back = self.turns_apart
        else:
            self._step_back(_STREAK)

    def _step_back(self, most: float) -> None:
        self.stand_back = max(min(self.stand_back * _TIMES, most), FIRST_STAND_BACK)

    def dismiss(
        self, seconds: float, now: float, *, throttled: bool = False, answered: bool = True
    ) -> None:
        """Take in an end that is no good answer and no failure: a refusal, or the caller's own.

        It can raise the latency, not lower it. One that came at once leaves its load behind for as
        long as a good answer would have taken, or the node that refuses looks idle and draws calls.
        `throttled` is the word of the node that it has too many.
        """
        if throttled:
            self._step_back(FAILURE_STAND_BACK)
            self.failing = self.stand_back > FIRST_STAND_BACK
        if answered and self.cold:
            self.cold -= 1  # or a node that only ever refuses would never lose by its load
        usual = self.latency or self.peers.usual
        if seconds < usual:
            self.ghosts = self.haunting(now) + 1.0 - seconds / usual
            self.ghosts_at = now
        elif self.latency:
            self._heave(seconds, now)
            self._average(seconds)
            if seconds > self.peers.slow:
                self._be_late()

    def haunting(self, now: float) -> float:
        """Give what is left of the load of refused calls."""
        if not self.ghosts:
            return 0.0
        span = _GHOST_SPAN * max(self.latency or self.peers.usual, LEAST_LATENCY)
        left = self.ghosts * math.exp((self.ghosts_at - now) / span)
        if left < _GHOST_LEAST:
            self.ghosts = left = 0.0
        return left

    def blame(self, seconds: float, now: float, *, again: bool) -> None:
        """Take in a failure: alone it costs what a slow answer does, if it was slow.

        `again` says that it is not the only one of late. A load that runs after single failures is
        uneven: with 0.2 % of errors everywhere the busiest node had 1.4 times its share.
        """
        if again:
            self._heave(max(seconds, _FAILURE_PEAK), now)
            self.failing = True
            self.stand_back = FAILURE_STAND_BACK
            return
        if self.peak:
            # Without history the typical latency stands in, and that is more than a quick failure.
            self._heave(max(seconds, 2.0 * self.peak), now)
        if seconds > self.peers.slow:
            self._be_late()
