"""Measure what a pick costs, and what a long snapshot costs those who pick meanwhile.

`python -m benchmarks.picks.picking [--rounds 5]`: the balancer alone and a whole `Service.pick`,
with `settle` and `release`, for lists of 3 to 10,000 nodes of mixed weights, some warming, some
ejected; a snapshot of 10,000 nodes with one change; and the memory of a node that is never used.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING

from benchmarks.lib.measure import ROUNDS
from benchmarks.lib.report import Check, Section, Table
from rpcguard import LeastLoaded, LiveNode, Node, Random, RoundRobin, Snapshot
from rpcguard._core.outcomes.verdict import Safety, Verdict
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.service import listing
from rpcguard._core.service.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.service.effects import Event

SIZES = (3, 10, 100, 1_000, 10_000)
GOOD = Verdict("200", failed=False, safety=Safety.NEVER, blame="none", good=True)
REFUSED = Verdict("ConnectError", failed=True, safety=Safety.UNCONNECTED, blame="connect")


class Silence:
    """Stand in for a transport that does nothing of what a service asks for."""

    def emit(self, event: Event) -> None:
        pass

    def probe(self, service: Service, live: LiveNode) -> None:
        pass

    def retire(self, live: LiveNode) -> None:
        pass


def fleet(size: int, *, mixed: bool, metadata: bool = True) -> list[Node]:
    """Make nodes as a registry lists them, new objects each time."""
    weights = random.Random(size)
    return [
        Node(
            f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",
            8080,
            weight=weights.choice([0.5, 1.0, 1.0, 2.0, 3.7]) if mixed else 1.0,
            metadata={"rack": "a", "cell": "7"} if metadata else {},
        )
        for n in range(size)
    ]


def service_of(size: int, *, mixed: bool) -> Service:
    """Make a service; with `mixed`, a tenth of it is warming and a tenth ejected."""
    service = Service("orders", policies=Policies(), effects=Silence())
    nodes = fleet(size, mixed=mixed)
    old = nodes[: max(size * 9 // 10, 2)] if mixed else nodes
    service.reconcile(Snapshot(old))
    service.reconcile(Snapshot(nodes))
    _eject(
        service, {node.id for node in old[:: max(size // (size // 10 or 1), 2)]} if mixed else set()
    )
    return service


def _eject(service: Service, doomed: set[str]) -> None:
    held = []
    while doomed:
        lease = service.pick(repeatable=True)
        assert lease is not None
        held.append(lease)
        if lease.live.node.id in doomed:
            doomed.remove(lease.live.node.id)
            service.settle(lease, REFUSED)
    for lease in held:
        service.release(lease)


def nanoseconds(task: Callable[[], object], rounds: int) -> list[float]:
    """Give the CPU nanoseconds of a task, a median a round."""
    count = 1
    while True:
        begin = time.perf_counter()
        for _ in range(count):
            task()
        if time.perf_counter() - begin > 0.02:
            break
        count *= 2
    spans = []
    gc.disable()
    for _ in range(rounds):
        begin_ns = time.process_time_ns()
        for _ in range(count):
            task()
        spans.append((time.process_time_ns() - begin_ns) / count)
    gc.enable()
    return spans


def whole(service: Service) -> Callable[[], object]:
    """Pick, settle and release, as a call does."""

    def task() -> None:
        lease = service.pick(repeatable=True)
        assert lease is not None
        service.settle(lease, GOOD)
        service.release(lease)

    return task


def only_pick(service: Service) -> Callable[[], object]:
    """Pick through the service, and undo it as cheaply as can be."""

    def task() -> None:
        lease = service.pick(repeatable=True)
        assert lease is not None
        # Not dropped while it is held: what that costs is no part of a pick.
        lease.held = False
        lease.live.in_flight -= 1
        lease.live.unanswered -= 1

    return task


def balancer_of(maker: type, size: int, *, mixed: bool = False) -> Callable[[], object]:
    """Pick through the balancer alone."""
    balancer = maker()
    now = time.monotonic()
    for node in fleet(size, mixed=mixed):
        balancer.add(LiveNode(node, now))
    return lambda: balancer.pick(now)


def picking(rounds: int) -> Section:
    """Measure picks."""
    table = Table(["ns", *(f"{size:,} nodes" for size in SIZES)])
    checks = []
    rows: dict[str, Callable[[int], Callable[[], object]]] = {
        "LeastLoaded alone": lambda size: balancer_of(LeastLoaded, size),
        "LeastLoaded alone, weights": lambda size: balancer_of(LeastLoaded, size, mixed=True),
        "RoundRobin alone": lambda size: balancer_of(RoundRobin, size),
        "Random alone": lambda size: balancer_of(Random, size),
        "Service.pick": lambda size: only_pick(service_of(size, mixed=False)),
        "Service.pick, weights, warming, ejected": lambda size: only_pick(
            service_of(size, mixed=True)
        ),
        "pick + settle + release": lambda size: whole(service_of(size, mixed=False)),
        "pick + settle + release, weights, warming, ejected": lambda size: whole(
            service_of(size, mixed=True)
        ),
    }
    for name, made in rows.items():
        spans = {size: nanoseconds(made(size), rounds) for size in SIZES}
        table.rows.append([name, *(f"{statistics.median(spans[n]):,.0f}" for n in SIZES)])
        if "pick +" not in name:
            worst = max(SIZES, key=lambda size: statistics.median(spans[size]))
            low, high = min(spans[worst]) / 1000, max(spans[worst]) / 1000
            value = statistics.median(spans[worst]) / 1000
            checks.append(Check(f"{name}, at worst", value, 2.0, "µs", (low, high)))
    about = "CPU time of one pick, median of the rounds; the rows of `Service` include its lock."
    return Section("Picking", about, table, checks)


def reconciling(rounds: int) -> Section:
    """Measure a snapshot of 10,000 nodes with one change, and the picks of another thread."""
    alone, beside, longest, usual, stretches = [], [], [], [], []
    for _ in range(rounds):
        service = service_of(10_000, mixed=False)
        changed = [*fleet(10_000, mixed=False)[:-1], Node("11.0.0.1", 80)]
        begin = time.perf_counter()
        service.reconcile(Snapshot(changed))
        alone.append((time.perf_counter() - begin) * 1000)
        stretches.append(_longest_stretch(changed))
        service = service_of(10_000, mixed=False)
        took, slowest, without = _reconcile_beside_picks(service, changed)
        beside.append(took)
        longest.append(slowest)
        usual.append(without)
    table = Table(["ms", "median", "lowest", "highest"])
    named = {
        "reconcile, nothing else": alone,
        "its longest stretch without a pause, CPU": stretches,
        "reconcile while another thread picks without a pause": beside,
        "longest pick of that thread": longest,
        "its longest pick in the same time without a snapshot": usual,
    }
    for name, spans in named.items():
        shown = (statistics.median(spans), min(spans), max(spans))
        table.rows.append([name, *(f"{one:.2f}" for one in shown)])
    checks = [
        Check("reconcile", statistics.median(alone), 30, "ms", (min(alone), max(alone))),
        Check(
            "longest stretch that keeps picks waiting, CPU",
            statistics.median(stretches),
            1.0,
            "ms",
            (min(stretches), max(stretches)),
        ),
        Check(
            "longest pick meanwhile, wall time",
            statistics.median(longest),
            1.0,
            "ms",
            (min(longest), max(longest)),
        ),
    ]
    about = (
        "A thread that computes keeps the others waiting until it pauses. On a busy machine the "
        "wall time of a pick is mostly that of the operating system: see the last row."
    )
    return Section("A snapshot of 10,000 nodes with one change", about, table, checks)


def _longest_stretch(changed: list[Node]) -> float:
    service, snapshot = service_of(10_000, mixed=False), Snapshot(changed)
    pause, spans = listing._let_others_run, []
    begin = time.thread_time()

    def note() -> None:
        nonlocal begin
        spans.append(time.thread_time() - begin)
        pause()
        begin = time.thread_time()

    listing._let_others_run = note
    gc.collect()
    gc.disable()
    begin = time.thread_time()
    service.reconcile(snapshot)
    spans.append(time.thread_time() - begin)
    gc.enable()
    listing._let_others_run = pause
    return max(spans) * 1000


def _reconcile_beside_picks(service: Service, changed: list[Node]) -> tuple[float, float, float]:
    task, stop, ready = whole(service), threading.Event(), threading.Event()
    spans: list[tuple[float, float]] = []

    def pick() -> None:
        for _ in range(1000):
            task()
        ready.set()
        while not stop.is_set():
            begin = time.perf_counter()
            task()
            spans.append((begin, time.perf_counter() - begin))

    thread = threading.Thread(target=pick)
    snapshot = Snapshot(changed)
    gc.collect()
    gc.disable()
    thread.start()
    ready.wait()
    begin = time.perf_counter()
    service.reconcile(snapshot)
    end = time.perf_counter()
    time.sleep(end - begin)
    stop.set()
    thread.join()
    gc.enable()
    meanwhile = max(span for at, span in spans if at < end)
    after = max(span for at, span in spans if at > end)
    return (end - begin) * 1000, meanwhile * 1000, after * 1000


def memory() -> Section:
    """Measure the memory of a listed node that is never used."""
    table = Table(["bytes per node", "the registry's", "rpcguard's", "together"])
    worst = 0.0
    for metadata in (False, True):
        service = Service("orders", policies=Policies(), effects=Silence())
        tracemalloc.start()
        nodes = fleet(10_000, mixed=False, metadata=metadata)
        listed = tracemalloc.get_traced_memory()[0]
        service.reconcile(Snapshot(nodes))
        del nodes
        gc.collect()
        both = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        worst = max(worst, both / 10_000)
        cells = (listed, both - listed, both)
        name = "two metadata entries" if metadata else "no metadata"
        table.rows.append([name, *(f"{one / 10_000:,.0f}" for one in cells)])
    checks = [Check("a listed, never used node", worst / 1024, 2.0, "KiB")]
    return Section("Memory", "By tracemalloc, 10,000 nodes.", table, checks)


def sections(rounds: int = ROUNDS) -> list[Section]:
    """Measure everything."""
    return [picking(rounds), reconciling(rounds), memory()]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    for section in sections(parser.parse_args().rounds):
        print(section.text())


if __name__ == "__main__":
    main()
