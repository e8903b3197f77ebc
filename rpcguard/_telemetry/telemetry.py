"""Spans and metrics of calls and attempts, by the API of OpenTelemetry alone."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from opentelemetry import context as otel
from opentelemetry import metrics, trace

from rpcguard._telemetry.hooks import hooks, told
from rpcguard._telemetry.metrics import SCHEMA_URL, instruments_of
from rpcguard._telemetry.recorder import Recorder
from rpcguard._telemetry.routes import RouteCounts
from rpcguard._telemetry.spans import NO_SPAN, QUIET, CallSpan, NoSpan
from rpcguard._version import __version__

if TYPE_CHECKING:
    import httpx
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from rpcguard._core.service.effects import Event
    from rpcguard._telemetry.metrics import GaugeSource, Instruments
    from rpcguard._telemetry.spans import AnySpan

# The plain key is the one that is kept for compatibility; exporters and the instrumentation of
# others set those that the API has not made public.
_QUIET_KEYS = (
    QUIET,
    getattr(otel, "_SUPPRESS_INSTRUMENTATION_KEY", QUIET),
    getattr(otel, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", QUIET),
)
_ASK_EVERY = 0.05  # seconds: how late a provider that was set up meanwhile is seen
_METHODS = "CONNECT,DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,QUERY,TRACE"


class Telemetry(Recorder):
    """The observers of one transport's calls, and the counts of what happens to its lists.

    `names` is how many services, at least, metrics tell apart. The providers are the global ones
    by default; where they are set later, what comes 0.05 s after
    it is recorded. Thread-safe. Costs next to nothing while neither provider is that of an SDK.
    """

    def __init__(
        self,
        source: GaugeSource,
        *,
        names: int = 0,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.tracer: trace.Tracer = trace.get_tracer(
            "rpcguard", __version__, tracer_provider, SCHEMA_URL
        )
        self.instruments: Instruments = instruments_of(meter_provider)
        self.instruments.sources.add(source)
        self.instruments.tell_apart(names)
        self.routes: RouteCounts = RouteCounts(self.instruments)
        methods = os.environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", _METHODS)
        self.methods: frozenset[str] = frozenset(methods.split(","))
        self.tracing: bool = False
        self._measuring = False
        self._ask_again = 0.0
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider

    def observe(self, request: httpx.Request) -> AnySpan:
        """Begin to observe a call, in the context of its caller."""
        here, listened = otel.get_current(), self._listened_to()
        if not (here or listened):
            return NO_SPAN
        if hooks.nested:
            return NO_SPAN  # a finalizer or a signal handler calls amid the work of an SDK
        if here and _is_quiet(here):
            return NO_SPAN
        return CallSpan(self, request, here) if listened else NoSpan(here)

    def _listened_to(self) -> bool:
        if self.tracing and self._measuring:
            return True
        now = time.monotonic()
        if now >= self._ask_again:
            # An SDK may be set up at any time, but asking takes longer than all the rest.
            self._ask_again = now + _ASK_EVERY
            self.tracing = _is_of_sdk(self._tracer_provider or trace.get_tracer_provider())
            self._measuring = _is_of_sdk(self._meter_provider or metrics.get_meter_provider())
        return self.tracing or self._measuring

    @told
    def count(self, event: Event) -> None:
        """Count an event of a service's list."""
        service = {"server.address": self.instruments.name(event.service)}
        if event.kind == "ejected":
            self.instruments.ejections.add(
                1,
                {
                    **service,
                    "rpcguard.ejection.reason": event.code,
                    "rpcguard.ejection.enforced": event.enforced,
                },
            )
        elif event.kind == "signal":
            self.instruments.signals.add(
                1,
                {
                    **service,
                    "rpcguard.offline.signal": event.code,
                    "rpcguard.offline.enforced": event.enforced,
                },
            )
        elif event.kind == "panic":
            self.instruments.panics.add(1, service)
        elif event.kind == "config":
            self.instruments.config.add(1, {"rpcguard.config.change": event.code})

    @told
    def denied(self, service: str, reason: str) -> None:
        """Count a retry that was wanted and not made."""
        if not _is_quiet(otel.get_current()):
            name = self.instruments.name(service)
            attributes = {"server.address": name, "rpcguard.denial.reason": reason}
            self.instruments.denied.add(1, attributes)

    @told
    def hedged(self, service: str, result: str, reason: str) -> None:
        """Count a hedge that was wanted: won, lost, or denied for a reason."""
        name = self.instruments.name(service)
        attributes = {"server.address": name, "rpcguard.hedge.result": result}
        if reason:
            attributes["rpcguard.denial.reason"] = reason
        self.instruments.hedges.add(1, attributes)

    @told
    def rejected(self, service: str, limit: str) -> None:
        """Count a call that was refused before it was sent."""
        name = self.instruments.name(service)
        self.instruments.rejected.add(1, {"server.address": name, "rpcguard.limit": limit})

    @told
    def refreshed(self, service: str, error_type: str | None) -> None:
        """Count an answer of the registry, or its failure."""
        attributes = {"server.address": self.instruments.name(service)}
        if error_type is not None:
            attributes["error.type"] = error_type
        self.instruments.refreshes.add(1, attributes)


def suppress_instrumentation() -> None:
    """Suppress the instrumentation of what runs in the current context from now on."""
    otel.attach(otel.set_value(QUIET, True))


def _is_quiet(context: Context) -> bool:
    return any(context.get(key) for key in _QUIET_KEYS)


def _is_of_sdk(provider: object) -> bool:
    # The providers of the API itself only wait for a real one, or do nothing.
    return not type(provider).__module__.startswith(
        ("opentelemetry.trace", "opentelemetry.metrics")
    )
