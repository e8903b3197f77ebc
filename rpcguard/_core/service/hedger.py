"""Whether, and after how long, a call of one service may have a second attempt beside its first."""

from __future__ import annotations

from collections import Counter, deque
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from rpcguard._core.nodes.window import RollingCounts
from rpcguard._core.outcomes.verdict import OUTRUN

if TYPE_CHECKING:
    from rpcguard._core.outcomes.verdict import Verdict
    from rpcguard._core.policies.hedging import Hedge

HedgeDenial = Literal["cap", "slow", "budget", "throttled", "panic", "frozen", "no_other_node"]
"""Why a call that is late has no second attempt."""

_WINDOW: Final = 10.0
"""Seconds over which hedges are held against calls: that of the retry budget."""
_KEPT: Final = 256
"""Last answers that the quantile is of: twelve lie above 0.95, so that one hardly moves it."""
_RECENT: Final = 64
"""Last answers whose median is that of now: of 32, one caller in three stopped for mere noise. A
brown-out shows after half as many."""
_EVERY: Final = 16
"""Answers between two looks at all of them, which take some 20 µs."""
_BLOCK: Final = 10.0
"""Seconds of answers, sixteen at least, that have one median."""
_BLOCKS: Final = 30
"""Medians of which the usual one is taken: five minutes. What lasts for longer is usual."""


class Hedger:
    """What is known of the answers of one service, as far as hedges go.

    Not thread-safe: it lives under the lock of its service; but `delay` may be read without it.
    That is in seconds, None where nothing may be hedged: while the usual is not known yet, and
    while answers take longer than usual, since a slow service needs fewer calls, not more.
    """

    def __init__(self, policy: Hedge, now: float) -> None:
        self.policy: Hedge = policy
        self.delay: float | None = None
        self.results: Counter[str] = Counter()
        """What came of late calls: `won`, `lost`, or why there was no hedge."""
        self._counts = RollingCounts(_WINDOW, now)  # total: answers; marked: hedges
        self._times: deque[float] = deque(maxlen=_KEPT)
        self._unseen = 0
        self._block: list[float] = []
        self._block_ends = now + _BLOCK
        self._medians: deque[float] = deque(maxlen=_BLOCKS)

    def learn(self, verdict: Verdict, seconds: float, now: float) -> None:
        """Take in a good answer, or an attempt that was outrun: it would have taken longer yet."""
        if verdict.good:
            self._counts.add_total(now)
        elif verdict.outcome != OUTRUN:
            return
        self._times.append(seconds)
        self._block.append(seconds)
        if now >= self._block_ends and len(self._block) >= _EVERY:
            self._medians.append(median(self._block))
            self._block, self._block_ends = [], now + _BLOCK
        self._unseen += 1
        if self._unseen >= _EVERY:
            self._unseen = 0
            self.delay = self._late()

    def _late(self) -> float | None:
        policy, times = self.policy, self._times
        if not self._medians or len(times) < _RECENT:
            return None
        recent = median(list(times)[-_RECENT:])
        # The lower quartile: the blocks of a brown-out are not to become the usual meanwhile.
        usual = sorted(self._medians)[len(self._medians) // 4]
        if recent > policy.stop * usual:
            return None
        if policy.delay is not None:
            return policy.delay
        ordered = sorted(times)
        return max(ordered[int(len(ordered) * policy.after)], policy.least)

    def denial(self, now: float) -> HedgeDenial | None:
        """Say why there may be no hedge now; None where there may be one."""
        if self.delay is None:
            return "slow"
        counts = self._counts
        counts.advance(now)
        return None if counts.marked + 1 <= self.policy.cap * counts.total else "cap"

    def count(self, now: float) -> None:
        """Count a hedge."""
        self._counts.add(now, 0, 1)
