"""Say what telemetry costs: calls without it, with the API alone, and with an SDK.

`python -m benchmarks.calls.telemetry [--rounds 15]` prints, for threads and for asyncio, the CPU
time of a call on a real socket and its ratio to the same call without telemetry. "no telemetry" is
rpcguard with every hook answering that nobody watches.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import httpx
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import rpcguard
from benchmarks.lib.measure import Series, compare, compare_async
from benchmarks.lib.nodes import nodes
from rpcguard._telemetry.spans import NO_SPAN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rpcguard._telemetry.spans import NoSpan

NONE, API, SDK = "no telemetry", "telemetry on, no SDK", "SDK, batches to memory"


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


def transports(kind: type[Any], registry: str, options: dict[str, Any]) -> dict[str, Any]:
    """Make a transport for each side."""
    made = {NONE: kind(registry), API: kind(registry), SDK: kind(registry, **options)}
    made[NONE]._telemetry = Nothing()
    return made


def threads(registry: str, calls: int, rounds: int) -> dict[str, Series]:
    """Measure the sync client."""

    def side(client: httpx.Client) -> Callable[[int], object]:
        def run(count: int) -> None:
            for _ in range(count):
                client.get("/")

        return run

    with ExitStack() as stack:
        made = transports(rpcguard.Transport, registry, sdk(stack))
        sides = {
            name: side(stack.enter_context(httpx.Client(base_url="http://orders", transport=it)))
            for name, it in made.items()
        }
        return compare(sides, calls=calls, rounds=rounds)


async def tasks(registry: str, calls: int, rounds: int) -> dict[str, Series]:
    """Measure the async client."""

    def side(client: httpx.AsyncClient) -> Callable[[int], Awaitable[object]]:
        async def run(count: int) -> None:
            for _ in range(count):
                await client.get("/")

        return run

    async with AsyncExitStack() as stack:
        sides = {}
        for name, it in transports(rpcguard.AsyncTransport, registry, sdk(stack)).items():
            client = httpx.AsyncClient(base_url="http://orders", transport=it)
            sides[name] = side(await stack.enter_async_context(client))
        return await compare_async(sides, calls=calls, rounds=rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=300)
    given = parser.parse_args()
    with nodes(2) as ports:
        registry = "static://" + ",".join(f"127.0.0.1:{port}" for port in ports)
        for kind in ("threads", "asyncio"):
            if kind == "threads":
                measured = threads(registry, given.calls, given.rounds)
            else:
                measured = asyncio.run(tasks(registry, given.calls, given.rounds))
            for name, series in measured.items():
                print(f"{kind:8} {name:24}{series.text}{series.over(measured[NONE]):8.3f}")


if __name__ == "__main__":
    main()
