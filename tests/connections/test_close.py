"""Closing: what is idle goes, what is in use is cut, nobody is left waiting."""

from __future__ import annotations

import threading

import anyio
import anyio.to_thread
import pytest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def attempt(flavour):
    """Run a call beside the test and note how it ends."""

    async def run(results, call, *args):
        async def noted():
            try:
                results.append(await call(*args))
            except flavour.http.TransportError as exc:
                results.append(exc)

        if flavour.sync:
            await anyio.to_thread.run_sync(lambda: anyio.run(noted))
        else:
            await noted()

    return run


async def test_closing_closes_the_idle_ones_and_refuses_new_calls(
    make_node, make_caller, flavour, reached
) -> None:
    """After closing, twice too, the node sees the end and a call is a `ConnectError` at once."""
    node = make_node()
    caller = make_caller(node)
    await caller.call("/")
    for _ in range(2):
        await caller.close_stack()
    assert caller.books == (0, 0, 0)
    with pytest.raises(flavour.http.ConnectError, match="closed"):
        await caller.call("/")
    await reached(lambda: node.peers[0].sock.fileno() < 0)
    assert len(node.requests) == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_call_that_waits_for_its_answer_is_cut(
    make_node, make_caller, flavour, attempt, certified, trusting, tls, reached
) -> None:
    """Closing wakes a call blocked in a read at once, and says that this side has ended it."""
    waits = threading.Event()

    def hang(peer) -> None:
        peer.answer()
        peer.head()
        waits.set()
        peer.until_gone()

    node = make_node(hang, tls=certified("orders") if tls else None)
    caller = make_caller(
        node, scheme="https" if tls else "http", ssl_context=trusting, timeout=30.0
    )
    await caller.call("/")
    results = []
    async with anyio.create_task_group() as group:
        group.start_soon(attempt, results, caller.call, "/")
        await reached(waits.is_set)
        await anyio.sleep(0.02)  # the request is out; let the reader block
        await caller.close_stack()
    assert isinstance(results[0], flavour.http.ReadError)
    assert "closed on this side" in str(results[0])
    assert type(results[0].__cause__).__module__ == flavour.core.__name__
    assert caller.books == (0, 0, 0)
    await reached(node.peers[0].gone.is_set)


async def test_a_body_without_a_length_is_not_cut_silently(
    make_node, make_caller, flavour, attempt
) -> None:
    """A response that ends with its connection is an error when the end is ours."""

    def endless(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\n\r\npart")
        peer.until_gone()

    caller = make_caller(make_node(endless), timeout=30.0)
    response = await caller.open("/")
    results = []
    async with anyio.create_task_group() as group:
        group.start_soon(attempt, results, caller.read, response)
        await anyio.sleep(0.02)
        await caller.close_stack()
    assert isinstance(results[0], flavour.http.ReadError)
    assert caller.books == (0, 0, 0)


async def test_calls_in_line_are_sent_away(
    make_node, make_caller, flavour, attempt, reached
) -> None:
    """A call that waits for a connection gets `ConnectError` when the stack closes."""
    caller = make_caller(make_node(), limits=flavour.http.Limits(max_connections=1), timeout=30.0)
    held = await caller.open("/")
    results = []
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(attempt, results, caller.call, "/")
        await reached(lambda: caller.books == (0, 1, 3))
        await caller.close_stack()
    assert [type(result) for result in results] == [flavour.http.ConnectError] * 3
    await caller.end(held)
    assert caller.books == (0, 0, 0)


async def test_a_connection_that_opens_after_closing_is_closed(
    make_node, make_caller, flavour, reached
) -> None:
    """A dial that ends when the stack is closed already sends nothing and leaves no socket."""
    node = make_node(lambda peer: peer.until_gone())
    caller = make_caller(node)

    def close_now(event, _info) -> None:
        if event == "connection.connect_tcp.complete":
            caller.stack.close()

    async def aclose_now(event, _info) -> None:
        if event == "connection.connect_tcp.complete":
            await caller.stack.aclose()

    with pytest.raises(flavour.http.ConnectError, match="closed"):
        await caller.call("/", extensions={"trace": close_now if flavour.sync else aclose_now})
    await reached(lambda: node.peers and node.peers[0].gone.is_set())
    assert node.requests == []
    assert caller.books == (0, 0, 0)
