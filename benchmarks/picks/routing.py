"""Measure what lanes and routes add to a pick, and what it costs to go by other rules.

`python -m benchmarks.picks.routing [--rounds 5]`: a pick with its match, by the rules of a row,
less what it costs where lanes are not looked at; a match against a hundred routes; and the longest
stretch for which a thousand routes, taken over with 10,000 nodes listed, keep a pick waiting.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from typing import TYPE_CHECKING, Final

import httpx

from benchmarks.lib.measure import ROUNDS
from benchmarks.lib.report import Check, Section, Table
from benchmarks.picks.picking import Silence, fleet, nanoseconds
from rpcguard import Node, Route, Routing, Snapshot
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.routing.facts import Facts
from rpcguard._core.service.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES: Final = (100, 10_000)
NEW: Final = {"version": "2"}
HEADERS: Final = {"x-user-id": "alice", "accept": "*/*", "user-agent": "python", "cookie": "a=b"}
REQUEST: Final = httpx.Request("GET", "http://orders/v1/orders/42?x=1", headers=HEADERS)
RULES: Final = {
    "no rules": Routing(),
    "a share of 5 %": Routing(rules=[Route("canary", share=0.05, to=NEW)]),
    "a sticky share of 5 %": Routing(
        rules=[Route("canary", share=0.05, sticky="header.x-user-id", to=NEW)]
    ),
    "a header that is not there": Routing(
        rules=[Route("testers", when={"header.x-tester": "*"}, to=NEW)]
    ),
}


def hundred() -> list[Route]:
    """Make a hundred routes by a header and the path, none of which matches."""
    both = {f"both {n}": {"header.x-user-id": f"u{n}", "path": f"/v{n}/*"} for n in range(50)}
    path = {f"path {n}": {"path": f"/v{n + 2}/*"} for n in range(50)}
    return [Route(name, when=when, to=NEW) for name, when in {**both, **path}.items()]


def service_of(size: int, routing: Routing | None) -> Service:
    """Make a service of which every twentieth node is of the new version."""
    service = Service("orders", policies=Policies(routing=routing), effects=Silence())
    nodes = [
        Node(one.host, one.port, version="1" if number % 20 else "2", metadata=one.metadata)
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
        lease.live.in_flight -= 1
        lease.live.unanswered -= 1

    return task


def _nothing(_: str) -> None:
    return None


def routing(rounds: int) -> Section:
    """Measure picks by rules, and the taking over of others."""
    table = Table(["ns more than without routing", *(f"{size:,} nodes" for size in SIZES)])
    off = {size: _median(picked(service_of(size, None)), rounds) for size in SIZES}
    more = {
        name: [_median(picked(service_of(size, rules)), rounds) - off[size] for size in SIZES]
        for name, rules in RULES.items()
    }
    table.rows += [[name, *(f"{one:,.0f}" for one in spans)] for name, spans in more.items()]
    table.rows.append(["a pick without routing", *(f"{off[size]:,.0f}" for size in SIZES)])
    match = _median(matched(service_of(100, Routing(rules=hundred()))), rounds) / 1000
    stretch = statistics.median(longest_stretch() for _ in range(rounds))
    checks = [
        Check(f"{name}, {SIZES[-1]:,} nodes", spans[-1] / 1000, 2.0, "µs")
        for name, spans in more.items()
    ]
    checks += [
        Check("a match against 100 routes", match, 20.0, "µs"),
        Check("1,000 routes taken over: longest stretch, CPU", stretch, 1.0, "ms"),
    ]
    return Section("Routing", "CPU time, medians; a pick with its match.", table, checks)


def _median(task: Callable[[], object], rounds: int) -> float:
    return statistics.median(nanoseconds(task, rounds))


def longest_stretch() -> float:
    """Take 1,000 routes over; give the CPU milliseconds of the longest hold of the lock."""
    service = service_of(10_000, Routing())
    rules = [Route(f"r{n}", when={"header.x": str(n)}, to=NEW) for n in range(1000)]
    spans: list[float] = []
    alone = service._alone

    def noted(task: Callable[[], object]) -> object:
        begin = time.thread_time()
        done = alone(task)
        spans.append(time.thread_time() - begin)
        return done

    service._alone = noted  # type: ignore[method-assign]
    gc.collect()
    gc.disable()
    service.go_by(rules)
    gc.enable()
    return max(spans) * 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(routing(parser.parse_args().rounds).text())


if __name__ == "__main__":
    main()
