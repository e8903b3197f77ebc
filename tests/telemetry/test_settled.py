"""Whose span tells of an ejection: the one of the attempt that brought it about, no other."""

from __future__ import annotations

import anyio
import pytest

import rpcguard
from tests.support.library import AsyncTransport, http
from tests.support.telemetry import InOrder

NODES = 24


class Orders(http.AsyncBaseTransport):
    """The connections of one node: a call to `/slow` waits, one to `/lost` is refused."""

    begun = 0
    go_on: anyio.Event

    async def handle_async_request(self, request):
        if request.url.path == "/lost":
            raise http.ConnectError("refused")
        Orders.begun += 1
        if Orders.begun == NODES:
            Orders.all_there.set()
        await Orders.go_on.wait()
        return http.Response(200)


@pytest.mark.parametrize("flavour", ["async-asyncio"], indirect=True)
async def test_a_good_call_beside_an_ejection_has_no_event(recorded, flavour):
    """Of 24 good calls in flight and one that ejects a node, only that one tells of it."""
    Orders.begun, Orders.go_on, Orders.all_there = 0, anyio.Event(), anyio.Event()
    transport = AsyncTransport(
        "static://" + ",".join(f"10.0.0.{number}:80" for number in range(1, NODES + 1)),
        balancer=InOrder,
        node_transport=lambda _node: Orders(),
        retry=rpcguard.RetryPolicy(attempts=1),
        **recorded.options,
    )
    async with (
        http.AsyncClient(transport=transport, base_url="http://orders") as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(NODES):
            group.start_soon(client.get, "/slow")
        await Orders.all_there.wait()
        with pytest.raises(http.ConnectError):
            await client.get("/lost")
        Orders.go_on.set()
    told = {
        span.attributes["url.full"].rpartition("/")[2]: [event.name for event in span.events]
        for span in recorded.spans()
        if span.events
    }
    assert told == {"lost": ["rpcguard.ejected"]}
    assert len(recorded.spans()) == NODES + 1
