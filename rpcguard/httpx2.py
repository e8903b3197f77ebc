"""The same transports for httpx2 (extra `httpx2`), with httpx2's own classes and exceptions."""

from __future__ import annotations

try:
    import httpcore2
    import httpx2
except ImportError as error:
    raise ImportError("rpcguard.httpx2 needs httpx2: pip install 'rpcguard[httpx2]'") from error

from rpcguard import connections, errors
from rpcguard.shell_async import AsyncShell
from rpcguard.shell_sync import SyncShell

__all__ = ["AsyncTransport", "NoAvailableNode", "Transport", "TransportClosed"]


class NoAvailableNode(errors.NoAvailableNode, httpx2.ConnectError):
    """Report that a service has no node to send to; an `httpx2.ConnectError` too."""


class TransportClosed(errors.TransportClosed, httpx2.TransportError):
    """Report a call on a transport that is closing or closed; an `httpx2.TransportError` too."""


class ConnectionStack(connections.SyncShell, httpx2.BaseTransport):
    """Keep the HTTP/1.1 connections of one node; see `rpcguard.connections`."""

    _http = httpx2
    _core = httpcore2


class AsyncConnectionStack(connections.AsyncShell, httpx2.AsyncBaseTransport):
    """Keep the HTTP/1.1 connections of one node; see `rpcguard.connections`."""

    _http = httpx2
    _core = httpcore2


class Transport(SyncShell, httpx2.BaseTransport):
    """Send each call of an `httpx2.Client` to a good node of the service that its URL names.

    Everything else is as in `rpcguard.Transport`.
    """

    _http = httpx2
    _stack = ConnectionStack
    _pooled = httpx2.HTTPTransport
    _no_available_node = NoAvailableNode
    _transport_closed = TransportClosed


class AsyncTransport(AsyncShell, httpx2.AsyncBaseTransport):
    """Send each call of an `httpx2.AsyncClient` to a good node of the service that its URL names.

    Everything else is as in `rpcguard.AsyncTransport`.
    """

    _http = httpx2
    _stack = AsyncConnectionStack
    _pooled = httpx2.AsyncHTTPTransport
    _no_available_node = NoAvailableNode
    _transport_closed = TransportClosed
