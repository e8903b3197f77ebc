"""The life of one call, as a generator: it decides, and its driver sends, waits and closes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rpcguard._core.call.denials import IN_VAIN, denial_of
from rpcguard._core.call.info import Attempt, CallInfo, note_of
from rpcguard._core.call.race import HedgedSend, may_hedge
from rpcguard._core.call.steps import Discard, Handout, Reply, Send, Sleep, Step, read_of
from rpcguard._core.call.timeouts import SHORTEST, Timeouts, hurry, limited
from rpcguard._core.call.tries import Done, UnsentTries
from rpcguard._core.outcomes.exceptions import classify_exception, of_caller
from rpcguard._core.outcomes.lengths import is_short, is_whole
from rpcguard._core.outcomes.responses import EARLY, judge_reply
from rpcguard._core.outcomes.verdict import Safety, Verdict, cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rpcguard._core.call.plan import CallPlan
    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.nodes.routed import Routed
    from rpcguard._core.service.asks import Ask
    from rpcguard._core.service.records import Settled
    from rpcguard._core.service.service import Service

_TOO_MANY_REQUESTS = 429
"""RFC 6585 §4: the node bounds what it takes."""

# Bytes of an answer that is thrown away: a new connection costs more than to read so few.
_DRAINED = 65536
DRAIN_TIME = 0.1  # seconds that draining may take: the retry waits for it


class Call:
    """One call, carried through its attempts.

    Does no I/O and never waits: `run` yields what it wants done, takes the result by `send` and a
    failure by `throw`, and returns the `Handout` or raises the failure that the user gets.
    `no_node` makes the error for a list without a usable node, `on_retry` hears of each retry by
    the node that failed, the one that is next and how it failed, `on_denied` why a retry was
    not made, `on_hedge` what came of each hedge. It counts as under way from `begin` to `end`, or
    until it is dropped.
    """

    __slots__ = (
        "_beside",
        "_in_vain",
        "_no_node",
        "_on_denied",
        "_on_hedge",
        "_on_retry",
        "_plan",
        "_policy",
        "_repeatable",
        "_routed",
        "_seen",
        "_sent",
        "_service",
        "_spent",
        "_timeouts",
        "_unsent",
        "attempts",
        "counted",
    )

    def __init__(
        self,
        service: Service,
        plan: CallPlan,
        *,
        no_node: Callable[[Service, Ask | None], Exception],
        on_denied: Callable[[Service, str], None],
        on_retry: Callable[[Service, LiveNode, LiveNode, str], None],
        on_hedge: Callable[[Service, str, str], None] | None = None,
    ) -> None:
        self.attempts: list[Attempt] = []
        self.counted: bool = False
        self._service = service
        self._plan = plan
        self._policy = service.policies.retry
        self._repeatable = plan.repeatable(self._policy)
        self._timeouts: dict[str, Any] = {}
        self._routed: Routed | None = None
        self._seen = self._in_vain = False
        self._unsent: UnsentTries | None = None
        self._spent = 0
        self._no_node = no_node
        self._on_denied = on_denied
        self._on_retry = on_retry
        self._on_hedge = on_hedge
        self._beside: tuple[LiveNode, ...] = ()

    def __del__(self) -> None:
        # An interrupt, or whoever dropped the answer unclosed, has left it counted.
        if getattr(self, "counted", False):
            self._service.lose(self)

    def begin(self) -> bool:
        """Count the call in; False where its service is closed."""
        if self._plan.hop is not None:
            self._plan.hop.tried = False
        return self._service.begin(self)

    def end(self) -> None:
        """Count the call out, once; a finalizer may do so too."""
        self._service.end(self)

    def finish(self, lease: Lease) -> None:
        """Count the call out and give its node back, in one turn: nothing is left of its answer."""
        self._service.release(lease, self)

    @property
    def info(self) -> CallInfo:
        """Tell how the call was answered; there must have been an attempt."""
        attempts, routed = tuple(self.attempts), self._routed
        if routed is None:
            return CallInfo(self._service.name, attempts[-1].node, attempts)
        route, lane, _, fallback, *_ = routed
        return CallInfo(self._service.name, attempts[-1].node, attempts, route, lane, fallback)

    @property
    def left(self) -> float:
        """Give the seconds that the deadline leaves; infinite without one."""
        until = self._plan.until
        return math.inf if until is None else max(until - self._service.clock(), 0.0)

    def break_off(self, lease: Lease, error: Exception) -> None:
        """Take in a failure that came while the user read the body of the answer."""
        self._break_off(lease, error)
        error.add_note(note_of(self._service.name, self.attempts, error))

    def hand_out(self) -> None:
        """Cut timeouts by the deadline alone: nothing is tried after the answer is there."""
        if isinstance(self._timeouts, Timeouts):
            self._timeouts.until = self._plan.until or math.inf

    def run(self) -> Generator[Step | HedgedSend, Any, Handout]:
        """Yield the steps of the call; return its answer."""
        plan, ask = self._plan, self._plan.ask
        spare = self._repeatable and plan.attempts > 1 and (plan.in_memory or plan.replayable())
        lease = self._service.pick(repeatable=spare, ask=ask)
        if lease is None:
            raise self._no_node(self._service, ask)
        if ask is not None:
            plan.heed(lease.started)
        tried: tuple[LiveNode, ...] = ()
        before: Verdict | None = None
        while True:
            done = yield from self._attempt(lease, len(tried) + 1, before)
            if done.last or not self._is_unwanted(done):
                break
            lease = self._sent.lease
            tried = (*tried, *self._beside, lease.live)
            self._seen |= done.verdict.safety not in (Safety.UNCONNECTED, Safety.UNSENT)
            delay = self._pay(done)
            if (following := self._follow(tried, done, delay)) is None:
                break
            yield from self._move_on(done, lease, following, delay)
            lease, before = following, done.verdict
        if plan.hop is not None and self._in_vain:
            plan.hop.tried = True  # a call beside it that went well does not make up for it
        if done.error is not None:
            done.error.add_note(note_of(self._service.name, self.attempts, done.error))
            raise done.error
        self._sent.handed_out = True
        self.hand_out()
        assert done.reply is not None
        return Handout(done.reply, self._sent.lease, done.complete)

    def _attempt(
        self, lease: Lease, number: int, before: Verdict | None
    ) -> Generator[Step | HedgedSend, Any, Done]:
        self._sent = sent = self._prepare(lease, number)
        if before is not None:
            sent.resent_because = before.outcome
            sent.fresh = before.only_connection or self._service.same_again
            sent.again = self._seen
        step: Send | HedgedSend = sent
        hedger, self._beside = self._service.hedger, ()
        if hedger is not None and number == 1 and hedger.delay and may_hedge(self._plan):
            step = HedgedSend(self, sent, hedger.delay)
        try:
            reply: Reply = yield step
        except Exception as error:
            # Whatever the child or the caller's own body iterator raised ends the attempt.
            verdict = self.blame(error)
            self.give_up(self._sent, verdict)
            return Done(verdict, error=error)
        except BaseException:
            self.give_up(self._sent, cancelled())
            raise
        if is_whole(reply):
            return self._conclude(self._sent, reply)
        return (yield from self._receive(self._sent, reply))

    def _receive(self, sent: Send, reply: Reply) -> Generator[Step | HedgedSend, Any, Done]:
        lease, verdict = sent.lease, self.judge(sent, reply)
        self._settle(sent, verdict)
        read = read_of(reply, verdict, self._policy, self._plan) if sent.buffered else None
        if read is None:
            return Done(verdict, reply=reply)
        try:
            whole = yield read
        except Exception as error:
            done = Done(self._break_off(lease, error), error=error)
            self._service.release(lease)
            return done
        except BaseException:
            self._service.release(lease)
            raise
        return Done(verdict, reply=reply, complete=whole)

    def _conclude(self, sent: Send, reply: Reply) -> Done:
        """Close the books of an attempt that left nothing to be read, and of the call with it."""
        done = Done(self.judge(sent, reply), reply=reply, complete=True)
        done.last = not self._is_unwanted(done)
        ends = self if done.last else None
        self._note(sent, done.verdict, self._service.conclude(sent.lease, done.verdict, ends))
        return done

    def _prepare(self, lease: Lease, number: int) -> Send:
        self._routed = lease.routed
        timeouts = self._timeouts = limited(self._plan, lease.started, self._service.clock)
        plan, more = self._plan, self._spent + 1 < self._plan.attempts
        again = self._repeatable and more and (plan.in_memory or plan.replayable())
        sent = Send(lease, number, timeouts, repeatable=again, policies=self._service.policies)
        if self._repeatable and plan.attempts > 1:
            sent.buffered = self._policy.prefetch
        return sent

    # What a race asks for

    def begin_second(self, first: Send) -> Send | None:
        """Begin a second attempt beside a first one that is late, where the service allows it."""
        following = self._service.hedge(first.lease, self._plan.ask)
        if isinstance(following, str):
            self._tell_hedge("denied", following)
            return None
        self._spent += 1
        second = self._prepare(following, first.number + 1)
        second.hedge = second.again = True
        return second

    def judge(self, sent: Send, reply: Reply) -> Verdict:
        """Judge an answer."""
        raw, node = reply.headers.raw, sent.lease.live.node
        return judge_reply(reply, raw, node, self._service.wall, self._policy.judge)

    def blame(self, error: Exception) -> Verdict:
        """Judge what an attempt raised."""
        if self._plan.has_raised(error):
            return of_caller(error)
        return classify_exception(error, exact=self._service.policies.exact)

    def give_up(self, sent: Send, verdict: Verdict) -> None:
        """Close the books of an attempt, whose node is given back."""
        self._note(sent, verdict, self._service.conclude(sent.lease, verdict))

    def go_on_with(self, sent: Send, beside: tuple[Send, ...]) -> None:
        """Note which attempt of a race counts; those beside it are over."""
        self._sent, self._timeouts, self._routed = sent, sent.timeouts, sent.lease.routed
        self._beside = tuple(one.lease.live for one in beside)
        if beside:
            self._tell_hedge("won" if sent.hedge else "lost")

    def _tell_hedge(self, result: str, reason: str = "") -> None:
        if not reason:
            self._service.hedged(result)
        if self._on_hedge is not None:
            self._on_hedge(self._service, result, reason)

    def _move_on(
        self, done: Done, lease: Lease, following: Lease, delay: float
    ) -> Generator[Step | HedgedSend, Any, None]:
        try:
            self._on_retry(self._service, lease.live, following.live, done.verdict.outcome)
            if done.reply is not None:
                # The next attempt waits for this one's answer to be drained.
                hurry(self._timeouts, DRAIN_TIME, self._service.clock())
                drain = self.left - delay > DRAIN_TIME + SHORTEST  # else the retry would be late
                try:
                    yield Discard(done.reply, drain and is_short(done.reply.headers.raw, _DRAINED))
                finally:
                    self._service.release(lease)
            if delay:
                yield Sleep(delay)
        except BaseException:
            self._service.conclude(following, cancelled())
            raise
        following.started = self._service.clock()

    def _settle(self, sent: Send, verdict: Verdict) -> None:
        self._note(sent, verdict, self._service.settle(sent.lease, verdict))

    def _note(self, sent: Send, verdict: Verdict, settled: Settled) -> None:
        sent.settled = settled
        self.attempts.append(Attempt(sent.lease.live.node, verdict.outcome, settled.seconds))

    def _break_off(self, lease: Lease, error: Exception) -> Verdict:
        verdict = classify_exception(error)
        settled = self._service.fail_body(lease, verdict)
        if settled.change is not None:
            self._sent.settled = settled
        self.attempts[-1] = Attempt(lease.live.node, verdict.outcome, settled.seconds)
        return verdict

    def _is_unwanted(self, done: Done) -> bool:
        """Tell whether the call should go on, if it may."""
        verdict, reply = done.verdict, done.reply
        if reply is None:
            return True
        listed = reply.status_code in self._policy.statuses
        if verdict.failed:
            return listed or verdict.judged or verdict.stale or verdict.safety is Safety.UNSENT
        return listed and self._repeatable and EARLY not in reply.extensions

    def _pay(self, done: Done) -> float:
        """Count what a failed attempt has cost; give the seconds to wait before another."""
        if done.verdict.safety is Safety.UNCONNECTED:
            if self._unsent is None:
                self._unsent = UnsentTries(self._plan.timeouts.get("connect"))
            if self._unsent.take(self.attempts[-1].duration):
                return 0.0
        self._spent += 1
        if done.reply is not None and done.reply.status_code == _TOO_MANY_REQUESTS:
            return 0.0  # another node may have room; to wait for this one is the caller's choice
        return self._policy.delay(self._spent, self._service.rng)

    def _follow(self, tried: tuple[LiveNode, ...], done: Done, delay: float) -> Lease | None:
        verdict = done.verdict
        final = verdict.safety is Safety.NEVER and done.reply is None
        if self._spent >= self._plan.attempts or final:
            self._in_vain = self._seen and len(tried) > 1
            return None
        denial = denial_of(self._plan, done, repeatable=self._repeatable, left=self.left - delay)
        if denial is None:
            following = self._service.pick_again(
                tried, same_node=verdict.only_connection, free=not self._spent, ask=self._plan.ask
            )
            if not isinstance(following, str):
                return following
            denial = following
        self._in_vain = self._seen and denial in IN_VAIN
        self._on_denied(self._service, denial)
        return None
