"""Real nodes: listeners on loopback addresses that answer HTTP with their own address."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Providers:
    """Run any number of nodes in one background thread.

    A node answers every request with 200 and `host:port` as its body. `stop` refuses further
    connections and cuts the open ones, as the end of a process does.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._open: dict[tuple[str, int], set[asyncio.StreamWriter]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, *addresses: tuple[str, int]) -> None:
        """Listen on more addresses."""
        self._run(self._start(addresses))

    def stop(self, *addresses: tuple[str, int]) -> None:
        """End the nodes at these addresses; one that does not run is no error."""
        self._run(self._stop(addresses))

    def close(self) -> None:
        """End every node and the thread."""
        self._run(self._stop(tuple(self._servers)))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, task: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(30)

    async def _start(self, addresses: tuple[tuple[str, int], ...]) -> None:
        for address in addresses:
            self._open[address] = set()
            self._servers[address] = await asyncio.start_server(self._serve, *address, backlog=200)

    async def _stop(self, addresses: tuple[tuple[str, int], ...]) -> None:
        for address in addresses:
            server = self._servers.pop(address, None)
            if server is not None:
                server.close()
                for writer in self._open.pop(address):
                    writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("sockname")[:2]
        mine = self._open.get(address)
        if mine is None:
            writer.transport.abort()
            return
        mine.add(writer)
        body = f"{address[0]}:{address[1]}".encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return  # the caller has gone, or the node was stopped
        finally:
            mine.discard(writer)
            writer.close()
