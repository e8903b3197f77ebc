"""How trio waits for a socket and connects one."""

from __future__ import annotations

import contextlib
import functools
import math
import socket
import time
from typing import TYPE_CHECKING, Any

import trio

from rpcguard._connections.dial import Race, looking_up, order
from rpcguard._connections.socket_stream import SocketStream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from rpcguard._connections.dial import Address, Destination, Dialled


class TrioStream(SocketStream):
    """A socket on trio; also an `AsyncNetworkStream` of httpcore, as `network_stream`.

    One task reads and one writes at a time.
    """

    async def wait_readable(self, timeout: float | None) -> None:
        """Wait until something has come; raises `ReadTimeout`."""
        if self._has_more:
            await trio.lowlevel.checkpoint()
            return
        await self._wait(self.core.ReadTimeout, timeout, trio.lowlevel.wait_readable)

    async def wait_writable(self, timeout: float | None) -> None:
        """Wait until something can be sent or has come; raises `WriteTimeout`."""
        await self._wait(
            self.core.WriteTimeout,
            timeout,
            trio.lowlevel.wait_readable,
            trio.lowlevel.wait_writable,
        )

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, waiting up to `timeout` seconds; empty at the end."""
        await trio.lowlevel.checkpoint()
        while (data := self.receive(max_bytes)) is None:
            await self.wait_readable(timeout)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of the buffer, waiting up to `timeout` seconds each time the peer is slow."""
        await trio.lowlevel.checkpoint()
        view = memoryview(buffer)
        while view or not self.flush():
            if view and (taken := self.send(view)):
                view = view[taken:]
                continue
            await self._wait(self.core.WriteTimeout, timeout, trio.lowlevel.wait_writable)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> TrioStream:
        """Do the TLS handshake within `timeout` seconds; the stream is closed when it fails."""
        with self.handshaking():
            self.begin_tls(ssl_context, server_hostname)
            try:
                with trio.fail_after(math.inf if timeout is None else timeout):
                    while not self.shake_hands():
                        waits = [trio.lowlevel.wait_readable]
                        if not self.flush():
                            waits.append(trio.lowlevel.wait_writable)
                        await _first(self._socket, waits)
            except trio.TooSlowError as error:
                raise self.core.ConnectTimeout("the TLS handshake timed out") from error
        return self

    def close(self) -> None:
        """Close at once; whoever still waits gets an error."""
        if not self.closed and self._socket.fileno() >= 0 and trio.lowlevel.in_trio_run():
            trio.lowlevel.notify_closing(self._socket)
        super().close()

    async def aclose(self) -> None:
        """Close, as an `AsyncNetworkStream` does."""
        self.close()

    async def _wait(
        self, late: type[Exception], timeout: float | None, *waits: Callable[[Any], Awaitable[None]]
    ) -> None:
        if self.closed:
            raise self.core.ReadError("the connection was closed on this side")
        if timeout is not None and timeout <= 0:
            raise late("no time left")
        try:
            with trio.move_on_after(math.inf if timeout is None else timeout) as scope:
                await (waits[0](self._socket) if len(waits) == 1 else _first(self._socket, waits))
        except trio.ClosedResourceError as error:
            raise self.core.ReadError("the connection was closed on this side") from error
        if scope.cancelled_caught:
            raise late("timed out")


async def connect(destination: Destination, timeout: float | None) -> Dialled:
    """Open a connection within `timeout` seconds, the name's resolution included.

    Raises `OSError`, of which `TimeoutError` is one.
    """
    try:
        with trio.fail_after(math.inf if timeout is None else timeout):
            addresses = destination.known()
            if addresses is None:
                addresses = await _resolve(destination)
            race = Race(destination, addresses, time.monotonic())
            try:
                return await _run(race)
            finally:
                race.close()
    except trio.TooSlowError as error:
        raise TimeoutError("timed out") from error


async def _resolve(destination: Destination) -> list[Address]:
    # trio's own looks in this thread first whether the name is an address, which is known here.
    host, port, kind = destination.host, destination.port, socket.SOCK_STREAM
    look_up = functools.partial(socket.getaddrinfo, host, port, type=kind)
    with looking_up():
        return order(await trio.to_thread.run_sync(look_up, abandon_on_cancel=True))


async def _run(race: Race) -> Dialled:
    while True:
        race.advance(time.monotonic())
        left = race.left(time.monotonic())
        with trio.move_on_after(math.inf if left is None else left):
            await _first_writable(list(race.pending), left)
        if (winner := race.winner()) is not None:
            return winner


async def _first_writable(sockets: list[socket.socket], left: float | None) -> None:
    if len(sockets) == 1:
        await trio.lowlevel.wait_writable(sockets[0])
    elif sockets:
        await _race([(trio.lowlevel.wait_writable, sock) for sock in sockets])
    elif left is not None:
        await trio.sleep_forever()  # until the next one is due


async def _first(sock: socket.socket, waits: Any) -> None:
    if len(waits) == 1:
        await waits[0](sock)
    else:
        await _race([(wait, sock) for wait in waits])


async def _race(waits: list[tuple[Callable[[Any], Awaitable[None]], socket.socket]]) -> None:
    async with trio.open_nursery() as nursery:

        async def one(wait: Callable[[Any], Awaitable[None]], sock: socket.socket) -> None:
            # One that is closed meanwhile says so when it is read or written.
            with contextlib.suppress(trio.ClosedResourceError):
                await wait(sock)
            nursery.cancel_scope.cancel()

        for wait, sock in waits:
            nursery.start_soon(one, wait, sock)
