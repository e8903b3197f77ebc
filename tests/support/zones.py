"""Callers and nodes in three zones, played by events: how many calls fail or leave the zone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rpcguard import Node, Snapshot, ZonePolicy
from rpcguard._core.outcomes.verdict import Safety, Verdict
from rpcguard._planning.fleet import FleetProvider, Simulation, exponential

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.service.service import Service
    from rpcguard._planning.fleet import FleetCall

ZONES = ("a", "b", "c")
ACROSS = 0.001
"""Seconds that a call to another zone takes more."""
SERVICE = 0.05
WORKERS = 4
TIMEOUT = 2.0
LATE = Verdict("ReadTimeout", failed=True, safety=Safety.MAYBE, blame="failure")


@dataclass(frozen=True, slots=True)
class ZoneCase:
    """What a fleet in zones goes through; the trouble is in zone a, and begins after a while."""

    name: str
    load: float = 0.5
    nodes: tuple[int, int, int] = (10, 10, 10)
    callers: tuple[int, int, int] = (30, 30, 30)
    dead: int = 0
    slower: float = 1.0


CASES = (
    ZoneCase("balanced"),
    ZoneCase("callers 60/20/20", callers=(54, 18, 18)),
    ZoneCase("nodes 4/13/13", nodes=(4, 13, 13)),
    ZoneCase("half of a zone dead", load=0.6, dead=5),
    ZoneCase("a zone 3 times slower", load=0.4, slower=3.0),
)


@dataclass(frozen=True, slots=True)
class ZoneOutcome:
    """What came of the calls after the trouble began."""

    calls: int
    failed: float
    p99: float
    across: float


class ZonedFleet(Simulation):
    """Callers of three zones; each attempt has a timeout, and crossing a zone takes time."""

    def __init__(self, case: ZoneCase, policy: ZonePolicy | None, *, seed: int = 1) -> None:
        self.case = case
        self.zones = {
            f"{zone}{number}": zone
            for zone, count in zip(ZONES, case.nodes, strict=True)
            for number in range(count)
        }
        self.begins = float("inf")
        slow = [name for name in self.zones if name[0] == "a"]
        providers = {
            name: FleetProvider(self._pace(name in slow), WORKERS, dead=self._dies(name))
            for name in self.zones
        }
        self.homes = [
            zone for zone, count in zip(ZONES, case.callers, strict=True) for _ in range(count)
        ]
        self._policy = policy
        super().__init__(providers, callers=len(self.homes), seed=seed)
        listed = [
            Node(f"10.0.0.{n}", 80, id=name, zone=zone)
            for n, (name, zone) in enumerate(self.zones.items(), 1)
        ]
        for service in self.services:
            service.reconcile(Snapshot(listed))

    def _caller(self, policies: Policies, rng: random.Random) -> Service:
        zone = ZonePolicy()
        made = len(getattr(self, "_made", ()))
        self._made = [*getattr(self, "_made", ()), rng]
        if self._policy is not None:
            zone = replace(self._policy, zone=self.homes[made])
        return super()._caller(replace(policies, zone=zone), rng)

    def _pace(self, slow: bool) -> Callable[[float, random.Random], float]:
        well = exponential(SERVICE)
        factor = self.case.slower if slow else 1.0
        return lambda now, rng: well(now, rng) * (factor if now >= self.begins else 1.0)

    def _dies(self, name: str) -> Callable[[float], bool]:
        dies = name[0] == "a" and int(name[1:]) < self.case.dead
        return lambda now: dies and now >= self.begins

    def _attempt(
        self, call: FleetCall, lease: Lease, tried: tuple[LiveNode, ...], then: Callable[[], None]
    ) -> None:
        name = lease.live.node.id
        call.nodes.append(name)
        away = ACROSS if self.zones[name] != self.homes[call.caller] else 0.0
        end, verdict = self.providers[name].serve(self.now, self.rng)
        seconds = end - self.now + away
        if seconds > TIMEOUT:
            seconds, verdict = TIMEOUT, LATE
        self.at(seconds, lambda: self._answer(call, lease, tried, verdict, then))


def play(
    case: ZoneCase,
    policy: ZonePolicy | None,
    *,
    seed: int = 1,
    warm: float = 6.0,
    seconds: float = 18.0,
) -> ZoneOutcome:
    """Play a case; `policy` None looks at no zones."""
    fleet = ZonedFleet(case, policy, seed=seed)
    rate = case.load * len(fleet.zones) * WORKERS / SERVICE
    fleet.arrive(rate, warm + seconds)
    fleet.run(warm)
    fleet.begins = fleet.now
    fleet.run(seconds + 3 * TIMEOUT)
    calls = fleet.span(warm)
    picks = [(call.caller, name) for call in calls for name in call.nodes]
    across = sum(fleet.zones[name] != fleet.homes[caller] for caller, name in picks)
    failed = sum(not call.good for call in calls)
    return ZoneOutcome(
        len(calls), failed / len(calls), fleet.percentile(0.99, warm), across / len(picks)
    )
