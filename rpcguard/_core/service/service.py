"""The live node list of one service: reconcile, pick, report; the only lock."""

from __future__ import annotations

import random
import time
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._core.outcomes.verdict import Safety, cancelled
from rpcguard._core.service.budget import RetryBudget
from rpcguard._core.service.hedger import Hedger
from rpcguard._core.service.homes import homes_of
from rpcguard._core.service.limit import Limiter
from rpcguard._core.service.listing import Listing
from rpcguard._core.service.picker import Picker
from rpcguard._core.service.records import Settled, settled_by
from rpcguard._core.service.turns import OneCall
from rpcguard._core.service.views import Pressure, pressure

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.outcomes.verdict import Verdict
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.service.asks import Ask
    from rpcguard._core.service.effects import Effects
    from rpcguard._core.service.hedger import HedgeDenial
    from rpcguard._core.service.limit import Rejection
    from rpcguard._core.service.records import PickRecord
    from rpcguard._core.service.turns import Counted

Denial = Literal["budget", "no_other_node", "throttled"]


class Service(Listing):
    """The live list of one service, and every decision on a node of it.

    Thread-safe. Does no I/O: what is to be done outside goes to `effects`, after the lock is
    given back. `clock` counts seconds on a monotonic scale, `wall` is epoch seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        policies: Policies,
        effects: Effects[Service],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.rng: random.Random = rng or random.Random()
        super().__init__(name, policies=policies, clock=clock, wall=wall, rng=self.rng)
        self.called_at: float = clock()
        self.same_again: bool = False
        """Whether a retry may go where the try before it went, for want of any other node."""
        self._effects = effects
        self._budget = RetryBudget(policies.retry, clock())
        overload = policies.overload
        self.limiter: Limiter | None = Limiter(overload, clock(), self.rng) if overload else None
        hedge = policies.hedge
        self.hedger: Hedger | None = Hedger(hedge, clock()) if hedge is not None else None
        homes = homes_of(policies.affinity, self._roster.pools)
        self._picker = Picker(self._roster, self._reactions, self.router, homes)

    def begin(self, call: Counted | None = None) -> bool:
        """Count a call in; False once the service is closed."""
        call = call or OneCall(counted=False)
        me = get_ident()
        if self._holder == me and self._is_nested():
            self._calls, call.counted = self._calls + 1, True
            return True
        with self._lock:
            self._holder = me
            try:
                self.called_at = now = self.clock()
                self._budget.deposit(now)
                # One statement: an interrupt finds it done or not begun.
                self._calls, call.counted = self._calls + 1, True
                if self.closed:  # looked at last: whoever closes meanwhile has counted it else
                    self._calls, call.counted = self._calls - 1, False
            finally:
                self._holder = 0
        if self._left or not call.counted:
            self._deliver()
        return call.counted

    def admit(self) -> Rejection | None:
        """Say why the call that was just counted in may not be sent; None when it may."""
        limiter = self.limiter
        if limiter is None or self._is_nested():
            return None
        return self._look(lambda: limiter.refuse(self._calls, self.clock()))

    @property
    def full(self) -> bool:
        """Tell whether a node has as many calls as one may have, and so is passed over."""
        return self.limiter is not None and any(self.limiter.full([*self._roster.nodes.values()]))

    def pick(self, *, repeatable: bool, ask: Ask | None = None) -> Lease | None:
        """Pick a node for a first attempt; None when the list has no usable one.

        Only a `repeatable` call is spent on the trial of a half-open node, unless none came along.
        `ask` is what the call asks for by lanes and routes.
        """
        me = get_ident()
        if self._holder == me and self._is_nested():
            return self._picker.pick_nested(self.clock(), (), ask)
        with self._lock:
            self._holder = me
            try:
                if self.limiter is not None:
                    lease = self._pick(self.clock(), (), ask, repeatable=repeatable)
                elif ask is not None:
                    lease = self._picker.pick_for(ask, self.clock(), (), repeatable=repeatable)
                else:
                    lease = self._picker.pick(self.clock(), (), repeatable=repeatable)
            finally:
                self._holder = 0
        if self._left or self._standing.outbox:
            self._deliver()
        return lease

    def pick_again(
        self,
        tried: tuple[LiveNode, ...],
        *,
        same_node: bool = False,
        free: bool = False,
        ask: Ask | None = None,
    ) -> Lease | Denial:
        """Pick an untried node for a retry, of another zone if there is one, and pay for it.

        `same_node` allows the last node again where no other is in use and well: only its
        connection had ended. Nothing is paid for a call that is `free`, since it has not left this
        process yet.
        """
        if self._is_nested():
            return self._picker.pick_nested(self.clock(), tried, ask) or "no_other_node"
        pick_again = partial(self._pick_again, tried, ask, same_node=same_node, free=free)
        found = self._alone(pick_again)
        if self._left or self._standing.outbox:
            self._deliver()
        return found

    def _pick_again(
        self, tried: tuple[LiveNode, ...], ask: Ask | None, *, same_node: bool, free: bool
    ) -> Lease | Denial:
        now = self.clock()
        if not free and not self._budget.allows(now):
            return "budget"
        if not free and self._is_throttled(now):
            return "throttled"
        again = (same_node or (self.same_again and not free)) and not tried[-1].gone
        instead = tried[-1] if same_node and again and tried[-1].in_pool else None
        lease = self._pick(now, tried, ask, instead=instead)
        if lease is None and again and not tried[-1].gone:  # the pick may have seen it go
            lease = self._picker.lease_again(now, tried, ask)
        if lease is None:
            return "no_other_node"
        if not free:
            lease.paid_at = self._budget.withdraw(now)
        return lease

    def _is_throttled(self, now: float) -> bool:
        return self.limiter is not None and not self.limiter.allows_retry(self._calls, now)

    def hedge(self, late: Lease, ask: Ask | None = None) -> Lease | HedgeDenial:
        """Pick another node for a call whose attempt is late, and pay for it."""
        if self._is_nested():
            return "no_other_node"
        found = self._alone(partial(self._tell_hedge, late, ask))
        self._deliver()
        return found

    def hedged(self, result: str) -> None:
        """Note whether a hedge was faster than its first attempt, `won`, or not, `lost`."""
        if self.hedger is not None and not self._is_nested():
            self._look(partial(self.hedger.results.update, (result,)))

    def _tell_hedge(self, late: Lease, ask: Ask | None) -> Lease | HedgeDenial:
        found = self._hedge(late, ask)
        if isinstance(found, str):
            assert self.hedger is not None
            self.hedger.results[found] += 1
        else:
            self._picker.tell_hedge()
        return found

    def _hedge(self, late: Lease, ask: Ask | None) -> Lease | HedgeDenial:
        now, hedger, roster = self.clock(), self.hedger, self._roster
        assert hedger is not None
        if (denial := hedger.denial(now)) is not None:
            return denial
        if not self._budget.allows(now):
            return "budget"
        if self._is_throttled(now):
            return "throttled"
        if roster.blacklist.is_frozen(now):
            return "frozen"
        if not roster.eligible:
            return "panic"
        lease = self._pick(now, (late.live,), ask)
        if lease is None or lease.proof:  # the least bad is no better than a late one
            if lease is not None:
                self._drop(lease)
            return "no_other_node"
        lease.paid_at = self._budget.withdraw(now)
        hedger.count(now)
        return lease

    def _pick(
        self,
        now: float,
        tried: tuple[LiveNode, ...],
        ask: Ask | None,
        *,
        repeatable: bool = True,
        instead: LiveNode | None = None,
    ) -> Lease | None:
        if self.limiter is not None:
            self._picker.passed_over = self.limiter.full(self._roster.nodes.values())
        lease = self._picker.pick_for(ask, now, tried, repeatable=repeatable, instead=instead)
        if lease is not None and self.limiter is not None:  # else nothing is sent
            self.limiter.sent(now)
        return lease

    def settle(self, lease: Lease, verdict: Verdict) -> Settled:
        """Take in what an attempt came to: the headers of its answer, its failure, or its end."""
        return self._conclude(self._settle, lease, verdict)

    def conclude(self, lease: Lease, verdict: Verdict, call: Counted | None = None) -> Settled:
        """Settle an attempt of which nothing is left to be read, and give its node back.

        All in one turn; `call` is counted out with it, where it is given.
        """
        return self._conclude(self._close_books, lease, verdict, call)

    def fail_body(self, lease: Lease, verdict: Verdict) -> Settled:
        """Take in a failure that came while the body of an answer was read."""
        return self._conclude(self._fail_body, lease, verdict)

    def _conclude(self, take: Callable[..., Settled], lease: Lease, *told: Any) -> Settled:
        me = get_ident()
        if self._holder == me and self._is_nested():
            self._leave(partial(take, lease, *told))
            return Settled(self.clock() - lease.started, None, None)
        with self._lock:
            self._holder = me
            try:
                settled = take(lease, *told)
            finally:
                self._holder = 0
        if self._left or self._sleepers or self._standing.outbox:
            self._deliver()
        return settled

    def _close_books(self, lease: Lease, verdict: Verdict, call: Counted | None) -> Settled:
        settled = self._settle(lease, verdict)
        self._drop(lease)
        if call is not None and call.counted:
            self._calls, call.counted = self._calls - 1, False
        return settled

    def _settle(self, lease: Lease, verdict: Verdict) -> Settled:
        live, reactions = lease.live, self._reactions
        now, before = self.clock(), live.state
        seconds = now - lease.started
        live.answer(lease, now, heard=verdict.good or not verdict.failed)
        if lease.paid_at is not None and verdict.safety is Safety.UNCONNECTED:
            self._budget.refund(lease.paid_at)
        if self.limiter is not None:
            self.limiter.judge(verdict, self._calls, lease.started, now)
        if lease.routed is not None and self.router is not None:
            self.router.judge(lease.routed, now, failed=verdict.blame != "none")
        if self.hedger is not None:
            self.hedger.learn(verdict, seconds, now)
        if verdict.notice is not None:
            reactions.noticed(live, verdict.notice, now)
        if verdict.good and self._zones is not None:
            self._zones.observe(seconds)
        reactions.settled(lease, verdict, seconds, now)
        return settled_by(live, before, seconds)

    def _fail_body(self, lease: Lease, verdict: Verdict) -> Settled:
        live, now = lease.live, self.clock()
        before, seconds = live.state, now - lease.started
        if verdict.blame != "none":
            self._reactions.failed(lease, verdict.blame, seconds, now, body=True)
        return settled_by(live, before, seconds)

    def release(self, lease: Lease, call: Counted | None = None) -> None:
        """Give the node back, once, as its stream is closed, and count a call out with it."""
        if call is not None:
            self._left.append(call)
        self._leave(lease)
        if self._standing.outbox:
            self._deliver()

    def _drop(self, lease: Lease) -> None:
        if lease.owes:  # nobody said what it came to
            self._settle(lease, cancelled())
        live = lease.live
        live.end(lease)
        if live.gone and not live.in_flight:
            self._standing.retire(live)

    def retries(self) -> tuple[int, int]:
        """Show how many retries were made in the budget's window, and how many it allows."""
        return self._look(lambda: self._budget.spent(self.clock()))

    def pressure(self) -> Pressure:
        """Show what is held back, and what is sent twice."""
        return self._look(lambda: pressure(self.limiter, self.hedger, self.clock()))

    def explain(self) -> list[PickRecord]:
        """Show the last picks, the newest last."""
        return self._look(self._picker.explain)

    def heir(self) -> Service:
        """Make a fresh service with the same list, for a forked child: takes no lock."""
        heir = Service(
            self.name,
            policies=self.policies,
            effects=self._effects,
            clock=self.clock,
            wall=self.wall,
        )
        heir.go_by(self.rules)
        heir.switch(self.switches)
        if self.ready:
            nodes = [live.node for live in self._roster.nodes.values()]
            heir.reconcile(Snapshot(nodes, known=self.known))
        heir.met, heir.unmet = self.met, self.unmet
        return heir

    def _deliver(self) -> None:
        effects = self._effects
        while not self._is_nested():  # else who was interrupted delivers
            self._catch_up()
            outbox = self._alone(self._standing.take_outbox)
            outbox.deliver(effects.emit, partial(effects.probe, self), effects.retire)
            if not self._standing.outbox:  # others may leave meanwhile what leads to more
                return
