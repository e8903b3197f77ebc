"""The third client of the demo: httpx-retries over the same list."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import httpx
from httpx_retries import RetryTransport

from rpcguard._commands.demo.clients import LIMITS, Attempted, RoundRobinCaller, body
from rpcguard._commands.demo.options import SERVICE, TIMEOUT

if TYPE_CHECKING:
    from rpcguard._commands.demo.recording import Client

_TRIES: Final = "rpcguard.demo.tries"
"""The extension of a request in which its tries are noted."""


class RetryingCaller(RoundRobinCaller):
    """A client of httpx with httpx-retries as it comes; each of its tries goes to the next node."""

    name: Client = "httpx-retries"

    def __init__(self, list_url: str) -> None:
        super().__init__(list_url)
        nodes = httpx.AsyncHTTPTransport(limits=LIMITS, trust_env=False)
        self.client = httpx.AsyncClient(
            transport=RetryTransport(transport=_InTurn(self, nodes)), timeout=TIMEOUT
        )

    async def send(self, method: str, path: str) -> tuple[int, tuple[Attempted, ...]]:
        """Send one request, to one node after the other."""
        tries: list[Attempted] = []
        response = await self.client.request(
            method, f"http://{SERVICE}{path}", json=body(method), extensions={_TRIES: tries}
        )
        return response.status_code, tuple(tries)


class _InTurn(httpx.AsyncBaseTransport):
    """The nodes of a caller under its retries."""

    def __init__(self, caller: RoundRobinCaller, nodes: httpx.AsyncHTTPTransport) -> None:
        self._caller = caller
        self._nodes = nodes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name, base = self._caller.next_node()
        url = httpx.URL(base)
        request.url = request.url.copy_with(host=url.host, port=url.port)
        began = time.monotonic()
        try:
            return await self._nodes.handle_async_request(request)
        finally:
            request.extensions[_TRIES].append(Attempted(name, time.monotonic() - began))

    async def aclose(self) -> None:
        await self._nodes.aclose()
