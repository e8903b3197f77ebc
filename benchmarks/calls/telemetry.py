"""Say what telemetry costs: calls without it, with the API alone, and with an SDK.

`python -m benchmarks.calls.telemetry [--rounds 15]` prints, for threads and for asyncio, the CPU
time of a call on a real socket and its ratio to the same call without telemetry. "no telemetry" is
rpcguard with every hook answering that nobody watches. Beside them is a bare client, alone and with
the instrumentation of httpx that OpenTelemetry's contrib repository has.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack, ExitStack
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import rpcguard
from benchmarks.calls.overhead import registry
from benchmarks.lib.measure import Series, compare, compare_async
from benchmarks.lib.nodes import nodes
from benchmarks.lib.report import Check
from rpcguard._telemetry.spans import NO_SPAN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rpcguard._telemetry.spans import NoSpan

NONE, API, SDK = "no telemetry", "telemetry on, no SDK", "SDK, batches to memory"
BARE, CONTRIB = "bare httpx", "bare httpx with contrib's, SDK"


class Nothing:
    """Stand in for the telemetry of a transport, and do nothing."""

    def observe(self, _request: object) -> NoSpan:
        return NO_SPAN

    def count(self, _event: object) -> None: ...

    def denied(self, _service: str, _reason: str) -> None: ...


class Forgetful(InMemorySpanExporter):
    """Take spans as the exporter for tests does, without keeping those of earlier rounds."""

    def export(self, spans: Any) -> Any:
        self.clear()
        return super().export(spans)


def sdk(stack: ExitStack | AsyncExitStack) -> dict[str, Any]:
    """Set up providers of the SDK."""
    tracing, metering = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    tracing.add_span_processor(BatchSpanProcessor(Forgetful()))
    stack.callback(tracing.shutdown)
    stack.callback(metering.shutdown)
    return {"tracer_provider": tracing, "meter_provider": metering}


def transports(kind: type[Any], url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Make a transport for each side."""
    made = {NONE: kind(url), API: kind(url), SDK: kind(url, **options)}
    made[NONE]._telemetry = Nothing()
    return made


def bare(kind: type[Any], port: int, options: dict[str, Any]) -> dict[str, Any]:
    """Make a bare client, and one with contrib's instrumentation."""
    made = {name: kind(base_url=f"http://127.0.0.1:{port}") for name in (BARE, CONTRIB)}
    HTTPXClientInstrumentor.instrument_client(made[CONTRIB], **options)
    return made


def threads(ports: list[int], calls: int, rounds: int) -> dict[str, Series]:
    """Measure the sync client."""

    def side(client: httpx.Client) -> Callable[[int], object]:
        def run(count: int) -> None:
            for _ in range(count):
                client.get("/")

        return run

    with ExitStack() as stack:
        options = sdk(stack)
        clients = {
            name: httpx.Client(base_url="http://orders", transport=it)
            for name, it in transports(rpcguard.Transport, registry(ports), options).items()
        } | bare(httpx.Client, ports[0], options)
        sides = {name: side(stack.enter_context(one)) for name, one in clients.items()}
        return compare(sides, calls=calls, rounds=rounds)


async def tasks(ports: list[int], calls: int, rounds: int) -> dict[str, Series]:
    """Measure the async client."""

    def side(client: httpx.AsyncClient) -> Callable[[int], Awaitable[object]]:
        async def run(count: int) -> None:
            for _ in range(count):
                await client.get("/")

        return run

    async with AsyncExitStack() as stack:
        options = sdk(stack)
        clients = {
            name: httpx.AsyncClient(base_url="http://orders", transport=it)
            for name, it in transports(rpcguard.AsyncTransport, registry(ports), options).items()
        } | bare(httpx.AsyncClient, ports[0], options)
        sides = {name: side(await stack.enter_async_context(it)) for name, it in clients.items()}
        return await compare_async(sides, calls=calls, rounds=rounds)


def added(what: str, measured: Mapping[str, Series], bar: float) -> Check:
    """Check what an SDK adds to a call, as a share of what contrib's instrumentation adds."""
    names = (SDK, NONE, CONTRIB, BARE)
    rounds = zip(*(measured[name].cpu for name in names), strict=True)
    shares = [(mine - without) / (its - alone) for mine, without, its, alone in rounds]
    spread = (min(shares), max(shares))
    return Check(f"{what}, added ÷ added by contrib's", median(shares), bar, spread=spread)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=300)
    given = parser.parse_args()
    with nodes(2) as ports:
        for kind in ("threads", "asyncio"):
            if kind == "threads":
                measured = threads(ports, given.calls, given.rounds)
            else:
                measured = asyncio.run(tasks(ports, given.calls, given.rounds))
            for name, series in measured.items():
                print(f"{kind:8} {name:24}{series.text}{series.over(measured[NONE]):8.3f}")


if __name__ == "__main__":
    main()
