"""Measure what lanes and routes add to a pick, and what it costs to go by other rules.

`python -m benchmarks.picks.routing [--rounds 5]`: a match by the rules of a row, and the pick after
it, less what a pick after such a match costs where lanes are not looked at; what a pick without
routing costs more than one by a picker that knows of no lanes; a match against a hundred routes;
and the longest stretch for which a thousand routes, taken over with 10,000 nodes listed, keep a
pick waiting.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx

from benchmarks.lib.measure import ROUNDS
from benchmarks.lib.report import Check, Section, Table
from benchmarks.picks.picking import Silence, fleet, nanoseconds
from rpcguard import Node, Route, Routing, Snapshot
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.routing.facts import Facts
from rpcguard._core.service import reconcile
from rpcguard._core.service.picker import Picker
from rpcguard._core.service.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard import LiveNode
    from rpcguard._core.nodes.live import Lease
    from rpcguard._core.service.stages import Leg

SIZES: Final = (100, 10_000)
TURNS: Final = 5
"""Turns of the sides a round: what else the machine does shows in the difference of single ones."""
BATCHES, PICKS = 100, 1000
"""Short turns of the two sides without routing, a round: some of them nothing else disturbs."""
OLD: Final = {"version": "1"}
NEW: Final = {"version": "2"}
NEXT: Final = {"version": "3"}
OTHERS: Final = {0: "2", 10: "3"}
HEADERS: Final = {"x-user-id": "alice", "accept": "*/*", "user-agent": "python", "cookie": "a=b"}
REQUEST: Final = httpx.Request("GET", "http://orders/v1/orders/42?x=1", headers=HEADERS)
RULES: Final = {
    "no rules": Routing(),
    "a share of 5 %": Routing(rules=[Route("canary", share=0.05, to=NEW)]),
    "a sticky share of 5 %": Routing(
        rules=[Route("canary", share=0.05, sticky="header.x-user-id", to=NEW)]
    ),
    "two shares": Routing(
        rules=[Route("canary", share=0.05, to=NEW), Route("next", share=0.05, to=NEXT)]
    ),
    "three shares of all calls": Routing(
        rules=[
            Route("old", share=0.9, to=OLD, empty="divided"),
            Route("new", share=0.05, to=NEW, empty="divided"),
            Route("next", share=0.05, to=NEXT, empty="divided"),
        ]
    ),
    "a header that is not there": Routing(
        rules=[Route("testers", when={"header.x-tester": "*"}, to=NEW)]
    ),
}

LEADING: Final[dict[str, Callable[[int], dict[str, str]]]] = {
    "one version": lambda _: NEW,
    "a version each": lambda number: {"version": str(number)},
}
"""Where a thousand routes lead, by their number."""


def hundred() -> list[Route]:
    """Make a hundred routes by a header and the path, none of which matches."""
    both = {f"both {n}": {"header.x-user-id": f"u{n}", "path": f"/v{n}/*"} for n in range(50)}
    path = {f"path {n}": {"path": f"/v{n + 2}/*"} for n in range(50)}
    return [Route(name, when=when, to=NEW) for name, when in {**both, **path}.items()]


def service_of(size: int, routing: Routing | None) -> Service:
    """Make a service of which every twentieth node is of the new version, and one of the next."""
    service = Service("orders", policies=Policies(routing=routing), effects=Silence())
    nodes = [
        Node(one.host, one.port, version=OTHERS.get(number % 20, "1"), metadata=one.metadata)
        for number, one in enumerate(fleet(size, mixed=False))
    ]
    service.reconcile(Snapshot(nodes))
    return service


def matched(service: Service) -> Callable[[], object]:
    """Match a call against the rules of a service."""
    router = service.router
    assert router is not None
    return lambda: router.ask(Facts(REQUEST, mark=None, baggage=_nothing, options={}))


def picked(service: Service) -> Callable[[], object]:
    """Match a call and pick its node, and undo that as cheaply as can be."""
    match = None if service.router is None else matched(service)

    def task() -> None:
        lease = service.pick(repeatable=True, ask=match() if match else None)  # type: ignore[arg-type]
        assert lease is not None
        # By hand: a lease that is dropped while it is held is settled with the next pick.
        lease.held = False
        lease.live.in_flight -= 1
        lease.live.unanswered -= 1

    return task


def picked_beside(service: Service, match: Callable[[], object]) -> Callable[[], object]:
    """Pick from a service without rules right after a match by those of another one.

    What a match drives out of the caches is no part of what rules add to a pick.
    """
    pick = picked(service)

    def task() -> None:
        ask = match()
        pick()
        del ask

    return task


def _nothing(_: str) -> None:
    return None


class LanelessPicker(Picker):
    """A picker as it was before there were lanes: of the balancers of each priority, in order.

    It goes beside the picker of a service, on the same nodes.
    """

    def __init__(self, service: Service) -> None:
        roster = service._roster
        super().__init__(roster, service._reactions, None)
        self._balancers = [pool.balancer for pool in roster.pools._pools.values()]
        self.compared: tuple[tuple[LiveNode, float], ...] = ()
        self.why = ""

    def pick(
        self,
        now: float,
        tried: tuple[LiveNode, ...],
        *,
        repeatable: bool,
        leg: Leg | None = None,
        instead: LiveNode | None = None,
    ) -> Lease | None:
        if now >= self._standing.next_tick:
            self._reactions.tick(now)
        if instead is not None and not instead.in_pool:
            instead = None
        assert not self._blacklist.waiting  # nothing fails here
        live = self._draw(now, self.passed_over)
        if instead is not None and (live is None or live.streak > instead.streak):
            return self._same_again(instead, now, tried)
        assert live is not None
        self._panics = False
        return self.lease(live, now, self.compared, tried, self.why)

    def _draw(self, now: float, excluded: tuple[LiveNode, ...]) -> LiveNode | None:
        for balancer in self._balancers:
            live = balancer.pick(now, excluded)
            if live is not None:
                self.compared = balancer.considered
                self.why = getattr(balancer, "why", "")
                return live
        return None


def without_routing(size: int, rounds: int) -> float:
    """Give the nanoseconds that lanes cost a pick which does not look at them.

    Both pickers take turns on the nodes of one service, and the lowest of many short batches
    counts: what there is to find is less than other nodes, or another process, make.
    """
    service = service_of(size, None)
    task, pickers = picked(service), (service._picker, LanelessPicker(service))
    lowest = [float("inf"), float("inf")]
    gc.disable()
    for turn in range(rounds * BATCHES):
        side = turn // 2 % 2 if turn % 2 else 1 - turn // 2 % 2
        service._picker = pickers[side]
        begin = time.process_time_ns()
        for _ in range(PICKS):
            task()
        lowest[side] = min(lowest[side], (time.process_time_ns() - begin) / PICKS)
    gc.enable()
    return lowest[0] - lowest[1]


def routing(rounds: int) -> Section:
    """Measure matches and picks by rules, and the taking over of others."""
    table = Table(["CPU ns", "a match", *(f"its pick more, {size:,} nodes" for size in SIZES)])
    checks = []
    for name, rules in RULES.items():
        found = {size: added(size, rules, rounds) for size in SIZES}
        match, more = found[SIZES[-1]].match, [one.more for one in found.values()]
        table.rows.append([name, f"{match:,.0f}", *(f"{one:,.0f}" for one in more)])
        checks.append(Check(f"{name}: a pick more", more[-1] / 1000, 2.0, "µs"))
    off = [without_routing(size, rounds) for size in SIZES]
    table.rows.append(["routing off", "", *(f"{one:,.0f}" for one in off)])
    checks.append(Check("routing off: a pick more", off[-1] / 1000, 0.1, "µs"))
    without = statistics.median(nanoseconds(picked(service_of(SIZES[-1], None)), rounds))
    table.rows.append(["without routing, a pick", "", "", f"{without:,.0f}"])
    match = statistics.median(
        nanoseconds(matched(service_of(100, Routing(rules=hundred()))), rounds)
    )
    stretches = {name: [longest_stretch(to) for _ in range(rounds)] for name, to in LEADING.items()}
    checks += [
        Check("a match against 100 routes", match / 1000, 20.0, "µs"),
        *(
            Check(
                f"1,000 routes to {name}: longest stretch, CPU", statistics.median(spans), 1.0, "ms"
            )
            for name, spans in stretches.items()
        ),
    ]
    about = "CPU time, medians; sides take turns. A match is made before the service is locked."
    about += " With routing off it is the lowest of many short turns, on the same nodes."
    return Section("Routing", about, table, checks)


class Added(NamedTuple):
    """What rules add to a call, in nanoseconds."""

    match: float
    """The match, before the lock."""

    more: float
    """What the pick costs more than one without routing."""


def added(size: int, rules: Routing, rounds: int) -> Added:
    """Measure a match, and one with a pick by its rules and without any, in turns."""
    service = service_of(size, rules)
    match = matched(service)
    tasks = match, picked_beside(service_of(size, None), match), picked(service)
    for task in tasks:
        nanoseconds(task, 1)  # to be warm
    found = [[nanoseconds(task, 1)[0] for task in tasks] for _ in range(rounds * TURNS)]
    return Added(
        statistics.median(match for match, _, _ in found),
        statistics.median(by_rules - without for _, without, by_rules in found),
    )


def longest_stretch(to: Callable[[int], dict[str, str]]) -> float:
    """Take 1,000 routes over; give the most CPU milliseconds without a pause, or with the lock."""
    service = service_of(10_000, Routing())
    rules = [Route(f"r{n}", when={"header.x": str(n)}, to=to(n)) for n in range(1000)]
    pause, spans = reconcile.let_others_run, []
    begin = time.thread_time()

    def note() -> None:
        nonlocal begin
        spans.append(time.thread_time() - begin)
        pause()
        begin = time.thread_time()

    alone = service._alone

    def held(task: Callable[[], object]) -> object:
        note()  # moving nodes gives the lock away between a few and a few more
        return alone(task)

    service._alone = held  # type: ignore[method-assign]
    reconcile.let_others_run = note
    gc.collect()
    gc.disable()
    begin = time.thread_time()
    service.go_by(rules)
    spans.append(time.thread_time() - begin)
    gc.enable()
    reconcile.let_others_run = pause
    return max(spans) * 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(routing(parser.parse_args().rounds).text())


if __name__ == "__main__":
    main()
