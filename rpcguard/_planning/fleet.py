"""Play callers and providers by events: the real list and balancer, an invented clock.

Providers are queues with a few workers; callers are one `Service` each, as they would be in many
processes. Nothing waits, so an hour takes seconds, and a seed repeats a run exactly.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from rpcguard._core.balancing.least_loaded import LeastLoaded
from rpcguard._core.nodes.live import Lease
from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._core.outcomes.verdict import Safety, Verdict
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.service.service import Service
from rpcguard._text import quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.effects import Event

GOOD = Verdict("200", failed=False, safety=Safety.NEVER, blame="none", good=True)
SICK = Verdict("500", failed=True, safety=Safety.MAYBE, blame="failure")
REFUSED = Verdict("ConnectError", failed=True, safety=Safety.UNCONNECTED, blame="connect")

EPOCH = 1_700_000_000.0
"""Seconds since 1970 at the start of a play: any plausible date will do."""
START = 1000.0
"""Seconds on the monotonic clock at the start: not zero, since zero hides a missing time."""
ATTEMPTS = 2
"""As `RetryPolicy` has them by default."""
MOST_TRIES = 20
"""Nodes of a call at the most. A try that could not connect is no attempt: it left nothing."""


def _begun(call: FleetCall) -> float:
    return call.at


def always(_: float) -> bool:
    return True


def never(_: float) -> bool:
    return False


def steady(seconds: float) -> Callable[[float, random.Random], float]:
    """Serve every call in the same time."""
    return lambda _, __: seconds


def exponential(seconds: float) -> Callable[[float, random.Random], float]:
    """Serve a call in an exponentially distributed time."""
    return lambda _, rng: rng.expovariate(1.0 / seconds)


@dataclass(slots=True)
class FleetProvider:
    """A queue with a few workers; `sick` answers 500 at once, `dead` refuses."""

    seconds: Callable[[float, random.Random], float] = field(default_factory=lambda: steady(0.05))
    workers: int = 4  # calls at once: few, so that a queue forms and shows who is overloaded
    sick: Callable[[float], bool] = never
    dead: Callable[[float], bool] = never
    error_rate: float = 0.0
    busy: list[float] = field(default_factory=list)

    def serve(self, now: float, rng: random.Random) -> tuple[float, Verdict]:
        """Give when a call that arrives now is answered, and how."""
        if self.dead(now):
            return now + 0.001, REFUSED
        if self.sick(now):
            return now + 0.002, SICK
        start = now
        if len(self.busy) >= self.workers:
            start = max(now, heapq.heappop(self.busy))
        end = start + self.seconds(now, rng)
        heapq.heappush(self.busy, end)
        failed = self.error_rate and rng.random() < self.error_rate
        return end, SICK if failed else GOOD


@dataclass(slots=True)
class FleetCall:
    """One call: when it began, how long it took, the nodes it went to and its end."""

    at: float
    caller: int
    seconds: float = 0.0
    nodes: list[str] = field(default_factory=list)
    attempts: int = 0
    verdict: Verdict | None = None
    ended: bool = False

    @property
    def good(self) -> bool:
        return self.verdict is not None and self.verdict.good


class Simulation:
    """A play of callers against providers; also the effects of the callers' services."""

    def __init__(
        self,
        providers: dict[str, FleetProvider],
        *,
        policies: Policies | None = None,
        callers: int = 1,
        seed: int = 1,
        repeatable: bool = True,
    ) -> None:
        self.now = START
        self.rng = random.Random(seed)
        self.providers = providers
        self.repeatable = repeatable
        self.calls: list[FleetCall] = []
        self.events: list[tuple[float, Event]] = []
        self._order = count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.services = [
            self._caller(policies or Policies(), random.Random(seed * 1000 + number))
            for number in range(callers)
        ]

    def _caller(self, policies: Policies, rng: random.Random) -> Service:
        if policies.balancer is LeastLoaded:
            policies = replace(policies, balancer=lambda: LeastLoaded(rng=rng))
        return Service(
            "orders",
            policies=policies,
            effects=self,
            clock=lambda: self.now,
            wall=lambda: EPOCH + self.now,
            rng=rng,
        )

    def list_nodes(self, names: Iterable[str] | None = None, **fields: dict[str, object]) -> None:
        """Give every caller the snapshot of these nodes; `fields` are more fields, by node."""
        chosen = list(self.providers if names is None else names)
        nodes = [Node(name, 80, id=name, **fields.get(name, {})) for name in chosen]  # type: ignore[arg-type]
        for service in self.services:
            service.reconcile(Snapshot(nodes))

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after so many seconds from now."""
        heapq.heappush(self._agenda, (self.now + seconds, next(self._order), action))

    def run(self, seconds: float) -> None:
        """Play on by some seconds."""
        end = self.now + seconds
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, action = heapq.heappop(self._agenda)
            action()
        self.now = end

    def arrive(self, rate: float, seconds: float) -> None:
        """Make calls at random moments, so many a second over all callers."""
        end = self.now + seconds

        def arrival() -> None:
            self.call(self.rng.randrange(len(self.services)))
            gap = self.rng.expovariate(rate)
            if self.now + gap < end:
                self.at(gap, arrival)

        self.at(self.rng.expovariate(rate), arrival)

    def keep_in_flight(self, calls: int, seconds: float) -> None:
        """Keep so many calls of each caller in flight, one following the other."""
        end = self.now + seconds

        def follow(caller: int) -> None:
            if self.now < end:
                self.call(caller, lambda: follow(caller))

        for caller in range(len(self.services)):
            for _ in range(calls):
                self.at(self.rng.random() * 0.05, lambda caller=caller: follow(caller))  # type: ignore[misc]

    def call(self, caller: int = 0, then: Callable[[], None] = lambda: None) -> None:
        """Begin a call, counted in and out: the retry budget is a share of what was counted."""
        service, call = self.services[caller], FleetCall(self.now, caller)

        def over() -> None:
            service.end()
            then()

        self.calls.append(call)
        service.begin()
        lease = service.pick(repeatable=self.repeatable)
        if lease is None:
            call.ended = True
            self.at(0.001, over)
            return
        self._attempt(call, lease, (), over)

    def _attempt(
        self, call: FleetCall, lease: Lease, tried: tuple[LiveNode, ...], then: Callable[[], None]
    ) -> None:
        name = lease.live.node.id
        call.nodes.append(name)
        end, verdict = self.providers[name].serve(self.now, self.luck(call))
        self.at(end - self.now, lambda: self._answer(call, lease, tried, verdict, then))

    def luck(self, call: FleetCall) -> random.Random:
        """Give the chance that decides on the attempt of a call that begins now."""
        del call
        return self.rng

    def _answer(
        self,
        call: FleetCall,
        lease: Lease,
        tried: tuple[LiveNode, ...],
        verdict: Verdict,
        then: Callable[[], None],
    ) -> None:
        service = self.services[call.caller]
        service.settle(lease, verdict)
        service.release(lease)
        call.verdict = verdict
        call.seconds = self.now - call.at
        again = verdict.safety in (Safety.UNCONNECTED, Safety.UNSENT) or self.repeatable
        call.attempts += verdict.safety is not Safety.UNCONNECTED
        if verdict.failed and again and call.attempts < ATTEMPTS and len(tried) < MOST_TRIES:
            tried = (*tried, lease.live)
            following = service.pick_again(tried, free=not call.attempts)
            if isinstance(following, Lease):
                self._attempt(call, following, tried, then)
                return
        call.ended = True
        then()

    # What the services ask for

    def emit(self, event: Event) -> None:
        self.events.append((self.now, event))

    def probe(self, service: Service, live: LiveNode) -> None:
        def once(pause: float) -> None:
            provider = self.providers[live.node.id]
            patience = service.probed(live, alive=not provider.dead(self.now))
            if patience is not None:
                self.at(min(pause, patience), lambda: once(min(pause * 2.0, 60.0)))

        self.at(0.0, lambda: once(1.0))

    def retire(self, live: LiveNode) -> None:
        """Do nothing: there is no connection to close."""

    # What came of it

    @property
    def elapsed(self) -> float:
        """Give the seconds of the run so far."""
        return self.now - START

    def span(self, since: float = 0.0, until: float = float("inf")) -> list[FleetCall]:
        """Give the calls that began in a span, in seconds of the run."""
        first = bisect_left(self.calls, since + START, key=_begun)
        return self.calls[first : bisect_left(self.calls, until + START, key=_begun)]

    def share(self, node: str, since: float = 0.0, until: float = float("inf")) -> float:
        """Give the share of the attempts of a span that a node got."""
        went = [name for call in self.span(since, until) for name in call.nodes]
        return went.count(node) / len(went) if went else 0.0

    def durations(self, since: float = 0.0, until: float = float("inf")) -> list[float]:
        """Give what the calls of a span took, unfinished ones as they stand, in order."""
        return sorted(
            call.seconds if call.ended else self.now - call.at for call in self.span(since, until)
        )

    def percentile(self, share: float, since: float = 0.0, until: float = float("inf")) -> float:
        """Give a percentile of the durations of a span's calls, unfinished ones as they stand."""
        return quantile(self.durations(since, until), share)
