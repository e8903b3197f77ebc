"""One plan, rehearsed: the callers' real list and balancer against providers that are queues.

A rehearsal plays calm, the canary and up to three batches, with restarts cut to seconds. What fails
or waits in a release does so in the moments after a batch has gone and while it is cold; the
minutes between tell nothing and would take most of the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from rpcguard._core.outcomes.verdict import Notice, Safety, Verdict
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.policies.slow_start import SlowStart
from rpcguard._planning.batches import duration
from rpcguard._planning.fleet import GOOD, START, FleetProvider, Simulation, never

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from rpcguard._planning.batches import Batch
    from rpcguard._planning.inputs import Fleet, PlannedNode, Rollout

MOST_NODES = 40
"""Nodes of a rehearsal; a larger fleet is played at scale."""
MOST_BATCHES = 4
"""Batches that are played. The ones after them would repeat them."""
CALM = 8.0  # seconds before the first batch: p99 of the release is compared with theirs
_LONGEST_AWAY = 4.0  # seconds; a longer absence only repeats itself
_LONGEST_COLD = 4.0  # seconds; a longer warm-up only repeats itself
_SHORTEST_PAUSE = 2.0  # seconds between batches, so that the queues of one are gone at the next
_TIMEOUT = 2.0  # seconds that a caller waits, as in the published tables
LEAVING = 1.0  # seconds for which a leaving node serves on and says so, as a preStop hook waits

_TIMED_OUT = Verdict("ReadTimeout", failed=True, safety=Safety.MAYBE, blame="failure")
_GOOD_AND_LEAVING = replace(GOOD, notice=Notice("signal", "X-RpcGuard-Offline", named=True))


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of a rehearsal."""

    calm: float
    """p99 of the calm before the release, in seconds."""
    p99: float
    """p99 of the release ÷ p99 of the calm before it."""
    lost: float
    """Calls of a million, over the whole release, that failed."""


def shortened(rollout: Rollout) -> Rollout:
    """Cut a rollout to what a rehearsal plays of it: seconds in place of minutes."""
    away, cold = min(rollout.away, _LONGEST_AWAY), min(rollout.cold, _LONGEST_COLD)
    return replace(
        rollout,
        away=away,
        cold=cold,
        slow_start=min(rollout.slow_start, 2.0 * _LONGEST_COLD),
        lag=min(rollout.lag, away),
        pause=max(min(rollout.between, cold), _SHORTEST_PAUSE),
    )


@dataclass(slots=True)
class _Restarted(FleetProvider):
    """A provider whose callers lose patience, and that says so when it is about to stop."""

    leaving: Callable[[float], bool] = never

    def serve(self, now: float, rng: random.Random) -> tuple[float, Verdict]:
        if self.dead(now):
            return FleetProvider.serve(self, now, rng)
        if len(self.busy) >= self.workers and self.busy[0] - now > _TIMEOUT:
            return now + _TIMEOUT, _TIMED_OUT
        end, verdict = FleetProvider.serve(self, now, rng)
        if end - now > _TIMEOUT:
            return now + _TIMEOUT, _TIMED_OUT
        return end, _GOOD_AND_LEAVING if verdict is GOOD and self.leaving(now) else verdict


class _Stage:
    """The fleet at its scale, with what is listed at the moment; the rollout is a short one."""

    def __init__(self, fleet: Fleet, rollout: Rollout, *, nodes: int, seed: int) -> None:
        chosen = fleet.nodes[:: max(len(fleet.nodes) // nodes, 1)][:nodes]
        self.nodes: dict[str, PlannedNode] = {node.id: node for node in chosen}
        self.listed: dict[str, PlannedNode] = dict(self.nodes)
        self.rollout = rollout
        self.service_time = fleet.service_time
        self.simulation = Simulation(
            {name: self._provider(fleet, node) for name, node in self.nodes.items()},
            policies=Policies(slow_start=SlowStart(window=rollout.slow_start)),
            callers=min(fleet.callers, MOST_NODES),
            seed=seed,
        )
        self.list_all()
        weight = sum(node.weight for node in self.nodes.values())
        self.rate: float = fleet.expected * weight * fleet.workers / fleet.service_time

    def _provider(self, fleet: Fleet, node: PlannedNode) -> FleetProvider:
        mean = fleet.service_time
        return _Restarted(
            seconds=lambda _, rng: rng.expovariate(1.0 / mean),
            workers=max(round(fleet.workers * node.weight), 1),
        )

    def list_all(self) -> None:
        """Tell every caller what is listed, as the registry would."""
        fields: dict[str, dict[str, object]] = {
            name: {"weight": node.weight, "zone": node.zone} for name, node in self.listed.items()
        }
        self.simulation.list_nodes(self.listed, **fields)

    def restart(self, names: Sequence[str], at: float) -> None:
        """Restart nodes at a time of the play: they leave, come back cold, and are listed again."""
        rollout = self.rollout
        stop = at + LEAVING if rollout.signal else at
        back = stop + rollout.away
        for name in names:
            provider = self.simulation.providers[name]
            assert isinstance(provider, _Restarted)
            provider.dead = lambda now: stop <= now - START < back
            if rollout.signal:
                provider.leaving = lambda now: at <= now - START < stop
            provider.seconds = partial(self._cold_seconds, back)
        begin = self.simulation.elapsed
        self.simulation.at(stop + rollout.lag - begin, partial(self._unlist, names))
        self.simulation.at(back + 0.1 - begin, partial(self._list_again, names))

    def _cold_seconds(self, back: float, now: float, rng: random.Random) -> float:
        cold = self.rollout.cold
        age = now - START - back
        factor = 1.0
        if cold and 0.0 <= age < cold:
            factor += (self.rollout.cold_factor - 1.0) * (1.0 - age / cold)
        return rng.expovariate(1.0 / (self.service_time * factor))

    def _unlist(self, names: Sequence[str]) -> None:
        for name in names:
            self.listed.pop(name, None)
        self.list_all()

    def _list_again(self, names: Sequence[str]) -> None:
        self.listed |= {name: self.nodes[name] for name in names}
        self.list_all()


def rehearse(fleet: Fleet, rollout: Rollout, batches: Sequence[Batch], *, seed: int) -> Rehearsed:
    """Play a release; the same seed gives the same figures.

    A fleet of more than 40 nodes is played with 40, batches cut likewise.
    """
    count = min(len(fleet.nodes), MOST_NODES)
    short = shortened(rollout)
    stage = _Stage(fleet, short, nodes=count, seed=seed)
    if not stage.rate:
        return Rehearsed(0.0, 1.0, 0.0)
    step = LEAVING * short.signal + short.away + short.between
    waiting, at, played = list(stage.nodes), CALM, 0
    for batch in batches[:MOST_BATCHES]:
        size = max(round(len(batch.nodes) * count / len(fleet.nodes)), 1)
        names, waiting = waiting[:size], waiting[size:]
        if not names:
            break
        stage.restart(names, at)
        at, played = at + step, played + 1
    stage.simulation.arrive(stage.rate, at)
    stage.simulation.run(at + _TIMEOUT)
    return _figures(stage, rollout, batches, played=played, end=at)


def _figures(
    stage: _Stage, rollout: Rollout, batches: Sequence[Batch], *, played: int, end: float
) -> Rehearsed:
    simulation = stage.simulation
    calm = simulation.percentile(0.99, 2.0, CALM)
    failed = sum(not call.good for call in simulation.span(CALM, end) if call.ended)
    whole = max(duration(rollout, batches), end - CALM)
    lost = 1e6 * failed * (len(batches) / played) / (stage.rate * whole)
    return Rehearsed(calm, simulation.percentile(0.99, CALM, end) / calm, lost)
