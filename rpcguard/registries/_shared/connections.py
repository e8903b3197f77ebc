"""The connections to a registry: one pool for each event loop, a new one for new certificates."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import anyio
import httpx
from anyio.lowlevel import RunVar

from rpcguard.errors import RegistryError
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.tls import TLSFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rpcguard.registries._shared.tls import Stamp, TLSSource

_LIMITS: Final = httpx.Limits(keepalive_expiry=1.0)
"""Idle connections go before any common server drops them, so no poll meets a dead one."""


@dataclass(slots=True)
class RegistryPool:
    """Connections that were made with the same certificates, and how many exchanges use them."""

    transport: httpx.AsyncHTTPTransport
    stamp: Stamp
    in_use: int = 0
    outdated: bool = False

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response must be closed.

        httpcore leaves the socket open whose TLS handshake is cancelled, until it is collected.
        """
        plain: list[Any] = []

        async def trace(event: str, info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                plain.append(info["return_value"])
            elif event == "connection.start_tls.complete":
                plain.clear()

        if request.url.scheme == "https":
            request.extensions["trace"] = trace
        try:
            return await self.transport.handle_async_request(request)
        except BaseException:
            with anyio.CancelScope(shield=True):
                for stream in plain:
                    await stream.aclose()
            raise

    async def leave(self) -> None:
        """End one use; the last one of an outdated pool closes it."""
        self.in_use -= 1
        if self.outdated and not self.in_use:
            await self.transport.aclose()


class RegistryPools:
    """The connections of one client, on asyncio and trio and after a fork.

    Files of `tls` that were renewed are loaded at the next exchange, and what is under way ends on
    the connection that it has. Files of which one cannot be used, as in the middle of a renewal,
    leave the certificates before in use, with a warning.
    """

    def __init__(self, tls: TLSSource | ssl.SSLContext | None, *, shown: str, secure: bool) -> None:
        self.tls: TLSSource | ssl.SSLContext = tls if tls is not None else TLSFiles()
        self._shown = shown
        self._secure = secure
        self._faults = FaultLog()
        self._current: RunVar[RegistryPool | None] = RunVar("rpcguard registry connections", None)

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle a registry's connections: pass its URL instead")

    async def enter(self) -> RegistryPool:
        """Give the pool of the running event loop, to be left by `leave`."""
        pool = self._current.get(None)
        if pool is None:
            pool = self._new(self._stamp())
        elif (stamp := self._stamp()) != pool.stamp:
            pool = await self._renewed(pool, stamp)
        pool.in_use += 1
        return pool

    @asynccontextmanager
    async def using(self) -> AsyncIterator[RegistryPool]:
        """Enter a pool, and leave it at the end."""
        pool = await self.enter()
        try:
            yield pool
        finally:
            await pool.leave()

    async def aclose(self) -> None:
        """Close the connections of the running event loop; a later exchange opens new ones."""
        pool = self._current.get(None)
        if pool is not None:
            self._current.set(None)
            await pool.transport.aclose()

    async def _renewed(self, old: RegistryPool, stamp: Stamp) -> RegistryPool:
        try:
            fresh = self._new(stamp)
        except RegistryError as error:
            self._faults.report(self._shown, f"{error}; the certificates before stay in use")
            return old
        self._faults.report(self._shown, None)
        old.outdated = True
        old.in_use += 1
        await old.leave()
        return fresh

    def _new(self, stamp: Stamp) -> RegistryPool:
        # Not an AsyncClient: that logs each URL with its query, where a token may be, and
        # sends through the proxies of the environment.
        transport = httpx.AsyncHTTPTransport(verify=self._context(), limits=_LIMITS)
        pool = RegistryPool(transport, stamp)
        self._current.set(pool)
        return pool

    def _stamp(self) -> Stamp:
        if not self._secure or isinstance(self.tls, ssl.SSLContext):
            return ()
        return self.tls.stamp()

    def _context(self) -> ssl.SSLContext:
        if isinstance(self.tls, ssl.SSLContext):
            return self.tls
        # Loading the trusted certificates takes 50 ms or more: not for plain text.
        return self.tls.context() if self._secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
