"""Compare rpcguard with a bare client that goes through a local Envoy, HAProxy or nginx.

`python -m benchmarks.calls.sidecars [--rounds 5]` counts the CPU time of the client and of the
proxy.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import anyio
import httpx

import rpcguard
from benchmarks.calls.overhead import registry
from benchmarks.lib.command import show
from benchmarks.lib.measure import ROUNDS, Series, compare_async
from benchmarks.lib.nodes import nodes
from benchmarks.lib.proxies import Envoy, HAProxy, Nginx
from benchmarks.lib.report import Check, Section, Table, ratio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.lib.proxies import Proxy

BARS = {1: 0.5, 10: 0.4}
"""By calls in flight: rpcguard's CPU time ÷ that of the best sidecar with its client."""
KINDS: tuple[type[Proxy], ...] = (Envoy, HAProxy, Nginx)
NODES = 3
CALLS = 400


def timed(client: Any, in_flight: int, spans: list[float]) -> Callable[[int], Awaitable[object]]:
    """Make a side that notes how long each call takes."""

    async def some(count: int) -> None:
        for _ in range(count):
            started = time.perf_counter()
            await client.get("/")
            spans.append((time.perf_counter() - started) * 1e6)

    async def run(count: int) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(in_flight):
                group.start_soon(some, count // in_flight)

    return run


async def measure(
    ports: list[int], proxies: list[Proxy], in_flight: int, rounds: int
) -> tuple[dict[str, Series], dict[str, float]]:
    """Give CPU time and p50 of all sides."""
    transport = rpcguard.AsyncTransport(registry(ports))
    clients = {"rpcguard": httpx.AsyncClient(base_url="http://orders", transport=transport)}
    for proxy in proxies:
        clients[proxy.name] = httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}")
    spans: dict[str, list[float]] = {name: [] for name in clients}
    sides = {name: timed(client, in_flight, spans[name]) for name, client in clients.items()}
    pids = {proxy.name: proxy.pid for proxy in proxies}
    try:
        measured = await compare_async(sides, calls=CALLS, rounds=rounds, others=pids)
    finally:
        for client in clients.values():
            await client.aclose()
    return measured, {name: median(took) for name, took in spans.items()}


def against_sidecars(rounds: int = ROUNDS) -> Section:
    """Measure 1 and 10 calls in flight."""
    table = Table(["", "client + proxy, CPU µs per call", "p50 µs", "rpcguard ÷ this, CPU"])
    checks = []
    with ExitStack() as stack:
        ports = stack.enter_context(nodes(NODES))
        proxies = []
        for kind in KINDS:
            kind.get()
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            proxies.append(kind(Path(folder), ports))
            proxies[-1].start()
            stack.callback(proxies[-1].stop)
        for in_flight in BARS:
            measured, p50 = anyio.run(measure, ports, proxies, in_flight, rounds)
            own = measured.pop("rpcguard")
            label = f"{in_flight} in flight"
            cells = [f"{median(own.cpu):,.0f}", f"{p50['rpcguard']:,.0f}", ""]
            table.rows.append([f"{label}, rpcguard, no proxy", *cells])
            for name, series in measured.items():
                cells = [f"{median(series.cpu):,.0f}", f"{p50[name]:,.0f}"]
                table.rows.append(
                    [f"{label}, bare through {name}", *cells, f"{own.over(series):.3g}"]
                )
            best = max(measured, key=lambda name: own.over(measured[name]))
            checks += [
                ratio(label, {"rpcguard": own, **measured}, best, BARS[in_flight]),
                Check(
                    f"{label}, p50 ÷ the best", p50["rpcguard"] / min(p50[n] for n in measured), 1.0
                ),
            ]
    about = "The bare httpx client calls a proxy on loopback, one worker each, which forwards to"
    about += " the three nodes that rpcguard calls itself. asyncio."
    return Section("Against a proxy beside the client", about, table, checks)


if __name__ == "__main__":
    show(__doc__, against_sidecars)
