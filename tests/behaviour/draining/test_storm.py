"""A storm of cancellations: nobody is ejected, nothing stays busy, no connection is poisoned."""

from __future__ import annotations

import random
import threading

import anyio
import pytest

import rpcguard
from tests.support.calls import BOTH_CHILDREN, OK, Peer, each, soon
from tests.support.library import http

CANCELLED = 10_000
TOGETHER = 50
ASYNC = [flavour for flavour in BOTH_CHILDREN if not flavour.sync]


def unsteady(seed: int):
    """Answer at once, late, or in two halves."""

    def script(peer: Peer) -> None:
        rng = random.Random(f"{seed} {peer.number}")
        while peer.request() is not None:
            kind = rng.random()
            if kind < 0.4:
                peer.send(OK)
            elif kind < 0.7:
                peer.gone.wait(rng.random() * 0.004)
                peer.send(OK)
            else:
                peer.send(OK[:-1])
                peer.gone.wait(rng.random() * 0.004)
                peer.send(OK[-1:])

    return script


@pytest.mark.timeout(90)
@each(ASYNC)
async def test_a_storm_of_cancellations(flavour, make_node, make_caller):
    """10,000 calls are cancelled at random moments; the next 1,000 succeed."""
    nodes = [make_node(unsteady(number)) for number in range(3)]
    limits = http.Limits(max_connections=20, keepalive_expiry=4.0)
    options: dict[str, object] = {"limits": limits}
    if flavour.child == "pool":
        options = {"node_transport": lambda _: http.AsyncHTTPTransport(verify=False, limits=limits)}
    caller = make_caller(*nodes, balancer=rpcguard.LeastLoaded, **options, client={"timeout": 10})
    await caller.call()
    total = CANCELLED if flavour.child == "stack" else CANCELLED // 10
    left = iter(range(total))
    outcomes = {"done": 0, "cancelled": 0}

    async def work(seed: int) -> None:
        rng = random.Random(seed)
        for count in left:
            with anyio.move_on_after(rng.random() ** 3 * 0.01) as scope:
                method = "POST" if count % 3 == 0 else "GET"
                async with caller.client.stream(method, "/") as response:
                    if count % 2:
                        await response.aread()
            outcomes["cancelled" if scope.cancelled_caught else "done"] += 1

    async with anyio.create_task_group() as group:
        for seed in range(TOGETHER):
            group.start_soon(work, seed)
    assert sum(outcomes.values()) == total
    assert outcomes["cancelled"] > total / 10
    views = caller.transport.nodes("orders")
    assert [view.state for view in views] == ["available"] * 3
    assert [view.failures for view in views] == [0, 0, 0]
    assert caller.in_flight == 0
    if flavour.child == "pool":
        return  # httpcore's own pool does not survive this: a cancelled connect keeps its slot
    good = 0
    for _ in range(20):
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(caller.call)
        good += 50
    assert good == 1000
    assert caller.in_flight == 0
    await caller.transport.aclose()
    await soon(lambda: sum(node.open for node in nodes) == 0, "a connection was left open")
    assert threading.active_count() < 100
