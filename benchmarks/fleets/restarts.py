"""Play a mass restart, in which capacity is short, by what a try counts that could not connect.

`python -m benchmarks.fleets.restarts [--seeds 9] [--write]`. Beside it the rolling release, in
which there is room for every call. Five minutes on one core.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.fleets.guards import GUARDED, NO_GUARD, PAGE, Fleet, GuardedCallers
from benchmarks.fleets.troubles import BEGIN, LENGTH, mass_restart, rolling_release
from benchmarks.lib.report import Table, write_between
from rpcguard._text import quantile

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.outcomes.verdict import Verdict
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._planning.fleet import FleetCall


class Counting(GuardedCallers):
    """Callers to which a try that could not connect is an attempt like any other."""

    def _answer(
        self,
        call: FleetCall,
        lease: Lease,
        tried: tuple[LiveNode, ...],
        verdict: Verdict,
        then: Callable[[], None],
    ) -> None:
        call.attempts += verdict.blame == "connect"
        super()._answer(call, lease, tried, verdict, then)


@dataclass(frozen=True, slots=True)
class Came:
    """What one run came to, from the begin of the trouble on."""

    answered: float
    """Calls a second."""
    tail: float
    """p99 of the answered ones, in seconds."""
    refused: float
    """The share that was told at once: no other node, or too many calls."""
    late: float
    """The share that waited for its timeout in vain."""


def came(run: GuardedCallers) -> Came:
    """Read off a run what became of its calls."""
    calls = run.span(BEGIN, LENGTH)
    good = sorted(call.seconds for call in calls if call.good)
    late = sum(call.verdict is not None and call.verdict.outcome == "ReadTimeout" for call in calls)
    return Came(
        answered=len(good) / (LENGTH - BEGIN),
        tail=quantile(good, 0.99),
        refused=1.0 - (len(good) + late) / len(calls),
        late=late / len(calls),
    )


RULES: dict[str, tuple[type[GuardedCallers], Policies]] = {
    "it counts for nothing (default)": (GuardedCallers, NO_GUARD),
    "it counts as an attempt": (Counting, NO_GUARD),
    "for nothing, `throttle` and `adaptive`": (GuardedCallers, GUARDED),
}


def restarts(callers: int, providers: int, seeds: int) -> Table:
    """Play each rule with the same calls."""
    columns = "a try that cannot connect", "answered/s", "their p99", "refused at once", "in vain"
    table = Table([*columns, "rolling release: failed"])
    for name, (kind, policies) in RULES.items():
        fleet = Fleet(callers, providers, seeds, kind)
        numbers = range(1, seeds + 1)
        runs = [came(fleet.play(mass_restart, policies, seed=seed)) for seed in numbers]
        calm = [came(fleet.play(rolling_release, policies, seed=seed)) for seed in numbers]
        failed = mean(one.refused + one.late for one in calm)
        cells = [f"{mean(one.answered for one in runs):,.0f}"]
        cells += [f"{mean(one.tail for one in runs):.2f} s"]
        shares = mean(one.refused for one in runs), mean(one.late for one in runs), failed
        table.rows.append([name, *cells, *(f"{share:.2%}" for share in shares)])
        print(*table.rows[-1], sep=" | ", flush=True)
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=300)
    parser.add_argument("--providers", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="put the table on its page")
    given = parser.parse_args()
    table = restarts(given.callers, given.providers, given.seeds)
    if given.write:
        write_between(PAGE, "restarts", table.markdown())


if __name__ == "__main__":
    main()
