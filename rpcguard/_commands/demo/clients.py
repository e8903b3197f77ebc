"""What the demo compares: rpcguard, and plain httpx with round robin."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httpx

import rpcguard
from rpcguard._commands.demo.options import SERVICE, TIMEOUT
from rpcguard._commands.demo.recording import CallRecord, Client
from rpcguard._commands.demo.registry import POLL_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable

logger: logging.Logger = logging.getLogger("rpcguard.demo")

LIMITS = httpx.Limits(max_connections=500, max_keepalive_connections=500)
"""More than the calls that a frozen node can hold up at the demo's usual rate: all clients are to
show what nodes do to them, not how one of them waits for a connection."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """One try on one node, for the live view."""

    node: str
    duration: float


class Caller(Protocol):
    """A client of the service, wherever that is."""

    name: Client

    async def send(self, method: str, path: str) -> tuple[int, tuple[Attempted, ...]]:
        """Return the status and the attempts; raise what httpx raises."""
        ...


class GuardedCaller:
    """A client whose calls go through `rpcguard.AsyncTransport`."""

    name: Client = "rpcguard"

    def __init__(
        self, registry: str, *, slow_start: float, routing: rpcguard.Routing | None = None
    ) -> None:
        self.transport: rpcguard.AsyncTransport = rpcguard.AsyncTransport(
            registry,
            slow_start=rpcguard.SlowStart(window=slow_start),
            routing=routing,
            trust_env=False,
        )
        self.client: httpx.AsyncClient = httpx.AsyncClient(
            transport=self.transport, base_url=f"http://{SERVICE}", timeout=TIMEOUT
        )

    async def send(self, method: str, path: str) -> tuple[int, tuple[Attempted, ...]]:
        """Send one request; the service name is all that the caller knows."""
        response = await self.client.request(method, path, json=body(method))
        info: rpcguard.CallInfo = response.extensions["rpcguard"]
        attempts = tuple(Attempted(attempt.node.id, attempt.duration) for attempt in info.attempts)
        return response.status_code, attempts

    async def test(self, lane: str) -> str | None:
        """Send one marked request; give the node that answered it, None where none did well."""
        options = {"rpcguard": {"lane": lane}}
        try:
            response = await self.client.get("/work?id=tester", extensions=options)
        except httpx.TransportError:
            return None
        info: rpcguard.CallInfo = response.extensions["rpcguard"]
        return info.node.id if response.status_code == 200 else None

    async def aclose(self) -> None:
        """Close the client and its transport."""
        await self.client.aclose()


class RoundRobinCaller:
    """A client of plain httpx, which calls each node of the polled list in turn.

    `run` keeps the list; it polls as often as the registry advises, like rpcguard does.
    """

    name: Client = "httpx"

    def __init__(self, list_url: str) -> None:
        self.list_url = list_url
        self.client: httpx.AsyncClient = httpx.AsyncClient(
            timeout=TIMEOUT, limits=LIMITS, trust_env=False
        )
        self.nodes: list[tuple[str, str]] = []
        self._polls = httpx.AsyncClient(timeout=TIMEOUT, trust_env=False)
        self._turn = itertools.count()
        self._etag = ""

    async def run(self) -> None:
        """Poll the registry until cancelled; a poll that fails keeps the list."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                await self.refresh()
            except httpx.TransportError as error:
                logger.warning("the registry does not answer: %s", error)

    async def refresh(self) -> None:
        """Fetch the list once."""
        response = await self._polls.get(self.list_url, headers={"If-None-Match": self._etag})
        if response.status_code == 304:
            return
        response.raise_for_status()
        self._etag = response.headers["ETag"]
        self.nodes = [
            (node["id"], f"http://{node['host']}:{node['port']}")
            for node in response.json()["nodes"]
        ]

    def next_node(self) -> tuple[str, str]:
        """Give the name and the URL of the node whose turn it is."""
        if not self.nodes:
            raise httpx.ConnectError("the list is empty")
        return self.nodes[next(self._turn) % len(self.nodes)]

    async def send(self, method: str, path: str) -> tuple[int, tuple[Attempted, ...]]:
        """Send one request to the node whose turn it is."""
        node, base = self.next_node()
        response = await self.client.request(method, f"{base}{path}", json=body(method))
        return response.status_code, (Attempted(node, response.elapsed.total_seconds()),)

    async def aclose(self) -> None:
        """Close the client."""
        await self.client.aclose()
        await self._polls.aclose()


async def make_call(
    caller: Caller, method: str, path: str, *, clock: Callable[[], float]
) -> tuple[CallRecord, tuple[Attempted, ...]]:
    """Make one call and tell what its caller got."""
    at = clock()
    attempts: tuple[Attempted, ...] = ()
    error: str | None = None
    unsent = False
    try:
        status, attempts = await caller.send(method, path)
        if status != 200:
            error = str(status)
    except Exception as raised:  # whatever a client raises is a failed call of its user
        error = type(raised).__name__
        unsent = isinstance(raised, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    call = CallRecord(
        client=caller.name,
        method=method,
        at=at,
        duration=clock() - at,
        node=attempts[-1].node if attempts else None,
        attempts=max(1, len(attempts)),
        error=error,
        saveable=error is not None and (method == "GET" or unsent),
    )
    return call, attempts


def body(method: str) -> dict[str, str] | None:
    """Give what a call of this method sends."""
    return {"note": "one more order"} if method == "POST" else None
