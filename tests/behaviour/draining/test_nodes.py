"""Nodes that leave the list: their calls finish, then their connections close."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from rpcguard import MembershipPolicy, Snapshot
from tests.support.calls import BOTH_CHILDREN, FLAVOURS, each, eventually, listed, settle, soon
from tests.support.library import AsyncTransport, http
from tests.support.scripts import Gate


class Told:
    """Push the lists that the test tells."""

    def __init__(self, *nodes) -> None:
        self.nodes = self._all = listed(nodes)
        self._changed = threading.Event()

    def tell(self, *nodes) -> None:
        ports = [node.port for node in nodes]
        self.nodes = [node for node in self._all if node.port in ports]
        self._changed.set()

    async def fetch(self, service):
        return Snapshot(self.nodes)

    async def watch(self, service):
        yield Snapshot(self.nodes)
        while True:
            while not self._changed.is_set():  # noqa: ASYNC110
                await anyio.sleep(0.005)
            self._changed.clear()
            yield Snapshot(self.nodes)

    async def aclose(self) -> None:
        pass


BELIEVING = MembershipPolicy(shrink_share=1.0)


@each(BOTH_CHILDREN)
async def test_an_idle_node_that_leaves(make_node, make_caller):
    """The connections of a node that has left close by themselves, without another call."""
    one, two = make_node(), make_node()
    told = Told(one, two)
    caller = make_caller(listing=told, membership=BELIEVING)
    assert (await caller.call()).text == "ok"
    assert one.open == 1
    told.tell(two)
    await soon(lambda: one.open == 0, "a connection to a node that has left stays open")
    assert (await caller.call()).text == "ok"
    assert two.asked == 1


@each(BOTH_CHILDREN)
async def test_a_busy_node_that_leaves(make_node, make_caller):
    """Streams from a node that has left are read to their end; then its connections close."""
    gate = Gate()
    one, two = make_node(gate.stream), make_node()
    told = Told(one, two)
    caller = make_caller(listing=told, membership=BELIEVING)
    streams = [await caller.open() for _ in range(3)]
    told.tell(two)
    await soon(lambda: len(caller.transport.nodes("orders")) == 1, "not removed")
    assert one.open == 3
    gate.open()
    assert [await caller.read(stream) for stream in streams] == [b"firstlast"] * 3
    for stream in streams:
        await caller.end(stream)
    await soon(lambda: one.open == 0, "a connection to a node that has left stays open")


@each(FLAVOURS)
async def test_a_node_that_leaves_and_returns(make_node, make_caller):
    """A node that comes back gets connections of its own, and is called."""
    one, two = make_node(), make_node()
    told = Told(one, two)
    caller = make_caller(listing=told, membership=BELIEVING)
    for _ in range(3):
        assert (await caller.call()).text == "ok"
        told.tell(two)
        await soon(lambda: one.open == 0, "a connection was left open")
        told.tell(one, two)
        await soon(lambda: len(caller.transport.nodes("orders")) == 2, "not back")
    assert len(one.peers) == 3


@each(FLAVOURS)
async def test_a_child_that_fails_to_close(flavour, make_node, make_caller, caplog):
    """A child of the user's that raises when its node leaves harms nothing but the log."""

    class Bad(http.MockTransport):
        def close(self) -> None:
            raise RuntimeError("no")

        async def aclose(self) -> None:
            raise RuntimeError("no")

    one, two = make_node(), make_node()
    told = Told(one, two)
    options = {
        "node_transport": lambda _: Bad(lambda _: http.Response(200, text="ok")),
        "membership": BELIEVING,
    }
    caller = make_caller(listing=told, **options)
    assert (await caller.call()).text == "ok"
    told.tell(two)
    await soon(lambda: "did not close" in caplog.text, "the failure was not logged")
    assert (await caller.call()).text == "ok"


def test_each_loop_closes_its_own(make_node):
    """A node that leaves is closed on every loop that has called it."""
    one, two = make_node(), make_node()
    told = Told(one, two)
    transport = AsyncTransport(told, membership=BELIEVING)
    done = threading.Event()
    ready = threading.Barrier(3, timeout=20)

    async def work() -> None:
        client = http.AsyncClient(transport=transport)
        for _ in range(8):
            await client.get("http://orders/")
        await anyio.to_thread.run_sync(ready.wait)
        while not done.is_set():  # noqa: ASYNC110
            await anyio.sleep(0.005)

    threads = [
        threading.Thread(target=anyio.run, args=(work,), kwargs={"backend": backend})
        for backend in ("asyncio", "trio")
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    assert one.open >= 1
    told.tell(two)
    eventually(lambda: one.open == 0, "a loop left its connection open")
    done.set()
    for thread in threads:
        thread.join(20)
    asyncio.run(settle(transport.aclose()))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_node_that_leaves_after_its_loop(backend, make_node):
    """A node that leaves when the loop that called it is over is no trouble."""
    one, two = make_node(), make_node()
    told = Told(one, two)
    transport = AsyncTransport(told, membership=BELIEVING)

    async def call() -> None:
        await http.AsyncClient(transport=transport).get("http://orders/")

    anyio.run(call, backend=backend)
    told.tell(two)
    eventually(lambda: len(transport.nodes("orders")) == 1, "not removed")
    anyio.run(call, backend=backend)
    anyio.run(transport.aclose, backend=backend)
    eventually(lambda: one.open == two.open == 0, "a connection is left open")
