"""A service on a stage: its clock, its chances and what it asks for are in the test's hands."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx

from rpcguard import (
    EjectionPolicy,
    LeastLoaded,
    MembershipPolicy,
    Node,
    OverloadPolicy,
    RoundRobin,
    SlowStart,
    Snapshot,
)
from rpcguard._core.outcomes.verdict import Notice, Safety, Verdict, cancelled
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.policies.offline import OfflinePolicy
from rpcguard._core.policies.retry import RetryPolicy
from rpcguard._core.policies.zone import ZonePolicy
from rpcguard._core.routing.facts import Facts
from rpcguard._core.service.service import Service
from rpcguard._planning.fleet import GOOD, REFUSED, SICK
from rpcguard._transport.pins import pin
from rpcguard.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.nodes.view import NodeView
    from rpcguard._core.policies.affinity import Affinity
    from rpcguard._core.policies.hedging import Hedge
    from rpcguard._core.policies.routing import Routing
    from rpcguard._core.policies.subset import Subset
    from rpcguard._core.service.asks import Ask
    from rpcguard._core.service.effects import Event

__all__ = [
    "GOOD",
    "NOT_FOUND",
    "NO_TLS",
    "REFUSED",
    "REFUSED_STREAM",
    "SICK",
    "STALE",
    "Stage",
    "cancelled",
    "leaving",
    "nodes",
]

NOT_FOUND = Verdict("404", failed=False, safety=Safety.NEVER, blame="none", odd=True)
NO_TLS = Verdict("ConnectError", failed=True, safety=Safety.UNCONNECTED, blame="handshake")
STALE = Verdict("ReadError", failed=True, safety=Safety.MAYBE, blame="none", stale=True)
REFUSED_STREAM = Verdict("RemoteProtocolError", failed=True, safety=Safety.UNSENT, blame="failure")
EPOCH = 1_700_000_000.0


def nodes(*ids: str, **fields: object) -> list[Node]:
    """Make nodes of these ids, all with the same fields."""
    return [Node("10.0.0.1", 80, id=one, **fields) for one in ids]  # type: ignore[arg-type]


def leaving(
    ttl: float | None = None,
    source: str = "signal",
    *,
    verdict: Verdict = GOOD,
    named: bool = True,
) -> Verdict:
    """Give the verdict of an answer on which the node says that it leaves, by name or not."""
    notice = Notice(source, f"said by {source}", ttl, named=named)  # type: ignore[arg-type]
    return replace(verdict, notice=notice)


class Stage:
    """Hold one service and stand in for its transport."""

    def __init__(
        self,
        *listed: str | Node,
        probes: bool = True,
        ejection: EjectionPolicy | None = None,
        slow_start: SlowStart | None = None,
        offline: OfflinePolicy | None = None,
        membership: MembershipPolicy | None = None,
        retry: RetryPolicy | None = None,
        routing: Routing | None = None,
        zone: ZonePolicy | None = None,
        overload: OverloadPolicy | None = None,
        affinity: Affinity | None = None,
        hedge: Hedge | None = None,
        subset: Subset | None = None,
        balancer: type[LeastLoaded | RoundRobin] = LeastLoaded,
        seed: int = 1,
    ) -> None:
        self.clock = ManualClock(1000.0)
        self.told: list[Event] = []
        self.probing: list[LiveNode] = []
        self.retired: list[LiveNode] = []
        self.service = Service(
            "orders",
            policies=Policies(
                ejection=ejection or EjectionPolicy(),
                slow_start=slow_start or SlowStart(),
                offline=offline or OfflinePolicy(),
                membership=membership or MembershipPolicy(),
                retry=retry or RetryPolicy(),
                routing=routing,
                zone=zone or ZonePolicy(),
                overload=overload or OverloadPolicy(),
                affinity=affinity,
                hedge=hedge,
                subset=subset,
                balancer=lambda: balancer(rng=random.Random(seed)),
                probes=probes,
            ),
            effects=self,
            clock=self.clock,
            wall=lambda: EPOCH + self.clock(),
            rng=random.Random(seed),
        )
        if listed:
            self.list(*listed)

    # Surroundings

    def emit(self, event: Event) -> None:
        self.told.append(event)

    def probe(self, service: Service, live: LiveNode) -> None:
        assert service is self.service
        self.probing.append(live)

    def retire(self, live: LiveNode) -> None:
        self.retired.append(live)

    # What a test does

    def list(self, *listed: str | Node, authoritative: bool = True, known: bool = True) -> bool:
        """Give the service a snapshot of these nodes."""
        made = [nodes(one)[0] if isinstance(one, str) else one for one in listed]
        return self.service.reconcile(Snapshot(made, authoritative=authoritative, known=known))

    def ask(self, *, mark: str | None = None, key: str | None = None, **headers: str) -> Ask | None:
        """Give what a call asks for by lanes and routes."""
        request = httpx.Request("GET", "http://orders/v1/42", headers=headers)
        options = {} if key is None else {"key": key}
        router = self.service.router
        facts = Facts(request, mark=mark, baggage={}.get, options=options)
        return None if router is None else router.ask(facts)

    def keyed(self, key: str | bytes | None, **headers: str) -> Ask:
        """Give what a call with a key asks for."""
        policy = self.service.policies.affinity
        assert policy is not None
        options = {} if key is None else {"key": key}
        request = httpx.Request("GET", "http://orders/v1/42", headers=headers)
        return pin(policy, request, options, self.ask(**headers))

    def pick(self, *, repeatable: bool = True, ask: Ask | None = None) -> Lease:
        """Pick a node; there must be one."""
        lease = self.service.pick(repeatable=repeatable, ask=ask)
        assert lease is not None
        return lease

    def end(self, lease: Lease, verdict: Verdict = GOOD) -> str:
        """Let an attempt end; give the id of its node."""
        self.service.settle(lease, verdict)
        self.service.release(lease)
        return lease.live.node.id

    def call(
        self, verdict: Verdict = GOOD, *, seconds: float = 0.01, repeatable: bool = True
    ) -> str:
        """Make a call of one attempt; give the id of the node that it went to."""
        lease = self.pick(repeatable=repeatable)
        self.clock.advance(seconds)
        return self.end(lease, verdict)

    def calls(
        self, count: int, verdict: Verdict = GOOD, *, seconds: float = 0.01
    ) -> dict[str, int]:
        """Make calls one after the other; count them by node."""
        went: dict[str, int] = {}
        for _ in range(count):
            node = self.call(verdict, seconds=seconds)
            went[node] = went.get(node, 0) + 1
        return went

    def lease(self, node: str) -> Lease:
        """Pick until this node is picked, and give every other one back."""
        others = []
        lease = self.pick()
        while lease.live.node.id != node and len(others) < 2000:
            others.append(lease)
            lease = self.pick()
        for other in others:
            self.end(other, cancelled())
        assert lease.live.node.id == node, f"{node} is never picked"
        return lease

    def on(self, node: str, verdict: Verdict, times: int = 1) -> None:
        """Let so many calls, all picked before the first ends, come to this on one node."""
        for lease in [self.lease(node) for _ in range(times)]:
            self.end(lease, verdict)

    def picked(self, count: int = 200) -> set[str]:
        """Give the nodes that so many picks choose, none of which says anything."""
        return {self.end(self.pick(repeatable=False), cancelled()) for _ in range(count)}

    def probed(self, node: str, *, alive: bool | None, answered: bool = False) -> float | None:
        """Give the result of a probe to a node that is being probed."""
        live = next(one for one in self.probing if one.node.id == node and not one.gone)
        assert live.probing
        return self.service.probed(live, alive=alive, answered=answered)

    # What a test looks at

    def view(self, node: str) -> NodeView:
        """Show a node."""
        return next(view for view in self.service.nodes() if view.node.id == node)

    def states(self) -> dict[str, str]:
        """Give the state of every node."""
        return {view.node.id: view.state for view in self.service.nodes()}

    def listed(self) -> set[str]:
        """Give the ids of the listed nodes."""
        return set(self.states())

    def kinds(self, node: str | None = None) -> list[str]:
        """Give the kinds of the events that were told, of one node if one is given."""
        return [event.kind for event in self.told if node is None or event.node == node]


def ids(count: int, prefix: str = "n") -> list[str]:
    """Give so many node ids."""
    return [f"{prefix}{number}" for number in range(count)]


def total(went: dict[str, int], names: Iterable[str]) -> int:
    """Add up the calls that went to some nodes."""
    return sum(went.get(name, 0) for name in names)
