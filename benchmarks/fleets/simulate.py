"""Simulate a fleet in trouble: the real list, balancers, blacklist and slow start, invented time.

`python -m benchmarks.fleets.simulate [--callers 1000] [--providers 50] [SCENARIO...]`. The fleet
that is meant has 1,000 providers for 1,000 callers. What a caller learns of a provider depends on
how seldom it calls it; that is kept, and so a part of the providers stands for all: each gets the
load of the large fleet, from as many callers. The floor of the retry budget is cut likewise, since
a caller makes fewer calls than it would.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.fleets.troubles import (
    BEGIN,
    LENGTH,
    LOAD,
    SCENARIOS,
    SERVICE,
    TIMEOUT,
    WORKERS,
    Callers,
    Run,
    Serving,
    list_all,
)
from benchmarks.lib.report import Check, Section, Table
from rpcguard import LeastLoaded, LeastRequests, LiveNode, Random, RetryPolicy, RoundRobin
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import FleetProvider, exponential

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEEP_ALIVE = 4.0
IDEAL = 4.6 * SERVICE
"""p99 of a call that never waits for another: of the exponential distribution."""


class WithoutFailureCost(LeastLoaded):
    """Be the default without what a failure costs; see `without_failure_cost`."""


OWN = "LeastLoaded (default)"
BALANCERS: dict[str, Callable[..., object]] = {
    OWN: LeastLoaded,
    "without failure cost": WithoutFailureCost,
    "LeastRequests": LeastRequests,
    "RoundRobin": RoundRobin,
    "Random": Random,
}


TIMES_SEEDS = {"mass restart, cold": 4, "rolling release": 4}
"""Where calls time out by the queue or few calls fail, two runs with one balancer differ much."""


@contextmanager
def without_failure_cost() -> Iterator[None]:
    """Let a failure count for the load as the answer does that came as fast."""
    kept = LiveNode.fail

    def fail(live: LiveNode, seconds: float, now: float, window: float) -> None:
        before = live.stand_back, live.failing
        kept(live, seconds, now, window)
        live.stand_back, live.failing = before
        live.turns += live.observe(seconds, now)

    LiveNode.fail = fail  # type: ignore[method-assign]
    try:
        yield
    finally:
        LiveNode.fail = kept  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold what a run came to; times in seconds, `tail` is p99 ÷ ideal by second of the run."""

    failed: float
    p99: float
    imbalance: float
    amplification: float
    recovery: float
    connections: float
    tail: tuple[float, ...]


Play = tuple[str, str, int, int, int]
"""A run: scenario, balancer, callers, providers and seed."""


def play(one: Play) -> Outcome:
    """Run one scenario with one balancer, once."""
    scenario, balancer, callers, providers, seed = one
    maker = BALANCERS[balancer]
    with without_failure_cost() if maker is WithoutFailureCost else nullcontext():
        return _outcome(_run(scenario, maker, callers, providers, seed), providers)


def play_all(plays: list[Play]) -> dict[Play, Outcome]:
    """Run them on all cores, each for some four seconds: a seed repeats a run wherever it runs."""
    with ProcessPoolExecutor() as pool:
        return dict(zip(plays, pool.map(play, plays), strict=True))


def _averaged(outcomes: list[Outcome]) -> Outcome:
    named = {
        one.name: mean(getattr(outcome, one.name) for outcome in outcomes)
        for one in fields(Outcome)
        if one.name != "tail"
    }
    tail = zip(*(outcome.tail for outcome in outcomes), strict=True)
    return Outcome(**named, tail=tuple(map(mean, tail)))


def _run(
    scenario: str, maker: Callable[..., object], callers: int, providers: int, seed: int
) -> Callers:
    names = [f"n{at}" for at in range(providers)]
    nodes: dict[str, FleetProvider] = {
        name: Serving(exponential(SERVICE), workers=WORKERS) for name in names
    }
    seeds = random.Random(seed)
    policies = Policies(
        balancer=lambda: maker(rng=random.Random(seeds.random())),  # type: ignore[arg-type,return-value]
        retry=RetryPolicy(budget_floor=10.0 * providers / callers),
    )
    simulation = Callers(nodes, policies=policies, callers=callers, seed=seed)
    run = Run(simulation, names)
    list_all(run, names)
    SCENARIOS[scenario](run)
    simulation.arrive(LOAD * WORKERS * providers / SERVICE, LENGTH)
    simulation.run(LENGTH + TIMEOUT * 2)
    return simulation


def _outcome(run: Callers, providers: int) -> Outcome:
    calls = run.span(BEGIN, LENGTH)
    failed = sum(not call.good for call in calls) / len(calls)
    attempts = sum(len(call.nodes) for call in calls)
    tail, bad = [], []
    usual = run.percentile(0.99, 5, BEGIN)
    for second in range(int(LENGTH)):
        part = run.span(second, second + 1)
        p99 = run.percentile(0.99, second, second + 1)
        tail.append(p99 / IDEAL)
        lost = sum(not call.good for call in part) / len(part)
        if second >= BEGIN and (p99 > 1.5 * usual or lost > 0.001):
            bad.append(second + 1 - BEGIN)
    return Outcome(
        failed=failed,
        p99=run.percentile(0.99, BEGIN, LENGTH) / IDEAL,
        imbalance=_imbalance(run, providers),
        amplification=attempts / len(calls),
        recovery=max(bad, default=0.0),
        connections=_connections(run, providers),
        tail=tuple(tail),
    )


def _imbalance(run: Callers, providers: int) -> float:
    worst = []
    for since in range(int(BEGIN), int(LENGTH), 5):
        went: dict[str, int] = defaultdict(int)
        for call in run.span(since, since + 5):
            for name in call.nodes:
                went[name] += 1
        worst.append(max(went.values()) * providers / sum(went.values()))
    return sum(worst) / len(worst)


def _connections(run: Callers, providers: int) -> float:
    """Give the callers per provider that a kept connection stands for, at most, on average."""
    most = 0
    for since in range(int(BEGIN), int(LENGTH), int(KEEP_ALIVE)):
        pairs = {
            (name, call.caller)
            for call in run.span(since, since + KEEP_ALIVE)
            for name in call.nodes
        }
        most = max(most, len(pairs))
    return most / providers


COLUMNS = [
    *("", "failed calls", "p99 ÷ ideal", "busiest ÷ mean", "attempts per call"),
    *("recovered after, s", "connections per provider"),
]


def _against_best(
    what: str, played: dict[str, list[Outcome]], figure: Callable[[Outcome], float]
) -> Check:
    means = {name: mean(map(figure, outcomes)) for name, outcomes in played.items()}
    best = min(means, key=means.__getitem__)
    pairs = zip(played[OWN], played[best], strict=True)
    by_run = [figure(mine) / figure(its) for mine, its in pairs]
    return Check(what, means[OWN] / means[best], 1.05, spread=(min(by_run), max(by_run)))


def fleet_in_trouble(
    callers: int = 300,
    providers: int = 30,
    seeds: int = 3,
    scenarios: tuple[str, ...] = tuple(SCENARIOS),
) -> Section:
    """Play all scenarios with all balancers."""
    table, checks, series = Table(COLUMNS), [], dict[str, dict[str, list[float]]]()
    plays = {
        scenario: {
            name: [
                (scenario, name, callers, providers, seed)
                for seed in range(1, seeds * TIMES_SEEDS.get(scenario, 1) + 1)
            ]
            for name in BALANCERS
        }
        for scenario in scenarios
    }
    came = play_all([one for named in plays.values() for each in named.values() for one in each])
    for scenario, named in plays.items():
        played = {name: [came[one] for one in each] for name, each in named.items()}
        outcomes = {name: _averaged(each) for name, each in played.items()}
        series[scenario] = {name: list(one.tail) for name, one in outcomes.items()}
        for name, one in outcomes.items():
            cells = [f"{one.failed:.3%}", f"{one.p99:.2f}", f"{one.imbalance:.2f}"]
            cells += [f"{one.amplification:.3f}", f"{one.recovery:.0f}", f"{one.connections:.0f}"]
            table.rows.append([f"{scenario}, {name}", *cells])
        what = f"{scenario}: p99 ÷ that of the best balancer"
        checks.append(_against_best(what, played, lambda one: one.p99))
        what = f"{scenario}: failed calls ÷ the fewest"
        checks.append(_against_best(what, played, lambda one: one.failed + 0.0005))
    about = (
        f"{callers:,} callers and {providers} providers by events, {LOAD:.0%} of what the "
        f"providers can bear, service times exponential around {SERVICE * 1000:.0f} ms, timeout "
        f"{TIMEOUT:.0f} s, means of {seeds} runs, four times as many where luck has much say; the "
        f"trouble begins after {BEGIN:.0f} s. All balancers have the same blacklist, retries and "
        "slow start, and the same calls, each of the same length. Ideal: the p99 of a call that "
        "waits for no other. Recovered: the last second with a p99 half above the usual one, or "
        "with more than 0.1 % of calls failed. To shares of failed calls 0.05 % is added before "
        "they are compared. A mass restart overloads this fleet for some seconds, whoever picks: "
        "how many calls wait in vain hangs on the luck of a run more than on the balancer. A call "
        "that cannot connect goes on to nodes that are there: it saves the rolling release, and in "
        "a mass restart adds to the load of nodes that have too much of it. The [guide to "
        "tuning](guides/tuning.md) has both beside each other."
    )
    return Section("A fleet in trouble", about, table, checks, series)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS))
    parser.add_argument("--callers", type=int, default=300)
    parser.add_argument("--providers", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    for scenario in given.scenarios:
        section = fleet_in_trouble(given.callers, given.providers, given.seeds, (scenario,))
        print(section.text(), flush=True)


if __name__ == "__main__":
    main()
