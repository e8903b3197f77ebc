"""What rpcguard raises; everything a caller catches from httpx today keeps catching it."""

from __future__ import annotations

import httpx


class RpcguardError(Exception):
    """Be the common base of every error that rpcguard itself raises."""


class NoAvailableNode(RpcguardError, httpx.ConnectError):  # noqa: N818
    """Report that a service has no node to send to.

    Raised at once, before anything is sent, so the call is safe to repeat. The message names the
    service, the registry and, for each node, why it cannot be used.
    """


class TransportClosed(RpcguardError, httpx.TransportError):  # noqa: N818
    """Report a call on a transport that is closing or closed.

    Nothing was sent, unless the notes list attempts: then closing cut the call at `drain_timeout`.
    """


class RegistryError(RpcguardError):
    """Report that a registry did not give a usable answer; the last good list stays in use."""


class InvalidRegistryURL(RpcguardError, ValueError):  # noqa: N818
    """Report a registry URL that cannot be understood: which part, and how a right one looks."""
