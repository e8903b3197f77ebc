"""What is refused before it is sent: the bulkhead, the throttle and the limit that adapts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rpcguard._core.nodes.window import RollingCounts
from rpcguard._core.policies.overload import Adaptive

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.outcomes.verdict import Verdict
    from rpcguard._core.policies.overload import OverloadPolicy

SHORT_PAUSE: Final = 0.1
"""Seconds after which a call that met a full bulkhead may find it free: some answers later."""
_TOO_MANY: Final = "429"
_TIMEOUTS: Final = ("ReadTimeout", "WriteTimeout", "ConnectTimeout")


class Rejection(NamedTuple):
    """Why a call is refused: the limit that it met, and after how many seconds it may try again."""

    limit: Literal["max_in_flight", "max_per_node", "throttle", "adaptive"]
    words: str
    retry_after: float


class Limiter:
    """What one caller may still ask of one service.

    Not thread-safe: it lives under the lock of its service. The throttle is that of the SRE book,
    chapter 21; requests are counted when they are sent, so that it acts before they are answered.
    """

    def __init__(self, policy: OverloadPolicy, now: float, rng: Random) -> None:
        self.policy = policy
        self._rng = rng
        adaptive = policy.adaptive
        self._adaptive: Adaptive | None = adaptive if isinstance(adaptive, Adaptive) else None
        self._limit = float(self._adaptive.most) if self._adaptive else 0.0
        window = policy.throttle.window if policy.throttle else 1.0
        self._counts = RollingCounts(window, now)  # total: sent; marked: accepted

    @property
    def limit(self) -> int | None:
        """The calls that may be in flight now; None without a limit."""
        limits = [] if self._adaptive is None else [int(self._limit)]
        if self.policy.max_in_flight is not None:
            limits.append(self.policy.max_in_flight)
        return min(limits, default=None)

    def refuse(self, in_flight: int, now: float) -> Rejection | None:
        """Say why the newest of `in_flight` calls may not be sent; None when it may."""
        most = self.policy.max_in_flight
        if most is not None and in_flight > most:
            return Rejection("max_in_flight", f"{most} calls are in flight", SHORT_PAUSE)
        if self._adaptive is not None and in_flight > int(self._limit):
            words = f"the service bears {int(self._limit)} calls at a time"
            return Rejection("adaptive", words, SHORT_PAUSE)
        probability = self._probability(now)
        if probability and self._rng.random() < probability:
            throttle = self.policy.throttle
            assert throttle is not None
            words = f"it accepted {self._counts.marked} of {self._counts.total} calls"
            words += f" of the last {throttle.window:g} s"
            return Rejection("throttle", words, throttle.window / 2.0)
        return None

    def allows_retry(self, now: float) -> bool:
        """Tell whether a call may be sent once more: not while anything is throttled."""
        return not self._probability(now)

    def sent(self, now: float) -> None:
        """Count an attempt."""
        if self.policy.throttle is not None:
            self._counts.add_total(now)

    def judge(self, verdict: Verdict, in_flight: int, now: float) -> None:
        """Take in what an attempt came to; one that was given up says nothing."""
        refused = verdict.outcome == _TOO_MANY
        if self.policy.throttle is not None and not verdict.failed and not refused:
            self._counts.add(now, 0, 1)
        if self._adaptive is None:
            return
        asked_to_wait = verdict.notice is not None and verdict.notice.source == "retry-after"
        if refused or asked_to_wait or verdict.outcome in _TIMEOUTS:
            least = float(self._adaptive.least)
            self._limit = max(self._limit * self._adaptive.backoff, least)
        elif not verdict.failed and in_flight > self._limit / 2.0:
            # Whoever does not use half of what is allowed learns nothing about more.
            self._limit = min(self._limit + 1.0 / self._limit, float(self._adaptive.most))

    def full(self, listed: Iterable[LiveNode]) -> tuple[LiveNode, ...]:
        """Give the nodes that have as many calls as one may have."""
        most = self.policy.max_per_node
        return () if most is None else tuple(one for one in listed if one.in_flight >= most)

    def _probability(self, now: float) -> float:
        throttle = self.policy.throttle
        if throttle is None:
            return 0.0
        counts = self._counts
        counts.advance(now)
        if counts.total < throttle.floor:
            return 0.0
        excess = counts.total - throttle.ratio * counts.marked
        return min(max(excess / (counts.total + 1.0), 0.0), throttle.most)
