"""What a simulated fleet is made of, and the troubles that it gets into."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rpcguard._core.outcomes.verdict import Safety, Verdict
from rpcguard._planning.fleet import START, FleetCall, FleetProvider, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICE = 0.05
WORKERS = 4
LOAD = 0.5
TIMEOUT = 2.0
BEGIN, END, LENGTH = 15.0, 30.0, 50.0
TIMED_OUT = Verdict("ReadTimeout", failed=True, safety=Safety.MAYBE, blame="failure")


@dataclass
class Serving(FleetProvider):
    """Serve, but not for callers that have lost patience; `errors` is a share by time."""

    errors: Callable[[float], float] = lambda _: 0.0

    def serve(self, now: float, rng: random.Random) -> tuple[float, Verdict]:
        if len(self.busy) >= self.workers and self.busy[0] - now > TIMEOUT:
            return now + TIMEOUT, TIMED_OUT
        self.error_rate = self.errors(now - START)
        end, verdict = super().serve(now, rng)
        return (now + TIMEOUT, TIMED_OUT) if end - now > TIMEOUT else (end, verdict)


class Callers(Simulation):
    """Let all balancers have the same calls, each of the same length.

    Without common luck the difference between two balancers drowns in the difference between two
    runs.
    """

    def luck(self, call: FleetCall) -> random.Random:
        return random.Random(hash((call.caller, call.at, len(call.nodes))))


@dataclass(slots=True)
class Run:
    """Hold what is simulated while a scenario is set up."""

    simulation: Simulation
    names: list[str]

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
        run.simulation.at(away + 0.5, partial(list_all, run, left))
        run.simulation.at(away + 2.5, partial(list_all, run, run.names))


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


def list_all(run: Run, names: list[str]) -> None:
    """Let the registry list these providers, in three zones."""
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
