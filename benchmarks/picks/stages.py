"""The scenarios that picks are judged by: each gives one figure for a balancer, a case and a seed.

Balancers get the same calls at the same moments, each of the same length. Nodes serve four calls at
a time, exponentially distributed around 50 ms, where a scenario does not say otherwise.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache, partial
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

from benchmarks.fleets.troubles import TIMED_OUT, Callers
from rpcguard import EjectionPolicy, LeastRequests, RoundRobin, SlowStart
from rpcguard._core.outcomes.verdict import Safety, Verdict
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import START, FleetProvider, exponential
from rpcguard._text import quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


SERVICE = 0.05
IDEAL = math.log(100.0) * SERVICE
"""p99 of a call that waits for no other."""
MANY = 999
"""Workers of a node whose calls never wait for each other."""
FAST = 0.01
"""Seconds of a call where many are to be played in a short time."""
MIXED = 16_000
"""Calls of mixed length: the p99 of fewer differs by a third between two seeds."""
RARE = 20
"""Times as many where few calls are long: the p99 is of the moments at which four of them met on a
node, a dozen in the usual run, and least requests by itself came to 7 and to 43."""
KNOWN = 40
"""Calls of each caller to each node, after which a slow node can be known."""
NO_CALLS = 10**9
"""Good answers that no run has: slow start goes by the clock alone."""
TOO_MANY = Verdict("429", failed=False, safety=Safety.NEVER, blame="none")


class Throttled(FleetProvider):
    """A node that refuses every call at once."""

    def serve(self, now: float, rng: random.Random) -> tuple[float, Verdict]:
        del rng
        return now + 0.002, TOO_MANY


class Frozen(FleetProvider):
    """A node that answers nothing from a moment on."""

    since = 10.0
    """Seconds of the run."""

    def serve(self, now: float, rng: random.Random) -> tuple[float, Verdict]:
        if now - START >= self.since:
            return now + 2.0, TIMED_OUT
        return super().serve(now, rng)


def play(
    maker: Callable[..., object],
    seed: int,
    providers: Sequence[FleetProvider],
    *,
    callers: int = 1,
    **policies: object,
) -> Callers:
    """Make a fleet and its callers; nodes are listed by the scenario."""
    seeds = random.Random(seed)
    return Callers(
        {f"n{at}": one for at, one in enumerate(providers)},
        policies=Policies(
            balancer=lambda: maker(rng=random.Random(seeds.random())),  # type: ignore[arg-type,return-value]
            **policies,  # type: ignore[arg-type]
        ),
        callers=callers,
        seed=seed,
    )


def weights(maker: Callable[..., object], seed: int, given: Sequence[int], flight: int) -> float:
    """Give how far the worst share is from its weight's, of what is allowed."""
    run = play(maker, seed, [FleetProvider(exponential(FAST), workers=MANY) for _ in given])
    run.list_nodes(**{f"n{at}": {"weight": weight} for at, weight in enumerate(given)})
    span = 10_000 * FAST / flight
    run.keep_in_flight(flight, span)
    run.run(span + 1.0)
    worst = 0.0
    for at, weight in enumerate(given):
        fair = weight / sum(given)
        worst = max(worst, abs(run.share(f"n{at}") - fair) / max(0.2 * fair, 0.01))
    return worst


def slow_first(
    maker: Callable[..., object], seed: int, size: int, rate: float, first: float
) -> float:
    """Give the share of a fair one that a node gets when a slow first answer is to be forgiven."""
    nodes = [FleetProvider(exponential(FAST), workers=MANY) for _ in range(size)]
    served: list[float] = []

    def once(now: float, rng: random.Random) -> float:
        served.append(now)
        return first if len(served) == 1 else rng.expovariate(1.0 / FAST)

    nodes[0].seconds = once
    run = play(maker, seed, nodes)
    run.list_nodes()
    forgiven = max(3.0, 30 / rate, 5 * size / rate)
    span = max(20.0, 40 * size / rate)
    run.arrive(rate, 5.0 + first + forgiven + span)
    run.run(6.0 + first + forgiven + span)
    begin = served[0] - START + first + forgiven
    return run.share("n0", begin, begin + span) * size


@cache
def cold(maker: Callable[..., object], seed: int, size: int, rate: float) -> tuple[float, float]:
    """Give the least share of its ramp that a cold new node gets, and when it is warm."""
    nodes = [FleetProvider(exponential(FAST), workers=MANY) for _ in range(size)]
    served: list[float] = []

    def getting_warm(now: float, rng: random.Random) -> float:
        served.append(now)
        return rng.expovariate(1.0 / (FAST * (30.0 if len(served) <= 20 else 1.0)))

    nodes[0].seconds = getting_warm
    slow_start = SlowStart(calls=NO_CALLS)
    run = play(maker, seed, nodes, slow_start=slow_start)
    run.list_nodes(list(run.providers)[1:])
    run.arrive(rate, 65.0)
    run.run(5.0)
    run.list_nodes()
    run.run(60.0)
    least = math.inf
    for begin in range(10, 60, 10):
        calls = run.span(begin, begin + 10)
        ramps = [slow_start.ramp(call.at - START - 5.0, 0) for call in calls]
        fair = sum(ramp / (size - 1 + ramp) for ramp in ramps)
        least = min(least, sum(call.nodes[0] == "n0" for call in calls) / fair)
    warm = served[19] - START - 5.0 if len(served) >= 20 else 60.0
    return least, warm


def cold_share(maker: Callable[..., object], seed: int, size: int, rate: float) -> float:
    """Give the least share of its ramp that a cold new node gets."""
    return cold(maker, seed, size, rate)[0]


def cold_time(maker: Callable[..., object], seed: int, size: int, rate: float) -> float:
    """Give the time until a cold new node is warm, of round robin's."""
    return cold(maker, seed, size, rate)[1] / cold(RoundRobin, seed, size, rate)[1]


def two_lengths(_: float, rng: random.Random) -> float:
    """Serve 85 % of calls in 30 ms and the others in half a second."""
    return 0.03 if rng.random() < 0.85 else 0.5


def pareto(_: float, rng: random.Random) -> float:
    """Serve calls of a heavy tail, the longest cut at 5 s."""
    return min(0.02 * rng.paretovariate(1.5), 5.0)


def one_in_hundred(_: float, rng: random.Random) -> float:
    """Serve one call of fifty in a hundred times the time of the others."""
    return 0.01 if rng.random() < 0.98 else 1.0


MEANS = {two_lengths: 0.1005, pareto: 0.0568, one_in_hundred: 0.0298}


@cache
def slowdown(
    maker: Callable[..., object], seed: int, shape: Callable[..., float] | None, times: int
) -> float:
    """Give the p99 of how many times as long as alone a call takes, at 69 % load of four nodes."""
    seconds = shape or exponential(SERVICE)
    mean = MEANS[shape] if shape else SERVICE
    run = play(maker, seed, [FleetProvider(seconds) for _ in range(4)])
    run.list_nodes()
    span = times * MIXED * mean / (0.69 * 16)
    run.arrive(0.69 * 16 / mean, span)
    run.run(span + 30.0)
    calls = run.span(2.0)
    return quantile(sorted(call.seconds / seconds(call.at, run.luck(call)) for call in calls), 0.99)


def mixed(
    maker: Callable[..., object], seed: int, shape: Callable[..., float] | None, times: int = 1
) -> float:
    """Give the p99 slowdown of calls of mixed length, of that of least requests."""
    return slowdown(maker, seed, shape, times) / slowdown(LeastRequests, seed, shape, times)


@cache
def slow_node(
    maker: Callable[..., object], seed: int, size: int, callers: int, load: float
) -> tuple[float, float]:
    """Give p99 of the ideal one and the share of an equal one of a node ten times slower."""
    run = play(
        maker, seed, [FleetProvider(exponential(SERVICE)) for _ in range(size)], callers=callers
    )
    run.providers["n0"].seconds = exponential(10 * SERVICE)
    run.list_nodes()
    # From when on each caller has called each node forty times: before it cannot know.
    begin = max(4.0, KNOWN * callers * SERVICE / (4 * load))
    # Long enough that of a hundred nodes the slow one has some seventy calls: with seventeen the
    # worst of nine seeds shows chance, and not the rule.
    span = begin + (16.0 if size <= 10 else 24.0)
    run.arrive(load * 4 * size / SERVICE, span)
    run.run(span + 5.0)
    return run.percentile(0.99, begin) / IDEAL, run.share("n0", begin) * size


def slow_tail(
    maker: Callable[..., object], seed: int, size: int, callers: int, load: float
) -> float:
    """Give p99 with a node ten times slower, of the ideal one."""
    return slow_node(maker, seed, size, callers, load)[0]


def slow_share(
    maker: Callable[..., object], seed: int, size: int, callers: int, load: float
) -> float:
    """Give what a node ten times slower gets, of an equal share."""
    return slow_node(maker, seed, size, callers, load)[1]


def recovered(
    maker: Callable[..., object], seed: int, size: int, callers: int, rate: float
) -> float:
    """Give the share of an equal one, ten seconds after a minute in which a node was slow."""
    run = play(
        maker, seed, [FleetProvider(exponential(SERVICE)) for _ in range(size)], callers=callers
    )
    run.providers["n0"].seconds = lambda now, rng: rng.expovariate(
        1.0 / (SERVICE * (10.0 if now - START < 60.0 else 1.0))
    )
    run.list_nodes()
    run.arrive(rate, 90.0)
    run.run(91.0)
    return run.share("n0", 70.0, 90.0) * size


def failing(maker: Callable[..., object], seed: int, kind: str, size: int, rate: float) -> float:
    """Give the share of all attempts, in percent, of a node that fails or refuses at once."""
    nodes = [FleetProvider(exponential(SERVICE), workers=MANY) for _ in range(size)]
    if kind == "429":
        nodes[0] = Throttled()
    elif kind == "500":
        nodes[0].sick = lambda _: True
    else:
        nodes[0].dead = lambda _: True
    # Without the blacklist: what is judged is the rule.
    run = play(maker, seed, nodes, ejection=EjectionPolicy(enforce=False))
    run.list_nodes()
    run.arrive(rate, 30.0)
    run.run(31.0)
    return 100.0 * run.share("n0", 5.0)


def frozen(maker: Callable[..., object], seed: int, size: int) -> float:
    """Count the calls that are begun on a node within two seconds after it froze."""
    nodes: list[FleetProvider] = [FleetProvider(exponential(FAST)) for _ in range(size)]
    nodes[0] = Frozen(exponential(FAST))
    run = play(maker, seed, nodes)
    run.list_nodes()
    run.arrive(300.0, 12.0)
    run.run(12.0)
    return float(sum(call.nodes[0] == "n0" for call in run.span(Frozen.since, 12.0)))


@cache
def well(maker: Callable[..., object], seed: int, size: int, rate: float) -> tuple[float, float]:
    """Give how uneven a fleet is called that is well, in percent, and its p99."""
    run = play(maker, seed, [FleetProvider(exponential(SERVICE)) for _ in range(size)])
    run.list_nodes()
    run.arrive(rate, 8000 / rate)
    run.run(8000 / rate + 3.0)
    went = [100.0 * run.share(name, 2.0) * size for name in run.providers]
    return 100.0 * pstdev(went) / fmean(went), run.percentile(0.99, 2.0)


def uneven(maker: Callable[..., object], seed: int, size: int, rate: float) -> float:
    """Give how uneven a fleet is called that is well, in percent."""
    return well(maker, seed, size, rate)[0]


def calm_tail(maker: Callable[..., object], seed: int, size: int, rate: float) -> float:
    """Give the p99 of a fleet that is well, of that of round robin."""
    return well(maker, seed, size, rate)[1] / well(RoundRobin, seed, size, rate)[1]


@dataclass(frozen=True, slots=True)
class Stage:
    """A scenario with its bar; the first case is the one that candidates are compared by."""

    name: str
    says: str
    """What the figure is."""
    bar: float
    figure: Callable[..., float]
    cases: dict[str, tuple[object, ...]]
    at_least: bool = False
    """Whether more is better."""
    beyond: frozenset[str] = frozenset()
    """Cases that exclude another bar, which the page reckons out; they are shown and not judged."""

    def measure(self, maker: Callable[..., object], case: str, seeds: int) -> list[float]:
        """Give the figure of each seed."""
        figure = partial(self.figure, maker)
        return [figure(seed, *self.cases[case]) for seed in range(1, seeds + 1)]
