"""The same transports for httpx2 (extra `httpx2`), with httpx2's own classes and exceptions."""

from __future__ import annotations

try:
    import httpx2
except ImportError as _missing:
    raise ImportError("rpcguard.httpx2 needs httpx2: pip install 'rpcguard[httpx2]'") from _missing

from rpcguard import errors
from rpcguard._connections.library import Library
from rpcguard._public import adopt_loaded
from rpcguard._transport.aio import AsyncDriver
from rpcguard._transport.sync import SyncDriver

# The drivers are written once and typed for httpx; here they serve httpx2, whose classes have the
# same interface and are not related.

__all__ = [
    "AsyncTransport",
    "DeadlineExceeded",
    "NoAvailableNode",
    "Overloaded",
    "Transport",
    "TransportClosed",
]


class DeadlineExceeded(errors.DeadlineExceeded, httpx2.PoolTimeout):  # type: ignore[misc]
    """The error of a call that was not sent in its time; an `httpx2.PoolTimeout` too."""


class NoAvailableNode(errors.NoAvailableNode, httpx2.ConnectError):  # type: ignore[misc]
    """The error of a service that has no node to send to; an `httpx2.ConnectError` too."""


class Overloaded(errors.Overloaded, httpx2.PoolTimeout):  # type: ignore[misc]
    """The error of a call that was refused before it was sent; an `httpx2.PoolTimeout` too."""


class TransportClosed(errors.TransportClosed, httpx2.TransportError):  # type: ignore[misc]
    """The error of a call on a closed transport; an `httpx2.TransportError` too."""


HTTPX2 = Library(
    httpx2,
    core="httpcore2",
    no_available_node=NoAvailableNode,
    overloaded=Overloaded,
    deadline_exceeded=DeadlineExceeded,
    transport_closed=TransportClosed,
)
"""What makes these transports those of httpx2."""


class Transport(SyncDriver, httpx2.BaseTransport):  # type: ignore[misc]
    """A transport that sends each call of an `httpx2.Client` to a good node of its service.

    Everything else is as in `rpcguard.Transport`.
    """

    @property
    def _library(self) -> Library:
        return HTTPX2


class AsyncTransport(AsyncDriver, httpx2.AsyncBaseTransport):  # type: ignore[misc]
    """A transport that sends each call of an `httpx2.AsyncClient` to a good node of its service.

    Everything else is as in `rpcguard.AsyncTransport`.
    """

    @property
    def _library(self) -> Library:
        return HTTPX2


# What these transports hand out is loaded by now, and its names may never be asked for.
adopt_loaded()
