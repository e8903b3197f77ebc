"""What is refused before it is sent: the bulkhead, the throttle and the limit that adapts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rpcguard._core.nodes.window import RollingCounts
from rpcguard._core.outcomes.verdict import OUTRUN, Safety
from rpcguard._core.policies.overload import Adaptive

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.outcomes.verdict import Verdict
    from rpcguard._core.policies.overload import OverloadPolicy

SHORT_PAUSE: Final = 0.1
"""Seconds after which a call that met a full bulkhead may find it free: some answers later."""
_CUTS: Final = 4.0
"""Times that a limit is cut at most in as long as an attempt takes, while some are answered."""
_OVERDUE: Final = 2.0
"""Times the usual time of an answer: whoever gave up later tells what a timeout tells, whoever gave
up sooner, as a search box at the next letter, tells nothing of the service."""
_LEARNS: Final = 0.05
"""Part of the usual time that the newest answer makes out: the last twenty or so count."""
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
    chapter 21; requests are counted when they are sent, so that once some have failed it acts
    before the others are answered. What never left this process, and what its caller gave up before
    an answer was due, is taken back: neither says what the service bears. A refusal is never
    likelier than a failure was: a burst to a service that is well has sent much and been answered
    little, and nothing of it is refused.
    """

    def __init__(self, policy: OverloadPolicy, now: float, rng: Random) -> None:
        self.policy = policy
        self._rng = rng
        adaptive = policy.adaptive
        self._adaptive: Adaptive | None = adaptive if isinstance(adaptive, Adaptive) else None
        self._limit = float(self._adaptive.most) if self._adaptive else 0.0
        self._peak = 0
        self._cut_at = now
        self._heard = False
        self._usual = 0.0
        window = policy.throttle.window if policy.throttle else 1.0
        self._sent = RollingCounts(window, now)  # total: sent
        self._ended = RollingCounts(window, now)  # total: ended; marked: accepted

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
        probability = self.probability(now)
        if probability and self._rng.random() < probability:
            throttle = self.policy.throttle
            assert throttle is not None
            words = f"it accepted {self._ended.marked} of {self._sent.total} calls"
            words += f" of the last {throttle.window:g} s"
            return Rejection("throttle", words, throttle.window / 2.0)
        return None

    def allows_retry(self, in_flight: int, now: float) -> bool:
        """Tell whether a call may be sent once more: retries are throttled before calls are."""
        if self._adaptive is not None and in_flight > self._limit / 2.0:
            return False  # it would take the place of a call that was not sent at all yet
        throttle = self.policy.throttle
        if throttle is None:
            return True
        sent, ended = self._sent, self._ended
        sent.advance(now)
        ended.advance(now)
        # The one more is the attempt that is to be repeated: alone it is no trouble of a service.
        good = sent.total <= throttle.retries * ended.marked + 1
        return (good or ended.total < throttle.floor) and not self.probability(now)

    def sent(self, now: float) -> None:
        """Count an attempt."""
        if self.policy.throttle is not None:
            self._sent.add_total(now)

    def judge(self, verdict: Verdict, in_flight: int, started: float, now: float) -> None:
        """Take in what an attempt came to, `in_flight` calls under way with its own."""
        refused = verdict.outcome == _TOO_MANY
        accepted = not verdict.failed and not refused
        if self.policy.throttle is not None:
            self._count(verdict, accepted, started, now)
        if self._adaptive is None or verdict.of_caller:
            return
        self._peak = max(self._peak, in_flight)
        asked_to_wait = verdict.notice is not None and verdict.notice.source == "retry-after"
        if refused or asked_to_wait or verdict.outcome in _TIMEOUTS:
            self._cut(self._adaptive, started, now)
        elif accepted:
            self._heard = True
            # Whoever does not use half of what is allowed learns nothing about more.
            if in_flight > self._limit / 2.0:
                self._limit = min(self._limit + 1.0 / self._limit, float(self._adaptive.most))

    def _count(self, verdict: Verdict, accepted: bool, started: float, now: float) -> None:
        seconds = now - started
        if accepted:
            self._usual += (seconds - self._usual) * (_LEARNS if self._usual else 1.0)
        unsent = verdict.safety is Safety.UNCONNECTED and verdict.outcome not in _TIMEOUTS
        overdue = verdict.outcome != OUTRUN and seconds > _OVERDUE * self._usual
        if unsent or verdict.of_caller or (verdict.given_up and not overdue):
            self._sent.take_back(started, 1, 0)
        else:
            self._ended.add(now, 1, accepted)

    def _cut(self, adaptive: Adaptive, started: float, now: float) -> None:
        # What was under way at the last cut tells of the same trouble. Where each timeout cut, the
        # limit fell below what was borne, for seconds; where one in a round trip did, as TCP has it
        # (RFC 6582), it came down too late. Four make 0.66 of it, CUBIC's 0.7 (RFC 9438 §4.6).
        if self._heard and now - self._cut_at < (now - started) / _CUTS:
            return
        # What was never in use is no limit: TCP halves its flight and not its window (RFC 5681
        # §3.1), or the trouble were over before 256 had fallen to what is borne.
        used = min(self._limit, float(self._peak))
        self._limit = max(used * adaptive.backoff, float(adaptive.least))
        self._cut_at, self._heard = now, False

    def full(self, listed: Iterable[LiveNode]) -> tuple[LiveNode, ...]:
        """Give the nodes that have as many calls as one may have."""
        most = self.policy.max_per_node
        return () if most is None else tuple(one for one in listed if one.in_flight >= most)

    def probability(self, now: float) -> float:
        """Give the probability with which the throttle refuses a call."""
        throttle = self.policy.throttle
        if throttle is None:
            return 0.0
        sent, ended = self._sent, self._ended
        sent.advance(now)
        ended.advance(now)
        if ended.total < max(throttle.floor, 1):
            return 0.0
        # What was taken back may have been counted a little before: never below nothing.
        total = max(sent.total, 0)
        excess = (total - throttle.ratio * ended.marked) / (total + 1.0)
        return max(min(excess, 1.0 - ended.marked / ended.total, throttle.most), 0.0)
