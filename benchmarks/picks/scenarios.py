"""The bars of the default balancer: what each scenario is to come to, and in which cases."""

from __future__ import annotations

from benchmarks.picks import stages
from benchmarks.picks.stages import Stage

FLIGHTS = (10, 1, 100)
WEIGHTS = {"100:1": (100, 1), "3:1": (3, 1), "10:1": (10, 1), "4:1:1": (4, 1, 1)}
FLEETS: dict[str, tuple[object, ...]] = {
    "10 nodes, 10 callers": (10, 10, 0.5),
    "10 nodes, 1 caller": (10, 1, 0.5),
    "10 nodes, 100 callers": (10, 100, 0.5),
    "100 nodes, 1 caller": (100, 1, 0.5),
    "100 nodes, 10 callers": (100, 10, 0.5),
}
SMALL: dict[str, tuple[object, ...]] = {
    "3 nodes, 1 caller": (3, 1, 0.4),
    "3 nodes, 10 callers": (3, 10, 0.4),
    "2 nodes, 1 caller": (2, 1, 0.4),
}
ARRIVALS: dict[str, tuple[object, ...]] = {
    "10 nodes, 200 calls/s": (10, 200.0),
    "10 nodes, 20 calls/s": (10, 20.0),
    "2 nodes, 20 calls/s": (2, 20.0),
    "3 nodes, 200 calls/s": (3, 200.0),
}
SCENARIOS = {
    "weights": Stage(
        "Weights",
        "distance of the worst share from its weight's, 1 is a fifth or one point",
        1.0,
        stages.weights,
        {
            f"{name}, {flight} in flight": (given, flight)
            for flight in FLIGHTS
            for name, given in WEIGHTS.items()
        },
    ),
    "slow-first": Stage(
        "One slow first answer",
        "share of an equal one after 3 s, 30 calls or 5 rounds",
        0.5,
        stages.slow_first,
        {
            "2 nodes, 25 calls/s, 1 s": (2, 25.0, 1.0),
            "2 nodes, 25 calls/s, 0.1 s": (2, 25.0, 0.1),
            "2 nodes, 25 calls/s, 0.3 s": (2, 25.0, 0.3),
            "2 nodes, 25 calls/s, 5 s": (2, 25.0, 5.0),
            "10 nodes, 20 calls/s, 1 s": (10, 20.0, 1.0),
            "10 nodes, 200 calls/s, 5 s": (10, 200.0, 5.0),
            "100 nodes, 200 calls/s, 1 s": (100, 200.0, 1.0),
        },
        at_least=True,
    ),
    "cold-share": Stage(
        "A cold node, its share",
        "least share of its ramp in any 10 s after the first 5",
        0.5,
        stages.cold_share,
        {"3 nodes, 65 calls/s": (3, 65.0), "10 nodes, 200 calls/s": (10, 200.0)},
        at_least=True,
    ),
    "cold-time": Stage(
        "A cold node, until it is warm",
        "time of its first 20 calls, of RoundRobin's",
        1.5,
        stages.cold_time,
        {"3 nodes, 65 calls/s": (3, 65.0), "10 nodes, 200 calls/s": (10, 200.0)},
    ),
    "mixed": Stage(
        "Calls of mixed length",
        "p99 of the slowdown, of LeastRequests'",
        1.1,
        stages.mixed,
        {
            "30 and 500 ms": (stages.two_lengths,),
            "exponential": (None,),
            "Pareto 1.5": (stages.pareto,),
            "1 and 100": (stages.one_in_hundred, stages.RARE),
        },
    ),
    "slow-tail": Stage(
        "A node ten times slower, p99",
        "p99 of all calls, of a call that waits for no other",
        1.29,
        stages.slow_tail,
        FLEETS,
    ),
    "slow-share": Stage(
        "A node ten times slower, its share",
        "share of an equal one",
        0.1,
        stages.slow_share,
        FLEETS | SMALL,
    ),
    "recovered": Stage(
        "A node recovers",
        "share of an equal one, 10 s after a minute of being ten times slower",
        0.8,
        stages.recovered,
        {
            "10 nodes, 1 caller, 20 calls/s": (10, 1, 20.0),
            "10 nodes, 4 callers, 200 calls/s": (10, 4, 200.0),
            "3 nodes, 1 caller, 20 calls/s": (3, 1, 20.0),
            "10 nodes, 10 callers, 20 calls/s": (10, 10, 20.0),
        },
        at_least=True,
        beyond=frozenset({"10 nodes, 10 callers, 20 calls/s"}),
    ),
    "failing": Stage(
        "A node answers 500 at once",
        "its share of all attempts, %, without the blacklist",
        2.0,
        stages.failing,
        {"2 nodes, 20 calls/s": ("500", 2, 20.0), "5 nodes, 200 calls/s": ("500", 5, 200.0)},
    ),
    "refused": Stage(
        "A node refuses connections",
        "its share of all attempts, %, without the blacklist",
        2.0,
        stages.failing,
        {
            "2 nodes, 20 calls/s": ("refused", 2, 20.0),
            "5 nodes, 200 calls/s": ("refused", 5, 200.0),
        },
    ),
    "throttled": Stage(
        "A node answers 429 at once",
        "its share of all attempts, %",
        10.0,
        stages.failing,
        {"2 nodes, 20 calls/s": ("429", 2, 20.0), "5 nodes, 200 calls/s": ("429", 5, 200.0)},
    ),
    "frozen": Stage(
        "A node freezes",
        "calls begun on it in the next 2 s, at 300 a second",
        5.0,
        stages.frozen,
        {"10 nodes": (10,), "3 nodes": (3,), "2 nodes": (2,)},
    ),
    "even": Stage(
        "All well, evenness",
        "coefficient of variation of calls per node, %",
        3.0,
        stages.uneven,
        ARRIVALS,
    ),
    "calm": Stage(
        "All well, p99",
        "p99, of RoundRobin's",
        1.03,
        stages.calm_tail,
        ARRIVALS,
    ),
}
