"""Ctrl-C in a synchronous call, and programs that end in the middle of calls."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

import rpcguard
from tests.support.calls import OK, Peer, eventually, open_sockets, registry
from tests.support.programs import check_quiet, run_python
from tests.support.scripts import hang, hang_in_body

if TYPE_CHECKING:
    import subprocess

EXIT = 40.0
"""Seconds in which any program here must have ended, Python's own start included."""


def kill_me_when(condition, pause: float = 0.05) -> threading.Thread:
    """Send Ctrl-C to this process, its main thread that is, once a condition holds."""

    def interrupt() -> None:
        eventually(condition, "the call never came to where it is to be interrupted")
        time.sleep(pause)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


@pytest.mark.parametrize("where", ["head", "body", "queue"])
def test_ctrl_c_gives_everything_back(make_node, where):
    """After Ctrl-C in a call its node is not busy, its slot is free, and the next call works.

    While the answer is awaited, while its body is read, and while it waits for a connection.
    """
    script = {"head": hang, "body": hang_in_body, "queue": hang_in_body}[where]
    node = make_node(script, Peer.serve)
    limits = httpx.Limits(max_connections=1)
    transport = rpcguard.Transport(registry(node), limits=limits)
    with httpx.Client(transport=transport, base_url="http://orders", timeout=20) as client:
        first = None
        if where == "queue":
            first = client.send(client.build_request("GET", "/"), stream=True)

        def waits() -> bool:
            (view,) = transport.nodes("orders") or [None]
            if where == "queue":
                return view is not None and view.in_flight == 2
            return len(node.seen) == 1

        thread = kill_me_when(waits)
        with pytest.raises(KeyboardInterrupt):
            client.get("/")
        thread.join()
        (view,) = transport.nodes("orders")
        assert view.in_flight == (1 if where == "queue" else 0)
        assert view.failures == 0
        if first is not None:
            first.close()
        assert client.get("/").text == "ok"
        assert transport.nodes("orders")[0].in_flight == 0
        assert len(node.peers) == 2
    eventually(lambda: node.open == 0, "a connection was left open")


# What Ctrl-C took from between two hands, a socket within its own constructor too, ends with the
# garbage, and says so.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_many_interrupts(make_node):
    """However often a call is interrupted, wherever it is just then, nothing adds up."""
    armed = False

    def ctrl_c(*_: object) -> None:
        nonlocal armed
        if armed:  # only in a call: elsewhere it would end the test
            armed = False
            raise KeyboardInterrupt

    def slow(peer: Peer) -> None:
        while peer.request() is not None:
            peer.gone.wait(0.003)
            peer.send(OK[:-1])
            peer.gone.wait(0.003)
            peer.send(OK[-1:])

    node = make_node(slow)
    with httpx.Client(transport=rpcguard.Transport(registry(node))) as client:
        client.get("http://orders/")  # the thread that follows lists has its own from now on
    eventually(lambda: node.open == 0, "a connection was left open")
    sockets = open_sockets()
    limits = httpx.Limits(max_connections=2)
    transport = rpcguard.Transport(registry(node), limits=limits)
    done = threading.Event()
    answers = threading.Semaphore(0)

    def interrupt() -> None:
        pause = 0.0
        for count in range(60):
            if count % 6 == 0:
                answers.acquire(timeout=10)  # a slow machine answers between them, too
            pause = (pause + 0.0037) % 0.011  # somewhere else in the call each time
            if done.wait(0.012 + pause):
                return
            os.kill(os.getpid(), signal.SIGINT)

    interrupted = answered = 0
    before = signal.signal(signal.SIGINT, ctrl_c)
    thread = threading.Thread(target=interrupt)
    with httpx.Client(transport=transport, base_url="http://orders", timeout=5) as client:
        client.get("/")
        thread.start()
        try:
            while thread.is_alive():
                try:
                    armed = True
                    answered += client.get("/").text == "ok"
                    armed = False
                    answers.release()
                except KeyboardInterrupt:
                    interrupted += 1
        finally:
            signal.signal(signal.SIGINT, before)
            done.set()
            thread.join()
        assert interrupted > 5
        assert answered > 5
        assert client.get("/").text == "ok"
        (view,) = transport.nodes("orders")
        assert view.in_flight == 0
        assert view.state == "available"
        assert view.connections.in_use == view.connections.waiting == 0
    eventually(lambda: open_sockets() <= sockets, "a socket was left open")


ENDINGS = {
    "asyncio": """
        import asyncio, httpx, rpcguard
        async def main():
            client = httpx.AsyncClient(transport=rpcguard.AsyncTransport(REGISTRY), timeout=60)
            calls = [asyncio.create_task(client.get("http://orders/")) for _ in range(5)]
            while not begun(5):
                await asyncio.sleep(0.01)
        asyncio.run(main())
        print("end")
    """,
    "trio": """
        import httpx, rpcguard, trio
        async def main():
            client = httpx.AsyncClient(transport=rpcguard.AsyncTransport(REGISTRY), timeout=60)
            async with trio.open_nursery() as calls:
                for _ in range(5):
                    calls.start_soon(client.get, "http://orders/")
                while not begun(5):
                    await trio.sleep(0.01)
                calls.cancel_scope.cancel()
        trio.run(main)
        print("end")
    """,
    "threads": """
        import httpx, rpcguard, threading, time
        client = httpx.Client(transport=rpcguard.Transport(REGISTRY), timeout=60)
        for _ in range(5):
            threading.Thread(target=client.get, args=["http://orders/"], daemon=True).start()
        while not begun(5):
            time.sleep(0.01)
        print("end")
    """,
    "loop in a thread": """
        import asyncio, httpx, rpcguard, threading, time
        client = httpx.AsyncClient(transport=rpcguard.AsyncTransport(REGISTRY), timeout=60)
        call = lambda: asyncio.run(client.get("http://orders/"))
        threading.Thread(target=call, daemon=True).start()
        while not begun(1):
            time.sleep(0.01)
        print("end")
    """,
    "closed by atexit": """
        import atexit, httpx, rpcguard, threading, time
        transport = rpcguard.Transport(REGISTRY, drain_timeout=0.3)
        client = httpx.Client(transport=transport, timeout=60)
        atexit.register(client.close)
        def call():
            try:
                client.get("http://orders/")
            except httpx.TransportError:
                pass
        for _ in range(5):
            threading.Thread(target=call, daemon=True).start()
        while not begun(5):
            time.sleep(0.01)
        print("end")
    """,
}


@pytest.fixture
def hanging(make_node, tmp_path):
    """Run a program whose calls are never answered; its `begun(5)` says that five have come."""

    def script(peer: Peer) -> None:
        peer.request()
        (tmp_path / str(id(peer))).touch()
        peer.until_gone()

    def run(code: str) -> subprocess.CompletedProcess:
        begun = f"import os; begun = lambda calls: len(os.listdir({str(tmp_path)!r})) >= calls\n"
        return run_python(begun + textwrap.dedent(code), make_node(script), timeout=EXIT)

    return run


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_ends_in_the_middle_of_calls(hanging, ending):
    """An interpreter that exits with calls in flight does so soon, and without a traceback."""
    done = hanging(ENDINGS[ending])  # which ends it with an error after EXIT seconds
    check_quiet(done, "end\n")


def test_a_program_that_is_terminated(hanging):
    """SIGTERM ends a program with calls in flight as any other."""
    code = """
        import httpx, os, rpcguard, signal, threading, time
        client = httpx.Client(transport=rpcguard.Transport(REGISTRY), timeout=60)
        threading.Thread(target=client.get, args=["http://orders/"], daemon=True).start()
        while not begun(1):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    """
    done = hanging(code)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
