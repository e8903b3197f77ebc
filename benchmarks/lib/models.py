"""Serve stand-ins for model servers from one process: slow for a prefix that they have not seen.

`python models.py COLD WARM KEPT...` listens on a free loopback port for each KEPT, prints the ports
on one line, and serves until its standard input closes. A node answers after COLD seconds, or after
WARM where it has the first line of the question among the last KEPT that it was asked.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HIT, MISS = b"hit", b"miss"


class PrefixCache:
    """The prefixes that one node was asked last."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._known: dict[bytes, None] = {}

    def has(self, prefix: bytes) -> bool:
        """Tell whether a prefix is there; it is now, at the cost of the oldest."""
        known = prefix in self._known
        self._known.pop(prefix, None)
        self._known[prefix] = None
        if len(self._known) > self._kept:
            del self._known[next(iter(self._known))]
        return known


class ModelNode:
    """One node: it answers every question by whether it knew the prefix."""

    def __init__(self, kept: int, cold: float, warm: float) -> None:
        self._cache = PrefixCache(kept)
        self._cold, self._warm = cold, warm

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection, one after the other."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                prefix = (await reader.readexactly(length)).partition(b"\n")[0]
                known = self._cache.has(prefix)
                await asyncio.sleep(self._warm if known else self._cold)
                said = HIT if known else MISS
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(said), said))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def serve(cold: float, warm: float, kept: Sequence[int]) -> None:
    """Listen, print the ports, and serve until standard input closes."""
    made = [ModelNode(one, cold, warm) for one in kept]
    servers = [await asyncio.start_server(one.talk, "127.0.0.1", 0) for one in made]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def models(cold: float, warm: float, kept: Sequence[int]) -> Iterator[list[int]]:
    """Start a process that serves a node for each of `kept`; give their ports."""
    command = [sys.executable, str(Path(__file__)), *map(str, (cold, warm, *kept))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield [int(port) for port in process.stdout.readline().split()]
        process.stdin.close()  # type: ignore[union-attr]


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), float(sys.argv[2]), [*map(int, sys.argv[3:])]))
