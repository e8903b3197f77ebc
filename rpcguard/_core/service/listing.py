"""The list of one service: what the registry, the probes and the user say of it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from rpcguard._checks import is_amount, require
from rpcguard._core.outcomes.verdict import Notice
from rpcguard._core.policies.incidents import ALL_ON
from rpcguard._core.service.reactions import Reactions
from rpcguard._core.service.reconcile import Losses, compare
from rpcguard._core.service.reconcile import let_others_run as _let_others_run
from rpcguard._core.service.roster import Roster
from rpcguard._core.service.router import router_of
from rpcguard._core.service.turns import OneCall, T, Turns
from rpcguard._core.service.views import state_of, view

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Iterable

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import Node, State
    from rpcguard._core.nodes.snapshot import Snapshot
    from rpcguard._core.nodes.view import ConnectionCounts, NodeView, RouteView
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.policies.incidents import Switches
    from rpcguard._core.policies.routing import Route
    from rpcguard._core.service.asks import Ask
    from rpcguard._core.service.reconcile import Changes
    from rpcguard._core.service.router import Foreseen, Router
    from rpcguard._core.service.turns import Counted

_CHUNK = 64  # changes of a list that are made under the lock at a time; a pick waits no longer


class Listing(Turns):
    """The list of one service, as it is kept and shown; `Service` adds the calls on it.

    Thread-safe. Does no I/O: what is to be done outside is delivered after the lock is given back.
    `ready` turns true with the first snapshot, `known` says whether the registry knows the service
    and `met` whether it ever has: such a name is a service for good, whatever has become of it.
    `unmet` is a name that the registry did not know before the service was forgotten.
    `refused` counts the nodes of the last snapshot that are outside of `allowed_networks`, `router`
    decides which nodes a call may go to; it is None where lanes are not looked at. `rules` are what
    it was last told to go by, `switches` what is off for the time of an incident.
    """

    closed: bool

    def __init__(
        self,
        name: str,
        *,
        policies: Policies,
        clock: Callable[[], float],
        wall: Callable[[], float],
        rng: random.Random,
    ) -> None:
        super().__init__()
        self.name = name
        self.policies = policies
        self.clock = clock
        self.wall = wall
        self.ready: bool = False
        self.known: bool = False
        self.met: bool = False
        self.unmet: bool = False
        self.forgotten: bool = False
        self.refused: int = 0
        self.left_out: str = ""
        self._roster = Roster(policies, rng, self._left)
        self._reactions = Reactions(name, self._roster, policies, clock)
        self._standing = self._reactions.standing
        self._losses = Losses(policies.membership.shrink_hold)
        pools, standing = self._roster.pools, self._standing
        self.router: Router | None = router_of(name, policies, pools, rng, standing, clock())
        self._zones = pools.zones
        self._told_lanes = False
        self.switches: Switches = ALL_ON
        self.rules: tuple[Route, ...] = tuple(self.router.table.routes if self.router else ())

    def _deliver(self) -> None:
        raise NotImplementedError

    def _look(self, job: Callable[[], T]) -> T:
        """Do a job under the lock, and then what follows from what others have left meanwhile."""
        found = self._alone(job)
        if self._standing.outbox:
            self._deliver()
        return found

    def reconcile(self, snapshot: Snapshot, *, gone: Collection[str] = ()) -> bool:
        """Merge a snapshot into the list; True when it said something new.

        `gone` are the ids of nodes that the registry has no more, as it said of each of them alone.
        Called by one thread at a time. A long list is merged in parts, so that picks go on.
        """
        roster = self._roster
        now, policy = self.clock(), self.policies.membership
        current, lately = self._alone(lambda: (dict(roster.nodes), self._losses.recent(now)))
        changes = compare(
            current,
            snapshot,
            now=now,
            policy=policy,
            lately=lately,
            filled_at=now if roster.emptied else roster.filled_at,
            gone=gone,
            pause=_let_others_run,
        )
        apply, warm = self._reactions.apply, self.ready
        for part in changes.parts(_CHUNK):
            self._alone(partial(apply, part, self.clock(), self.wall(), warm=warm))
            self._deliver()
        self._alone(partial(self._finish, changes, snapshot))
        roster.move(self._alone(roster.pools.settle_zones), self._alone, self.clock)
        self.wake()
        self._deliver()
        return bool(changes)

    def _finish(self, changes: Changes, snapshot: Snapshot) -> None:
        if self.ready:  # before it there is no list that could become shorter
            self._losses.note(changes.moves, self.clock())
        if changes.emptied is not None:
            self._roster.hear(self.clock(), emptied=changes.emptied)
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
    def eligible(self) -> int:
        """Count the nodes that can be picked. Takes no lock."""
        return self._roster.eligible

    @property
    def usable(self) -> bool:
        """Tell whether a node can be picked. Takes no lock."""
        return self._roster.eligible > 0

    def go_by(self, routes: Iterable[Route]) -> None:
        """Go by other rules from now on; called by the thread that reconciles.

        What is to be told of that waits for `tell`, or for the next pick.
        """
        self.rules = tuple(routes)
        self._adopt()

    def _adopt(self) -> None:
        if self.router is not None:
            rules = self.rules if self.switches.routes else ()
            self.router.adopt(rules, self._roster, self._alone, self.clock)

    def tell(self) -> None:
        """Hand over what is to be told and done outside."""
        self._deliver()

    def switch(self, switches: Switches) -> None:
        """Go by other switches from now on; called by the thread that reconciles."""
        before, self.switches = self.switches, switches
        self._alone(lambda: self._reactions.switch(switches, self.clock()))
        if before.routes != switches.routes:
            self._adopt()
        self._deliver()

    def routes(self) -> list[RouteView]:
        """Show the routes of the service and what they get."""
        router = self.router
        return [] if router is None else self._look(lambda: router.views(self.clock()))

    def secure(self) -> None:
        """Note that the service is called over TLS, which proves whose answers it gets."""
        self._roster.secured = True

    def foresee(self, ask: Ask) -> list[Foreseen]:
        """Tell where a call would go by lanes and routes; nothing is taken for it."""
        router = self.router
        return [] if router is None else self._look(lambda: router.foresee(ask, self.clock()))

    def needs_proof(self, live: LiveNode) -> bool:
        """Tell whether a probe of a node has to get an answer over HTTP. Takes no lock."""
        return self._roster.needs_proof(live)

    def is_secured(self, live: LiveNode) -> bool:
        """Tell whether calls go to a node over TLS. Takes no lock."""
        return self._roster.is_secured(live)

    @property
    def doubts(self) -> bool:
        """Tell whether nodes are kept that the last snapshot left out."""
        return bool(self._roster.doubted)

    def probed(self, live: LiveNode, *, alive: bool | None, answered: bool = False) -> float | None:
        """Take in the result of a probe; give the seconds that the next may wait at most, if any.

        That is infinite where nothing is urgent, None where no other probe is wanted. `alive` is
        None for a probe that could not find out, `answered` says that the node has answered over
        HTTP and not only taken a connection.
        """
        patience = self._alone(partial(self._probed, live, alive=alive, answered=answered))
        self._deliver()
        return patience

    def _probed(self, live: LiveNode, *, alive: bool | None, answered: bool) -> float | None:
        now = self.clock()
        patience = self._reactions.probed(live, now, alive=alive, answered=answered)
        if patience is None:
            self._standing.end_probes(live)
        return patience

    def nodes(
        self, counts: Callable[[LiveNode], ConnectionCounts | None] = lambda _: None
    ) -> list[NodeView]:
        """Show every listed node; `counts` gives the connections that are kept for one."""
        return self._look(partial(self._views, counts))

    def _views(self, counts: Callable[[LiveNode], ConnectionCounts | None]) -> list[NodeView]:
        now = self.clock()
        if now >= self._standing.next_tick:
            self._reactions.tick(now)
        listed, roster = self._roster.nodes.values(), self._roster
        return [view(live, roster, now, counts(live)) for live in listed]

    def census(self) -> Counter[tuple[State, str | None]]:
        """Count the listed nodes by state and group; None where lanes are not looked at."""
        states, router = self._look(self._states), self.router
        if router is None:
            return Counter((state, None) for _, state in states)
        table = router.table
        return Counter((state, table.group_of(node)) for node, state in states)

    def _states(self) -> list[tuple[Node, State]]:
        roster = self._roster
        return [(live.node, state_of(live, roster)) for live in roster.nodes.values()]

    def mark_offline(self, node: str, ttl: float | None) -> None:
        """Mark a node, given by id or `host:port`, on the user's word, which no policy cuts.

        Raises `ValueError` for a node that is not listed and a `ttl` that is not above 0.
        """
        require("ttl", ttl, "seconds above 0", ttl is None or (is_amount(ttl) and ttl > 0))
        notice = Notice("caller", "marked by the caller", ttl)
        for live in self._find(node):
            self._leave(partial(self._reactions.mark, live, notice, self.clock()))
        self._deliver()

    def mark_online(self, node: str) -> None:
        """Take a node's mark and ejection back, on the user's word."""
        for live in self._find(node):
            self._leave(partial(self._reactions.unmark, live, self.clock()))
        self._deliver()

    def _find(self, node: str) -> list[LiveNode]:
        found = self._look(partial(self._roster.find, node))
        if not found:
            some = sorted(self._roster.nodes)[:10]
            raise ValueError(f"service {self.name!r} has no node {node!r}; it has {some}")
        return found

    def end(self, call: Counted | None = None) -> None:
        """Count a call out, once: answered and its stream closed, failed, or given up."""
        self._leave(call or OneCall(counted=True))
        if self._standing.outbox:
            self._deliver()

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
