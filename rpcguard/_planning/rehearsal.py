"""One plan, rehearsed: the callers' real list and balancer against providers that are queues.

A rehearsal plays calm and up to four batches, the one that leaves the least among them, with
restarts cut to seconds. What waits in a release does so in the moments after a batch has gone and
while it is cold; the minutes between tell nothing and would take most of the time. What is lost by
an overload grows with its length, so there the formula of `batches` knows more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from rpcguard._core.outcomes.verdict import Notice, Safety, Verdict
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.policies.slow_start import SlowStart
from rpcguard._planning.batches import duration, lefts
from rpcguard._planning.fleet import ATTEMPTS, GOOD, START, FleetProvider, Simulation, never
from rpcguard._text import quantile

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
_SETTLED = 2.0  # seconds of it after which the callers know the nodes
_LONGEST_AWAY = 4.0  # seconds; a longer absence only repeats itself
_LONGEST_COLD = 4.0  # seconds; a longer warm-up only repeats itself
_SHORTEST_PAUSE = 2.0  # seconds between batches, so that the queues of one are gone at the next
_TIMEOUT = 2.0  # seconds that a caller waits, as in the published tables
_QUICK = 0.15
"""Seconds of a call for which the times above are made; slower calls have them all stretched, else
a caller would not wait for one."""
_MOST_RATE = 2000.0
"""Calls a second that are played, so that a row takes seconds. Of a fleet with more, each call is
played slower: queues are of so many calls, whatever these take."""
_ENOUGH = 1000
"""Calls of calm that tell a p99; less are played again with other chances, a few times."""
_MOST_ROUNDS = 8  # times that a release with few calls is played
_FEW = 100  # calls of calm below which there is no p99 to speak of, so none is told
_LISTED_AFTER = 0.1  # seconds from a node's first answer to the news of it
LEAVING = 1.0  # seconds for which a leaving node serves on and says so, as a preStop hook waits

_TIMED_OUT = Verdict("ReadTimeout", failed=True, safety=Safety.MAYBE, blame="failure")
_GOOD_AND_LEAVING = replace(GOOD, notice=Notice("signal", "X-RpcGuard-Offline", named=True))


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of a rehearsal."""

    calm: float
    """p99 of the calm before the release, in seconds."""
    p99: float
    """p99 of the release ÷ p99 of the calm before it; NaN where too few call to tell."""
    lost: float
    """Calls of a million, over the whole release, that failed."""


def pace_of(service_time: float) -> float:
    """Give how many times as long a rehearsal of slow calls takes."""
    return max(1.0, service_time / _QUICK)


def shortened(rollout: Rollout, *, pace: float = 1.0) -> Rollout:
    """Cut a rollout to what a rehearsal plays of it: seconds in place of minutes.

    A pause that is too short to get warm stays in proportion.
    """
    away, cold = min(rollout.away, pace * _LONGEST_AWAY), min(rollout.cold, pace * _LONGEST_COLD)
    pause = max(cold, pace * _SHORTEST_PAUSE)
    if rollout.between < rollout.cold:
        pause = rollout.between * cold / rollout.cold
    return replace(
        rollout,
        away=away,
        cold=cold,
        slow_start=min(rollout.slow_start, 2.0 * pace * _LONGEST_COLD),
        lag=min(rollout.lag, away),
        pause=pause,
    )


@dataclass(slots=True)
class _Restarted(FleetProvider):
    """A provider whose callers lose patience, and that says so when it is about to stop."""

    leaving: Callable[[float], bool] = never
    patience: float = _TIMEOUT
    mean: float = 0.0

    def serve(self, now: float, rng: random.Random) -> tuple[float, Verdict]:
        if self.dead(now):
            return FleetProvider.serve(self, now, rng)
        if len(self.busy) >= self.workers and self.busy[0] - now > self.patience:
            return now + self.patience, _TIMED_OUT
        end, verdict = FleetProvider.serve(self, now, rng)
        if end - now > self.patience:
            return now + self.patience, _TIMED_OUT
        return end, _GOOD_AND_LEAVING if verdict is GOOD and self.leaving(now) else verdict


class _Stage:
    """The fleet at its scale, with what is listed at the moment; the rollout is a short one.

    Nodes have names of the stage's own: their ids may be no host names.
    """

    def __init__(
        self, fleet: Fleet, rollout: Rollout, nodes: Sequence[PlannedNode], *, seed: int
    ) -> None:
        self.nodes: dict[str, PlannedNode] = {f"n{at}": node for at, node in enumerate(nodes)}
        self.listed: dict[str, PlannedNode] = dict(self.nodes)
        self.rollout = rollout
        self.mean: float = fleet.weight / len(fleet.nodes)
        shapes = {
            name: _shape(fleet.workers * node.weight / self.mean)
            for name, node in self.nodes.items()
        }
        capacity = sum(workers / slower for workers, slower in shapes.values())
        asked = fleet.expected * capacity / fleet.service_time
        self.rate: float = min(asked, _MOST_RATE)
        self.service_time = fleet.service_time * asked / self.rate
        self.patience = _TIMEOUT * pace_of(self.service_time)
        self.simulation = Simulation(
            {name: self._provider(*shape) for name, shape in shapes.items()},
            policies=Policies(slow_start=SlowStart(window=rollout.slow_start)),
            callers=min(fleet.callers, MOST_NODES),
            seed=seed,
        )
        self.list_all()

    def _provider(self, workers: int, slower: float) -> _Restarted:
        mean = self.service_time * slower
        return _Restarted(
            seconds=lambda _, rng: rng.expovariate(1.0 / mean),
            workers=workers,
            patience=self.patience,
            mean=mean,
        )

    def list_all(self) -> None:
        """Tell every caller what is listed, as the registry would."""
        fields: dict[str, dict[str, object]] = {
            name: {"weight": node.weight / self.mean, "zone": node.zone}
            for name, node in self.listed.items()
        }
        self.simulation.list_nodes(self.listed, **fields)

    def restart(self, names: Sequence[str], at: float, *, surge: int, until: float) -> None:
        """Restart nodes at a time of the play: they leave, come back cold, and are listed again.

        New ones come in place of the first `surge`, which leave when the next batch does.
        """
        back = at + LEAVING * self.rollout.signal + self.rollout.away
        fresh = {f"{name}-fresh": name for name in names[:surge]}
        for new, old in fresh.items():
            self.nodes[new] = self.nodes[old]
            self.simulation.providers[new] = replace(self._at(old), busy=[], dead=never)
        self._leave(names[surge:], at)
        self._come([*names[surge:], *fresh], back)
        self._leave(names[:surge], until)

    def _at(self, name: str) -> _Restarted:
        provider = self.simulation.providers[name]
        assert isinstance(provider, _Restarted)
        return provider

    def _leave(self, names: Sequence[str], at: float) -> None:
        stop = at + LEAVING * self.rollout.signal
        for name in names:
            provider = self._at(name)
            provider.dead = lambda now: now - START >= stop
            provider.leaving = lambda now: at <= now - START < stop
        self._later(stop + self.rollout.lag, partial(self._unlist, names))

    def _come(self, names: Sequence[str], back: float) -> None:
        """Let nodes answer from a time on, cold at first."""
        for name in names:
            provider = self._at(name)
            provider.dead = partial(_until, provider.dead, back)
            provider.seconds = partial(self._cold_seconds, provider.mean, back)
        self._later(back + _LISTED_AFTER, partial(self._list_again, names))

    def _later(self, at: float, action: Callable[[], None]) -> None:
        self.simulation.at(at - self.simulation.elapsed, action)

    def _cold_seconds(self, mean: float, back: float, now: float, rng: random.Random) -> float:
        cold = self.rollout.cold
        age = now - START - back
        factor = 1.0
        if cold and 0.0 <= age < cold:
            factor += (self.rollout.cold_factor - 1.0) * (1.0 - age / cold)
        return rng.expovariate(1.0 / (mean * factor))

    def _unlist(self, names: Sequence[str]) -> None:
        for name in names:
            self.listed.pop(name, None)
        self.list_all()

    def _list_again(self, names: Sequence[str]) -> None:
        self.listed |= {name: self.nodes[name] for name in names}
        self.list_all()


def _until(dead: Callable[[float], bool], back: float, now: float) -> bool:
    return dead(now) and now - START < back


def _shape(workers: float) -> tuple[int, float]:
    """Give whole workers of the same capacity, and how many times as long a call takes them.

    A node that is worth less than half a worker is played as half of one, not slower still.
    """
    whole = max(round(workers), 1)
    return whole, min(whole / workers, 2.0)


@dataclass(frozen=True, slots=True)
class _Play:
    """What calls took in one play, in seconds, and how many of a million failed."""

    calm: list[float]
    release: list[float]
    lost: float


def rehearse(fleet: Fleet, rollout: Rollout, batches: Sequence[Batch], *, seed: int) -> Rehearsed:
    """Play a release; the same seed gives the same figures.

    A fleet of more than 40 nodes is played with 40, batches cut likewise.
    """
    if not fleet.expected:
        return Rehearsed(0.0, 1.0, 0.0)
    plays: list[_Play] = []
    for number in range(_MOST_ROUNDS):
        plays.append(_play(fleet, rollout, batches, seed=seed + 1000 * number))
        if sum(len(play.calm) for play in plays) >= _ENOUGH:
            break
    calm = sorted(seconds for play in plays for seconds in play.calm)
    release = sorted(seconds for play in plays for seconds in play.release)
    slow = quantile(calm, 0.99)
    ratio = quantile(release, 0.99) / slow if len(calm) >= _FEW else math.nan
    return Rehearsed(slow, ratio, fmean(play.lost for play in plays))


def _play(fleet: Fleet, rollout: Rollout, batches: Sequence[Batch], *, seed: int) -> _Play:
    pace = pace_of(fleet.service_time)
    short = shortened(rollout, pace=pace)
    order = [node for batch in batches for node in batch.nodes]
    scale = min(MOST_NODES / len(order), 1.0)
    chosen = [order[int(at / scale)] for at in range(round(len(order) * scale))]
    stage = _Stage(fleet, short, chosen, seed=seed)
    step = LEAVING * short.signal + short.away + short.between
    first = _first_played(fleet, rollout, batches)
    waiting = list(stage.nodes)[round(sum(len(one.nodes) for one in batches[:first]) * scale) :]
    at, played = pace * CALM, 0
    for batch in batches[first : first + MOST_BATCHES]:
        size = max(round(len(batch.nodes) * scale), 1)
        names, waiting = waiting[:size], waiting[size:]
        if not names:
            break
        surge = min(math.ceil(rollout.surge * scale), len(names))
        stage.restart(names, at, surge=surge, until=at + step)
        at, played = at + step, played + 1
    simulation = stage.simulation
    simulation.arrive(stage.rate, at)
    simulation.run(at + ATTEMPTS * stage.patience)
    failed = sum(not call.good for call in simulation.span(pace * CALM, at))
    whole = max(duration(rollout, batches), at - pace * CALM)
    lost = 1e6 * failed * (len(batches) / played) / (stage.rate * whole)
    calm = simulation.durations(pace * _SETTLED, pace * CALM)
    return _Play(calm, simulation.durations(pace * CALM, at), lost)


def _first_played(fleet: Fleet, rollout: Rollout, batches: Sequence[Batch]) -> int:
    """Give the batch to begin with, so that the one that leaves the least is played."""
    used = lefts(fleet, rollout, batches)
    return max(used.index(max(used)) - MOST_BATCHES + 1, 0)
