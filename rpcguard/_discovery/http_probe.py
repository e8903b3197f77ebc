"""Probe a node over HTTP: whether it answers, and not only listens."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rpcguard._connections.children import Children
from rpcguard._core.call.timeouts import Timeouts
from rpcguard._core.nodes.node import is_ipv6
from rpcguard._core.outcomes.exceptions import classify_exception

if TYPE_CHECKING:
    from rpcguard._connections.children import ChildOptions
    from rpcguard._connections.library import Library
    from rpcguard._core.nodes.node import Node

_OPERATIONS: Final = ("connect", "read", "write", "pool")
"""The operations of httpx that take a timeout."""
_FAILS: Final = 500
"""The status from which on a node is not well: one that answers 404 or 401 is there, and serves."""


class Found(NamedTuple):
    """What a probe has found out of a node."""

    alive: bool | None
    """Whether it takes connections; None where that could not be told, or it fails to answer."""
    answered: bool = False
    """Whether it has answered over HTTP with a status below 500."""


class HttpProbe:
    """A GET of one path, sent as a call would be: over the same TLS, with the service's name.

    Belongs to the background's event loop. Each probe has a connection of its own, which is closed
    after it: a kept one tells nothing of a new process.
    """

    def __init__(self, library: Library, options: ChildOptions) -> None:
        self._http = library.http
        self._library = library
        self._options = options

    @functools.cached_property
    def _make(self) -> Children[Any]:
        # Where it is wanted: it makes a TLS context of its own.
        return Children(self._library, "aio", self._options, node_transport=None)

    async def __call__(
        self, service: str, node: Node, path: str, *, scheme: str, timeout: float
    ) -> Found:
        """Ask a node of a service; whatever goes wrong is told, not raised."""
        try:
            answered = await self._ask(service, node, path, scheme, timeout) < _FAILS
        except Exception as error:
            # One that takes connections and does not answer is neither back nor gone.
            return Found(False if classify_exception(error).blame == "connect" else None)
        return Found(True if answered else None, answered)

    async def _ask(self, service: str, node: Node, path: str, scheme: str, timeout: float) -> int:
        until = time.monotonic() + timeout
        timeouts = Timeouts(dict.fromkeys(_OPERATIONS, timeout), until, time.monotonic)
        host = f"[{service}]" if is_ipv6(service) else service
        request = self._http.Request("GET", f"{scheme}://{host}{path}")
        asked = self._make.request(
            request, request.stream, node, timeouts, scheme=scheme, repeatable=False, fresh=True
        )
        child = self._make.direct(scheme, node.host, node.port, uds=node.uds)
        try:
            response = await child.handle_async_request(asked)
            await response.stream.aclose()
        finally:
            await child.aclose()
        return int(response.status_code)
