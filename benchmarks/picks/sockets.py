"""Play what weights and a slow first answer come to on real sockets, beside the bars.

`python -m benchmarks.picks.sockets [--rounds 3] [--write]`: `LeastLoaded` through an asyncio
client, nodes in a process of their own whose service time does not depend on load. Some ten
minutes, mostly idle.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

import rpcguard
from benchmarks.lib.nodes import ports_of
from benchmarks.lib.report import Table, write_between
from benchmarks.picks.bars import Verdict, shown, sign
from benchmarks.picks.scenarios import FLIGHTS, SCENARIOS, WEIGHTS
from rpcguard.registries.static import StaticRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from benchmarks.picks.stages import Stage

PAGE = Path(__file__).resolve().parents[2] / "docs" / "balancing.md"
CALLS = 10_000
SERVICE = 0.01
"""Seconds of a call on average, exponentially distributed."""
SHORT = 0.001
"""The same where one call follows the other, or it would take minutes."""
FIRST = (0.1, 0.3, 1.0, 5.0)
"""Seconds of the first answer of one of two nodes."""
RATE = 25.0
"""Calls a second to the two."""
FORGIVEN = 3.0
"""Seconds: longer than 30 calls and five rounds of the list take at that rate."""
WATCHED = 20.0
"""Seconds in which the share is measured: with 500 calls chance moves it by a twentieth."""
PATIENT = httpx.Timeout(30.0)


class Delayed(asyncio.Protocol):
    """A connection to a node that answers with its number, after a while."""

    def __init__(self, number: int, delays: Iterator[float]) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % number
        self.delays = delays
        self.pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        *requests, self.pending = (self.pending + data).split(b"\r\n\r\n")
        for _ in requests:
            asyncio.get_running_loop().call_later(next(self.delays), self.write, self.answer)


def _delays(seconds: float, first: float) -> Iterator[float]:
    """Give the service times of a node; a `first` of 0 is as the others are."""
    if first:
        yield first
    while True:
        yield random.expovariate(1.0 / seconds)


async def serve(count: int, seconds: float, first: float) -> None:
    """Listen, print the ports, and serve until standard input closes."""
    loop, servers = asyncio.get_running_loop(), []
    for number in range(count):
        delays = _delays(seconds, 0.0 if number else first)
        servers.append(await loop.create_server(partial(Delayed, number, delays), "127.0.0.1", 0))
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def nodes(weights: Sequence[float], seconds: float, first: float = 0.0) -> Iterator[StaticRegistry]:
    """Start nodes in a process of their own; give the registry that lists them."""
    options = [str(len(weights)), str(seconds), str(first)]
    with ports_of("-m", "benchmarks.picks.sockets", "--serve", *options) as ports:
        listed = zip(ports, weights, strict=True)
        yield StaticRegistry(
            [rpcguard.Node("127.0.0.1", port, weight=weight) for port, weight in listed]
        )


def client_of(registry: StaticRegistry) -> httpx.AsyncClient:
    """Make a client whose calls nothing but its balancer spreads."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    transport = rpcguard.AsyncTransport(registry, limits=limits)
    return httpx.AsyncClient(transport=transport, base_url="http://orders", timeout=PATIENT)


async def weighted(given: Sequence[int], flight: int) -> float:
    """Give how far the worst share is from its weight's, of what is allowed."""
    went: Counter[int] = Counter()
    with nodes(given, SHORT if flight == 1 else SERVICE) as registry:
        async with client_of(registry) as client:

            async def follow() -> None:
                for _ in range(CALLS // flight):
                    went[int((await client.get("/")).text)] += 1

            await asyncio.gather(*(follow() for _ in range(flight)))
    fair = {at: weight / sum(given) for at, weight in enumerate(given)}
    return max(
        abs(went[at] / went.total() - share) / max(0.2 * share, 0.01) for at, share in fair.items()
    )


async def slow_first(first: float) -> float:
    """Give the share of a fair one that a node gets once its slow first answer is forgiven."""
    went: list[tuple[float, int, float]] = []
    with nodes((1.0, 1.0), SERVICE, first) as registry:
        async with client_of(registry) as client:

            async def call() -> None:
                begin = time.monotonic()
                number = int((await client.get("/")).text)
                went.append((begin, number, time.monotonic()))

            async with asyncio.TaskGroup() as calls:
                end = time.monotonic() + 1.0 + first + FORGIVEN + WATCHED
                while time.monotonic() < end:
                    calls.create_task(call())
                    await asyncio.sleep(random.expovariate(RATE))
    slow = min(done for _, number, done in went if number == 0)
    after = [number for begin, number, _ in went if 0.0 <= begin - slow - FORGIVEN < WATCHED]
    return 2.0 * after.count(0) / len(after)


def measured(rounds: int) -> Table:
    """Play every row, one after the other; some ten seconds each."""
    table = Table(["on real sockets", "bar", "median", "worst round", "met"])
    weights, first = SCENARIOS["weights"], SCENARIOS["slow-first"]
    plays: list[tuple[Stage, str, Callable[[], Coroutine[Any, Any, float]]]] = [
        *(
            (weights, f"{name}, {flight} in flight", partial(weighted, given, flight))
            for flight in FLIGHTS
            for name, given in WEIGHTS.items()
        ),
        *(
            (first, f"2 nodes, {RATE:g} calls/s, {seconds:g} s", partial(slow_first, seconds))
            for seconds in FIRST
        ),
    ]
    for stage, case, play in plays:
        told = Verdict(stage, [asyncio.run(play()) for _ in range(rounds)])
        cells = [f"{stage.name}: {case}", sign(stage), shown(told.middle), shown(told.worst)]
        table.rows.append([*cells, "yes" if told.met else "**no**"])
        print(*table.rows[-1], flush=True)
    return table


def main() -> None:
    """Measure and print, and put the table into the page; with `--serve` be the nodes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="rewrite the page")
    parser.add_argument("--serve", nargs=3, metavar=("COUNT", "SECONDS", "FIRST"))
    options = parser.parse_args()
    if options.serve:
        count, seconds, first = options.serve
        asyncio.run(serve(int(count), float(seconds), float(first)))
        return
    table = measured(options.rounds)
    if options.write:
        write_between(PAGE, "sockets", table.markdown())


if __name__ == "__main__":
    main()
