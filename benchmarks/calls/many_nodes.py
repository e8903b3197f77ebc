"""Compare rpcguard with one bare client that goes round 100 and 1,000 nodes, on real sockets.

`python -m benchmarks.calls.many_nodes [--rounds 5]`. All sides keep their connections, except that
httpx's default limits keep 20, so that one connects again for nearly every call.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import httpx

import rpcguard
from benchmarks.calls.overhead import BARE, DEFAULT, PATIENT, UNLIMITED, registry
from benchmarks.lib.command import show
from benchmarks.lib.measure import ROUNDS, Series, compare_async
from benchmarks.lib.nodes import nodes
from benchmarks.lib.report import Section, add_sides, ratio, sides_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

KEPT = httpx.Limits(max_connections=100, keepalive_expiry=None)
CALLS = {
    100: {"rpcguard": 300, BARE: 100, DEFAULT: 100},
    1000: {"rpcguard": 1000, BARE: 4, DEFAULT: 200},
}


def round_trip(client: Any, urls: list[str]) -> Callable[[int], Awaitable[object]]:
    """Make a side that calls the URLs in turn."""
    turn = cycle(urls)

    async def run(count: int) -> None:
        for _ in range(count):
            await client.get(next(turn))

    return run


async def fill(client: Any, ports: list[int]) -> None:
    """Open a connection to each node in the client's pool.

    Not by calls through the pool: what it costs grows with the square of their number, and 1,000
    take minutes.
    """
    pool = client._transport._pool
    for port in ports:
        url = httpcore.URL(scheme="http", host="127.0.0.1", port=port, target="/")
        connection = pool.create_connection(url.origin)
        answer = await connection.handle_async_request(
            httpcore.Request("GET", url, headers={"Host": f"127.0.0.1:{port}"})
        )
        await answer.aread()
        await answer.aclose()
        pool._connections.append(connection)


async def measure(ports: list[int], rounds: int) -> dict[str, Series]:
    """Measure the three clients on one list of nodes."""
    transport = rpcguard.AsyncTransport(registry(ports), limits=KEPT)
    urls = [f"http://127.0.0.1:{port}/" for port in ports]
    async with (
        httpx.AsyncClient(transport=transport) as own,
        httpx.AsyncClient(limits=UNLIMITED, timeout=PATIENT) as unlimited,
        httpx.AsyncClient() as default,
    ):
        await fill(unlimited, ports)
        sides = {
            "rpcguard": round_trip(own, ["http://orders/"]),
            BARE: round_trip(unlimited, urls),
            DEFAULT: round_trip(default, urls),
        }
        for _ in range(3 * len(ports)):
            await own.get("http://orders/")
        return await compare_async(sides, calls=CALLS[len(ports)], rounds=rounds)


def round_trips(rounds: int = ROUNDS) -> Section:
    """Measure round trips over 100 and 1,000 nodes."""
    table, checks = sides_table(), []
    for count, bar in ((100, 0.1), (1000, 0.002)):
        with nodes(count) as ports:
            measured = anyio.run(measure, ports, rounds)
        label = f"{count:,} nodes"
        add_sides(table, label, measured)
        checks += [ratio(label, measured, BARE, bar), ratio(label, measured, DEFAULT, 0.4)]
    about = "One call after the other, to all nodes in turn, asyncio. The bare client without"
    about += " limits has an idle connection to each node, and its pool looks at all of them for"
    about += " every call; with default limits it keeps 20 and connects again."
    return Section("Round trips over many nodes", about, table, checks)


if __name__ == "__main__":
    show(__doc__, round_trips)
