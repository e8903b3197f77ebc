"""What rpcguard raises; everything a caller catches from httpx today keeps catching it."""

from __future__ import annotations

import httpx


class RpcguardError(Exception):
    """The common base of every error that rpcguard itself raises."""


class NoAvailableNode(RpcguardError, httpx.ConnectError):  # noqa: N818
    """The error of a service that has no node to send to.

    Raised before anything is sent, so the call is safe to repeat: at once, but the first call of a
    service waits up to `first_snapshot_timeout` for a list. The message names the service, the
    registry and, for the first ten nodes, why they cannot be used.
    """


class Overloaded(RpcguardError, httpx.PoolTimeout):  # noqa: N818
    """The error of a call that was refused unsent: a limit of `OverloadPolicy` was met.

    `service` is its name, `limit` which limit it was (`"max_in_flight"`, `"max_per_node"`,
    `"throttle"` or `"adaptive"`), `retry_after` after how many seconds a try makes sense. Raised at
    once, and not retried by rpcguard: a client that repeats it at once makes things worse.
    """

    service: str = ""
    limit: str = ""
    retry_after: float = 0.0


class DeadlineExceeded(RpcguardError, httpx.PoolTimeout):  # noqa: N818
    """The error of a call that was not sent, since its time was up before.

    Its own deadline, or that of the request that it is made for. Nothing has run.
    """


class TransportClosed(RpcguardError, httpx.TransportError):  # noqa: N818
    """The error of a call on a transport that is closing or closed.

    Nothing was sent, unless the notes list attempts: then closing cut the call at `drain_timeout`.
    """


class RegistryError(RpcguardError):
    """The error of a registry that did not give a usable answer.

    Registries raise it, and the last good list stays in use; callers get it from `wait_ready`.
    """


class InvalidRegistryURL(RpcguardError, ValueError):  # noqa: N818
    """The error of a registry URL: which part cannot be understood, and how a right one looks."""
