"""WebSockets through the transport, by httpx-ws or httpx2's own client, and a real uvicorn."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import to_thread

from tests.support.calls import FLAVOURS, Caller, Dead, each, settle, soon
from tests.support.library import LIBRARY

if LIBRARY == "httpx":
    from httpx_ws import HTTPXWSException, aconnect_ws, connect_ws
else:
    from httpx2.websockets import HTTPXWSException

pytestmark = each(FLAVOURS)


@asynccontextmanager
async def connected(caller: Caller, url: str = "http://orders/ws"):
    """Open a WebSocket, whatever the flavour."""
    if LIBRARY != "httpx":
        opened = caller.client.websocket(url)
    elif caller.flavour.sync:
        opened = connect_ws(url, caller.client, keepalive_ping_interval_seconds=None)
    else:
        opened = aconnect_ws(url, caller.client, keepalive_ping_interval_seconds=None)
    if caller.flavour.sync:
        with opened as socket:
            yield socket
    else:
        async with opened as socket:
            yield socket


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_messages_go_both_ways(scheme, make_provider, make_caller):
    """Text and bytes, one after the other; the node is busy until the socket is closed."""
    provider = make_provider()
    caller = make_caller(provider)
    async with connected(caller, f"{scheme}://orders/ws") as socket:
        await settle(socket.send_text("hello"))
        assert await settle(socket.receive_text(timeout=20)) == "hello"
        await settle(socket.send_bytes(b"x" * 50_000))
        assert await settle(socket.receive_bytes(timeout=20)) == b"x" * 50_000
        assert caller.view(provider).in_flight == 1
    await soon(lambda: caller.view(provider).in_flight == 0, "the node is free again")
    assert provider.gone.wait(20)
    view = caller.view(provider)
    assert (view.successes, view.failures, provider.seen) == (1, 0, ["/ws"])


async def test_a_dead_node_is_passed_over(make_provider, make_caller):
    """Until the upgrade a WebSocket is a call like any other."""
    dead, provider = Dead(), make_provider()
    caller = make_caller(dead, provider)
    async with connected(caller) as socket:
        await settle(socket.send_text("hello"))
        assert await settle(socket.receive_text(timeout=20)) == "hello"
    assert caller.view(dead).state == "ejected"


async def test_calls_go_on_beside_it(make_provider, make_caller):
    """Each WebSocket has a connection of its own."""
    provider = make_provider()
    caller = make_caller(provider)
    async with connected(caller) as one, connected(caller) as other:
        for socket in (one, other):
            await settle(socket.send_text("hello"))
        for socket in (one, other):
            assert await settle(socket.receive_text(timeout=20)) == "hello"
        response = await caller.open("/events")
        assert caller.view(provider).in_flight == 3
        await caller.end(response)


async def test_close_lets_it_go_on_and_then_cuts_it(make_provider, make_caller):
    """A WebSocket lives through `drain_timeout` and is told when it is over."""
    caller = make_caller(make_provider(), drain_timeout=0.5)
    async with anyio.create_task_group() as group:
        with pytest.raises((HTTPXWSException, ExceptionGroup)):  # noqa: PT012
            async with connected(caller) as socket:
                begun = time.monotonic()
                if caller.flavour.sync:
                    group.start_soon(to_thread.run_sync, caller.transport.close)
                else:
                    group.start_soon(caller.transport.aclose)
                await soon(lambda: caller.transport._closed, "it closes")
                await settle(socket.send_text("hello"))
                assert await settle(socket.receive_text(timeout=20)) == "hello"
                await settle(socket.receive_text(timeout=20))
    assert time.monotonic() - begun > 0.4
