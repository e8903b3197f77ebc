"""Measure how long a change in a registry takes until the first pick that knows it.

`python -m benchmarks.registries.propagation [BACKEND...] [--changes 100]` starts the real server of
each registry that pushes, registers and deregisters a node by turns, and calls all the while. A
time runs from the moment at which the change is sent to the registry, so it includes the write. The
same is done with polling at the default interval. `--write` puts the table into the page on
registries. Servers: `python -m tests.support.servers get`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

import httpx

import rpcguard
from benchmarks.lib.report import Table, write_between
from rpcguard.registries.base import registry_from_url
from tests.conformance.backends import all_backends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from rpcguard._core.nodes.node import Node
    from rpcguard._core.nodes.snapshot import Snapshot
    from rpcguard.registries.base import Registry
    from tests.conformance.backends.base import Backend

PAGE = Path(__file__).resolve().parents[2] / "docs" / "registries.md"
COLUMNS = ("", *(f"{what} p{at}" for what in ("write", "push", "poll") for at in (50, 99)))
BAR = 50.0

NEVER = 3600.0
PATIENCE = 60.0
PUSHED_CALLS, POLLED_CALLS = 0.001, 0.025
"""Seconds between two calls of a service; many services with the first would fill the process."""
BETWEEN_CHANGES = 0.25
POLLED_SERVICES = 20
"""Polls are slow, so several services change at once, each at a moment of its own."""

_numbers = count(1)


class Polled:
    """Hide that a registry can push, and how often it would be polled beside that."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def fetch(self, service: str) -> Snapshot:
        return replace(await self._registry.fetch(service), max_age=None)


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
    transport: rpcguard.AsyncTransport,
    service: str,
    node: Node,
    change: Callable[[], None],
    between_calls: float,
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
        await asyncio.sleep(between_calls)
    raise TimeoutError(f"{service}: the change did not arrive within {PATIENCE:g} s")


async def play(
    backend: Backend,
    transport: rpcguard.AsyncTransport,
    changes: int,
    pause: Callable[[], float],
    between_calls: float,
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
        times.append(await until_known(transport, service, comes, change, between_calls))
    return times


async def measure(backend: Backend, changes: int) -> list[str]:
    """Give the row of one registry, in milliseconds."""
    async with calling(backend.url()) as transport:
        for count in (4, changes):  # the first few warm it up
            pushed = await play(backend, transport, count, lambda: BETWEEN_CHANGES, PUSHED_CALLS)
    interval = rpcguard.MembershipPolicy().poll_interval
    async with calling(Polled(registry_from_url(backend.url()))) as transport:
        plays = (
            play(backend, transport, 4, lambda: random.uniform(0.0, interval), POLLED_CALLS)
            for _ in range(POLLED_SERVICES)
        )
        polled = [times for some in await asyncio.gather(*plays) for times in some]
    measured = [*zip(*pushed, strict=True), [took for _, took in polled]]
    return [backend.name, *(cell for times in measured for cell in _spread(times))]


def _spread(times: Sequence[float]) -> list[str]:
    cuts = quantiles(times, n=100, method="inclusive")
    return [f"{cuts[at] * 1000:,.1f}" for at in (49, 98)]


def page(table: Table, changes: int) -> str:
    """Give the section of the page."""
    cores, today = os.cpu_count(), datetime.now(UTC).date()
    slow = [row[0] for row in table.rows if float(row[4].replace(",", "")) >= BAR]
    verdict = f"missed by {', '.join(slow)}" if slow else "met by all"
    return (
        f"{table.markdown()}\n\n"
        f"Milliseconds; {changes} changes each, pushed, and 80 polled at the default interval of"
        f" {rpcguard.MembershipPolicy().poll_interval:g} s. Measured on {today} with {cores} cores"
        f" that caller, registry and provider share, by"
        f" `python -m benchmarks.registries.propagation --write`."
        f" The bar, p99 of a push below {BAR:g} ms: {verdict}."
    )


def rows(names: Iterable[str], changes: int) -> Table:
    """Measure the registries whose server is there; show each row as it comes."""
    offered, table = all_backends(), Table(list(COLUMNS))
    print("".join(f"{column:>12}" for column in ["milliseconds", *COLUMNS[1:]]), flush=True)
    for name in names:
        made = offered[name]
        if made.server_class is None or not made.server_class.available():
            print(f"{name}: no server here", flush=True)
            continue
        with tempfile.TemporaryDirectory() as directory:
            server = made.server_class(Path(directory))
            server.start()
            try:
                backend = made(Path(directory), server)
                table.rows.append(asyncio.run(measure(backend, changes)))
                backend.close()
            finally:
                server.stop()
        print("".join(f"{cell:>12}" for cell in table.rows[-1]), flush=True)
    return table


def main() -> None:
    """Print a row for each registry that pushes and whose server is there."""
    offered = [name for name, made in all_backends().items() if made.push]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help=", ".join(offered))
    parser.add_argument("--changes", type=int, default=100, help="pushed changes (100)")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    table = rows(options.backends or offered, options.changes)
    if options.write:
        write_between(PAGE, "propagation", page(table, options.changes))


if __name__ == "__main__":
    main()
