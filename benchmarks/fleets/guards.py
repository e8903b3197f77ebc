"""A fleet under overload, with and without the guards: throttle and hedges, by the bars they have.

`python -m benchmarks.fleets.guards [--callers 40] [--providers 12]`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.fleets.troubles import (
    BEGIN,
    END,
    LENGTH,
    LOAD,
    SERVICE,
    TIMEOUT,
    WORKERS,
    Callers,
    Run,
    Serving,
    brown_out,
    healthy,
    list_all,
)
from benchmarks.lib.report import Check, Section, Table
from rpcguard import Hedge, OverloadPolicy, RetryPolicy, Throttle
from rpcguard._core.nodes.live import Lease
from rpcguard._core.outcomes.verdict import outrun
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import START, FleetCall, exponential

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.outcomes.verdict import Verdict

NO_GUARD = Policies()
THROTTLE = Policies(overload=OverloadPolicy(throttle=Throttle()))
HEDGES = Policies(hedge=Hedge())
BOTH = replace(THROTTLE, hedge=Hedge())


class GuardedCallers(Callers):
    """Callers that refuse and hedge as their services tell them to.

    What is outrun goes on at its provider: nobody can call back what has arrived there.
    """

    refused = hedged = 0

    def call(self, caller: int = 0, then: Callable[[], None] = lambda: None) -> None:
        service = self.services[caller]
        limiter = service.limiter
        if limiter is not None and limiter.refuse(service.calls + 1, self.now) is not None:
            self.refused += 1
            self.calls.append(FleetCall(self.now, caller, ended=True))
            then()
            return
        super().call(caller, then)

    def _attempt(
        self, call: FleetCall, lease: Lease, tried: tuple[LiveNode, ...], then: Callable[[], None]
    ) -> None:
        hedger = self.services[call.caller].hedger
        if tried or hedger is None or hedger.delay is None:
            super()._attempt(call, lease, tried, then)
            return
        running: list[Lease] = []
        self._run(call, lease, running, then)
        self.at(hedger.delay, lambda: self._hedge(call, lease, running, then))

    def _run(
        self, call: FleetCall, lease: Lease, running: list[Lease], then: Callable[[], None]
    ) -> None:
        name = lease.live.node.id
        call.nodes.append(name)
        running.append(lease)
        end, verdict = self.providers[name].serve(self.now, self.luck(call))
        self.at(end - self.now, lambda: self._ended(call, lease, running, verdict, then))

    def _hedge(
        self, call: FleetCall, lease: Lease, running: list[Lease], then: Callable[[], None]
    ) -> None:
        if lease not in running:
            return
        second = self.services[call.caller].hedge(lease)
        if isinstance(second, Lease):
            self.hedged += 1
            call.attempts += 1
            self._run(call, second, running, then)

    def _ended(
        self,
        call: FleetCall,
        lease: Lease,
        running: list[Lease],
        verdict: Verdict,
        then: Callable[[], None],
    ) -> None:
        if lease not in running:
            return  # it was outrun
        running.remove(lease)
        service = self.services[call.caller]
        if verdict.failed and running:
            service.settle(lease, verdict)
            service.release(lease)
            return
        for other in running:
            service.settle(other, outrun())
            service.release(other)
        running.clear()
        self._answer(call, lease, (), verdict, then)


def more_load(run: Run) -> None:
    """Let 1.9 times as many calls come for a while."""
    simulation, rate = run.simulation, LOAD * WORKERS * len(run.names) / SERVICE
    simulation.at(BEGIN, lambda: simulation.arrive(0.9 * rate, END - BEGIN))


def all_sick(run: Run) -> None:
    """Let all providers answer 500 at once, for a minute."""
    for name in run.names:
        run.simulation.providers[name].sick = lambda now: BEGIN <= now - START < BEGIN + 60.0


def one_in_a_hundred(run: Run) -> None:
    """Let one call in a hundred take twenty times as long."""
    for name in run.names:
        run.simulation.providers[name].seconds = lambda _, rng: (
            rng.expovariate(1.0 / SERVICE) * (20.0 if rng.random() < 0.01 else 1.0)
        )


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many callers and providers are played."""

    callers: int = 40
    providers: int = 12

    @property
    def bearable(self) -> float:
        """Give the calls a second that all providers can serve."""
        return WORKERS * self.providers / SERVICE

    def play(
        self, scenario: Callable[[Run], None], policies: Policies, length: float = LENGTH
    ) -> GuardedCallers:
        """Play a scenario under some policies."""
        names = [f"n{at}" for at in range(self.providers)]
        nodes = {name: Serving(exponential(SERVICE), workers=WORKERS) for name in names}
        floor = RetryPolicy(budget_floor=10.0 * self.providers / self.callers)
        simulation = GuardedCallers(
            dict(nodes), policies=replace(policies, retry=floor), callers=self.callers, seed=1
        )
        run = Run(simulation, names)
        list_all(run, names)
        scenario(run)
        simulation.arrive(LOAD * self.bearable, length)
        simulation.run(length + TIMEOUT * 2)
        return simulation


def _answered(run: Callers, since: float, until: float) -> int:
    # A 500 of a provider's own is an answer in time: the caller's guard is not to blame for it.
    calls = run.span(since, until)
    return sum(one.verdict is not None and one.verdict.outcome in ("200", "500") for one in calls)


def _sent(run: Callers, since: float, until: float) -> float:
    calls = run.span(since, until)
    return sum(len(call.nodes) for call in calls) / len(calls)


def _back(run: Callers, since: float, good: float) -> float:
    """Give the seconds after which no second had fewer good calls than this share."""
    bad = since
    for second in range(int(since), int(run.calls[-1].at - START)):
        part = run.span(second, second + 1)
        if sum(call.good for call in part) < good * len(part):
            bad = second + 1.0
    return bad - since


def _failed(run: Callers, since: float, until: float) -> float:
    calls = run.span(since, until)
    return sum(not call.good for call in calls) / len(calls)


def overload_guards(callers: int = 40, providers: int = 12) -> Section:
    """Play each trouble with its guard and without, and hold the guarded one against its bar."""
    fleet = Fleet(callers, providers)
    table = Table(["", "bar", "no guard", "guarded", "met"])
    checks: list[Check] = []

    def row(what: str, bar: float, without: float, guarded: float, *, least: bool = False) -> None:
        met = guarded >= bar if least else guarded <= bar
        sign = "≥" if least else "≤"
        cells = [f"{sign} {bar:g}", f"{without:.3f}", f"{guarded:.3f}", "yes" if met else "no"]
        table.rows.append([what, *cells])
        checks.append(Check(what, bar / guarded if least else guarded, 1.0 if least else bar))

    for name, scenario, bearable in (
        ("2.5 times slower, 20 % errors", brown_out, fleet.bearable / 2.5),
        ("1.9 times the load", more_load, fleet.bearable),
    ):
        plain, guarded = fleet.play(scenario, NO_GUARD), fleet.play(scenario, THROTTLE)
        most = min(bearable * (END - BEGIN), float(len(guarded.span(BEGIN, END))))
        shares = [_answered(one, BEGIN, END) / most for one in (plain, guarded)]
        row(f"{name}: answered in time ÷ bearable", 0.95, *shares, least=True)
        shares = [_sent(one, BEGIN, END) for one in (plain, guarded)]
        row(f"{name}: sent ÷ asked", 1.05, *shares)
        shares = [_back(one, END, 0.99) for one in (plain, guarded)]
        row(f"{name}: seconds until 99 % are good", 5.0, *shares)
    plain, guarded = (fleet.play(all_sick, one, 90.0) for one in (NO_GUARD, THROTTLE))
    row("all answer 500: sent ÷ asked", 0.25, *(_sent(one, 25.0, 75.0) for one in (plain, guarded)))
    shares = [_back(one, 75.0, 0.95) for one in (plain, guarded)]
    row("all answer 500: seconds until 95 % are good", 5.0, *shares)
    plain, guarded = (fleet.play(one_in_a_hundred, one) for one in (NO_GUARD, HEDGES))
    tails = [one.percentile(0.999, BEGIN, LENGTH) for one in (plain, guarded)]
    row("1 % of calls 20 times slower: p99.9 ÷ without hedges", 0.3, 1.0, tails[1] / tails[0])
    plain, guarded = (fleet.play(brown_out, one) for one in (NO_GUARD, HEDGES))
    shares = [_failed(one, BEGIN, END) for one in (plain, guarded)]
    row("2.5 times slower, hedges: failed more than without", 0.02, 0.0, shares[1] - shares[0])
    calm = fleet.play(healthy, BOTH)
    row("all well: calls refused", 0.0, 0.0, float(calm.refused))
    row("all well: hedges per call", 0.05, 0.0, calm.hedged / len(calm.calls))
    about = (
        f"{callers} callers and {providers} providers by events, {LOAD:.0%} of what they can bear, "
        f"exponential around {SERVICE * 1000:.0f} ms, timeout {TIMEOUT:.0f} s, trouble from "
        f"{BEGIN:.0f} to {END:.0f} s, one run each. Guarded: `Throttle()`, and `Hedge()` where the "
        "row says so. An answer of 500 counts as answered in time: it is the provider's own."
    )
    return Section("Guards under overload", about, table, checks)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=40)
    parser.add_argument("--providers", type=int, default=12)
    given = parser.parse_args()
    print(overload_guards(given.callers, given.providers).text(), flush=True)


if __name__ == "__main__":
    main()
