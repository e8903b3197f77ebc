"""Cancellation at every point: no slot lost, no socket leaked, the next call served."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time

import anyio
import anyio.lowlevel
import pytest


@pytest.fixture(params=["asyncio-httpx", "trio-httpx", "asyncio-httpx2", "trio-httpx2"])
def flavour(request, flavours):
    """Leave out the synchronous ones: threads cannot be cancelled."""
    return flavours[request.param]


def slowly(peer) -> None:
    """Answer in pieces, with pauses, so that a cancellation can fall between any two."""
    dice = random.Random(peer.number)
    while peer.head():
        for piece in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 4\r\n\r\n", b"ok", b"ok"):
            if dice.random() < 0.3:
                time.sleep(0.001)
            peer.send(piece)


async def storm(caller, *, calls: int, seed: int, spread: float) -> None:
    """Start calls and cancel most of them at a random time, in batches."""
    dice = random.Random(seed)

    async def one(patience: float) -> None:
        if caller.flavour.kind == "asyncio" and dice.random() < 0.5:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(caller.call("/"), patience)
            return
        with anyio.move_on_after(patience):
            await caller.call("/")

    for _ in range(calls // 50):
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(one, dice.random() ** 2 * spread)


@pytest.mark.long("cancels a thousand calls")
@pytest.mark.parametrize("kept", [5, 0], ids=["kept", "fresh"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_storm_of_cancellations(
    make_node, make_caller, flavour, certified, trusting, until, tls, kept
) -> None:
    """After thousands of cancelled calls every slot is free and no socket is left."""
    node = make_node(slowly, tls=certified("orders") if tls else None)
    caller = make_caller(
        node,
        scheme="https" if tls else "http",
        ssl_context=trusting,
        limits=flavour.http.Limits(max_connections=10, max_keepalive_connections=kept),
        timeout=10.0,
    )
    await storm(caller, calls=200 if tls else 1000, seed=7, spread=0.05 if kept else 0.02)
    idle, in_use, waiting = caller.books
    assert (in_use, waiting) == (0, 0)
    assert idle <= kept
    held = [await caller.open("/") for _ in range(10)]
    for response in held:
        assert await caller.read(response) == b"okok"
    assert caller.books == (kept, 0, 0)
    await caller.drop_idle()
    gc.collect()
    until(lambda: all(peer.sock.fileno() < 0 for peer in node.peers), "connections left open")


@pytest.mark.parametrize("step", range(24))
async def test_a_cancellation_at_each_step(make_node, make_caller, flavour, step) -> None:
    """Cancelled after any number of turns of the loop, fresh or reused, the slot is free again."""
    caller = make_caller(make_node(), limits=flavour.http.Limits(max_connections=1))
    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(caller.call, "/")
            for _ in range(step):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert caller.books[1:] == (0, 0)
        assert (await caller.call("/")).text == "ok"
        assert caller.books == (1, 0, 0)


async def test_a_cancelled_call_in_line_passes_its_turn_on(make_node, make_caller, flavour) -> None:
    """A call cancelled in the very moment it is granted a connection hands it to the next."""
    caller = make_caller(make_node(), limits=flavour.http.Limits(max_connections=1))
    held = await caller.open("/")
    done = []

    async def call() -> None:
        done.append(await caller.call("/"))

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()

        async def doomed() -> None:
            with scope:
                await call()

        group.start_soon(doomed)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        assert caller.books == (0, 1, 2)
        await caller.read(held)  # grants the first in line
        scope.cancel()  # before it could wake up
    assert [response.text for response in done] == ["ok"]
    assert caller.books == (1, 0, 0)
