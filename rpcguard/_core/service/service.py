"""The live node list of one service: reconcile, pick, report; the only lock."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Literal

from rpcguard._checks import is_amount, require
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._core.outcomes.verdict import Notice, Safety, cancelled
from rpcguard._core.service.budget import RetryBudget
from rpcguard._core.service.effects import Outbox
from rpcguard._core.service.limit import Limiter
from rpcguard._core.service.picker import Picker
from rpcguard._core.service.reactions import Reactions
from rpcguard._core.service.reconcile import Losses, compare
from rpcguard._core.service.reconcile import let_others_run as _let_others_run
from rpcguard._core.service.records import Settled, settled_by
from rpcguard._core.service.roster import Roster
from rpcguard._core.service.router import router_of
from rpcguard._core.service.turns import OneCall, Turns
from rpcguard._core.service.views import view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.nodes.node import State
    from rpcguard._core.nodes.view import ConnectionCounts, NodeView, RouteView
    from rpcguard._core.outcomes.verdict import Verdict
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.policies.routing import Route
    from rpcguard._core.service.asks import Ask
    from rpcguard._core.service.effects import Effects
    from rpcguard._core.service.limit import Rejection
    from rpcguard._core.service.reconcile import Changes
    from rpcguard._core.service.records import PickRecord
    from rpcguard._core.service.router import Foreseen, Router
    from rpcguard._core.service.turns import Counted

_CHUNK = 64  # changes of a list that are made under the lock at a time; a pick waits no longer

Denial = Literal["budget", "no_other_node", "throttled"]


class Service(Turns):
    """The live list of one service, and every decision on a node of it.

    Thread-safe. Does no I/O: what is to be done outside goes to `effects`, after the lock is
    given back. `clock` counts seconds on a monotonic scale, `wall` is epoch seconds. `ready` turns
    true with the first snapshot, `known` says whether the registry knows the service and `met`
    whether it ever has: such a name is a service for good, whatever has become of it. `refused`
    counts the nodes of the last snapshot that are outside of `allowed_networks`, `router` decides
    which nodes a call may go to; it is None where lanes are not looked at.
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
        super().__init__()
        self.name = name
        self.policies = policies
        self.clock = clock
        self.rng: random.Random = rng or random.Random()
        self.ready: bool = False
        self.known: bool = False
        self.met: bool = False
        self.forgotten: bool = False
        self.called_at: float = clock()
        self.refused: int = 0
        self.left_out: str = ""
        self.same_again: bool = False
        """Whether a retry may go where the try before it went, for want of any other node."""
        self.wall = wall
        self._effects = effects
        self._roster = Roster(policies, self.rng, self._left)
        self._reactions = Reactions(name, self._roster, policies, clock)
        self._standing = self._reactions.standing
        self._losses = Losses(policies.membership.shrink_hold)
        self._budget = RetryBudget(policies.retry, clock())
        overload = policies.overload
        self.limiter: Limiter | None = Limiter(overload, clock(), self.rng) if overload else None
        pools, standing = self._roster.pools, self._standing
        self.router: Router | None = router_of(name, policies, pools, self.rng, standing, clock())
        self._zones = pools.zones
        self._told_lanes = False
        self._picker = Picker(self._roster, self._reactions, self.router)

    def begin(self, call: Counted | None = None) -> bool:
        """Count a call in; False once the service is closed."""
        call = call or OneCall(counted=False)
        if self._is_nested():
            self._calls, call.counted = self._calls + 1, True
            return True
        with self._lock:
            self._holder = get_ident()
            open_ = not self.closed
            if open_:
                self.called_at = now = self.clock()
                self._budget.deposit(now)
                # One statement: an interrupt finds it done or not begun.
                self._calls, call.counted = self._calls + 1, True
            self._holder = 0
        if self._left:
            self._catch_up()
        return open_

    def admit(self) -> Rejection | None:
        """Say why the call that was just counted in may not be sent; None when it may."""
        limiter = self.limiter
        if limiter is None or self._is_nested():
            return None
        return self._alone(lambda: limiter.refuse(self._calls, self.clock()))

    @property
    def full(self) -> bool:
        """Tell whether a node has as many calls as one may have, and so is passed over."""
        limiter = self.limiter
        return limiter is not None and bool(limiter.full(list(self._roster.nodes.values())))

    def pick(self, *, repeatable: bool, ask: Ask | None = None) -> Lease | None:
        """Pick a node for a first attempt; None when the list has no usable one.

        Only a `repeatable` call is spent on the trial of a half-open node, unless none came along.
        `ask` is what the call asks for by lanes and routes.
        """
        if self._is_nested():
            return self._picker.pick_nested(self.clock(), (), ask)
        with self._lock:
            self._holder = get_ident()
            lease = self._pick(self.clock(), (), ask, repeatable=repeatable)
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
        with self._lock:
            self._holder = get_ident()
            found = self._pick_again(self.clock(), tried, ask, same_node=same_node, free=free)
            self._holder = 0
        if self._left or self._standing.outbox:
            self._deliver()
        return found

    def _pick_again(
        self,
        now: float,
        tried: tuple[LiveNode, ...],
        ask: Ask | None,
        *,
        same_node: bool,
        free: bool,
    ) -> Lease | Denial:
        if not free and not self._budget.allows(now):
            return "budget"
        if self.limiter is not None and not self.limiter.allows_retry(now):
            return "throttled"
        again = (same_node or (self.same_again and not free)) and not tried[-1].gone
        instead = tried[-1] if same_node and again and tried[-1].in_pool else None
        lease = self._pick(now, tried, ask, instead=instead)
        if lease is None and again:
            lease = self._picker.lease_again(now, tried, ask)
        if lease is None:
            return "no_other_node"
        if not free:
            lease.paid_at = self._budget.withdraw(now)
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
            self.limiter.sent(now)
            self._picker.passed_over = self.limiter.full(self._roster.nodes.values())
        pick = self._picker.pick if ask is None else partial(self._picker.pick_for, ask)
        return pick(now, tried, repeatable=repeatable, instead=instead)

    def settle(self, lease: Lease, verdict: Verdict) -> Settled:
        """Take in what an attempt came to: the headers of its answer, its failure, or its end."""
        return self._conclude(self._settle, lease, verdict)

    def fail_body(self, lease: Lease, verdict: Verdict) -> Settled:
        """Take in a failure that came while the body of an answer was read."""
        return self._conclude(self._fail_body, lease, verdict)

    def _conclude(
        self, take: Callable[[Lease, Verdict], Settled], lease: Lease, verdict: Verdict
    ) -> Settled:
        if self._is_nested():
            self._leave(partial(take, lease, verdict))
            return Settled(self.clock() - lease.started, None, None)
        with self._lock:
            self._holder = get_ident()
            settled = take(lease, verdict)
            self._holder = 0
        if self._left or self._standing.outbox:
            self._deliver()
        return settled

    def _settle(self, lease: Lease, verdict: Verdict) -> Settled:
        live, reactions = lease.live, self._reactions
        now, before = self.clock(), live.state
        seconds = now - lease.started
        live.answer(lease, now, heard=verdict.good or not verdict.failed)
        if lease.paid_at is not None and verdict.safety is Safety.UNCONNECTED:
            self._budget.refund(lease.paid_at)
        if self.limiter is not None:
            self.limiter.judge(verdict, self._calls, now)
        if lease.routed is not None and self.router is not None:
            self.router.judge(lease.routed, now, failed=verdict.blame != "none")
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

    def release(self, lease: Lease) -> None:
        """Give the node back, once: the attempt is over and its stream is closed."""
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

    def reconcile(self, snapshot: Snapshot) -> bool:
        """Merge a snapshot into the list; True when it said something new.

        Called by one thread at a time. A long list is merged in parts, so that picks go on.
        """
        roster = self._roster
        now, policy = self.clock(), self.policies.membership
        current, lost = self._alone(lambda: (dict(roster.nodes), self._losses.recent(now)))
        changes = compare(
            current, snapshot, now=now, lost=lost, policy=policy, pause=_let_others_run
        )
        apply, warm = self._reactions.apply, self.ready
        for part in changes.parts(_CHUNK):
            self._alone(partial(apply, part, self.clock(), self.wall(), warm=warm))
            self._deliver()
        self._alone(partial(self._finish, changes, snapshot))
        roster.pools.move(self._alone(roster.pools.settle_zones), self._alone)
        self.wake()
        self._deliver()
        return bool(changes)

    def _finish(self, changes: Changes, snapshot: Snapshot) -> None:
        if self.ready:  # before it there is no list that could become shorter
            self._losses.note(changes.shorter, self.clock())
        if changes.emptied is not None:
            self._roster.emptied = changes.emptied
            self._reactions.look_for_proof(self.clock())
        self._standing.reschedule(self.clock())
        for kind, reason in changes.told(len(self._roster.nodes), self.refused):
            self._standing.emit(kind, None, reason)
        if self.router is None and not self._told_lanes:
            self._told_lanes = self._standing.overlooks(changes, len(self._roster.nodes))
        if self._zones is not None and (strange := self._zones.strange()):
            self._standing.emit("strange", None, strange)
        self.refused = len(changes.refused)
        self.left_out = snapshot.left_out
        self.known = snapshot.known or bool(self._roster.nodes)
        self.met = self.met or self.known
        self.ready = True

    @property
    def usable(self) -> bool:
        """Tell whether a node can be picked. Takes no lock."""
        return self._roster.eligible > 0

    def go_by(self, routes: Iterable[Route]) -> None:
        """Go by other rules from now on; called by the thread that reconciles."""
        if self.router is not None:
            self.router.adopt(routes, self._roster, self._alone, self.clock)
            self._deliver()

    def retries(self) -> tuple[int, int]:
        """Show how many retries were made in the budget's window, and how many it allows."""
        return self._alone(lambda: self._budget.spent(self.clock()))

    def routes(self) -> list[RouteView]:
        """Show the routes of the service and what they get."""
        router = self.router
        return [] if router is None else self._alone(lambda: router.views(self.clock()))

    def secure(self) -> None:
        """Note that the service is called over TLS, which proves whose answers it gets."""
        self._roster.secured = True

    def foresee(self, ask: Ask) -> list[Foreseen]:
        """Tell where a call would go by lanes and routes; nothing is taken for it."""
        router = self.router
        return [] if router is None else self._alone(lambda: router.foresee(ask, self.clock()))

    def needs_proof(self, live: LiveNode) -> bool:
        """Tell whether a probe of a node has to get an answer over HTTP. Takes no lock."""
        return self._roster.needs_proof(live)

    @property
    def doubts(self) -> bool:
        """Tell whether nodes are kept that the last snapshot left out."""
        return bool(self._roster.doubted)

    def probed(self, live: LiveNode, *, alive: bool | None) -> float | None:
        """Take in the result of a probe; give the seconds that the next may wait at most, if any.

        That is infinite where nothing is urgent, None where no other probe is wanted. `alive` is
        None for a probe that could not find out.
        """
        patience = self._alone(partial(self._probed, live, alive=alive))
        self._deliver()
        return patience

    def _probed(self, live: LiveNode, *, alive: bool | None) -> float | None:
        patience = self._reactions.probed(live, self.clock(), alive=alive)
        if patience is None:
            self._standing.end_probes(live)
        return patience

    def nodes(
        self, counts: Callable[[LiveNode], ConnectionCounts | None] = lambda _: None
    ) -> list[NodeView]:
        """Show every listed node; `counts` gives the connections that are kept for one."""
        views = self._alone(partial(self._views, counts))
        self._deliver()
        return views

    def _views(self, counts: Callable[[LiveNode], ConnectionCounts | None]) -> list[NodeView]:
        now = self.clock()
        if now >= self._standing.next_tick:
            self._reactions.tick(now)
        listed, roster = self._roster.nodes.values(), self._roster
        return [view(live, roster, now, counts(live)) for live in listed]

    def states(self) -> Counter[State]:
        """Count the listed nodes by state."""
        return self._alone(self._states)

    def _states(self) -> Counter[State]:
        warming = self._roster.warming
        return Counter(
            "warming" if live in warming and live.in_pool else live.state
            for live in self._roster.nodes.values()
        )

    def explain(self) -> list[PickRecord]:
        """Show the last picks, the newest last."""
        return self._alone(self._picker.explain)

    def mark_offline(self, node: str, ttl: float | None) -> None:
        """Mark a node, given by id or `host:port`, on the user's word, which no policy cuts.

        Raises `ValueError` for a node that is not listed and a `ttl` that is not above 0.
        """
        require("ttl", ttl, "seconds above 0", ttl is None or (is_amount(ttl) and ttl > 0))
        live, notice = self._find(node), Notice("caller", "marked by the caller", ttl)
        self._leave(lambda: self._reactions.mark(live, notice, self.clock()))
        self._deliver()

    def mark_online(self, node: str) -> None:
        """Take a node's mark and ejection back, on the user's word."""
        live = self._find(node)
        self._leave(lambda: self._reactions.unmark(live, self.clock()))
        self._deliver()

    def _find(self, node: str) -> LiveNode:
        found = self._alone(partial(self._roster.find, node))
        if found is None:
            some = sorted(self._roster.nodes)[:10]
            raise ValueError(f"service {self.name!r} has no node {node!r}; it has {some}")
        return found

    def close(self) -> None:
        """Refuse new calls."""
        self.closed = True
        self.wake()

    def forget(self) -> bool:
        """Close for good and let go of every node, unless a call is under way."""
        forgotten = self._alone(self._forget)
        self.wake()
        self._deliver()
        return forgotten

    def _forget(self) -> bool:
        if self._calls:
            return False
        self.closed = self.forgotten = True
        for live in list(self._roster.nodes.values()):
            self._standing.strike_off(live)
        return True

    def wait_ready(self, timeout: float) -> bool:
        """Block until the first snapshot is there or the service is closed; False if too late."""
        return self.wait_for(lambda: self.ready or self.closed, timeout)

    def wait_idle(self, timeout: float) -> bool:
        """Block until no call is in flight; False when the time ran out."""
        return self.wait_for(lambda: not self.calls, timeout)

    def heir(self) -> Service:
        """Make a fresh service with the same list, for a forked child: takes no lock."""
        heir = Service(
            self.name,
            policies=self.policies,
            effects=self._effects,
            clock=self.clock,
            wall=self.wall,
        )
        if self.router is not None:
            heir.go_by(self.router.table.routes)
        if self.ready:
            nodes = [live.node for live in self._roster.nodes.values()]
            heir.reconcile(Snapshot(nodes, known=self.known))
        heir.met = self.met
        return heir

    def _deliver(self) -> None:
        self._catch_up()
        outbox = self._alone(self._swap_outbox)
        outbox.deliver(self, self._effects)

    def _swap_outbox(self) -> Outbox:
        outbox, self._standing.outbox = self._standing.outbox, Outbox()
        return outbox
