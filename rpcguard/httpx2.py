"""The same transports for httpx2 (extra `httpx2`), with httpx2's own classes and exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

try:
    import httpx2
except ImportError as _missing:
    raise ImportError("rpcguard.httpx2 needs httpx2: pip install 'rpcguard[httpx2]'") from _missing

from rpcguard import errors
from rpcguard._connections.aio import AsyncExchange
from rpcguard._connections.sync import SyncExchange
from rpcguard._transport.aio import AsyncShell
from rpcguard._transport.sync import SyncShell

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

# The shells are written once and typed for httpx; here they serve httpx2, whose classes have the
# same interface and are not related.

__all__ = ["AsyncTransport", "NoAvailableNode", "Overloaded", "Transport", "TransportClosed"]


class NoAvailableNode(errors.NoAvailableNode, httpx2.ConnectError):  # type: ignore[misc]
    """Report that a service has no node to send to; an `httpx2.ConnectError` too."""


class Overloaded(errors.Overloaded, httpx2.PoolTimeout):  # type: ignore[misc]
    """Report a call that was refused before it was sent; an `httpx2.PoolTimeout` too."""


class TransportClosed(errors.TransportClosed, httpx2.TransportError):  # type: ignore[misc]
    """Report a call on a transport that is closing or closed; an `httpx2.TransportError` too."""


class ConnectionStack(SyncExchange, httpx2.BaseTransport):  # type: ignore[misc]
    """Keep the HTTP/1.1 connections of one node; see `rpcguard._connections`."""

    _http: ClassVar[ModuleType] = httpx2
    _core: ClassVar[ModuleType | str] = "httpcore2"


class AsyncConnectionStack(AsyncExchange, httpx2.AsyncBaseTransport):  # type: ignore[misc]
    """Keep the HTTP/1.1 connections of one node; see `rpcguard._connections`."""

    _http: ClassVar[ModuleType] = httpx2
    _core: ClassVar[ModuleType | str] = "httpcore2"


class Transport(SyncShell, httpx2.BaseTransport):  # type: ignore[misc]
    """Send each call of an `httpx2.Client` to a good node of the service that its URL names.

    Everything else is as in `rpcguard.Transport`.
    """

    _http: ClassVar[ModuleType] = httpx2
    _stack: ClassVar[Callable[..., Any]] = ConnectionStack
    _no_available_node: ClassVar[type[Exception]] = NoAvailableNode
    _transport_closed: ClassVar[type[Exception]] = TransportClosed
    _overloaded: ClassVar[type[errors.Overloaded]] = Overloaded


class AsyncTransport(AsyncShell, httpx2.AsyncBaseTransport):  # type: ignore[misc]
    """Send each call of an `httpx2.AsyncClient` to a good node of the service that its URL names.

    Everything else is as in `rpcguard.AsyncTransport`.
    """

    _http: ClassVar[ModuleType] = httpx2
    _stack: ClassVar[Callable[..., Any]] = AsyncConnectionStack
    _no_available_node: ClassVar[type[Exception]] = NoAvailableNode
    _transport_closed: ClassVar[type[Exception]] = TransportClosed
    _overloaded: ClassVar[type[errors.Overloaded]] = Overloaded
