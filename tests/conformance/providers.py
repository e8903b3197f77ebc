"""Real nodes: listeners on loopback addresses that answer HTTP with their own address."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
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
        self._listeners: dict[tuple[str, int], socket.socket] = {}
        self._serving: set[asyncio.Task[None]] = set()
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
        self._run(self._stop(tuple(self._listeners)))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, task: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(30)

    async def _start(self, addresses: tuple[tuple[str, int], ...]) -> None:
        # No asyncio.Server: one that is closed as a connection comes in leaves that open.
        for address in addresses:
            listener = socket.create_server(address, backlog=200)
            listener.setblocking(False)
            self._open[address] = set()
            self._listeners[address] = listener
            self._loop.add_reader(listener, self._accept, listener)

    async def _stop(self, addresses: tuple[tuple[str, int], ...]) -> None:
        for address in addresses:
            listener = self._listeners.pop(address, None)
            if listener is not None:
                self._loop.remove_reader(listener)
                listener.close()
                for writer in self._open.pop(address):
                    writer.transport.abort()
        await asyncio.sleep(0)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the caller has gone again
            task = self._loop.create_task(self._serve(listener.accept()[0]))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
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
