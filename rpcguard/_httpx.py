"""The httpx transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import httpx

from rpcguard._connections.aio import AsyncConnectionStack
from rpcguard._connections.sync import ConnectionStack
from rpcguard._transport.aio import AsyncShell
from rpcguard._transport.sync import SyncShell
from rpcguard.errors import NoAvailableNode, Overloaded, TransportClosed

if TYPE_CHECKING:
    from types import ModuleType


class Transport(SyncShell, httpx.BaseTransport):
    """Send each call of an `httpx.Client` to a good node of the service that its URL names.

    `registry` is a registry URL or object; None reads the environment variable
    `RPCGUARD_REGISTRY`. `balancer` makes one balancer per service and priority. `retry`,
    `ejection`, `slow_start`, `offline` and `membership` are the policies, `routing` says which
    nodes a call may go to at all, and `zone` how far it stays near. `drain_timeout` is how
    many seconds `close` gives to what is in flight. With `unknown_service="direct"` a host that
    the registry does not know is called as an ordinary URL. `names` says what a service is called
    in the registry where no URL can spell it: `{"orders": "SHOP@@Orders"}`. `node_transport` makes
    the child transport of a node; without it rpcguard makes its own, to which `verify`, `cert`,
    `trust_env`, `http1`, `http2`, `limits` (per node), `local_address` and `socket_options` apply
    as in `httpx.HTTPTransport`. Spans and metrics go to `tracer_provider` and `meter_provider`, by
    default to the global ones of OpenTelemetry.

    A call may say more of itself in `extensions={"rpcguard": {...}}`: `idempotent` (may it run
    twice?), `attempts`, `deadline` for all of it and `attempt_timeout` for each try, in seconds,
    `lane`, and the `key` that a sticky share goes by.
    Times cut httpx's timeouts, so with a `node_transport` a head or body that comes drop by drop
    may outlast them. `response.extensions["rpcguard"]` is the `CallInfo`.

    Thread-safe. Whoever makes it closes it, by `close` or with the client; one that is dropped
    unclosed warns with `ResourceWarning`. Wrong options raise `ValueError`, a wrong registry URL
    `InvalidRegistryURL`.
    """

    _http: ClassVar[ModuleType] = httpx
    _stack = ConnectionStack
    _no_available_node = NoAvailableNode
    _transport_closed = TransportClosed
    _overloaded = Overloaded


class AsyncTransport(AsyncShell, httpx.AsyncBaseTransport):
    """Send each call of an `httpx.AsyncClient` to a good node of the service that its URL names.

    Works on asyncio and trio, on any number of event loops, at the same time too: connections
    belong to their loop, and what a loop leaves open is closed when it ends. The options are those
    of `Transport`. Whoever makes it closes it, by `aclose` or with the client.
    """

    _http: ClassVar[ModuleType] = httpx
    _stack = AsyncConnectionStack
    _no_available_node = NoAvailableNode
    _transport_closed = TransportClosed
    _overloaded = Overloaded
