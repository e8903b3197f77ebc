"""Compare a call through rpcguard with a bare one, on real sockets.

`python -m benchmarks.calls.overhead [--rounds 5]`: one call in flight, 50 on 10 nodes, 200 on 3
nodes, 32 threads; the bare client calls one address. Beside httpx there are httpx2, httpx-retries,
aiohttp's own client, and httpx-aiohttp as the `node_transport`. `--by-size` compares with httpx
alone, for 1, 10 and 100 nodes with 1 and 50 calls in flight, sync and asyncio. Below 1.00 rpcguard
costs less.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import httpx
import httpx2
from httpx_aiohttp import AiohttpTransport
from httpx_retries import RetryTransport

import rpcguard
import rpcguard.httpx2
from benchmarks.lib.measure import ROUNDS, Series, compare, compare_async
from benchmarks.lib.nodes import nodes
from benchmarks.lib.report import Section, add_sides, own_share, ratio, sides_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


UNLIMITED = httpx.Limits(
    max_connections=None, max_keepalive_connections=None, keepalive_expiry=None
)
UNLIMITED2 = httpx2.Limits(
    max_connections=None, max_keepalive_connections=None, keepalive_expiry=None
)
PATIENT = 120.0
"""Seconds: httpcore's pool needs longer than the default timeout for 200 calls in flight."""

BARE, DEFAULT, RETRIES = "bare, unlimited", "bare, default limits", "httpx-retries"
NULL = "httpx's client alone"
PLAIN_AIOHTTP = "aiohttp's client"
OWN2, BARE2 = "rpcguard.httpx2", "bare httpx2, unlimited"
AIOHTTP = "rpcguard, nodes by httpx-aiohttp"
_AIOHTTP = (
    "httpx-aiohttp as the `node_transport` is shown for comparison and not recommended: beside "
    "rpcguard's own connections it gains little, knows only asyncio, and reports a "
    "connection that ended under a request as `ConnectTimeout`, which says that nothing was sent; "
    "so a POST may run twice."
)


class AiohttpNode(AiohttpTransport):
    """Reach a node by aiohttp; a body that is not read yet would go out in chunks, even none."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return await super().handle_async_request(request)


class Nowhere(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answer at once: what is left is httpx's client, which no transport can save."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"hello world")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"hello world")


class PlainAiohttp:
    """Stand where an httpx client does, and call by aiohttp alone."""

    def __init__(self, base: str) -> None:
        self._session = aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(limit=0))

    async def get(self, path: str) -> bytes:
        async with self._session.get(path) as answer:
            return await answer.read()

    async def aclose(self) -> None:
        await self._session.close()


def registry(ports: list[int]) -> str:
    """Give the registry URL of the nodes."""
    return "static://" + ",".join(f"127.0.0.1:{port}" for port in ports)


def in_threads(client: httpx.Client, in_flight: int, *, bare: bool) -> Callable[[int], object]:
    """Make a side that calls from so many threads."""

    def call(_: int) -> None:
        try:
            client.get("/")
        except httpx.TransportError:
            # httpcore's pool may close a connection that another thread has just taken.
            if not bare:
                raise

    def run(count: int) -> None:
        if in_flight == 1:
            for number in range(count):
                call(number)
            return
        with ThreadPoolExecutor(in_flight) as pool:
            list(pool.map(call, range(count)))

    return run


def in_tasks(client: Any, in_flight: int) -> Callable[[int], Awaitable[object]]:
    """Make a side that calls from so many tasks."""

    async def some(numbers: Iterator[int]) -> None:
        for _ in numbers:
            await client.get("/")

    async def run(count: int) -> None:
        numbers = iter(range(count))
        if in_flight == 1:
            await some(numbers)
            return
        async with anyio.create_task_group() as group:
            for _ in range(in_flight):
                group.start_soon(some, numbers)

    return run


def sync_clients(ports: list[int]) -> dict[str, httpx.Client]:
    """Make the sync clients that are compared."""
    base = f"http://127.0.0.1:{ports[0]}"
    transport = rpcguard.Transport(registry(ports))
    return {
        "rpcguard": httpx.Client(base_url="http://orders", transport=transport, timeout=PATIENT),
        BARE: httpx.Client(base_url=base, limits=UNLIMITED, timeout=PATIENT),
        DEFAULT: httpx.Client(base_url=base, timeout=PATIENT),
        NULL: httpx.Client(base_url=base, transport=Nowhere()),
    }


def async_clients(ports: list[int], names: tuple[str, ...]) -> dict[str, Any]:
    """Make the async clients of these names."""
    base = f"http://127.0.0.1:{ports[0]}"
    transport = rpcguard.AsyncTransport(registry(ports))
    transport2 = rpcguard.httpx2.AsyncTransport(registry(ports))
    retries = RetryTransport(transport=httpx.AsyncHTTPTransport(limits=UNLIMITED))
    http, http2 = partial(httpx.AsyncClient, timeout=PATIENT), partial(httpx2.AsyncClient)
    by_aiohttp = rpcguard.AsyncTransport(
        registry(ports), node_transport=lambda _: AiohttpNode(limits=UNLIMITED)
    )
    made: dict[str, Callable[[], Any]] = {
        "rpcguard": lambda: http(base_url="http://orders", transport=transport),
        BARE: lambda: http(base_url=base, limits=UNLIMITED),
        DEFAULT: lambda: http(base_url=base),
        RETRIES: lambda: http(base_url=base, transport=retries),
        NULL: lambda: http(base_url=base, transport=Nowhere()),
        PLAIN_AIOHTTP: lambda: PlainAiohttp(base),
        AIOHTTP: lambda: http(base_url="http://orders", transport=by_aiohttp),
        OWN2: lambda: http2(base_url="http://orders", transport=transport2, timeout=PATIENT),
        BARE2: lambda: http2(base_url=base, limits=UNLIMITED2, timeout=PATIENT),
    }
    return {name: made[name]() for name in made if name in names}


def open_connections(client: httpx.Client, count: int) -> None:
    """Have so many answers open at once, as nodes that take their time would bring about."""
    # One attempt: else a short answer is read at once, and its connection is free again.
    options = {"rpcguard": {"attempts": 1}}
    with ExitStack() as stack:
        answers = [
            stack.enter_context(client.stream("GET", "/", extensions=options)) for _ in range(count)
        ]
        for answer in answers:
            answer.read()


def threads(count: int, in_flight: int, calls: int, rounds: int) -> dict[str, Series]:
    """Measure the sync clients."""
    with nodes(count) as ports:
        clients = sync_clients(ports)
        if in_flight > 1:
            del clients[NULL]
        sides = {
            name: in_threads(client, in_flight, bare=name != "rpcguard")
            for name, client in clients.items()
        }
        try:
            for client in clients.values():
                open_connections(client, in_flight)
            return compare(sides, calls=calls, rounds=rounds)
        finally:
            for client in clients.values():
                client.close()


def tasks(
    kind: str,
    count: int,
    in_flight: int,
    calls: int | dict[str, int],
    rounds: int,
    names: tuple[str, ...],
) -> dict[str, Series]:
    """Measure the async clients of these names on asyncio, uvloop's or not, or trio."""

    async def main(ports: list[int]) -> dict[str, Series]:
        clients = async_clients(ports, names)
        sides = {name: in_tasks(client, in_flight) for name, client in clients.items()}
        try:
            return await compare_async(sides, calls=calls, rounds=rounds)
        finally:
            for client in clients.values():
                await client.aclose()

    backend, options = ("asyncio", {"use_uvloop": True}) if kind == "uvloop" else (kind, {})
    with nodes(count) as ports:
        return anyio.run(main, ports, backend=backend, backend_options=options)


BARS = {"threads": 0.62, "asyncio": 0.46, "trio": 0.65}
"""One call in flight ÷ bare; two thirds of what is left are httpx's own client."""
SHARES = {"threads": 0.4, "asyncio": 0.3}
"""Of what a bare call costs beyond httpx's client."""


def one_in_flight(rounds: int = ROUNDS) -> Section:
    """Measure one call in flight on one node, in four kinds of loop."""
    table, checks = sides_table(), []
    sides = ("rpcguard", BARE, DEFAULT, RETRIES, NULL)
    for kind in ("threads", "asyncio", "uvloop", "trio"):
        # More and shorter rounds than elsewhere: the difference is small, the noise is not.
        if kind == "threads":
            measured = threads(1, 1, 250, rounds * 12)
        else:
            more = () if kind == "trio" else (PLAIN_AIOHTTP, AIOHTTP)
            measured = tasks(kind, 1, 1, 200, rounds * 3, sides + more)
        label = f"1 in flight, {'sync' if kind == 'threads' else kind}"
        add_sides(table, label, measured)
        if kind in BARS:
            checks.append(ratio(label, measured, BARE, BARS[kind]))
        if kind in SHARES:
            checks.append(own_share(label, measured, NULL, BARE, SHARES[kind]))
        if kind == "asyncio":
            checks.append(ratio(label, measured, PLAIN_AIOHTTP, 3.0))
    about = "One node, one call after the other. The other sides call the same address. " + _AIOHTTP
    return Section("One call in flight", about, table, checks)


def many_in_flight(rounds: int = ROUNDS) -> Section:
    """Measure 50 calls in flight on 10 nodes, 200 on 3, and 32 threads."""
    table, checks = sides_table(), []
    sides = ("rpcguard", BARE, DEFAULT, RETRIES)
    label = "50 in flight, 10 nodes, asyncio"
    measured = tasks("asyncio", 10, 50, 500, rounds, (*sides, PLAIN_AIOHTTP, AIOHTTP))
    add_sides(table, label, measured)
    checks += [ratio(label, measured, BARE, 0.05), ratio(label, measured, DEFAULT, 0.22)]
    checks.append(ratio(label, measured, RETRIES, 0.05))
    label = "200 in flight, 3 nodes, asyncio"
    calls = dict.fromkeys((*sides[:3], PLAIN_AIOHTTP, OWN2, BARE2), 1000) | {BARE: 400}
    measured = tasks("asyncio", 3, 200, calls, rounds, tuple(calls))
    add_sides(table, label, measured)
    checks += [ratio(label, measured, BARE, 0.025), ratio(label, measured, DEFAULT, 0.25)]
    checks.append(ratio(label, measured, BARE2, 0.25))
    checks.append(ratio(f"{label}, {OWN2}", measured, BARE2, 0.25, own=OWN2))
    label = "32 threads, 3 nodes"
    measured = threads(3, 32, 1000, rounds)
    add_sides(table, label, measured)
    checks.append(ratio(label, measured, BARE, 0.28))
    about = "Many calls in flight; the other sides call one address. httpcore's pool looks at every"
    about += " connection for every call, and that is what the differences come from."
    return Section("Many calls in flight", about, table, checks)


def by_size(rounds: int = ROUNDS) -> Section:
    """Measure 1, 10 and 100 nodes with 1 and 50 calls in flight, sync and asyncio."""
    table, sides = sides_table(), ("rpcguard", BARE, DEFAULT)
    for kind in ("sync", "asyncio"):
        for count in (1, 10, 100):
            for in_flight in (1, 50):
                calls = 300 if in_flight == 1 else 600
                if kind == "sync":
                    measured = threads(count, in_flight, calls, rounds)
                else:
                    measured = tasks(kind, count, in_flight, calls, rounds, sides)
                add_sides(table, f"{kind}, {count} nodes, {in_flight} in flight", measured)
    about = "What a call through rpcguard costs beside a bare one, which calls one address."
    return Section("By size", about, table, [])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--by-size", action="store_true", help="1, 10, 100 nodes; 1, 50 in flight")
    options = parser.parse_args()
    for section in (by_size,) if options.by_size else (one_in_flight, many_in_flight):
        print(section(options.rounds).text(), flush=True)


if __name__ == "__main__":
    main()
