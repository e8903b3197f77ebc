"""The connection below gRPC: TCP or a Unix socket, in plain text or TLS with HTTP/2 agreed on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from rpcguard.errors import RegistryError
from rpcguard.registries._shared.bodies import reason

if TYPE_CHECKING:
    import ssl

    from anyio.abc import ByteStream

_CONNECT_TIMEOUT: Final = 5.0
"""Seconds until TLS stands: a control plane is near, and others may be named."""

_KEEPALIVE: Final = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""Seconds, seconds, times: a peer that is gone without a word is noticed in 50 s. A PING of HTTP/2
would do it too, but grpc's servers end a connection that pings more often than every 5 minutes."""


async def dialled(
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    name: str | None,
    path: str | None,
    shown: str,
) -> ByteStream:
    """Connect, with TLS where a context is given; `RegistryError` where that is not to be had."""
    try:
        with anyio.fail_after(_CONNECT_TIMEOUT):
            plain: ByteStream
            if path is not None:
                plain = await anyio.connect_unix(path)
            else:
                plain = await anyio.connect_tcp(host, port)
                _keep_alive(plain.extra(SocketAttribute.raw_socket))
            return plain if tls is None else await _secured(plain, tls, name or host, shown)
    except TimeoutError:
        raise RegistryError(f"{shown}: no connection within {_CONNECT_TIMEOUT:g} s") from None
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise RegistryError(f"{shown}: {reason(error)}") from error


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def _secured(plain: ByteStream, tls: ssl.SSLContext, name: str, shown: str) -> ByteStream:
    tls.set_alpn_protocols(["h2"])
    try:
        stream = await TLSStream.wrap(plain, hostname=name, ssl_context=tls)
        if stream.extra(TLSAttribute.alpn_protocol, None) != "h2":
            raise RegistryError(f"{shown}: the server does not agree on HTTP/2")
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(plain)
        raise
    return stream
