"""What mocks of httpx see of calls that go through rpcguard."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from rpcguard._core.call.info import Attempt, CallInfo
from rpcguard._core.nodes.node import Node
from rpcguard._transport.aio import AsyncDriver
from rpcguard._transport.sync import SyncDriver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import httpx


@contextmanager
def mocked() -> Iterator[None]:
    """Hand the calls of all transports of this process to httpx's own, while the block lasts.

    Those are what respx, pytest-httpx and their like have replaced, so their routes see the URL
    that was asked for: `http://orders/v1/orders/42`. No registry is asked, no node picked, nothing
    tried again; `response.extensions["rpcguard"]` tells of one attempt on a node of that name.
    What no mock takes goes to the network as httpx sends it. Start and end blocks in one thread.
    """
    with ExitStack() as closing:
        originals = _Originals(closing)

        def handle_request(shell: Any, request: httpx.Request) -> Any:
            began = time.monotonic()
            response = originals.sync(shell._http).handle_request(request)
            return _told(response, request, began)

        async def handle_async_request(shell: Any, request: httpx.Request) -> Any:
            began = time.monotonic()
            # One for each call, since its connections would belong to the event loop of the first.
            original = shell._http.AsyncHTTPTransport(verify=False)
            response = await original.handle_async_request(request)
            return _told(response, request, began)

        _replace(closing, SyncDriver, "handle_request", handle_request)
        _replace(closing, AsyncDriver, "handle_async_request", handle_async_request)
        yield


class _Originals:
    """The transport of each library that a mock has replaced, or leaves as it is."""

    def __init__(self, closing: ExitStack) -> None:
        self._closing = closing
        self._made: dict[str, Any] = {}

    def sync(self, http: ModuleType) -> Any:
        if http.__name__ not in self._made:
            original = http.HTTPTransport()
            self._closing.callback(original.close)
            self._made[http.__name__] = original
        return self._made[http.__name__]


def _replace(closing: ExitStack, owner: type, name: str, function: object) -> None:
    closing.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, function)


def _told(response: Any, request: httpx.Request, began: float) -> Any:
    url = request.url
    node = Node(url.host or "localhost", url.port or (443 if url.scheme == "https" else 80))
    attempt = Attempt(node, str(response.status_code), time.monotonic() - began)
    response.extensions.setdefault("rpcguard", CallInfo(url.host, node, (attempt,)))
    return response
