"""Limits, the line of waiting calls, expiry and the order of the stack."""

from __future__ import annotations

import threading

import anyio
import anyio.to_thread
import pytest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def limited(flavour):
    return flavour.http.Limits


@pytest.fixture
def aside(flavour):
    """Run a caller's coroutine beside the test: in a thread when its calls block."""

    async def beside(call, *args):
        if not flavour.sync:
            return await call(*args)
        return await anyio.to_thread.run_sync(lambda: anyio.run(call, *args))

    return beside


async def test_calls_wait_in_line_and_are_served_in_order(
    make_node, make_caller, limited, aside, reached
) -> None:
    """With one connection, five more calls get it one after another in the order they came."""
    go = threading.Event()

    def slow(peer) -> None:
        while peer.head():
            go.wait(20)
            peer.send(OK)

    node = make_node(slow)
    caller = make_caller(node, limits=limited(max_connections=1))
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(aside, caller.call, f"/{number}")
            await reached(lambda n=number: caller.books == (0, 1, n))
        go.set()
    assert [request.split()[1] for _, request in node.requests] == [b"/%d" % n for n in range(6)]
    assert len(node.peers) == 1
    assert caller.books == (1, 0, 0)


async def test_a_pool_timeout_leaves_the_line(make_node, make_caller, limited, flavour) -> None:
    """A call that waited too long gets `PoolTimeout`, at no cost to those after it."""
    caller = make_caller(make_node(), limits=limited(max_connections=1))
    held = await caller.open("/")
    with pytest.raises(flavour.http.PoolTimeout, match="1 in use"):
        await caller.call("/", timeout=flavour.http.Timeout(2.0, pool=0.05))
    assert caller.books == (0, 1, 0)
    await caller.read(held)
    assert (await caller.call("/")).text == "ok"


async def test_a_dead_connection_handed_on_is_replaced(
    make_node, make_caller, limited, aside, until, reached
) -> None:
    """A call in line that gets a connection which has ended opens another in its place."""
    node = make_node(lambda peer: peer.answer(), lambda peer: peer.serve())
    caller = make_caller(node, limits=limited(max_connections=1))
    held = await caller.open("/")
    stream = held.extensions["network_stream"]
    until(lambda: stream.get_extra_info("is_readable"), "the node did not close")
    async with anyio.create_task_group() as group:
        group.start_soon(aside, caller.call, "/2")
        await reached(lambda: caller.books == (0, 1, 1))
        await caller.read(held)
    assert [number for number, _ in node.requests] == [1, 2]
    assert caller.books == (1, 0, 0)


@pytest.mark.parametrize(("kept", "left"), [(0, 0), (2, 2), (None, 4)])
async def test_only_so_many_are_kept_alive(make_node, make_caller, limited, kept, left) -> None:
    """`max_keepalive_connections` bounds the idle ones; the bottom of the stack goes first."""
    node = make_node()
    caller = make_caller(node, limits=limited(max_connections=None, max_keepalive_connections=kept))
    responses = [await caller.open("/") for _ in range(4)]
    for response in responses:
        await caller.read(response)
    assert caller.books == (left, 0, 0)
    await caller.call("/")
    if left:
        assert node.requests[-1][0] == 4  # the last one returned is the first one used


async def test_the_stack_shrinks_from_its_bottom(make_node, make_caller, limited, until) -> None:
    """What load no longer reaches expires, oldest first, while the top stays in use."""
    now = [0.0]
    node = make_node()
    caller = make_caller(
        node, limits=limited(max_connections=None, keepalive_expiry=5.0), clock=lambda: now[0]
    )
    responses = [await caller.open("/") for _ in range(3)]
    for number, response in enumerate(responses):
        now[0] = float(number)
        await caller.read(response)
    assert caller.books == (3, 0, 0)
    now[0] = 5.5
    await caller.call("/")
    assert caller.books == (2, 0, 0)
    now[0] = 8.0
    await caller.call("/")
    assert caller.books == (1, 0, 0)
    assert [number for number, _ in node.requests[3:]] == [3, 3]
    now[0] = 13.0
    await caller.call("/")
    assert node.requests[-1][0] == 4
    assert caller.books == (1, 0, 0)
    until(lambda: all(peer.sock.fileno() < 0 for peer in node.peers[:3]), "still open")


async def test_idle_connections_are_closed_on_demand(make_node, make_caller, until) -> None:
    """Dropping the idle ones leaves those in use alone, and the stack usable."""
    node = make_node()
    caller = make_caller(node)
    held = await caller.open("/held")
    await caller.call("/")
    assert caller.books == (1, 1, 0)
    await caller.drop_idle()
    assert caller.books == (0, 1, 0)
    until(lambda: node.peers[1].sock.fileno() < 0, "the idle one is still open")
    assert (await caller.read(held)) == b"ok"
    assert (await caller.call("/")).text == "ok"


async def test_steady_calls_open_nothing(make_node, make_caller) -> None:
    """A hundred calls one after another use one connection."""
    node = make_node()
    caller = make_caller(node)
    for _ in range(100):
        await caller.call("/")
    assert len(node.peers) == 1
