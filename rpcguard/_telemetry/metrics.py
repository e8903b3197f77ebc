"""The metrics: their names, units and buckets, and the gauges that report every live list."""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, get_args
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from rpcguard._context.lane import BASE
from rpcguard._core.nodes.node import State
from rpcguard._telemetry.births import label_sets
from rpcguard._text import host_in
from rpcguard._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.metrics import CallbackOptions, MeterProvider

    from rpcguard._core.nodes.view import Census

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

_STATES: tuple[State, ...] = get_args(State)
_LEAST_NAMES = 1000
"""Routes, and services where no transport wants more, that metrics tell apart."""
_OTHER: Final = "_OTHER"
NameT = TypeVar("NameT", str, tuple[str, int])
_MOST_GROUPS = 10
"""Groups of a service's nodes that are told apart beside base: lanes come and go with branches."""
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The buckets that OpenTelemetry's HTTP conventions advise for durations."""


class GaugeSource(Protocol):
    """A transport, as far as the gauges go."""

    def census(self) -> Iterable[Census]:
        """Give what the gauges tell of each service."""
        ...


class Instruments:
    """The instruments of one meter provider; the names are in `docs/observability.md`.

    All transports of a provider share them and are `sources` of the gauges, held weakly: the nodes
    of a service that several transports follow are added up, and the oldest list counts.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = metrics.get_meter("rpcguard", __version__, provider, SCHEMA_URL)
        self._most = _LEAST_NAMES
        self._names, self._born = set[str](), set[str]()
        self._places: set[tuple[str, int]] = set()
        self._routes: set[str] = set()
        self._groups: defaultdict[str, set[str]] = defaultdict(set)
        self.sources: WeakSet[GaugeSource] = WeakSet()
        self.request_duration: metrics.Histogram = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.call_duration: metrics.Histogram = meter.create_histogram(
            "rpcguard.call.duration",
            "s",
            "Duration of calls, with all their attempts and waits.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.call_attempts: metrics.Histogram = meter.create_histogram(
            "rpcguard.call.attempts",
            "{attempt}",
            "Attempts per call.",
            explicit_bucket_boundaries_advisory=(0, 1, 2, 3, 4, 5),
        )
        count = meter.create_counter
        self.ejections: metrics.Counter = count(
            "rpcguard.ejections", "{ejection}", "Ejections of nodes."
        )
        self.signals: metrics.Counter = count(
            "rpcguard.offline.signals", "{signal}", "Signals of nodes that they leave."
        )
        self.retries: metrics.Counter = count(
            "rpcguard.retries", "{retry}", "Attempts after the first of a call."
        )
        self.rejected: metrics.Counter = count(
            "rpcguard.rejected", "{call}", "Calls that were refused before they were sent."
        )
        self.hedges: metrics.Counter = count(
            "rpcguard.hedges", "{hedge}", "Late calls, by what came of a second attempt."
        )
        self.denied: metrics.Counter = count(
            "rpcguard.retries.denied", "{retry}", "Retries that were wanted and not made."
        )
        self.refreshes: metrics.Counter = count(
            "rpcguard.registry.refreshes", "{refresh}", "Answers and failures of the registry."
        )
        self.panics: metrics.Counter = count(
            "rpcguard.panics", "{panic}", "Times that a list ran out of eligible nodes."
        )
        self.routed: metrics.Counter = count(
            "rpcguard.routed", "{call}", "Calls of routes and lanes, by the nodes they went to."
        )
        self.zone_picks: metrics.Counter = count(
            "rpcguard.zone.picks", "{attempt}", "Attempts inside and outside of the caller's zone."
        )
        self.affinity: metrics.Counter = count(
            "rpcguard.affinity", "{attempt}", "Attempts by whether their key got its home."
        )
        self.marks: metrics.Counter = count(
            "rpcguard.marks", "{mark}", "Marks of calls, by where they stood."
        )
        self.rules: metrics.Counter = count(
            "rpcguard.rules.refreshes", "{refresh}", "Documents of rules, by what came of them."
        )
        self.config: metrics.Counter = count(
            "rpcguard.config.changes", "{change}", "Changes of the configuration file, by kind."
        )
        meter.create_observable_gauge(
            "rpcguard.nodes", [self._nodes], "{node}", "Nodes in the live list, by state."
        )
        meter.create_observable_gauge(
            "rpcguard.rules.age", [self._rules_age], "s", "Time since the rules were last read."
        )
        meter.create_observable_gauge(
            "rpcguard.registry.age", [self._age], "s", "Time since the registry last answered."
        )

    def tell_apart(self, names: int) -> None:
        """Tell at least so many services apart: who wants most of those that share these."""
        self._most = max(self._most, names)

    def name(self, service: str) -> str:
        """Give the name under which a service is counted: its host, where it has a port as well.

        So OpenTelemetry's conventions have `server.address`, and so a call knows its own.
        Names may come from URLs that somebody else chooses, and an SDK keeps each for good: the
        first thousand are told apart, or as many as a transport wants.
        """
        host = host_in(service)
        return host if _is_told(host, self._names, self._most) else _OTHER

    def place(self, service: str, port: int) -> dict[str, str | int]:
        """Give the attributes by which calls to a port of a service are counted.

        A stranger who chooses no name may still choose among all ports: a port of which too many
        are known is left out.
        """
        name = self.name(service)
        if name != _OTHER and _is_told((service, port), self._places, self._most):
            return {"server.address": name, "server.port": port}
        return {"server.address": name}

    def route(self, name: str) -> str:
        """Give the name under which a route is counted: rules come and go as well."""
        return name if _is_told(name, self._routes, _LEAST_NAMES) else _OTHER

    def _group(self, service: str, group: str | None) -> str | None:
        if group is None or group == BASE:
            return group
        return group if _is_told(group, self._groups[service], _MOST_GROUPS) else "other"

    def _nodes(self, _: CallbackOptions) -> Iterable[Observation]:
        totals: Counter[tuple[str, str | None, State]] = Counter()
        for one in self._census():
            name = self.name(one.service)
            self._bear(name)
            for (state, group), number in one.nodes.items():
                totals[name, self._group(name, group), state] += number
        groups = dict.fromkeys((service, group) for service, group, _ in totals)
        return [
            Observation(totals[service, group, state], _about(service, group, state))
            for service, group in groups
            for state in _STATES
        ]

    def _bear(self, service: str) -> None:
        # At its first collection, and not before: an SDK may be set up after the first list.
        if service not in self._born:
            self._born.add(service)
            for counter, labels in label_sets(service):
                getattr(self, counter).add(0, labels)

    def _age(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._oldest((one.service, one.age) for one in self._census())

    def _rules_age(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._oldest((one.service, one.rules_age) for one in self._census())

    def _census(self) -> Iterator[Census]:
        for source in list(self.sources):
            yield from source.census()

    def _oldest(self, ages: Iterable[tuple[str, float | None]]) -> Iterable[Observation]:
        oldest: dict[str, float] = {}
        for service, age in ages:
            if age is not None:
                name = self.name(service)
                oldest[name] = max(age, oldest.get(name, 0.0))
        return [Observation(age, {"server.address": name}) for name, age in oldest.items()]


def _is_told(one: NameT, known: set[NameT], most: int) -> bool:
    if one not in known:
        if len(known) >= most:
            return False
        known.add(one)
    return True


def _about(service: str, group: str | None, state: State) -> dict[str, str]:
    about = {"server.address": service, "rpcguard.node.state": state}
    return about if group is None else {**about, "rpcguard.group": group}


# A cache: an SDK keeps only the first callback of a gauge, so a provider must have one set, and
# what is made before an SDK is there is kept for good.
_of_provider: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()
_of_global: list[Instruments] = []
_making = threading.RLock()  # an SDK logs what it makes, and a handler may make a transport


def instruments_of(provider: MeterProvider | None) -> Instruments:
    """Give the instruments of a meter provider, of the global one for None; thread-safe."""
    with _making:
        if provider is None or provider is metrics.get_meter_provider():
            if not _of_global:
                _of_global.append(Instruments(None))
            return _of_global[0]
        if provider not in _of_provider:
            _of_provider[provider] = Instruments(provider)
        return _of_provider[provider]


def sources() -> list[GaugeSource]:
    """Give the transports of this process, whichever meter providers they have; thread-safe."""
    with _making:
        several = [*_of_global, *_of_provider.values()]
    return [source for instruments in several for source in list(instruments.sources)]


def _forget() -> None:
    # The lock may have been held by a thread that a fork does not bring along.
    global _making
    _making = threading.RLock()


os.register_at_fork(after_in_child=_forget)
