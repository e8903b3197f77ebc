"""Calls that wait for a first list cost nothing while they wait."""

from __future__ import annotations

import anyio
import pytest

from rpcguard import Node, Snapshot
from tests.support.library import AsyncTransport, http

pytestmark = pytest.mark.anyio


class Late:
    """A registry that answers when it is let."""

    def __init__(self) -> None:
        self.may = False

    async def fetch(self, service: str) -> Snapshot:
        while not self.may:  # noqa: ASYNC110 (it is let from another loop)
            await anyio.sleep(0.01)
        return Snapshot([Node("10.0.0.1", 1)], max_age=3600)


async def test_all_that_wait_are_woken_and_none_polls():
    """A hundred calls wait; each sleeps on an event, and all go on when the list is there."""
    registry, got = Late(), []
    answers = http.MockTransport(lambda _: http.Response(200))
    transport = AsyncTransport(registry, node_transport=lambda _: answers)
    async with http.AsyncClient(transport=transport, base_url="http://orders") as client:

        async def call() -> None:
            got.append((await client.get("/")).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            service = transport._services("orders")
            assert len(service._sleepers) == 100
            registry.may = True
        assert got == [200] * 100
        assert not service._sleepers
