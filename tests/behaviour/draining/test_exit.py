"""Interpreters that end, and transports that nobody closes."""

from __future__ import annotations

import gc
import threading
import weakref

import anyio
import pytest

from tests.support.calls import Peer, eventually, open_sockets, registry
from tests.support.library import AsyncTransport, Transport, http
from tests.support.programs import check_quiet, run_python
from tests.support.scripts import CHUNKED, hang, hang_in_body


def test_exit_with_open_transports(make_node):
    """A program may end without closing anything; it neither hangs nor complains."""
    code = """
        import asyncio, rpcguard
        client = http.Client(transport=Transport(REGISTRY))
        print(client.get("http://orders/").text)
        other = http.AsyncClient(transport=AsyncTransport(REGISTRY))
        print(asyncio.run(other.get("http://orders/")).text)
    """
    check_quiet(run_python(code, make_node()), "ok\nok\n")


def test_exit_of_a_forked_child(make_node):
    """A child that ends does not break the connections that it has from its parent."""
    code = """
        import os, rpcguard, sys, warnings
        warnings.filterwarnings("ignore", "This process")
        client = http.Client(transport=Transport(REGISTRY), base_url="http://orders")
        response = client.send(client.build_request("POST", "/"), stream=True)
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        os.waitpid(pid, 0)
        print(response.read().decode(), client.get("/").text)
        client.close()
    """
    node = make_node(stopping)
    done = run_python(code, node)
    assert (done.stdout, done.returncode) == ("firstlast firstlast\n", 0)
    assert len(node.peers) == 1


def stopping(peer: Peer) -> None:
    """Pause in the middle of each answer."""
    while peer.request() is not None:
        peer.send(CHUNKED + b"5\r\nfirst\r\n")
        peer.gone.wait(0.3)
        peer.send(b"4\r\nlast\r\n0\r\n\r\n")


def test_exit_with_calls_in_flight(make_node):
    """Threads that hang in calls and streams do not keep the program alive."""
    code = """
        import rpcguard, threading
        transport = Transport(REGISTRY)
        client = http.Client(transport=transport, timeout=60, base_url="http://orders")
        response = client.send(client.build_request("GET", "/"), stream=True)
        threading.Thread(target=lambda: client.get("/"), daemon=True).start()
        print(response.status_code)
    """
    done = run_python(code, make_node(hang_in_body, hang))
    assert (done.stdout, done.returncode) == ("200\n", 0)


def test_exit_while_a_registry_watches(make_node):
    """An open watch and a poll that hangs do not keep the program alive."""
    code = """
        import anyio, rpcguard
        class Registry:
            async def fetch(self, service):
                await anyio.sleep_forever()
            async def watch(self, service):
                yield rpcguard.Snapshot([rpcguard.Node("127.0.0.1", int(REGISTRY.split(":")[-1]))])
                await anyio.sleep_forever()
            async def aclose(self):
                pass
        client = http.Client(transport=Transport(Registry()))
        print(client.get("http://orders/").text)
    """
    done = run_python(code, make_node())
    assert (done.stdout, done.returncode) == ("ok\n", 0)


def test_exit_by_ctrl_c(make_node):
    """Ctrl-C under a call ends the program with the usual traceback, and nothing else."""
    code = """
        import os, rpcguard, signal, threading, time
        transport = Transport(REGISTRY)
        client = http.Client(transport=transport, timeout=60)
        transport.wait_ready("orders", timeout=20)
        def interrupt():
            while not transport.nodes("orders")[0].in_flight:
                time.sleep(0.01)
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            client.get("http://orders/")
        except KeyboardInterrupt:
            print([view.in_flight for view in transport.nodes("orders")])
        client.close()
    """
    check_quiet(run_python(code, make_node(hang)), "[0]\n")


def test_a_transport_that_is_dropped(make_node):
    """A transport that nobody closes is collected, with its connections and its list."""
    node = make_node()
    sockets, threads = open_sockets(), threading.active_count()
    transport = Transport(registry(node))
    http.Client(transport=transport).get("http://orders/")
    gone = weakref.ref(transport)
    del transport
    gc.collect()
    assert gone() is None
    eventually(lambda: node.open == 0, "a connection was left open")
    eventually(lambda: open_sockets() <= sockets + 4, "a socket was left open")
    eventually(lambda: threading.active_count() <= threads + 1, "a thread was left")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_transport_that_is_dropped(backend, make_node):
    """An async transport that nobody closes ends with its loop."""
    node = make_node()
    gone = []

    async def main() -> None:
        transport = AsyncTransport(registry(node))
        gone.append(weakref.ref(transport))
        assert (await http.AsyncClient(transport=transport).get("http://orders/")).text == "ok"

    anyio.run(main, backend=backend)
    gc.collect()
    assert gone[0]() is None
    eventually(lambda: node.open == 0, "a connection was left open")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_ends_waits_for_its_children(backend, make_node):
    """A child that needs a moment to close gets it, although its loop is on its way out."""
    closed = []

    class Slow(http.MockTransport):
        async def aclose(self) -> None:
            await anyio.sleep(0.01)
            closed.append(True)

    async def main() -> None:
        transport = AsyncTransport(
            registry(make_node()), node_transport=lambda _: Slow(lambda _: http.Response(200))
        )
        await http.AsyncClient(transport=transport).get("http://orders/")
        kept.append(transport)

    kept: list[AsyncTransport] = []
    anyio.run(main, backend=backend)
    assert closed == [True]


def test_nothing_is_started_before_it_is_needed(make_node):
    """A transport that is made and never used starts no thread and opens nothing."""
    code = """
        import os, threading, rpcguard
        before = threading.active_count(), len(os.listdir("/proc/self/fd"))
        transport = Transport(REGISTRY)
        print(before == (threading.active_count(), len(os.listdir("/proc/self/fd"))))
        transport.close()
        print(before == (threading.active_count(), len(os.listdir("/proc/self/fd"))))
    """
    check_quiet(run_python(code, make_node()), "True\nTrue\n")


def test_one_discovery_thread_for_all(make_node):
    """However many transports, there is one thread of ours, and it is a daemon."""
    node = make_node(Peer.serve)
    transports = [Transport(registry(node)) for _ in range(5)]
    for transport in transports:
        http.Client(transport=transport).get("http://orders/")
    ours = [thread for thread in threading.enumerate() if thread.name == "rpcguard-discovery"]
    assert len(ours) == 1
    assert ours[0].daemon
    for transport in transports:
        transport.close()
