"""The live node list of one service: reconcile, pick, report; the only lock."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Literal

from rpcguard._checks import is_amount, require
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._core.outcomes.verdict import Notice
from rpcguard._core.service.asks import Ask
from rpcguard._core.service.budget import RetryBudget
from rpcguard._core.service.effects import Outbox
from rpcguard._core.service.picker import Picker
from rpcguard._core.service.reconcile import compare
from rpcguard._core.service.reconcile import let_others_run as _let_others_run
from rpcguard._core.service.records import settled_by
from rpcguard._core.service.roster import Roster
from rpcguard._core.service.router import router_of
from rpcguard._core.service.standing import Standing
from rpcguard._core.service.views import view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.nodes.node import State
    from rpcguard._core.nodes.view import ConnectionCounts, NodeView, RouteView
    from rpcguard._core.outcomes.verdict import Verdict
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.policies.routing import Route
    from rpcguard._core.routing.facts import Facts
    from rpcguard._core.service.effects import Effects
    from rpcguard._core.service.records import PickRecord, Settled

_CHUNK = 64

Denial = Literal["budget", "no_other_node"]


class Service:
    """Keep the live list of one service and decide on every node of it.

    Thread-safe. Does no I/O: what is to be done outside goes to `effects`, after the lock is
    given back. `clock` counts seconds on a monotonic scale, `wall` is epoch seconds. `ready` turns
    true with the first snapshot, `known` says whether the registry knows the service, `refused`
    counts the nodes of the last snapshot that are outside of `allowed_networks`.
    """

    def __init__(
        self,
        name: str,
        *,
        policies: Policies,
        effects: Effects,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.policies = policies
        self.clock = clock
        self.rng: random.Random = rng or random.Random()
        self.ready: bool = False
        self.known: bool = False
        self.closed: bool = False
        self.forgotten: bool = False
        self.calls: int = 0
        self.called_at: float = clock()
        self.refused: int = 0
        self.wall = wall
        self._effects = effects
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._roster = Roster(policies, self.rng)
        self._standing = Standing(name, self._roster, policies, clock)
        self._budget = RetryBudget(policies.retry, clock())
        pools = self._roster.pools
        self._router = router_of(name, policies, pools, self.rng, self._standing, clock())
        self._zones = pools.zones
        self._picker = Picker(self._roster, self._standing, self._router)

    def begin(self) -> bool:
        """Count a call in; False once the service is closed."""
        with self._lock:
            if self.closed:
                return False
            self.calls += 1
            self.called_at = now = self.clock()
            self._budget.deposit(now)
            return True

    def end(self) -> None:
        """Count a call out: answered and its stream closed, failed, or given up."""
        with self._lock:
            self.calls -= 1
            if self.closed and not self.calls:
                self._changed.notify_all()

    def pick(self, *, repeatable: bool, ask: Ask | None = None) -> Lease | None:
        """Pick a node for a first attempt; None when the list has no usable one.

        Only a `repeatable` call is spent on the trial of a half-open node, unless none came along.
        `ask` is what the call asks for by lanes and routes.
        """
        with self._lock:
            now = self.clock()
            if ask is None:
                lease = self._picker.pick(now, (), repeatable=repeatable)
            else:
                lease = self._picker.pick_for(ask, now, (), repeatable=repeatable)
        if self._standing.outbox:
            self._deliver()
        return lease

    def pick_again(
        self, tried: tuple[LiveNode, ...], *, same_node: bool = False, ask: Ask | None = None
    ) -> Lease | Denial:
        """Pick an untried node for a retry, of another zone if there is one, and pay for it.

        `same_node` allows the last node again where no other is left.
        """
        with self._lock:
            now = self.clock()
            if not self._budget.allows(now):
                return "budget"
            if ask is None:
                lease = self._picker.pick(now, tried, repeatable=True)
            else:
                lease = self._picker.pick_for(ask, now, tried, repeatable=True)
            if lease is None and same_node and not tried[-1].gone:
                lease = self._picker.lease(tried[-1], now, (), tried)
            if lease is not None:
                lease.paid_at = self._budget.withdraw(now)
        if self._standing.outbox:
            self._deliver()
        return lease or "no_other_node"

    def settle(self, lease: Lease, verdict: Verdict) -> Settled:
        """Take in what an attempt came to: the headers of its answer, its failure, or its end."""
        live, standing = lease.live, self._standing
        with self._lock:
            now, before = self.clock(), live.state
            seconds = now - lease.started
            live.answer(now, heard=verdict.good or not verdict.failed)
            if lease.paid_at is not None:
                self._budget.refund(lease.paid_at, verdict.blame)
            if lease.routed is not None and self._router is not None:
                self._router.judge(lease.routed, now, failed=verdict.blame != "none")
            if verdict.notice is not None:
                standing.noticed(live, verdict.notice, now)
            if verdict.blame != "none":
                standing.failed(live, verdict.blame, seconds, now, trial=live.trial is lease)
            elif not verdict.good:
                standing.neutral(live, verdict, seconds, now, trial=live.trial is lease)
            else:
                live.succeed(seconds, now)
                if self._zones is not None:
                    self._zones.observe(seconds)
                if lease.proof or live.level or live.held_back:
                    standing.recovered(live, now, proof=lease.proof)
            settled = settled_by(live, before, seconds)
        if standing.outbox:
            self._deliver()
        return settled

    def fail_body(self, lease: Lease, verdict: Verdict) -> Settled:
        """Take in a failure that came while the body of an answer was read."""
        live = lease.live
        with self._lock:
            now, before = self.clock(), live.state
            seconds = now - lease.started
            if verdict.blame != "none":
                self._standing.failed(live, verdict.blame, seconds, now, trial=False)
            settled = settled_by(live, before, seconds)
        if self._standing.outbox:
            self._deliver()
        return settled

    def release(self, lease: Lease) -> None:
        """Give the node back: the attempt is over and its stream is closed."""
        live = lease.live
        with self._lock:
            live.in_flight -= 1
            if live.gone and not live.in_flight:
                self._standing.retire(live)
        if self._standing.outbox:
            self._deliver()

    def reconcile(self, snapshot: Snapshot) -> bool:
        """Merge a snapshot into the list; True when it said something new.

        Called by one thread at a time. A long list is merged in parts, so that picks go on.
        """
        with self._lock:
            current, believed = dict(self._roster.nodes), self._roster.trusted
        now, policy = self.clock(), self.policies.membership
        changes = compare(
            current, snapshot, believed, now=now, policy=policy, pause=_let_others_run
        )
        warm = self.ready
        for part in changes.parts(_CHUNK):
            with self._lock:
                self._standing.apply(part, self.clock(), self.wall(), warm=warm)
            self._deliver()
        with self._lock:
            self._standing.reschedule(self.clock())
            for kind, reason in changes.told(len(self._roster.nodes), self.refused):
                self._standing.emit(kind, None, reason)
            self.refused = len(changes.refused)
            self.known = snapshot.known or bool(self._roster.nodes)
            self.ready = True
            self._changed.notify_all()
        self._deliver()
        return changes.news

    def ask(self, facts: Facts) -> Ask | None:
        """Match a call against the rules; None where lanes are not looked at. Takes no lock."""
        return None if self._router is None else Ask(self._router.table, facts)

    def go_by(self, routes: Iterable[Route]) -> None:
        """Go by other rules from now on; called by the thread that reconciles."""
        if self._router is not None:
            self._router.adopt(routes, self._roster, self._lock, self.clock)
            self._deliver()

    def routes(self) -> list[RouteView]:
        """Show the routes of the service and what they get."""
        with self._lock:
            return [] if self._router is None else self._router.views(self.clock())

    @property
    def doubts(self) -> bool:
        """Tell whether nodes are kept that the last snapshot left out."""
        return bool(self._roster.doubted)

    def probed(self, live: LiveNode, *, alive: bool) -> float | None:
        """Take in the result of a probe; give the seconds that the next may wait at most, if any.

        That is infinite where nothing is urgent, None where no other probe is wanted.
        """
        with self._lock:
            patience = self._standing.probed(live, self.clock(), alive=alive)
            live.probing = patience is not None
        self._deliver()
        return patience

    def nodes(
        self, counts: Callable[[LiveNode], ConnectionCounts | None] = lambda _: None
    ) -> list[NodeView]:
        """Show every listed node; `counts` gives the connections that are kept for one."""
        with self._lock:
            now = self.clock()
            if now >= self._standing.next_tick:
                self._standing.tick(now)
            listed, roster = self._roster.nodes.values(), self._roster
            views = [view(live, roster, now, counts(live)) for live in listed]
        self._deliver()
        return views

    def states(self) -> Counter[State]:
        """Count the listed nodes by state."""
        with self._lock:
            warming = self._roster.warming
            return Counter(
                "warming" if live in warming and live.in_pool else live.state
                for live in self._roster.nodes.values()
            )

    def explain(self) -> list[PickRecord]:
        """Show the last picks, the newest last."""
        with self._lock:
            return self._picker.explain()

    def mark_offline(self, node: str, ttl: float | None) -> None:
        """Mark a node, given by id or `host:port`, on the user's word, which no policy cuts.

        Raises `ValueError` for a node that is not listed and a `ttl` that is not above 0.
        """
        require("ttl", ttl, "seconds above 0", ttl is None or (is_amount(ttl) and ttl > 0))
        with self._lock:
            notice = Notice("caller", "marked by the caller", ttl)
            self._standing.mark(self._find(node), notice, self.clock())
        self._deliver()

    def mark_online(self, node: str) -> None:
        """Take a node's mark and ejection back, on the user's word."""
        with self._lock:
            self._standing.unmark(self._find(node), self.clock())
        self._deliver()

    def _find(self, node: str) -> LiveNode:
        found = self._roster.find(node)
        if found is None:
            some = sorted(self._roster.nodes)[:10]
            raise ValueError(f"service {self.name!r} has no node {node!r}; it has {some}")
        return found

    def close(self) -> None:
        """Let no call begin any more."""
        with self._lock:
            self.closed = True
            self._changed.notify_all()

    def forget(self) -> bool:
        """Close for good and let go of every node, unless a call is under way."""
        with self._lock:
            if self.calls:
                return False
            self.closed = self.forgotten = True
            for live in list(self._roster.nodes.values()):
                self._standing.strike_off(live)
            self._changed.notify_all()
        self._deliver()
        return True

    def wait_ready(self, timeout: float) -> bool:
        """Block until the first snapshot is there or the service is closed; False if too late."""
        with self._lock:
            return self._changed.wait_for(lambda: self.ready or self.closed, timeout)

    def wait_idle(self, timeout: float) -> bool:
        """Block until no call is in flight; False when the time ran out."""
        with self._lock:
            return self._changed.wait_for(lambda: not self.calls, timeout)

    def heir(self) -> Service:
        """Make a fresh service with the same list, for a forked child: takes no lock."""
        heir = Service(
            self.name,
            policies=self.policies,
            effects=self._effects,
            clock=self.clock,
            wall=self.wall,
        )
        if self._router is not None:
            heir.go_by(self._router.table.routes)
        if self.ready:
            nodes = [live.node for live in self._roster.nodes.values()]
            heir.reconcile(Snapshot(nodes, known=self.known))
        return heir

    def _deliver(self) -> None:
        with self._lock:
            outbox, self._standing.outbox = self._standing.outbox, Outbox()
        outbox.deliver(self, self._effects)
