"""Compare calls of other shapes with bare httpx: large bodies, streams of events, new connections.

`python -m benchmarks.calls.shapes [--rounds 5]`: 10 MB down and up, 1,000 server-sent events on one
stream, and nodes that close after each answer. Below 1.00 rpcguard costs less.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import anyio
import httpx

import rpcguard
from benchmarks.calls.overhead import BARE, UNLIMITED, registry
from benchmarks.lib.command import show
from benchmarks.lib.measure import ROUNDS, Series, compare, compare_async
from benchmarks.lib.nodes import node_of
from benchmarks.lib.report import Check, Section, add_sides, ratio, sides_table, time_ratio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LARGE = 10_000_000
"""Bytes of a large body."""
PIECE = 64 * 1024
"""Bytes of it at once, as a program that reads a file would give them."""
EVENTS = 1000
EVENT = b'data: {"token": "hello"}\n\n'
SHAPES = {"down": 10, "up": 10, "events": 4, "new": 200}
"""Calls of a round; a large body takes milliseconds, a small one a fraction of one."""
_BODY = bytes(PIECE)


class Various:
    """Answer by the path: a large body, a stream of events, an answer that ends the connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, file: BinaryIO
    ) -> None:
        self._reader, self._writer, self._file = reader, writer, file

    async def serve(self) -> None:
        """Answer until the client leaves."""
        with_head = self._reader.readuntil
        try:
            while head := await with_head(b"\r\n\r\n"):
                if not await self._answer(head):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        self._writer.close()

    async def _answer(self, head: bytes) -> bool:
        path = head.split(b" ", 2)[1]
        if path == b"/down":
            self._head(b"content-length: %d" % LARGE)
            # As nginx sends a file: what Python writes comes slower than a client takes it.
            await asyncio.get_running_loop().sendfile(
                self._writer.transport, self._file, count=LARGE
            )
            return True
        if path == b"/events":
            await self._events()
            return True
        if path == b"/up":
            left = LARGE
            while left:
                left -= len(await self._reader.read(min(left, PIECE)))
        self._head(b"content-length: 2" + b"\r\nconnection: close" * (path == b"/new"))
        self._writer.write(b"ok")
        return path != b"/new"

    async def _events(self) -> None:
        self._head(b"content-type: text/event-stream\r\ntransfer-encoding: chunked")
        for _ in range(EVENTS):
            self._writer.write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
            await asyncio.sleep(0)  # a packet each, as a model would send them
        self._writer.write(b"0\r\n\r\n")

    def _head(self, fields: bytes) -> None:
        self._writer.write(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n")


async def serve() -> None:
    """Listen, print the port, and serve until standard input closes."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryFile() as file:
        file.write(bytes(LARGE))
        file.flush()
        server = await asyncio.start_server(
            lambda reader, writer: Various(reader, writer, file).serve(), "127.0.0.1", 0
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


def pieces() -> Iterator[bytes]:
    """Give a large body in pieces."""
    for begin in range(0, LARGE, PIECE):
        yield _BODY[: LARGE - begin]


async def async_pieces() -> AsyncIterator[bytes]:
    """Do the same for an async client."""
    for piece in pieces():
        yield piece


def call(client: httpx.Client, shape: str, count: int) -> None:
    """Make so many calls of a shape."""
    if shape == "up":
        headers = {"content-length": str(LARGE)}
        for _ in range(count):
            client.put("/up", content=pieces(), headers=headers)
        return
    for _ in range(count):
        with client.stream("GET", f"/{shape}") as answer:
            for _ in answer.iter_bytes():
                pass


async def call_async(client: httpx.AsyncClient, shape: str, count: int) -> None:
    """Do the same with an async client."""
    if shape == "up":
        headers = {"content-length": str(LARGE)}
        for _ in range(count):
            await client.put("/up", content=async_pieces(), headers=headers)
        return
    for _ in range(count):
        async with client.stream("GET", f"/{shape}") as answer:
            async for _ in answer.aiter_bytes():
                pass


def clients(kind: str, port: int) -> dict[str, Any]:
    """Make both clients."""
    sync = kind == "sync"
    transport = (rpcguard.Transport if sync else rpcguard.AsyncTransport)(registry([port]))
    make: Any = partial(httpx.Client if sync else httpx.AsyncClient, timeout=60)
    return {
        "rpcguard": make(base_url="http://orders", transport=transport),
        BARE: make(base_url=f"http://127.0.0.1:{port}", limits=UNLIMITED),
    }


def measured_sync(port: int, shape: str, rounds: int) -> dict[str, Series]:
    """Measure the sync clients."""
    made = clients("sync", port)
    sides = {name: partial(call, client, shape) for name, client in made.items()}
    try:
        return compare(sides, calls=SHAPES[shape], rounds=rounds)
    finally:
        for client in made.values():
            client.close()


async def measured_async(port: int, shape: str, rounds: int) -> dict[str, Series]:
    """Measure the async clients."""
    made = clients("asyncio", port)
    sides = {name: partial(call_async, client, shape) for name, client in made.items()}
    try:
        return await compare_async(sides, calls=SHAPES[shape], rounds=rounds)
    finally:
        for client in made.values():
            await client.aclose()


def check(label: str, shape: str, measured: dict[str, Series]) -> Check:
    """Hold what matters of a shape against its bar."""
    if shape == "down":
        return time_ratio(label, measured, BARE, 1 / 1.5)  # 1.5 times the throughput
    if shape == "up":
        return time_ratio(label, measured, BARE, 1.0)
    return ratio(label, measured, BARE, {"events": 0.5, "new": 0.8}[shape])


def of_other_shapes(rounds: int = ROUNDS) -> Section:
    """Measure each shape, sync and asyncio."""
    table, checks = sides_table(), []
    named = {
        "down": "10 MB down",
        "up": "10 MB up",
        "events": "1,000 events",
        "new": "a connection each",
    }
    with node_of("benchmarks.calls.shapes") as port:
        for shape, name in named.items():
            for kind in ("sync", "asyncio"):
                if kind == "sync":
                    measured = measured_sync(port, shape, rounds * 2)
                else:
                    measured = anyio.run(measured_async, port, shape, rounds * 2)
                label = f"{name}, {kind}"
                add_sides(table, label, measured)
                checks.append(check(label, shape, measured))
    about = "One node, one call after the other. Bodies go up in pieces of 64 KiB with their"
    about += " length, and come down as the system sends a file; each event is a packet of its own;"
    about += " the last rows are of a node that closes after each answer. For large bodies the bars"
    about += " are of time, for throughput is what counts."
    return Section("Other shapes of calls", about, table, checks)


if __name__ == "__main__":
    show(__doc__, of_other_shapes, serve=serve)
