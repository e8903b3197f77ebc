"""The connections of a node are part of its view."""

from __future__ import annotations

import json

import anyio
import httpx
from anyio import to_thread

import rpcguard
from benchmarks.lib.nodes import nodes
from rpcguard._core.nodes.view import ConnectionCounts

ONE_ATTEMPT = {"rpcguard": {"attempts": 1}}
"""Else a short answer is read at once, and its connection is idle again."""


def test_a_view_counts_the_connections_of_its_node():
    """None before the first call; then those in use and idle, as plain values for JSON too."""
    with nodes(1) as ports:
        transport = rpcguard.Transport(f"static://127.0.0.1:{ports[0]}")
        with httpx.Client(transport=transport) as client:
            transport.wait_ready("orders", timeout=20)
            assert transport.nodes("orders")[0].connections is None
            with client.stream("GET", "http://orders/", extensions=ONE_ATTEMPT) as answer:
                assert transport.nodes("orders")[0].connections == ConnectionCounts(0, 1, 0)
                answer.read()
            shown = json.loads(json.dumps(transport.nodes("orders")[0].as_dict()))
    assert shown["connections"] == {"idle": 1, "in_use": 0, "waiting": 0}


def test_a_child_of_the_users_own_is_not_counted():
    """Of a transport that somebody else made nothing is known."""
    child = httpx.MockTransport(lambda _: httpx.Response(200))
    transport = rpcguard.Transport("static://127.0.0.1:1", node_transport=lambda _: child)
    with httpx.Client(transport=transport) as client:
        client.get("http://orders/")
        assert transport.nodes("orders")[0].connections is None


async def test_the_connections_of_all_event_loops_are_added(anyio_backend):
    """One transport on this loop and on one of another thread: the view has both."""
    with nodes(1) as ports:
        transport = rpcguard.AsyncTransport(f"static://127.0.0.1:{ports[0]}")

        async def elsewhere() -> None:
            response = await client.get("http://orders/")
            assert response.status_code == 200
            assert transport.nodes("orders")[0].connections == ConnectionCounts(2, 0, 0)

        async with httpx.AsyncClient(transport=transport) as client:
            await client.get("http://orders/")
            assert transport.nodes("orders")[0].connections == ConnectionCounts(1, 0, 0)
            await to_thread.run_sync(lambda: anyio.run(elsewhere, backend=anyio_backend))
            assert transport.nodes("orders")[0].connections == ConnectionCounts(1, 0, 0)
