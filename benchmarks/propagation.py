"""Measure how long a change in a registry takes until the first pick that knows it.

`python benchmarks/propagation.py [BACKEND...] [--changes 100]` starts the real server of each
registry that pushes, registers and deregisters a node by turns, and calls all the while. A time
runs from the moment at which the change is sent to the registry, so it includes the write. The
same is done with polling at the default interval. Servers: `python -m tests.servers get`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import rpcguard
from rpcguard.registries.base import registry_from_url
from tests.conformance.backends import all_backends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rpcguard.nodes import Node, Snapshot
    from rpcguard.registries.base import Registry
    from tests.conformance.backends.base import Backend

NEVER = 3600.0
PATIENCE = 60.0
BETWEEN_CALLS = 0.001
BETWEEN_CHANGES = 0.25
POLLED_SERVICES = 20
"""Polls are slow, so several services change at once, each at a moment of its own."""

_numbers = count(1)


class Polled:
    """Hide that a registry can push."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def fetch(self, service: str) -> Snapshot:
        return await self._registry.fetch(service)


@asynccontextmanager
async def calling(registry: str | Registry) -> AsyncIterator[rpcguard.AsyncTransport]:
    """Open a transport whose nodes answer in this process: only the registry is real."""

    def answering(node: Node) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(lambda _: httpx.Response(200, text=node.id))

    policy = rpcguard.MembershipPolicy(resync_interval=NEVER)
    transport = rpcguard.AsyncTransport(
        registry, node_transport=answering, membership=policy, drain_timeout=0.0
    )
    async with transport:
        yield transport


async def until_known(
    transport: rpcguard.AsyncTransport, service: str, node: Node, change: Callable[[], None]
) -> tuple[float, float]:
    """Change the registry; give the seconds of the write and those to the first pick after it."""
    before = node.id in {view.node.id for view in transport.nodes(service)}
    begin = time.perf_counter()
    write = asyncio.create_task(asyncio.to_thread(change))
    written = 0.0
    while time.perf_counter() - begin < PATIENCE:
        known = (node.id in {view.node.id for view in transport.nodes(service)}) != before
        await transport.handle_async_request(httpx.Request("GET", f"http://{service}/"))
        if known:
            took = time.perf_counter() - begin
            await write
            return written or took, took
        if write.done() and not written:
            written = time.perf_counter() - begin
        await asyncio.sleep(BETWEEN_CALLS)
    raise TimeoutError(f"{service}: the change did not arrive within {PATIENCE:g} s")


async def play(
    backend: Backend, transport: rpcguard.AsyncTransport, changes: int, pause: Callable[[], float]
) -> list[tuple[float, float]]:
    """Add and remove a node of one service by turns."""
    service = f"bench{next(_numbers)}"
    stays, comes = (backend.node(*backend.address(), number) for number in range(2))
    await asyncio.to_thread(backend.register, service, stays)
    await transport.wait_ready(service, timeout=PATIENCE)
    times = []
    for number in range(changes):
        await asyncio.sleep(pause())
        if number % 2 == 0:
            change = lambda: backend.register(service, comes)  # noqa: E731
        else:
            change = lambda: backend.deregister(service, comes.id)  # noqa: E731
        times.append(await until_known(transport, service, comes, change))
    return times


async def measure(backend: Backend, changes: int) -> str:
    """Give the row of one registry."""
    async with calling(backend.url()) as transport:
        await play(backend, transport, 4, lambda: BETWEEN_CHANGES)  # warm
        pushed = await play(backend, transport, changes, lambda: BETWEEN_CHANGES)
    interval = rpcguard.MembershipPolicy().poll_interval
    async with calling(Polled(registry_from_url(backend.url()))) as transport:
        plays = (
            play(backend, transport, 4, lambda: random.uniform(0.0, interval))
            for _ in range(POLLED_SERVICES)
        )
        polled = [times for some in await asyncio.gather(*plays) for times in some]
    written = median(write for write, _ in pushed)
    return (
        f"{backend.name:16}{len(pushed):>8}{_ms(written)}"
        f"{_spread([took for _, took in pushed])}{_spread([took for _, took in polled])}"
    )


def _spread(times: list[float]) -> str:
    cuts = quantiles(times, n=100, method="inclusive")
    return f"{_ms(cuts[49])}{_ms(cuts[98])}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:>12.1f}"


def main() -> None:
    """Print a row for each registry that pushes and whose server is there."""
    offered = {name: made for name, made in all_backends().items() if made.push}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help=", ".join(offered))
    parser.add_argument("--changes", type=int, default=100, help="pushed changes (100)")
    options = parser.parse_args()
    heads = ("write p50", "push p50", "push p99", "poll p50", "poll p99")
    print(f"{'milliseconds':16}{'changes':>8}" + "".join(f"{head:>12}" for head in heads))
    for name in options.backends or offered:
        made = offered[name]
        if made.server_class is None or not made.server_class.available():
            print(f"{name:16} no server here", flush=True)
            continue
        with tempfile.TemporaryDirectory() as directory:
            server = made.server_class(Path(directory))
            server.start()
            try:
                backend = made(Path(directory), server)
                print(asyncio.run(measure(backend, options.changes)), flush=True)
                backend.close()
            finally:
                server.stop()


if __name__ == "__main__":
    main()
