"""Nodes that serve four calls at a time, at 1.5 times what they can bear, over real sockets.

`python -m benchmarks.calls.capped [--seconds 12]`; with `--serve COUNT` it is the nodes.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from benchmarks.lib.report import Section, Table
from rpcguard import AsyncTransport, Overloaded, OverloadPolicy, Throttle
from rpcguard._text import quantile

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES, AT_A_TIME = 3, 4
SERVICE = 0.2
"""Seconds of a call: so long that the processor of the machine is no part of what is measured."""
LOAD = 1.5
TIMEOUT = 2.0
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
GUARDS = {
    "none": OverloadPolicy(),
    "`max_per_node=4`": OverloadPolicy(max_per_node=AT_A_TIME),
    "`max_per_node=8`": OverloadPolicy(max_per_node=2 * AT_A_TIME),
    "`adaptive=True`": OverloadPolicy(adaptive=True),
    "`throttle=Throttle(), adaptive=True`": OverloadPolicy(throttle=Throttle(), adaptive=True),
}


async def _serve(count: int) -> None:
    servers = [await asyncio.start_server(_Node().answer, "127.0.0.1", 0) for _ in range(count)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


class _Node:
    """Serve a few calls at a time, the others in turn, and those too whose caller has left."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_A_TIME)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                async with self._slots:
                    await asyncio.sleep(SERVICE)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@contextmanager
def capped_nodes() -> Iterator[list[int]]:
    """Start a process that serves the nodes; give their ports."""
    command = [sys.executable, "-m", "benchmarks.calls.capped", "--serve", str(NODES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield [int(port) for port in process.stdout.readline().split()]
        process.kill()  # it has calls in hand whose callers are gone


@dataclass(slots=True)
class Tally:
    """What came of the calls: seconds of the answered ones, and how many were not."""

    answered: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0

    async def call(self, client: httpx.AsyncClient) -> None:
        """Make a call."""
        began = time.monotonic()
        try:
            await client.get("/")
        except Overloaded:
            self.refused += 1
        except httpx.TransportError:
            self.failed += 1
        else:
            self.answered.append(time.monotonic() - began)


async def overload(ports: list[int], guard: OverloadPolicy, seconds: float) -> Tally:
    """Make calls at a steady rate, whatever comes of them."""
    tally, every = Tally(), SERVICE / (NODES * AT_A_TIME * LOAD)
    transport = AsyncTransport(
        "static://" + ",".join(f"127.0.0.1:{port}" for port in ports), overload=guard
    )
    async with httpx.AsyncClient(
        transport=transport, base_url="http://orders", timeout=TIMEOUT
    ) as client:
        began = time.monotonic()
        async with asyncio.TaskGroup() as calls:
            for number in range(int(seconds / every)):
                await asyncio.sleep(max(began + number * every - time.monotonic(), 0.0))
                calls.create_task(tally.call(client))
    return tally


def capped(seconds: float = 12.0) -> Section:
    """Play each guard against nodes of its own."""
    columns = ["guard", "answered in time ÷ bearable", "p50", "p99", "refused", "failed late"]
    table, bearable = Table(columns), NODES * AT_A_TIME / SERVICE * seconds
    for name, guard in GUARDS.items():
        with capped_nodes() as ports:
            tally = asyncio.run(overload(ports, guard, seconds))
        times = sorted(tally.answered)
        total = len(times) + tally.refused + tally.failed
        row = [name, f"{len(times) / bearable:.2f}"]
        row += [f"{quantile(times, share):.2f} s" for share in (0.5, 0.99)]
        row += [f"{one / total:.0%}" for one in (tally.refused, tally.failed)]
        table.rows.append(row)
    about = (
        f"{NODES} nodes that serve {AT_A_TIME} calls at a time, {SERVICE:g} s each, and the others "
        f"in turn; {LOAD:g} times what they can bear for {seconds:g} s from one caller on asyncio, "
        f"over real sockets, with a timeout of {TIMEOUT:g} s."
    )
    return Section("Nodes that serve four calls at a time", about, table)


def main() -> None:
    """Print the table, or serve the nodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--serve", type=int)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(_serve(given.serve))
    else:
        print(capped(given.seconds).text(), flush=True)


if __name__ == "__main__":
    main()
