"""Clients as people use them: never entered, on many threads and loops, after a fork."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest
import trio

import rpcguard
from tests.support.calls import (
    FLAVOURS,
    InOrder,
    each,
    eventually,
    listed,
    open_sockets,
    registry,
    settle,
    soon,
)
from tests.support.library import AsyncTransport, Transport, http
from tests.support.programs import check_quiet, run_python


@each(FLAVOURS)
async def test_a_client_that_is_never_entered(flavour, make_node):
    """Calls work without `with`, and closing leaves no connection."""
    node = make_node()
    client = flavour.client(transport=flavour.transport(registry(node)))
    assert (await settle(client.get("http://orders/"))).text == "ok"
    await settle(client.close() if flavour.sync else client.aclose())
    eventually(lambda: node.open == 0, "a connection was left open")


@each(FLAVOURS)
async def test_clients_that_are_entered_one_after_the_other(flavour, make_node):
    """Each `with` has a transport of its own, and closes it."""
    node = make_node()
    for _ in range(2):
        client = flavour.client(transport=flavour.transport(registry(node)))
        if flavour.sync:
            with client:
                assert client.get("http://orders/").text == "ok"
        else:
            async with client:
                assert (await client.get("http://orders/")).text == "ok"
    eventually(lambda: node.open == 0, "a connection was left open")


@each(FLAVOURS)
async def test_one_transport_in_two_clients(flavour, make_node, make_caller):
    """Two clients may share a transport and its list."""
    caller = make_caller(make_node())
    other = flavour.client(transport=caller.transport)
    assert (await caller.call()).text == "ok"
    assert (await settle(other.get("http://orders/"))).text == "ok"


@each(FLAVOURS[1:])
async def test_closed_by_another_task(make_node, make_caller):
    """`aclose` may come from any task, while another one holds a stream."""
    node = make_node()
    caller = make_caller(node)
    response = await caller.open(method="POST")
    async with anyio.create_task_group() as group:
        group.start_soon(caller.transport.aclose)
        await anyio.sleep(0.05)
        assert await caller.read(response) == b"ok"
    await soon(lambda: node.open == 0, "a connection was left open")


@each(FLAVOURS[1:])
async def test_closed_by_another_thread_and_loop(make_node, make_caller):
    """`aclose` on another loop closes the connections on their own."""
    node = make_node()
    caller = make_caller(node)
    assert (await caller.call()).text == "ok"
    await anyio.to_thread.run_sync(lambda: asyncio.run(caller.transport.aclose()))
    await soon(lambda: node.open == 0, "a connection was left open")
    with pytest.raises(rpcguard.TransportClosed):
        await caller.call()


def test_closed_after_its_loop_was_closed_by_hand(make_node):
    """`aclose` on another loop closes what is left of one that ran no generator to its end."""
    node = make_node()
    transport, loop = AsyncTransport(registry(node)), asyncio.new_event_loop()

    async def call() -> str:
        return (await http.AsyncClient(transport=transport).get("http://orders/")).text

    assert loop.run_until_complete(call()) == "ok"
    loop.close()
    asyncio.run(transport.aclose())
    eventually(lambda: node.open == 0, "a connection was left open")
    assert not transport._homes  # which closing waits for


def test_a_sync_client_closed_by_another_thread(make_node):
    """`close` may come from any thread."""
    node = make_node()
    client = http.Client(transport=Transport(registry(node)))
    assert client.get("http://orders/").text == "ok"
    thread = threading.Thread(target=client.close)
    thread.start()
    thread.join(20)
    eventually(lambda: node.open == 0, "a connection was left open")


def test_several_loops_one_after_the_other(make_node):
    """One transport serves asyncio twice and trio once; each loop's connections end with it."""
    node = make_node()
    transport = AsyncTransport(registry(node))

    async def call() -> str:
        client = http.AsyncClient(transport=transport)
        return (await client.get("http://orders/")).text + (await client.get("http://orders/")).text

    async def leave() -> None:
        await transport.aclose()

    before = open_sockets()
    assert asyncio.run(call()) == "okok"
    eventually(lambda: node.open == 0, "the first loop left a connection open")
    assert asyncio.run(call()) == "okok"
    assert trio.run(call) == "okok"
    eventually(lambda: node.open == 0, "the last loop left a connection open")
    assert len(node.peers) == 3
    assert transport.nodes("orders")[0].successes == 6
    trio.run(leave)
    eventually(lambda: open_sockets() <= before, "a socket was left open")


def test_several_loops_without_a_warning(make_node):
    """The same in a program of its own, with every warning an error."""
    code = """
        import asyncio, gc, rpcguard, trio
        transport = AsyncTransport(REGISTRY)
        async def call():
            client = http.AsyncClient(transport=transport)
            print((await client.get("http://orders/")).text)
        asyncio.run(call()); gc.collect()
        asyncio.run(call()); gc.collect()
        trio.run(call); gc.collect()
        asyncio.run(transport.aclose())
    """
    check_quiet(run_python(code, make_node()), "ok\n" * 3)


def test_loops_at_the_same_time(make_node):
    """Two loops in two threads share one transport; each has connections of its own."""
    node = make_node()
    transport = AsyncTransport(registry(node))
    barrier = threading.Barrier(2, timeout=20)
    texts: list[str] = []

    async def call() -> None:
        client = http.AsyncClient(transport=transport)
        for _ in range(20):
            texts.append((await client.get("http://orders/")).text)
            barrier.wait()

    threads = [
        threading.Thread(target=lambda: asyncio.run(call())),
        threading.Thread(target=lambda: trio.run(call)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert texts == ["ok"] * 40
    assert len(node.peers) == 2
    asyncio.run(transport.aclose())


def test_many_threads(make_node):
    """32 threads share a transport: every answer is its caller's, and the books are right."""

    def echo(peer) -> None:
        while (seen := peer.request()) is not None:
            path = seen.line.split(" ")[1].encode()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    nodes = [make_node(echo) for _ in range(3)]
    made: list[rpcguard.Node] = []
    lock = threading.Lock()

    def child(node: rpcguard.Node) -> http.HTTPTransport:
        with lock:
            made.append(node)
        return http.HTTPTransport(verify=False)

    for options in ({}, {"node_transport": child}):
        transport = Transport(registry(*nodes), **options)
        wrong: list[object] = []
        barrier = threading.Barrier(32, timeout=10)

        def work(
            number: int,
            transport: Transport = transport,
            wrong: list[object] = wrong,
            barrier: threading.Barrier = barrier,
        ) -> None:
            client = http.Client(transport=transport, base_url="http://orders", timeout=10)
            barrier.wait()
            for count in range(15):
                path = f"/{number}/{count}"
                try:
                    text = client.get(path).text
                except Exception as error:
                    wrong.append(error)
                    return
                if text != path:
                    wrong.append((path, text))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert wrong == []
        views = transport.nodes("orders")
        assert [view.in_flight for view in views] == [0, 0, 0]
        assert sum(view.successes for view in views) == 32 * 15
        transport.close()
    for node in nodes:
        eventually(lambda node=node: node.open == 0, "a connection was left open")


def test_fork(make_node):
    """After a fork both parent and child go on calling, each on connections of its own."""
    code = """
        import asyncio, os, rpcguard, sys, threading, warnings
        warnings.filterwarnings("ignore", "This process")  # multi-threaded fork, from 3.12 on
        transport, other = Transport(REGISTRY), AsyncTransport(REGISTRY)
        client = http.Client(transport=transport, base_url="http://orders")
        async def call():
            return (await http.AsyncClient(transport=other).get("http://orders/")).text
        def both():
            return client.get("/").text + asyncio.run(call())
        assert both() == "okok"
        pid = os.fork()
        assert both() == both() == "okok"
        assert len(transport.nodes("orders")) == 1
        client.close()
        asyncio.run(other.aclose())
        if pid == 0:
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    node = make_node()
    check_quiet(run_python(code, node), "0\n")
    assert node.asked == 10
    # Before the fork one kept connection; then one each for parent and child, plus one for
    # each run of a loop.
    assert len(node.peers) == 1 + 1 + 1 + 4 == 7


def test_fork_while_other_threads_are_calling(make_node):
    """A fork in the midst of calls finds no lock that is held for ever."""
    code = """
        import os, rpcguard, threading, warnings
        warnings.filterwarnings("ignore", "This process")
        transport = Transport(REGISTRY)
        client = http.Client(transport=transport, base_url="http://orders")
        client.get("/")
        stop = threading.Event()
        def work():
            while not stop.is_set():
                client.get("/")
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        codes = []
        for _ in range(15):
            pid = os.fork()
            if pid == 0:
                some = [threading.Thread(target=client.get, args=("/",)) for _ in range(3)]
                for thread in some: thread.start()
                for thread in some: thread.join()
                good = client.get("/").text == "ok"
                client.close()
                os._exit(0 if good else 1)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        stop.set()
        for thread in threads: thread.join()
        client.close()
        print(codes == [0] * 15)
    """
    check_quiet(run_python(code, make_node(), make_node(), timeout=100), "True\n")


def test_fork_of_a_closed_transport(make_node):
    """What the parent has closed stays closed in the child."""
    code = """
        import os, rpcguard, warnings
        warnings.filterwarnings("ignore", "This process")
        transport = Transport(REGISTRY)
        request = http.Request("GET", "http://orders/")
        transport.handle_request(request).close()
        transport.close()
        pid = os.fork()
        try:
            transport.handle_request(request)
        except rpcguard.TransportClosed as error:
            if pid == 0:
                os._exit(7 if "was not sent" in str(error) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    check_quiet(run_python(code, make_node()), "7\n")


def test_the_registry_may_come_from_the_environment(make_node, monkeypatch):
    """Without an argument `RPCGUARD_REGISTRY` names the registry; without either it says so."""
    node = make_node()
    monkeypatch.setenv("RPCGUARD_REGISTRY", f"static://127.0.0.1:{node.port}")
    with http.Client(transport=Transport()) as client:
        assert client.get("http://orders/").text == "ok"
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("RPCGUARD_REGISTRY")
        else:
            monkeypatch.setenv("RPCGUARD_REGISTRY", value)
        with pytest.raises(rpcguard.InvalidRegistryURL, match="set RPCGUARD_REGISTRY"):
            Transport()


@each(FLAVOURS)
async def test_asking_before_the_first_call(flavour, make_node, make_caller):
    """`nodes` starts to follow a service, and `wait_ready` waits for its first list."""
    caller = make_caller(make_node())
    await settle(caller.transport.wait_ready("Orders", timeout=20))
    (view,) = caller.transport.nodes("orders")
    assert view.state == "available"
    assert caller.transport.explain("orders") == []


class NoAnswer:
    """A registry that never answers."""

    async def fetch(self, service):
        await anyio.sleep_forever()

    def __repr__(self) -> str:
        return "NoAnswer()"


@each(FLAVOURS)
async def test_a_deadline_counts_from_the_call_on(flavour, make_caller):
    """A call with a deadline does not wait longer than that for its first list."""
    patient = rpcguard.MembershipPolicy(first_snapshot_timeout=3600.0)
    caller = make_caller(listing=NoAnswer(), membership=patient)
    start = anyio.current_time()
    with pytest.raises(rpcguard.NoAvailableNode, match=r"no list from NoAnswer\(\) in time"):
        await caller.call(extensions={"rpcguard": {"deadline": 0.2}})
    assert anyio.current_time() - start > 0.15


@each(FLAVOURS)
async def test_wait_ready_gives_up(flavour, make_caller):
    """`wait_ready` raises when no list came in time, and says from where."""
    caller = make_caller(listing=NoAnswer())
    with pytest.raises(rpcguard.RegistryError, match=r"'orders'.*NoAnswer\(\).*0\.05 s"):
        await settle(caller.transport.wait_ready("orders", timeout=0.05))


@each(FLAVOURS)
async def test_wait_ready_on_a_closed_transport(flavour, make_caller):
    """Nothing was waited for, so no time is blamed: the transport is closed."""
    caller = make_caller(listing=NoAnswer())
    await caller.close()
    with pytest.raises(rpcguard.TransportClosed, match=r"transport is closed.*'orders'"):
        await settle(caller.transport.wait_ready("orders", timeout=20))


@each(FLAVOURS)
async def test_wrong_options_are_refused_before_any_wait(flavour, make_caller):
    """A wrong option is an error at once, even while the list is awaited."""
    caller = make_caller(listing=NoAnswer())
    with anyio.fail_after(20), pytest.raises(ValueError, match="not 'retries'"):
        await caller.call(extensions={"rpcguard": {"retries": 3}})


def test_balancers_are_made_per_service(make_node):
    """The factory is called for each service anew."""
    made: list[InOrder] = []

    def factory() -> InOrder:
        made.append(InOrder())
        return made[-1]

    node = make_node()
    listing = registry(node, billing=listed([node]))
    with http.Client(transport=Transport(listing, balancer=factory)) as client:
        client.get("http://orders/")
        client.get("http://billing/")
    assert len(made) == 2
