"""Serve many nodes from one process: a fixed answer of eleven bytes, as cheaply as Python can.

`python nodes.py COUNT` listens on COUNT free loopback ports, prints them on one line, and serves
until its standard input closes.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 11\r\n\r\nhello world"


class Answering(asyncio.Protocol):
    """Answer each request without a body, however it is cut into packets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        *requests, self.pending = (self.pending + data).split(b"\r\n\r\n")
        if requests:
            self.transport.write(ANSWER * len(requests))  # type: ignore[attr-defined]


async def serve(count: int) -> None:
    """Listen, print the ports, and serve until standard input closes."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Answering, "127.0.0.1", 0) for _ in range(count)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def ports_of(*options: str) -> Iterator[list[int]]:
    """Run a Python program that prints the ports of its nodes; end it by closing its input."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield [int(port) for port in process.stdout.readline().split()]
        process.stdin.close()


def nodes(count: int) -> AbstractContextManager[list[int]]:
    """Start a process that serves `count` nodes; give their ports."""
    return ports_of(str(Path(__file__)), str(count))


@contextmanager
def node_of(module: str) -> Iterator[int]:
    """Start a module with `--serve`, which prints the port of its one node; give that."""
    with ports_of("-m", module, "--serve") as (port,):
        yield port


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
