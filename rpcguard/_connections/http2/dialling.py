"""How a connection that may speak HTTP/2 comes about: TCP, TLS and what was agreed on in it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

from rpcguard._connections.http2.channels import AsyncioChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rpcguard._connections.http2.channels import Channel
    from rpcguard._connections.http2.sync_channel import SyncChannel
    from rpcguard._connections.http2.trio_channel import TrioChannel

ChannelT = TypeVar("ChannelT", bound="Channel")

_HEAD_START = 0.25
"""Seconds between the addresses of a name, RFC 8305 §5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialler:
    """Where a node listens, and how it is reached."""

    host: str
    port: int
    local_address: str | None = None
    socket_options: Iterable[Any] | None = None
    ssl_context: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None
    protocols: tuple[str, ...] = ("h2",)
    """What is offered in the TLS handshake, the best first."""

    @property
    def address(self) -> str:
        """Give host and port as one word."""
        return f"{self.host}:{self.port}"

    @property
    def where(self) -> dict[str, Any]:
        """Give what a trace hook is told of a connection to be opened."""
        return {
            "host": self.host,
            "port": self.port,
            "local_address": self.local_address,
            "socket_options": self.socket_options,
        }

    def context(self) -> ssl.SSLContext:
        """Give the TLS context, ready to offer what is spoken here."""
        made = self.ssl_context
        context = made if isinstance(made, ssl.SSLContext) else made() if made else None
        if context is None:
            context = ssl.create_default_context()
        context.set_alpn_protocols(list(self.protocols))
        return context

    async def connect(self) -> AsyncioChannel | TrioChannel:
        """Open a TCP connection on the event loop that runs this; raise `OSError`."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return await self._connect_trio()
        options: dict[str, Any] = {}
        if self.local_address is not None:
            options["local_addr"] = self.local_address, 0
        # uvloop has no race; one address needs none, and a race that is cancelled loses its socket.
        if isinstance(loop, asyncio.BaseEventLoop) and not _is_address(self.host):
            options["happy_eyeballs_delay"] = _HEAD_START
        _, channel = await loop.create_connection(AsyncioChannel, self.host, self.port, **options)
        return self._ready(channel)

    def connect_now(self, timeout: float | None) -> SyncChannel:
        """Open a TCP connection from a thread, within so many seconds; raise `OSError`."""
        from rpcguard._connections.http2.sync_channel import SyncChannel

        source = None if self.local_address is None else (self.local_address, 0)
        sock = socket.create_connection((self.host, self.port), timeout, source)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._ready(SyncChannel(sock))

    async def _connect_trio(self) -> TrioChannel:
        from rpcguard._connections.http2.trio_channel import TrioChannel

        trio = sys.modules["trio"]
        stream = await trio.open_tcp_stream(self.host, self.port, local_address=self.local_address)
        return self._ready(TrioChannel(socket.socket(fileno=stream.socket.detach())))

    def _ready(self, channel: ChannelT) -> ChannelT:
        try:
            for option in self.socket_options or ():
                channel.get_extra_info("socket").setsockopt(*option)
        except BaseException:
            channel.abort()
            raise
        return channel


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
