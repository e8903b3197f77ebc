"""Threads, and Ctrl-C at every point of a synchronous call."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading

import httpx
import pytest

from rpcguard._connections import (
    book_keeping,
    dial,
    exchange,
    http11,
    socket_stream,
    stack,
    sync,
    sync_stream,
)
from rpcguard._connections.http2.sync import SyncHttp2Exchange
from rpcguard._connections.sync import SyncExchange
from rpcguard._httpx import HTTPX
from tests.support.interrupts import Interrupter

OURS = {
    module.__file__
    for module in (book_keeping, dial, exchange, http11, socket_stream, stack, sync, sync_stream)
}


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "reused"])
def test_an_interrupt_at_each_step(make_node, warm, until) -> None:
    """Ctrl-C anywhere in a call leaves no slot taken, no socket open, and the next call served.

    A socket that Ctrl-C took from between two hands is closed with the garbage, hence the filter.
    """
    node = make_node()
    lost = []
    for nth in range(1000):
        transport = HTTPX.derive(SyncExchange, "BaseTransport")(
            HTTPX,
            scheme="http",
            host="127.0.0.1",
            port=node.port,
            limits=httpx.Limits(max_connections=1),
        )
        with httpx.Client(transport=transport, trust_env=False) as client:
            if warm:
                client.get("http://orders/")
            with (
                contextlib.suppress(KeyboardInterrupt),
                Interrupter(nth, OURS.__contains__) as interrupter,
            ):
                client.get("http://orders/")
            if interrupter.where is None:
                break
            if transport.counts.in_use:
                lost.append(interrupter.where)
            else:
                assert client.get("http://orders/").text == "ok"
    assert nth > 30
    assert lost == []
    gc.collect()
    until(lambda: all(peer.sock.fileno() < 0 for peer in node.peers), "connections left open")


@pytest.mark.parametrize(
    ("kind", "options"), [(SyncExchange, {}), (SyncHttp2Exchange, {"http1": False})]
)
def test_a_keeper_of_the_books_that_is_interrupted_signs_off(kind, options, monkeypatch) -> None:
    """It is not taken for the next one who keeps them, whatever it did when Ctrl-C came."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    exchange = HTTPX.derive(kind, "BaseTransport")(
        HTTPX, scheme="http", host="127.0.0.1", port=80, limits=httpx.Limits(), **options
    )
    exchange._left.append(interrupted)
    with pytest.raises(KeyboardInterrupt):
        exchange._catch_up()
    assert not exchange._holder
    exchange._left.clear()
    stack = exchange._h2 if kind is SyncHttp2Exchange else exchange._stack
    stack.dropped.append(None)
    monkeypatch.setattr(type(stack), "settle_dropped", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exchange._catch_up()
    assert not exchange._holder


def test_a_walk_leaves_no_exception_behind() -> None:
    """No exception that a call has raised of its own is kept as one that is being handled."""

    def handled() -> str:
        try:
            return str(int("one"))
        except ValueError:
            return str(1)

    for nth in range(100):
        with contextlib.suppress(KeyboardInterrupt), Interrupter(nth, __file__.__eq__) as walk:
            handled()
        if walk.where is None:
            break
    assert nth > 1
    assert sys.exc_info() == (None, None, None)


def test_many_threads_share_a_stack(make_node, until) -> None:
    """32 threads over 8 connections: every call is answered with its own response."""

    def echo(peer) -> None:
        while head := peer.head():
            path = head.split()[1]
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))

    node = make_node(echo)
    transport = HTTPX.derive(SyncExchange, "BaseTransport")(
        HTTPX,
        scheme="http",
        host="127.0.0.1",
        port=node.port,
        limits=httpx.Limits(max_connections=8),
    )
    wrong: list[object] = []

    def work(name: int) -> None:
        for number in range(30):
            try:
                path = f"/{name}/{number}"
                if client.get(f"http://orders{path}", timeout=20).text != path:
                    wrong.append(path)
            except Exception as exc:
                wrong.append(exc)

    with httpx.Client(transport=transport, trust_env=False) as client:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(node.peers) <= 8
        counts = transport.counts
        assert (counts.in_use, counts.waiting) == (0, 0)
    until(lambda: all(peer.sock.fileno() < 0 for peer in node.peers), "connections left open")
