"""Closing a transport: what is in flight finishes, what hangs is cut, nothing is left."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import tracemalloc

import anyio
import pytest

import rpcguard
from rpcguard import MembershipPolicy, TransportClosed
from rpcguard._core.service.service import Service
from tests.support.calls import (
    BOTH_CHILDREN,
    FLAVOURS,
    Caller,
    each,
    eventually,
    open_sockets,
    registry,
    settle,
    soon,
)
from tests.support.library import Transport, http
from tests.support.scripts import Gate, hang, hang_in_body

NEVER = 600.0
"""Seconds: longer than a test may take."""

CALLS = 500
ASYNC = FLAVOURS[1:]
both_children = each(BOTH_CHILDREN)


async def shut(caller: Caller) -> None:
    transport = caller.transport
    await settle(transport.close() if caller.flavour.sync else transport.aclose())


def roomy(flavour) -> dict[str, object]:
    """Let a node have as many connections as the test has calls."""
    limits = http.Limits(max_connections=CALLS, keepalive_expiry=4.0)
    if flavour.child == "stack":
        return {"limits": limits}
    kind = http.HTTPTransport if flavour.sync else http.AsyncHTTPTransport
    return {"node_transport": lambda _: kind(verify=False, limits=limits)}


@each([flavour for flavour in BOTH_CHILDREN if not flavour.sync])
async def test_500_calls_in_flight_finish(flavour, make_node, make_caller):
    """`aclose` refuses new calls at once; 500 calls and streams in flight all end well."""
    await make_caller(make_node()).call()  # the discovery loop has sockets of its own
    before = open_sockets()
    gate = Gate()
    answering, streaming = make_node(gate.answer), make_node(gate.stream)
    caller = make_caller(answering, **roomy(flavour), client={"timeout": 50})
    streams = make_caller(streaming, **roomy(flavour), client={"timeout": 50})
    texts: list[str] = []

    async def call() -> None:
        texts.append((await caller.call()).text)

    async def stream() -> None:
        async with streams.client.stream("GET", "/") as response:
            texts.append("".join([text async for text in response.aiter_text()]))

    async with anyio.create_task_group() as group:
        for _ in range(CALLS // 2):
            group.start_soon(call)
            group.start_soon(stream)
        await soon(lambda: gate.waiting == CALLS, "not all in flight", 40)
        group.start_soon(caller.transport.aclose)
        group.start_soon(streams.transport.aclose)
        await soon(lambda: caller.transport._closed and streams.transport._closed, "not begun")
        for one in (caller, streams):
            with pytest.raises(TransportClosed):
                await one.call()
        assert gate.waiting == CALLS  # refused while all of them were still under way
        gate.open()
    assert sorted(texts) == sorted(["ok"] * (CALLS // 2) + ["firstlast"] * (CALLS // 2))
    eventually(lambda: answering.open == streaming.open == 0, "a connection was left open")
    answering.close()
    streaming.close()
    eventually(lambda: open_sockets() <= before, "a socket was left open")


@each([flavour for flavour in BOTH_CHILDREN if flavour.sync])
async def test_100_threads_in_flight_finish(flavour, make_node, make_caller):
    """`close` refuses new calls at once; calls and streams of 100 threads all end well."""
    gate = Gate()
    node = make_node(gate.answer, *[gate.stream, gate.answer] * 50)
    caller = make_caller(node, **roomy(flavour), client={"timeout": 50})
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(caller.client.get("/").text))
        for _ in range(100)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: gate.waiting == 100, "not all in flight", 40)
    closing = threading.Thread(target=caller.transport.close)
    closing.start()
    eventually(lambda: is_closed(caller), "new calls were not refused")
    assert closing.is_alive()
    gate.open()
    for thread in (*threads, closing):
        thread.join(10)
    assert sorted(texts) == ["firstlast"] * 50 + ["ok"] * 50
    eventually(lambda: node.open == 0, "a connection was left open")


def is_closed(caller: Caller) -> bool:
    try:
        caller.transport.handle_request(http.Request("GET", "http://nothing/")).close()
    except TransportClosed:
        return True
    except http.ConnectError:
        return False
    raise AssertionError("answered")


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("method", ["GET", "POST"])
@each(FLAVOURS)
async def test_a_call_that_hangs_is_cut(nodes, method, flavour, make_node, make_caller):
    """A silent call is cut at `drain_timeout`, and opens nothing new behind the closed door."""
    hanging = [make_node(hang) for _ in range(nodes)]
    caller = make_caller(*hanging, drain_timeout=0.2, client={"timeout": 30})
    failures: list[Exception] = []
    cut_after: list[float] = []

    async def call() -> None:
        try:
            await caller.call(method=method)
        except http.TransportError as error:
            failures.append(error)

    async def close() -> None:
        await soon(lambda: hanging[0].seen, "nothing was sent")
        start = time.monotonic()
        await shut(caller)
        cut_after.append(time.monotonic() - start)

    if flavour.sync:
        threads = [
            threading.Thread(target=anyio.run, args=(work,), daemon=True) for work in (call, close)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            group.start_soon(close)
    assert cut_after[0] > 0.19
    (failure,) = failures  # and its own timeout, of 30 s, is not what has ended it
    assert not isinstance(failure, http.TimeoutException)
    assert "attempt 1 on" in "".join(failure.__notes__)
    assert sum(len(node.seen) for node in hanging) == 1
    eventually(lambda: sum(node.open for node in hanging) == 0, "a connection was left open")
    assert caller.in_flight == 0


@both_children
async def test_a_stream_that_hangs_is_cut(flavour, make_node, make_caller):
    """A stream that never ends is cut at `drain_timeout`, under its reader too."""
    if flavour == BOTH_CHILDREN[3]:
        pytest.skip("closing httpx's pool does not wake a thread that reads")
    node = make_node(hang_in_body)
    caller = make_caller(node, drain_timeout=0.2, client={"timeout": 30})
    failures: list[Exception] = []

    async def read() -> None:
        response = await caller.open()
        try:
            await caller.read(response)
        except http.TransportError as error:
            failures.append(error)
        finally:
            await caller.end(response)

    async def close() -> None:
        await soon(lambda: caller.transport.nodes("orders")[0].successes, "no answer")
        await shut(caller)

    await caller.settle_list()
    if flavour.sync:
        thread = threading.Thread(target=anyio.run, args=(read,), daemon=True)
        thread.start()
        await close()
        thread.join(20)
        assert not thread.is_alive()
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await close()
    assert len(failures) == 1
    eventually(lambda: node.open == 0, "a connection was left open")
    assert caller.in_flight == 0


@each(FLAVOURS)
async def test_a_stream_that_nobody_reads_is_cut(flavour, make_node, make_caller):
    """A response that is never closed does not keep its connection beyond `drain_timeout`."""
    node = make_node(hang_in_body)
    caller = make_caller(node, drain_timeout=0.1)
    response = await caller.open()
    await shut(caller)
    eventually(lambda: node.open == 0, "a connection was left open")
    with pytest.raises(http.TransportError):
        await caller.read(response)
    await caller.end(response)


@each(ASYNC)
async def test_in_a_cancelled_scope(flavour, make_node, make_caller):
    """`aclose` in a cancelled scope cuts what is in flight and closes everything."""
    node = make_node(hang_in_body)
    caller = make_caller(node, drain_timeout=NEVER)
    response = await caller.open()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await caller.transport.aclose()
    eventually(lambda: node.open == 0, "a connection was left open")
    with pytest.raises(http.TransportError):
        await caller.read(response)
    await caller.end(response)


def test_interrupted(make_node, monkeypatch):
    """Ctrl-C ends the wait for what is in flight, which is cut, and all is closed."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    node = make_node(hang_in_body)
    transport = Transport(registry(node), drain_timeout=NEVER)
    with http.Client(transport=transport).stream("POST", "http://orders/") as response:
        monkeypatch.setattr(Service, "wait_idle", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transport.close()
        eventually(lambda: node.open == 0, "a connection was left open")
        with pytest.raises(http.ReadError):
            response.read()


@each(FLAVOURS)
async def test_twice_and_without_a_call(flavour, make_node, make_caller):
    """Closing again, or without ever having called, does nothing."""
    caller = make_caller(make_node())
    for _ in range(3):
        await shut(caller)
    caller = make_caller(node := make_node())
    await caller.call()
    for _ in range(3):
        await shut(caller)
    eventually(lambda: node.open == 0, "a connection was left open")


@each(FLAVOURS)
async def test_concurrently(flavour, make_node, make_caller):
    """Many may close at once; all of them return when it is done."""
    gate = Gate()
    node = make_node(gate.answer)
    caller = make_caller(node, client={"timeout": 10})
    texts: list[str] = []

    async def call() -> None:
        texts.append((await caller.call()).text)

    async def close() -> None:
        await soon(lambda: gate.waiting, "nothing in flight")
        gate.open()
        await shut(caller)

    if flavour.sync:
        threads = [
            threading.Thread(target=anyio.run, args=(work,)) for work in [call, *[close] * 8]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            for _ in range(8):
                group.start_soon(close)
    assert texts == ["ok"]
    eventually(lambda: node.open == 0, "a connection was left open")


@each(ASYNC)
async def test_while_the_first_list_is_awaited(flavour, make_caller):
    """A call that waits for its list is refused as soon as the transport closes."""

    class NoAnswer:
        async def fetch(self, service):
            await anyio.sleep_forever()

    patient = MembershipPolicy(first_snapshot_timeout=NEVER)
    caller = make_caller(listing=NoAnswer(), membership=patient)
    async with anyio.create_task_group() as group:
        group.start_soon(caller.transport.aclose)
        with pytest.raises(TransportClosed):
            await caller.call()


@each(FLAVOURS)
async def test_a_child_that_fails_to_close(flavour, make_node, make_caller, caplog):
    """A child that raises when closed is logged, and the others are closed all the same."""
    closed: list[int] = []

    class Bad(http.MockTransport):
        def __init__(self, node) -> None:
            super().__init__(lambda _: http.Response(200))
            self.port = node.port

        def close(self) -> None:
            closed.append(self.port)
            raise RuntimeError("no")

        async def aclose(self) -> None:
            self.close()

    one, two = make_node(), make_node()
    caller = make_caller(one, two, node_transport=Bad, balancer=rpcguard.RoundRobin)
    await caller.call()
    await caller.call()
    await shut(caller)
    assert sorted(closed) == sorted([one.port, two.port])
    assert caplog.text.count("a node's connections did not close") == 2


@each(FLAVOURS)
async def test_1000_cycles_leave_nothing(flavour, make_node):
    """1,000 transports that are made, used and closed leave no descriptor, thread or memory."""
    node = make_node()
    listing = registry(node)

    async def cycle() -> None:
        caller = Caller(flavour, flavour.transport(listing))
        assert (await caller.call()).text == "ok"
        await caller.close()

    async def objects() -> int:
        await soon(lambda: node.open == 0, "a connection was left open")
        node.seen.clear()
        node.peers.clear()
        gc.collect()
        return len(gc.get_objects())

    for _ in range(50):
        await cycle()
    before = await objects()
    threads, sockets = threading.active_count(), open_sockets()
    for _ in range(1000):
        await cycle()
    assert await objects() - before < 200
    eventually(lambda: threading.active_count() <= threads, "a thread was left")
    eventually(lambda: open_sockets() <= sockets, "a socket was left open")


@each(FLAVOURS[:1])
async def test_memory_is_flat(flavour, make_node):
    """Calls and closed transports leave no memory behind."""
    node = make_node()
    listing = registry(node)

    async def cycle() -> None:
        caller = Caller(flavour, flavour.transport(listing))
        for _ in range(5):
            await caller.call()
        await caller.close()
        await soon(lambda: node.open == 0, "a connection was left open")
        node.seen.clear()
        node.peers.clear()

    for _ in range(20):
        await cycle()
    tracemalloc.start()
    try:
        await cycle()
        gc.collect()
        first, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            await cycle()
        gc.collect()
        last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last - first < 50_000


@each(ASYNC)
async def test_no_task_is_left(flavour, make_node, make_caller):
    """After `aclose` no task of ours is on the caller's loop."""
    before = tasks(flavour)
    caller = make_caller(make_node(), make_node(), balancer=rpcguard.RoundRobin)
    for _ in range(4):
        await caller.call()
    await caller.transport.aclose()
    assert tasks(flavour) == before


def tasks(flavour) -> int:
    if flavour.kind == "asyncio":
        return len(asyncio.all_tasks())
    import trio

    return trio.lowlevel.current_statistics().tasks_living
