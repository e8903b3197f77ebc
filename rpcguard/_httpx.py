"""The httpx transports."""

from __future__ import annotations

import httpx

from rpcguard._connections.library import Library
from rpcguard._transport.aio import AsyncDriver
from rpcguard._transport.sync import SyncDriver
from rpcguard.errors import DeadlineExceeded, NoAvailableNode, Overloaded, TransportClosed

HTTPX = Library(
    httpx,
    core="httpcore",
    no_available_node=NoAvailableNode,
    overloaded=Overloaded,
    deadline_exceeded=DeadlineExceeded,
    transport_closed=TransportClosed,
)
"""What makes these transports those of httpx."""


class Transport(SyncDriver, httpx.BaseTransport):
    """A transport that sends each call of an `httpx.Client` to a good node of its service.

    A call may say more of itself in `extensions={"rpcguard": {...}}`: `idempotent` (may it run
    twice?), `attempts`, `deadline` for all of it and `attempt_timeout` for each try, in seconds,
    `lane`, and the `key` that a sticky share goes by.
    Times cut httpx's timeouts, so with a `node_transport` a head that comes drop by drop may
    outlast them. `response.extensions["rpcguard"]` is the `CallInfo`.

    Thread-safe. Whoever makes it closes it, by `close` or with the client; one that is dropped
    unclosed warns with `ResourceWarning`. Wrong options raise `ValueError`, a wrong registry URL
    `InvalidRegistryURL`.
    """

    @property
    def _library(self) -> Library:
        return HTTPX


class AsyncTransport(AsyncDriver, httpx.AsyncBaseTransport):
    """A transport that sends each call of an `httpx.AsyncClient` to a good node of its service.

    Works on asyncio and trio, on any number of event loops, at the same time too: connections
    belong to their loop, and what a loop leaves open is closed when it ends. The options are those
    of `Transport`. Whoever makes it closes it, by `aclose` or with the client.
    """

    @property
    def _library(self) -> Library:
        return HTTPX
