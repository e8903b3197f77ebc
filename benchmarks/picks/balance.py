"""Compare the default balancer with round robin, random and least requests, by simulation.

`python -m benchmarks.picks.balance [--seeds 3]`: how even idle traffic is, what an instantly
failing, a slow, a recovering and a new node get, and what random errors do. The list, the
balancers, the blacklist and slow start are the real ones; providers are queues and the clock is
invented. About a minute.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from functools import partial
from statistics import mean, pstdev
from typing import TYPE_CHECKING

from benchmarks.lib.report import Check, Section, Table
from rpcguard import (
    EjectionPolicy,
    LeastLoaded,
    LeastRequests,
    LiveNode,
    Node,
    Random,
    RoundRobin,
    SlowStart,
)
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import FleetProvider, Simulation, exponential, steady

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICE = 0.05
"""Seconds that a call takes on a node that is well; four at a time are served."""


BALANCERS: dict[str, Callable[..., object]] = {
    "LeastLoaded (default)": LeastLoaded,
    "RoundRobin": RoundRobin,
    "Random": Random,
    "LeastRequests": LeastRequests,
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Say what is simulated; `ejection` off shows what the balancer does by itself."""

    size: int
    callers: int = 1
    shape: Callable[[float], Callable[[float, random.Random], float]] = exponential
    workers: int = 4
    ejection: bool = False
    repeatable: bool = True

    def run(self, balancer: Callable[..., object], seed: int, **fields: object) -> Simulation:
        """Make a run whose nodes are all well, or have the given fields of `FleetProvider`."""
        providers = {
            f"n{at}": FleetProvider(self.shape(SERVICE), workers=self.workers, **fields)  # type: ignore[arg-type]
            for at in range(self.size)
        }
        policies = Policies(
            balancer=partial(balancer, rng=random.Random(seed)),  # type: ignore[arg-type]
            ejection=EjectionPolicy(enforce=self.ejection),
            slow_start=SlowStart(calls=10**9),
        )
        return Simulation(
            providers,
            policies=policies,
            callers=self.callers,
            seed=seed,
            repeatable=self.repeatable,
        )


def percent(values: list[float]) -> str:
    """Show the mean of shares."""
    return f"{mean(values):.2%}" if mean(values) < 0.1 else f"{mean(values):.0%}"


def evenness(_: int) -> Section:
    """Measure how evenly idle calls are spread."""
    cases: dict[str, list[float]] = {
        "10 nodes": [1.0] * 10,
        "100 nodes": [1.0] * 100,
        "1,000 nodes": [1.0] * 1000,
        "weights 1 to 4": [1.0, 2.0, 3.0, 4.0] * 3,
        "weights 1:10": [1.0, 10.0] * 5,
        "weights 100:1:1": [100.0, 1.0, 1.0],
    }
    table = Table(["", *cases])
    for name, maker in BALANCERS.items():
        spread = [_unevenness(maker, weights) for weights in cases.values()]
        table.rows.append([name, *(f"{one:.2%}" for one in spread)])
    found = [_unevenness(LeastLoaded, weights) for weights in cases.values()]
    checks = [
        Check("evenness, 10 nodes", found[0] * 100, 0.1, "%"),
        Check("evenness, 1,000 nodes", found[2] * 100, 1.0, "%"),
        Check("weights, at worst", max(found[3:]) * 100, 10.0, "%"),
    ]
    about = "Coefficient of variation of the picks per weight, after 100,000 idle picks."
    return Section("Evenness", about, table, checks)


def _unevenness(maker: Callable[..., object], weights: list[float]) -> float:
    balancer, chance, now = maker(rng=random.Random(1)), random.Random(2), 0.0
    lives = [LiveNode(Node(f"n{at}", 80, weight=one), now) for at, one in enumerate(weights)]
    for live in lives:
        balancer.add(live)  # type: ignore[attr-defined]
    went = dict.fromkeys(lives, 0)
    for _ in range(100_000):
        live = balancer.pick(now)  # type: ignore[attr-defined]
        lease = live.begin(now)
        live.answer(lease, now, heard=True)
        live.end(lease)
        live.succeed(SERVICE * (0.8 + 0.4 * chance.random()), now)
        went[live] += 1
        now += 0.001
    per_weight = [count / live.weight for live, count in went.items()]
    return pstdev(per_weight) / mean(per_weight)


def failing(seeds: int) -> Section:
    """Measure what a node gets that answers 500 at once."""
    cases = {
        f"{size} nodes, {kind}": Fleet(size, workers=50, ejection=True, repeatable=kind == "GET")
        for size in (2, 5, 20)
        for kind in ("GET", "POST")
    }
    table = Table(["", *cases])
    checks = []
    sides = [(name, maker, True) for name, maker in BALANCERS.items()]
    sides += [(f"{name}, no blacklist", maker, False) for name, maker in BALANCERS.items()]
    for name, maker, ejection in sides:
        row = []
        for case, fleet in cases.items():
            shares = []
            for seed in range(seeds):
                run = Fleet(
                    fleet.size, workers=50, ejection=ejection, repeatable=fleet.repeatable
                ).run(maker, seed)
                run.providers["n0"].sick = lambda _: True
                run.list_nodes()
                run.arrive(20 if fleet.size == 2 else 200, 30)
                run.run(31)
                shares.append(run.share("n0", 5))
            row.append(percent(shares))
            if maker is LeastLoaded and ejection:
                checks.append(Check(f"failing node, {case}", mean(shares) * 100, 2.0, "%"))
        table.rows.append([name, *row])
    about = "Share of the attempts after the first 5 s of a node that answers 500 in 2 ms."
    return Section("An instantly failing node", about, table, checks)


def warming(seeds: int) -> Section:
    """Measure what a new node gets."""
    flights = (1, 10, 100)
    table = Table(
        ["", *(f"{size} nodes, {flight} in flight" for size in (3, 10, 50) for flight in flights)]
    )
    checks = []
    for name, maker in BALANCERS.items():
        row = []
        for size in (3, 10, 50):
            for flight in flights:
                got = mean(_warm_share(maker, size, flight, seed) for seed in range(seeds))
                row.append(f"{got:.2f}")
                if maker is LeastLoaded:
                    what = f"new node ÷ its ramp, {size} nodes, {flight} in flight"
                    checks += [
                        Check(what, got, 2.0),
                        Check(f"the inverse, {size}, {flight}", 1 / got, 1 / 0.7),
                    ]
        table.rows.append([name, *row])
    about = (
        "Share of a node 40 s after it was listed, divided by ramp ÷ (others + ramp). Too much "
        "drowns a cold node, too little starves it."
    )
    return Section("A new node", about, table, checks)


def _warm_share(maker: Callable[..., object], size: int, in_flight: int, seed: int) -> float:
    run = Fleet(size, workers=999).run(maker, seed)
    run.list_nodes(list(run.providers)[1:])
    run.keep_in_flight(in_flight, 5)
    run.run(6)
    run.list_nodes()
    run.run(40)
    begin, span = run.elapsed, {1: 60.0, 10: 20.0, 100: 4.0}[in_flight]
    run.keep_in_flight(in_flight, span)
    run.run(span)
    wanted = got = 0.0
    for call in run.span(begin):
        ramp = max(0.1, ((call.at - 1006.0) / 120.0) ** 2)
        wanted += ramp / (size - 1 + ramp)
        got += call.nodes[0] == "n0"
    return got / wanted


def slow(seeds: int) -> Section:
    """Measure what a node ten times slower does to the tail."""
    cases = {
        "10 nodes": Fleet(10, shape=steady),
        "10 nodes, 10 callers": Fleet(10, 10, shape=steady),
        "10 nodes, 10 callers, exp": Fleet(10, 10),
        "100 nodes, 10 callers": Fleet(100, 10, shape=steady),
        "all well: 10 nodes, 10 callers, exp": Fleet(10, 10),
    }
    bars = {"10 nodes": 1.6, "10 nodes, 10 callers": 2.0, "10 nodes, 10 callers, exp": 5.3}
    table = Table(["", *cases])
    checks = []
    for name, maker in BALANCERS.items():
        row = []
        for case, fleet in cases.items():
            found = [_slow(maker, fleet, seed, well="well" in case) for seed in range(seeds)]
            p99, p999, share = (mean(values) for values in zip(*found, strict=True))
            row.append(f"{p99:.2f} / {p999:.2f} ({share:.0%})")
            if maker is LeastLoaded and case in bars:
                checks.append(Check(f"p99 with a slow node, {case}", p99, bars[case]))
        table.rows.append([name, *row])
    about = (
        "p99 / p99.9 in service times, and the share of the slow node of an equal share; four "
        "calls at a time on each node, 60 % of what the fleet can bear."
    )
    return Section("One node ten times slower", about, table, checks)


def _slow(
    maker: Callable[..., object], fleet: Fleet, seed: int, *, well: bool
) -> tuple[float, float, float]:
    run = fleet.run(maker, seed)
    if not well:
        run.providers["n0"].seconds = fleet.shape(10 * SERVICE)
    run.list_nodes()
    span = 30 if fleet.size <= 10 else 6
    run.arrive(0.6 * 4 * fleet.size / SERVICE, span)
    run.run(span + 10)
    begin = span / 4
    tail = [run.percentile(share, begin) / SERVICE for share in (0.99, 0.999)]
    return tail[0], tail[1], run.share("n0", begin) * fleet.size


def returning(seeds: int) -> Section:
    """Measure how traffic comes back to a node that was slow."""
    spans = {"while slow": (20, 60), "0-10 s after": (60, 70), "10-20 s": (70, 80)}
    spans |= {"20-40 s": (80, 100), "40-120 s": (100, 180)}
    table = Table(["share of an equal share", *spans])
    checks = []
    for name, maker in BALANCERS.items():
        shares: dict[str, list[float]] = {span: [] for span in spans}
        for seed in range(seeds):
            run = Fleet(10, 4).run(maker, seed)
            run.providers["n0"].seconds = lambda now, rng: rng.expovariate(
                1 / (SERVICE * (10 if now < 1060 else 1))
            )
            run.list_nodes()
            run.arrive(200, 180)
            run.run(181)
            for span, (since, until) in spans.items():
                shares[span].append(run.share("n0", since, until) * 10)
        table.rows.append([name, *(percent(values) for values in shares.values())])
        if maker is LeastLoaded:
            back = mean(shares["40-120 s"])
            checks.append(Check("equal share ÷ share 40 s after a slow spell", 1 / back, 1.1))
    about = "One node of ten is ten times slower for a minute; 4 callers, 200 calls a second."
    return Section("After a slow spell", about, table, checks)


def errors(seeds: int) -> Section:
    """Measure what a few random errors do to the balance."""
    rates = (0.0, 0.002, 0.01)
    sizes = ((2, 20), (5, 200), (20, 200))
    table = Table(["", *(f"{size} nodes, {rate:.1%}" for size, _ in sizes for rate in rates)])
    checks = []
    for name, maker in BALANCERS.items():
        row = []
        for size, calls in sizes:
            found = [_imbalance(maker, size, calls, rate, seeds) for rate in rates]
            row += [f"{one:.2f}" for one in found]
            if maker is LeastLoaded:
                what = f"busiest node, 0.2 % errors ÷ none, {size} nodes"
                checks.append(Check(what, found[1] / found[0], 1.3))
        table.rows.append([name, *row])
    about = "Busiest node ÷ mean over windows of 10 s; every node fails at random."
    return Section("Random errors", about, table, checks)


def _imbalance(
    maker: Callable[..., object], size: int, calls: int, rate: float, seeds: int
) -> float:
    worst = []
    for seed in range(seeds):
        run = Fleet(size, workers=999).run(maker, seed, error_rate=rate)
        run.list_nodes()
        run.arrive(calls, 60)
        run.run(61)
        for begin in range(10, 60, 10):
            shares = [run.share(name, begin, begin + 10) for name in run.providers]
            worst.append(max(shares) * size)
    return mean(worst)


def sections(seeds: int = 3) -> list[Section]:
    """Simulate everything."""
    parts = (evenness, failing, warming, slow, returning, errors)
    return [part(seeds) for part in parts]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="runs of each figure (3)")
    seeds = parser.parse_args().seeds
    for part in (evenness, failing, warming, slow, returning, errors):
        print(part(seeds).text(), flush=True)


if __name__ == "__main__":
    main()
