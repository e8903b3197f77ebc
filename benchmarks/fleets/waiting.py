"""What it is worth to let calls wait for a node that is back, after all nodes were away.

`python -m benchmarks.fleets.waiting [--seeds 3]`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.fleets.troubles import (
    BEGIN,
    LOAD,
    SERVICE,
    TIMEOUT,
    WORKERS,
    Callers,
    Run,
    Serving,
    list_all,
)
from benchmarks.lib.report import Section, Table
from rpcguard import RetryPolicy
from rpcguard._core.outcomes.verdict import Safety
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import exponential

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._planning.fleet import FleetCall

CALLERS, PROVIDERS = 40, 12
LOOK = 0.05  # seconds between two looks for a node that is back
LENGTH = 40.0


class WaitingCallers(Callers):
    """Callers that hold a call which found no node to connect to, and send it when one is back."""

    wait = 0.0
    waiting = most_waiting = 0

    def call(self, caller: int = 0, then: Callable[[], None] = lambda: None) -> None:
        made: list[FleetCall] = []
        super().call(caller, lambda: self._over(made[0], then))
        made.append(self.calls[-1])

    def _over(self, call: FleetCall, then: Callable[[], None]) -> None:
        unsent = call.verdict is not None and call.verdict.safety is Safety.UNCONNECTED
        if not unsent or self.now - call.at >= self.wait:
            then()
            return
        call.ended, self.waiting = False, self.waiting + 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        self.at(LOOK, lambda: self._look(call, then))

    def _look(self, call: FleetCall, then: Callable[[], None]) -> None:
        service = self.services[call.caller]
        late = self.now - call.at >= self.wait
        if not late and not any(one.state in ("available", "warming") for one in service.nodes()):
            self.at(LOOK, lambda: self._look(call, then))
            return
        self.waiting -= 1
        lease = None if late else service.pick(repeatable=True)
        if lease is None:
            call.ended = True
            then()
            return
        call.attempts = 0
        self._attempt(call, lease, (), lambda: self._over(call, then))


@dataclass(frozen=True, slots=True)
class Outage:
    """All providers away at once, for some seconds, and back one after the other."""

    words: str
    seconds: float
    spread: float
    """Seconds from the first that is back to the last."""

    def play(self, wait: float, seed: int) -> WaitingCallers:
        """Play it with callers that wait so long at most."""
        names = [f"n{at}" for at in range(PROVIDERS)]
        policies = Policies(retry=RetryPolicy(budget_floor=10.0 * PROVIDERS / CALLERS))
        simulation = WaitingCallers(
            {name: Serving(exponential(SERVICE), workers=WORKERS) for name in names},
            policies=policies,
            callers=CALLERS,
            seed=seed,
        )
        simulation.wait = wait
        run = Run(simulation, names)
        list_all(run, names)
        for at, name in enumerate(names):
            run.down([name], BEGIN, BEGIN + self.seconds + self.spread * at / (PROVIDERS - 1))
        simulation.arrive(LOAD * WORKERS * PROVIDERS / SERVICE, LENGTH)
        simulation.run(LENGTH + TIMEOUT * 2)
        return simulation


OUTAGES = (
    Outage("1 s, all back at once", 1.0, 0.0),
    Outage("3 s, all back at once", 3.0, 0.0),
    Outage("1 s, back within 6 s", 1.0, 6.0),
)


def waiting(seeds: int = 3) -> Section:
    """Play each outage with callers that do not wait, and with some that do."""
    table = Table(["all away for", "wait", "calls lost", "of them timed out", "held at once"])
    for outage in OUTAGES:
        for wait in (0.0, 0.5, 1.0, 2.0):
            runs = [outage.play(wait, seed) for seed in range(1, seeds + 1)]
            lost = [[call for call in run.span(BEGIN, LENGTH) if not call.good] for run in runs]
            late = [
                [one for one in some if one.verdict and one.verdict.outcome == "ReadTimeout"]
                for some in lost
            ]
            figures = (lost, late)
            means = [sum(map(len, some)) / seeds for some in figures]
            held = sum(run.most_waiting for run in runs) / seeds
            cells = [f"{one:,.0f}" for one in (*means, held)]
            table.rows.append([outage.words, f"{wait:g} s", *cells])
    about = (
        f"{CALLERS} callers and {PROVIDERS} providers by events, {LOAD:.0%} of what they can bear, "
        f"timeout {TIMEOUT:.0f} s, means of {seeds} runs."
    )
    return Section("Calls that wait for a node that is back", about, table)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    print(waiting(parser.parse_args().seeds).text(), flush=True)


if __name__ == "__main__":
    main()
