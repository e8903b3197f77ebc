"""The caller under test: `rpcguard.AsyncTransport` by URL, with traffic that must not fail."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
import httpx
from anyio import to_thread

import rpcguard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rpcguard._core.nodes.view import NodeView
    from tests.conformance.backends.base import Backend

T = TypeVar("T")
NEVER = 3600.0


async def act(action: Callable[..., T], *args: object) -> T:
    """Run what the operator or a provider does, in a thread, so that the traffic goes on."""
    return await to_thread.run_sync(lambda: action(*args))


class Caller:
    """Call services through one transport and look at its lists."""

    def __init__(self, backend: Backend, transport: rpcguard.AsyncTransport) -> None:
        self.backend = backend
        self.transport = transport
        self.client = httpx.AsyncClient(transport=transport, timeout=5.0)

    async def call(self, service: str) -> str:
        """Send one GET; give the address of the node that answered."""
        response = await self.client.get(f"http://{service}/")
        assert response.status_code == 200
        return response.text

    def nodes(self, service: str) -> dict[str, NodeView]:
        """Give the live list by node id."""
        return {view.node.id: view for view in self.transport.nodes(service)}

    def trouble(self, service: str) -> str | None:
        """Give what is wrong with the registry, as far as this service is concerned."""
        return next(view.trouble for view in self.transport.services() if view.name == service)

    def usable(self, service: str) -> set[str]:
        """Give the ids of the nodes that can be picked."""
        views = self.nodes(service).values()
        return {view.node.id for view in views if view.state in ("available", "warming")}

    async def until(
        self, condition: Callable[[], object], *, timeout: float | None = None, what: str = ""
    ) -> float:
        """Wait until a condition holds; give the seconds it took; fail when it does not."""
        begin = time.monotonic()
        limit = timeout or self.backend.settle
        while not condition():
            if time.monotonic() - begin > limit:
                raise AssertionError(f"not within {limit:g} s: {what or 'the condition'}")
            await anyio.sleep(0.005)
        return time.monotonic() - begin

    async def stays(self, condition: Callable[[], object], seconds: float) -> None:
        """Watch for so long that a condition holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert condition()
            await anyio.sleep(0.005)

    async def until_listed(self, service: str, *ids: str, timeout: float | None = None) -> float:
        """Wait until the list holds exactly these nodes."""
        return await self.until(
            lambda: set(self.nodes(service)) == set(ids),
            timeout=timeout,
            what=f"{service} lists {len(ids)} nodes",
        )


class Traffic:
    """Count what steady calls of one service got."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []

    def forget(self) -> None:
        """Count only calls that begin from now on."""
        self.answers = Counter()


@asynccontextmanager
async def calling(
    backend: Backend, *, dead_member: bool = False, wrong_credentials: bool = False
) -> AsyncIterator[Caller]:
    """Open a caller; a registry that pushes is never polled, so that the push is what is proven."""
    transport = rpcguard.AsyncTransport(
        backend.url(dead_member=dead_member, wrong_credentials=wrong_credentials),
        membership=rpcguard.MembershipPolicy(
            poll_interval=backend.poll_interval,
            resync_interval=NEVER,
            first_snapshot_timeout=1.0 if wrong_credentials else backend.first_snapshot_timeout,
        ),
    )
    caller = Caller(backend, transport)
    async with caller.client:
        yield caller


@asynccontextmanager
async def traffic(caller: Caller, service: str) -> AsyncIterator[Traffic]:
    """Send calls all the while; at the end none may have failed."""
    counted = Traffic()

    async def send() -> None:
        while True:
            answers = counted.answers
            try:
                answers[await caller.call(service)] += 1
            except httpx.HTTPError as error:
                counted.failures.append(f"{type(error).__name__}: {error}")
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(send)
        yield counted
        group.cancel_scope.cancel()
    assert counted.failures == []
    assert counted.answers
