"""Transports that nobody closes: said in a warning that names them, and nothing is left of them."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings

import anyio
import httpx
import pytest

import rpcguard
from tests.support.calls import eventually, open_sockets, registry
from tests.support.programs import check_quiet, run_python

MANY = 20


def dropped(kept: list[object]) -> list[str]:
    """Drop what is kept; give what that said about transports."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        kept.clear()
        gc.collect()
    return [str(one.message) for one in said if "rpcguard" in str(one.message)]


def test_a_dropped_transport_is_named(make_node):
    """Dropping a transport in use warns with its kind, its registry and how much it held."""
    node = make_node()
    kept = [rpcguard.Transport(registry(node))]
    httpx.Client(transport=kept[0]).get("http://orders/")
    told = repr(kept[0])
    assert told == "<rpcguard.Transport of StaticRegistry(orders: 1 nodes), services: 1>"
    assert dropped(kept) == [f"unclosed {told}"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_dropped_async_transport_is_named(backend, make_node):
    """The same for an async one, whose loop has ended before."""
    node = make_node()

    async def call() -> rpcguard.AsyncTransport:
        transport = rpcguard.AsyncTransport(registry(node))
        await httpx.AsyncClient(transport=transport).get("http://orders/")
        return transport

    kept = [anyio.run(call, backend=backend)]
    told = repr(kept[0])
    assert told.startswith("<rpcguard.AsyncTransport of StaticRegistry(orders")
    assert dropped(kept) == [f"unclosed {told}"]


def test_who_is_not_named(make_node):
    """A closed, an unused and a wrongly made transport are dropped without a word."""
    node = make_node()
    closed = rpcguard.Transport(registry(node))
    with httpx.Client(transport=closed) as client:
        client.get("http://orders/")
    unused = rpcguard.AsyncTransport(registry(node))
    with pytest.raises(rpcguard.InvalidRegistryURL):
        rpcguard.Transport("nowhere")
    kept = [closed, unused]
    del closed, client, unused
    assert dropped(kept) == []


def test_nothing_is_left_of_many(make_node):
    """After many dropped transports there is no socket, no descriptor and no thread more."""
    node = make_node()
    idle = threading.active_count() + 1  # discovery may be about to begin

    def use() -> None:
        client = httpx.Client(transport=rpcguard.Transport(registry(node)))
        assert client.get("http://orders/").text == "ok"

    async def ause() -> None:
        client = httpx.AsyncClient(transport=rpcguard.AsyncTransport(registry(node)))
        assert (await client.get("http://orders/")).text == "ok"

    use()
    gc.collect()
    eventually(lambda: node.open == 0, "the first connection was left open")
    eventually(lambda: threading.active_count() <= idle, "the node's own threads go on")
    sockets, threads = open_sockets(), threading.active_count()
    for _ in range(MANY):
        use()
        anyio.run(ause)
        anyio.run(ause, backend="trio")
    gc.collect()
    eventually(lambda: node.open == 0, "a connection was left open")
    eventually(lambda: open_sockets() <= sockets, "a socket was left open")
    eventually(lambda: threading.active_count() <= threads, "a thread was left")


def test_the_program_hears_of_it(make_node):
    """With warnings on, a program that drops a transport is told once, and at its exit nothing."""
    code = """
        import gc, httpx, rpcguard, sys, warnings
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, category, *_: print(category.__name__, message)
        for _ in range(2):
            client = httpx.Client(transport=rpcguard.Transport(REGISTRY))
            client.get("http://orders/")
            kept, client = client, None
        gc.collect()
    """
    told = "ResourceWarning unclosed <rpcguard.Transport of StaticRegistry"
    check_quiet(run_python(code, make_node()), f"{told}(orders: 1 nodes), services: 1>\n")


def test_loops_that_are_closed_without_ceremony(make_node):
    """A client of the whole program on a loop for each job: no socket of an ended loop is left."""
    node = make_node()
    transport = rpcguard.AsyncTransport(registry(node))
    client = httpx.AsyncClient(transport=transport)

    def job() -> None:
        loop = asyncio.new_event_loop()
        try:
            assert loop.run_until_complete(client.get("http://orders/")).text == "ok"
        finally:
            loop.close()

    job()
    before = open_sockets()
    for _ in range(MANY):
        job()
    eventually(lambda: open_sockets() <= before + 2, "sockets of ended loops are left")
    assert transport.nodes("orders")[0].connections.in_use == 0
    anyio.run(transport.aclose)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # garbage is collected in any order
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")  # a task that was never begun
def test_a_loop_that_is_closed_as_a_call_connects(make_node):
    """The socket of a connection that nobody waits for any more is closed."""
    node = make_node()
    transport = rpcguard.AsyncTransport(registry(node))
    client = httpx.AsyncClient(transport=transport)
    before = open_sockets()
    for turns in range(MANY):
        loop = asyncio.new_event_loop()
        call = loop.create_task(client.get("http://orders/"))
        for _ in range(turns):
            loop.run_until_complete(asyncio.sleep(0))
        call._log_destroy_pending = False  # the loop of CPython would say it in its log
        loop.close()
        del call
        gc.collect()
    anyio.run(client.get, "http://orders/")
    eventually(lambda: open_sockets() <= before + 4, "sockets of ended loops are left")
    anyio.run(transport.aclose)
