"""Simulate a fleet in trouble: the real list, balancers, blacklist and slow start, invented time.

`python benchmarks/simulate.py [--callers 1000] [--providers 50] [SCENARIO...]`. The fleet that is
meant has 1,000 providers for 1,000 callers. What a caller learns of a provider depends on how
seldom it calls it; that is kept, and so a part of the providers stands for all: each gets the load
of the large fleet, from as many callers. The floor of the retry budget is cut likewise, since a
caller makes fewer calls than it would.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from balance import LeastRequests
from report import Check, Section, Table

from rpcguard import LeastLoaded, LiveNode, Random, RetryPolicy, RoundRobin
from rpcguard.outcomes import Safety, Verdict
from rpcguard.policies import Policies

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.list.simulation import START, Provider, Simulation, exponential

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICE = 0.05
WORKERS = 4
LOAD = 0.5
TIMEOUT = 2.0
BEGIN, END, LENGTH = 15.0, 30.0, 50.0
KEEP_ALIVE = 4.0
IDEAL = 4.6 * SERVICE
"""p99 of a call that never waits for another: of the exponential distribution."""
TIMED_OUT = Verdict("ReadTimeout", failed=True, safety=Safety.MAYBE, blame="failure")


@dataclass
class Serving(Provider):
    """Serve, but not for callers that have lost patience; `errors` is a share by time."""

    errors: Callable[[float], float] = lambda _: 0.0

    def serve(self, now: float, rng: random.Random) -> tuple[float, Verdict]:
        if len(self.busy) >= self.workers and self.busy[0] - now > TIMEOUT:
            return now + TIMEOUT, TIMED_OUT
        self.error_rate = self.errors(now - START)
        end, verdict = super().serve(now, rng)
        return (now + TIMEOUT, TIMED_OUT) if end - now > TIMEOUT else (end, verdict)


@dataclass(slots=True)
class Run:
    """Hold what is simulated while a scenario is set up."""

    simulation: Simulation
    names: list[str]
    slowness: dict[str, Callable[[float], float]] = field(default_factory=dict)

    def slow(self, names: list[str], factor: Callable[[float], float]) -> None:
        """Let providers take so many times as long, by the seconds of the run."""
        for name in names:
            self.simulation.providers[name].seconds = lambda now, rng: rng.expovariate(
                1.0 / (SERVICE * factor(now - START))
            )

    def down(self, names: list[str], since: float, until: float) -> None:
        """Let providers refuse connections for a while."""
        for name in names:
            self.simulation.providers[name].dead = lambda now: since <= now - START < until


def healthy(_: Run) -> None:
    """Let nothing happen."""


def rolling_release(run: Run) -> None:
    """Restart all providers, a tenth at a time: 2 s away, unlisted 0.5 s late, then slow."""
    size = max(len(run.names) // 10, 1)
    for at in range(0, len(run.names), size):
        batch = run.names[at : at + size]
        away = BEGIN + 3.0 * at / size
        run.down(batch, away, away + 2.0)
        run.slow(batch, lambda now, back=away + 2.0: _cold(now, back, 2.0, 3.0))  # type: ignore[misc]
        left = [name for name in run.names if name not in batch]
        run.simulation.at(away + 0.5, partial(_list, run, left))
        run.simulation.at(away + 2.5, partial(_list, run, run.names))


def slow_node(run: Run) -> None:
    """Let one provider be ten times slower for a while."""
    run.slow(run.names[:1], lambda now: 10.0 if BEGIN <= now < END else 1.0)


def zone_lost(run: Run) -> None:
    """Let a third of the providers be gone, while the registry still lists them."""
    run.down(run.names[::3], BEGIN, END)


def brown_out(run: Run) -> None:
    """Let all providers be 2.5 times slower at once, and fail one call in five."""
    run.slow(run.names, lambda now: 2.5 if BEGIN <= now < END else 1.0)
    for name in run.names:
        provider = run.simulation.providers[name]
        assert isinstance(provider, Serving)
        provider.errors = lambda now: 0.2 if BEGIN <= now < END else 0.0


def mass_restart(run: Run) -> None:
    """Restart all providers within 2 s; each is away for 1 s and cold for the next ten."""
    for at, name in enumerate(run.names):
        away = BEGIN + 2.0 * at / len(run.names)
        run.down([name], away, away + 1.0)
        run.slow([name], lambda now, back=away + 1.0: _cold(now, back, 10.0, 3.0))  # type: ignore[misc]


def _cold(now: float, since: float, seconds: float, factor: float) -> float:
    if not since <= now < since + seconds:
        return 1.0
    return factor - (factor - 1.0) * (now - since) / seconds


def _list(run: Run, names: list[str]) -> None:
    zones = {name: {"zone": "abc"[at % 3]} for at, name in enumerate(run.names)}
    run.simulation.list_nodes(names, **zones)  # type: ignore[arg-type]


SCENARIOS: dict[str, Callable[[Run], None]] = {
    "all well": healthy,
    "rolling release": rolling_release,
    "one slow node": slow_node,
    "zone lost": zone_lost,
    "brown-out": brown_out,
    "mass restart, cold": mass_restart,
}


class WithoutFailureCost(LeastLoaded):
    """Be the default without what a failure costs; see `without_failure_cost`."""


BALANCERS: dict[str, Callable[..., object]] = {
    "LeastLoaded (default)": LeastLoaded,
    "without failure cost": WithoutFailureCost,
    "least requests of two": LeastRequests,
    "RoundRobin": RoundRobin,
    "Random": Random,
}


@contextmanager
def without_failure_cost() -> Iterator[None]:
    """Let a failure count for the load as the answer does that came as fast."""
    kept = LiveNode.fail

    def fail(live: LiveNode, seconds: float, now: float, window: float) -> None:
        before = live.latency, live.stamp
        kept(live, seconds, now, window)
        live.latency, live.stamp = before
        live.observe(seconds, now)

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


def play(scenario: str, balancer: str, callers: int, providers: int, seeds: int) -> Outcome:
    """Run one scenario with one balancer, several times; give the means."""
    maker = BALANCERS[balancer]
    with without_failure_cost() if maker is WithoutFailureCost else nullcontext():
        outcomes = [
            _outcome(_run(scenario, maker, callers, providers, seed), providers)
            for seed in range(1, seeds + 1)
        ]
    named = {
        one.name: mean(getattr(outcome, one.name) for outcome in outcomes)
        for one in fields(Outcome)
        if one.name != "tail"
    }
    tail = zip(*(outcome.tail for outcome in outcomes), strict=True)
    return Outcome(**named, tail=tuple(map(mean, tail)))


def _run(
    scenario: str, maker: Callable[..., object], callers: int, providers: int, seed: int
) -> Simulation:
    names = [f"n{at}" for at in range(providers)]
    nodes: dict[str, Provider] = {
        name: Serving(exponential(SERVICE), workers=WORKERS) for name in names
    }
    seeds = random.Random(seed)
    policies = Policies(
        balancer=lambda: maker(rng=random.Random(seeds.random())),  # type: ignore[arg-type,return-value]
        retry=RetryPolicy(budget_floor=10.0 * providers / callers),
    )
    simulation = Simulation(nodes, policies=policies, callers=callers, seed=seed)
    run = Run(simulation, names)
    _list(run, names)
    SCENARIOS[scenario](run)
    simulation.arrive(LOAD * WORKERS * providers / SERVICE, LENGTH)
    simulation.run(LENGTH + TIMEOUT * 2)
    return simulation


def _outcome(run: Simulation, providers: int) -> Outcome:
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


def _imbalance(run: Simulation, providers: int) -> float:
    worst = []
    for since in range(int(BEGIN), int(LENGTH), 5):
        went: dict[str, int] = defaultdict(int)
        for call in run.span(since, since + 5):
            for name in call.nodes:
                went[name] += 1
        worst.append(max(went.values()) * providers / sum(went.values()))
    return sum(worst) / len(worst)


def _connections(run: Simulation, providers: int) -> float:
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


def fleet_in_trouble(
    callers: int = 300,
    providers: int = 30,
    seeds: int = 3,
    scenarios: tuple[str, ...] = tuple(SCENARIOS),
) -> Section:
    """Play all scenarios with all balancers."""
    table, checks, series = Table(COLUMNS), [], dict[str, dict[str, list[float]]]()
    for scenario in scenarios:
        outcomes = {name: play(scenario, name, callers, providers, seeds) for name in BALANCERS}
        series[scenario] = {name: list(one.tail) for name, one in outcomes.items()}
        for name, one in outcomes.items():
            cells = [f"{one.failed:.3%}", f"{one.p99:.2f}", f"{one.imbalance:.2f}"]
            cells += [f"{one.amplification:.3f}", f"{one.recovery:.0f}", f"{one.connections:.0f}"]
            table.rows.append([f"{scenario}, {name}", *cells])
        own = outcomes["LeastLoaded (default)"]
        best = min(one.p99 for one in outcomes.values())
        checks.append(Check(f"{scenario}: p99 ÷ that of the best balancer", own.p99 / best, 1.05))
        fewest = min(one.failed for one in outcomes.values())
        share = (own.failed + 0.0005) / (fewest + 0.0005)
        checks.append(Check(f"{scenario}: failed calls ÷ the fewest", share, 1.05))
    about = (
        f"{callers:,} callers and {providers} providers by events, {LOAD:.0%} of what the "
        f"providers can bear, service times exponential around {SERVICE * 1000:.0f} ms, timeout "
        f"{TIMEOUT:.0f} s, means of {seeds} runs; the trouble begins after {BEGIN:.0f} s. All "
        "balancers have the same blacklist, retries and slow start (least requests takes no "
        "notice of the ramp). Ideal: the p99 of a call that waits for no other. Recovered: the "
        "last second with a p99 half above the usual one, or with more than 0.1 % of calls "
        "failed. To shares of failed calls 0.05 % is added before they are compared."
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
