"""What spans are recorded with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from rpcguard._telemetry.metrics import Instruments
    from rpcguard._telemetry.routes import RouteCounts


class Recorder:
    """The tracer and the instruments of one transport, and which methods are known by name.

    `tracing` says whether anybody wants spans at the moment.
    """

    tracer: Tracer
    instruments: Instruments
    routes: RouteCounts
    methods: frozenset[str]
    tracing: bool
