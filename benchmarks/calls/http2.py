"""Compare calls over HTTP/2 through rpcguard with those of a bare httpx client.

`python -m benchmarks.calls.http2 [--rounds 5]`: 1 and 50 streams at once on one connection to one
node, on asyncio and trio. Below 1.00 rpcguard costs less.
"""

from __future__ import annotations

import asyncio
import sys

import anyio
import httpx

import rpcguard
from benchmarks.calls.overhead import in_tasks
from benchmarks.lib.command import show
from benchmarks.lib.measure import ROUNDS, Series, compare_async
from benchmarks.lib.nodes import node_of
from benchmarks.lib.report import Section, add_sides, ratio, sides_table

BARE = "bare httpx"
PREFACE = 24
"""Bytes that a client begins with, RFC 9113 §3.4."""
HEAD = 9
"""Bytes before the payload of a frame."""
HEADERS, SETTINGS, END_STREAM, ACK = 1, 4, 1, 1
ANSWER = b"\x88\x0f\x0d\x0211", b"hello world"
"""`:status: 200` and `content-length: 11` in HPACK, and the body."""


class Http2Node(asyncio.Protocol):
    """Answer each request without a body, at the least cost that Python allows."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.pending = b""
        self.begun = False

    def data_received(self, data: bytes) -> None:
        data, out = self.pending + data, []
        if not self.begun:
            if len(data) < PREFACE:
                self.pending = data
                return
            self.begun, data = True, data[PREFACE:]
            out.append(frame(SETTINGS, 0, bytes(4)))
        while len(data) >= HEAD and len(data) >= HEAD + int.from_bytes(data[:3], "big"):
            end = HEAD + int.from_bytes(data[:3], "big")
            if data[3] == HEADERS:
                out.append(frame(HEADERS, 4, data[5:9], ANSWER[0]))
                out.append(frame(0, END_STREAM, data[5:9], ANSWER[1]))
            elif data[3] == SETTINGS and not data[4] & ACK:
                out.append(frame(SETTINGS, ACK, bytes(4)))
            data = data[end:]
        self.pending = data
        self.transport.write(b"".join(out))  # type: ignore[attr-defined]


def frame(kind: int, flags: int, stream: bytes, payload: bytes = b"") -> bytes:
    """Make a frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream + payload


async def serve() -> None:
    """Listen, print the port, and serve until standard input closes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Http2Node, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def streams(kind: str, in_flight: int, calls: int, rounds: int) -> dict[str, Series]:
    """Measure both clients with so many streams at once."""

    async def main(port: int) -> dict[str, Series]:
        nodes = f"static://127.0.0.1:{port}"
        transport = rpcguard.AsyncTransport(nodes, http1=False, http2=True)
        clients = {
            "rpcguard": httpx.AsyncClient(base_url="http://orders", transport=transport),
            BARE: httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", http1=False, http2=True),
        }
        sides = {name: in_tasks(client, in_flight) for name, client in clients.items()}
        try:
            return await compare_async(sides, calls=calls, rounds=rounds)
        finally:
            for client in clients.values():
                await client.aclose()

    with node_of("benchmarks.calls.http2") as port:
        return anyio.run(main, port, backend=kind)


def over_http2(rounds: int = ROUNDS) -> Section:
    """Measure 1 and 50 streams at once on one connection."""
    table, checks = sides_table(), []
    for kind in ("asyncio", "trio"):
        for in_flight, calls in ((1, 300), (50, 1000)):
            label = f"HTTP/2, {in_flight} in flight, {kind}"
            measured = streams(kind, in_flight, calls, rounds * 2)
            add_sides(table, label, measured)
            if in_flight > 1:
                checks.append(ratio(label, measured, BARE, 0.7))
    about = "One node, one connection, by prior knowledge. The other side is httpx on httpcore's"
    about += " HTTP/2; both stand on the h2 package, whose own share of a call is about 90 µs."
    return Section("HTTP/2", about, table, checks)


if __name__ == "__main__":
    show(__doc__, over_http2, serve=serve)
