"""What a finalizer, a signal handler or another thread ends while the books are locked."""

from __future__ import annotations

import gc
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

import rpcguard
from rpcguard._connections.http2.sync import Http2Slot, SyncHttp2Exchange
from rpcguard._connections.stack import Stack
from tests.support.calls import eventually, registry
from tests.support.library import Transport, http

if TYPE_CHECKING:
    from tests.support.http2_node import H2


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
JOIN = 20.0
"""Seconds after which a thread is taken to hang."""


def half(peer) -> None:
    while seen := peer.request():
        whole = CHUNKED + b"0\r\n\r\n"
        peer.send(CHUNKED if "/half" in seen.line else whole)


def half_h2(h2: H2, stream: int) -> None:
    if h2.peer.node.asked_for.get("/half") == (h2, stream):
        h2.begin(stream, b"hello")
    else:
        h2.answer(stream)


@pytest.fixture
def collecting(monkeypatch) -> None:
    """Have garbage collected at the end of every step of the books, under their lock."""
    for name in ("request", "replace", "expire", "settle_dropped"):
        plain = getattr(Stack, name)

        def amid(self, *args, _plain=plain, **options):
            try:
                return _plain(self, *args, **options)
            finally:
                gc.collect()

        monkeypatch.setattr(Stack, name, amid)


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_collection_amid_a_section_waits_for_nothing(http2, make_node, make_h2, collecting):
    """What a finalizer gives back is left to the section that it interrupted, and its connection.

    The books have something to close, too: connections that have expired since the last call.
    """
    node = make_h2(half_h2) if http2 else make_node(half)
    options = {"http1": False, "http2": True} if http2 else {}
    limits = http.Limits(max_connections=3, keepalive_expiry=0.0)
    transport = Transport(registry(node), limits=limits, **options)
    ended = []

    def calls(client) -> None:
        for _ in range(4):
            request = client.build_request("GET", "http://orders/half")
            answer = client.send(request, stream=True)
            parts = answer.iter_raw(2)
            next(parts)
            assert client.get("http://orders/whole").status_code == 200
            kept = {"parts": parts}
            kept["me"] = kept
            del answer, parts, kept
        ended.append("all")

    gc.disable()
    try:
        with http.Client(transport=transport, trust_env=False) as client:
            thread = threading.Thread(target=calls, args=(client,), daemon=True)
            thread.start()
            thread.join(JOIN)
            assert ended, "it waits for its own thread"
            gc.collect()
            eventually(
                lambda: not transport.nodes("orders")[0].connections.in_use, "one stays in use"
            )
    finally:
        gc.enable()


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("section", ["request", "settle_dropped"])
def test_a_signal_handler_may_close_amid_a_section(section, http2, make_node, make_h2, monkeypatch):
    """The section that it interrupted closes for it; nothing waits, nothing stays open."""
    node = make_h2() if http2 else make_node()
    options = {"http1": False, "http2": True} if http2 else {}
    transport = Transport(registry(node), drain_timeout=0.0, **options)
    plain, armed, ended = getattr(Stack, section), [], []

    def amid(self, *args):
        if armed:
            armed.clear()
            transport.close()
        return plain(self, *args)

    monkeypatch.setattr(Stack, section, amid)

    def calls(client) -> None:
        assert client.get("http://orders/").status_code == 200
        armed.append("now")
        for _ in range(2):
            try:
                client.get("http://orders/")
            except http.TransportError as error:
                ended.append(type(error))

    with http.Client(transport=transport, trust_env=False) as client:
        thread = threading.Thread(target=calls, args=(client,), daemon=True)
        thread.start()
        thread.join(JOIN)
        assert ended, "it waits for its own thread"
        thread.join(JOIN)
    assert issubclass(ended[-1], rpcguard.TransportClosed)
    assert armed == []
    eventually(lambda: node.open == 0, "a connection was left open")


def refusing(h2: H2, stream: int) -> None:
    """Refuse the first call of each connection that wants to be the last, and answer the rest."""
    if h2.peer.node.asked_for.get("/last") == (h2, stream):
        h2.go_away(0)
    else:
        h2.answer(stream)


@pytest.mark.parametrize("path", ["/", "/last"])
@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("section", ["request", "settle_dropped"])
def test_a_signal_handler_may_call_amid_a_section(
    section, http2, path, make_node, make_h2, monkeypatch
):
    """Its call has a connection of its own, even beside a limit, which is kept or closed later."""
    node = make_h2(refusing) if http2 else make_node()
    options = {"http1": False, "http2": True} if http2 else {}
    ejection = rpcguard.EjectionPolicy(enforce=False)
    limits = http.Limits(max_connections=1)
    transport = Transport(registry(node), limits=limits, ejection=ejection, **options)
    plain, armed, ended = getattr(Stack, section), [], []

    def amid(self, *args):
        if armed:
            armed.clear()
            try:
                ended.append(client.get(f"http://orders{path}").status_code)
            except http.TransportError as error:
                ended.append(type(error))
        return plain(self, *args)

    monkeypatch.setattr(Stack, section, amid)

    def calls() -> None:
        assert client.get("http://orders/").status_code == 200
        armed.append("now")
        ended.extend([client.get("http://orders/").status_code for _ in range(2)])

    with http.Client(transport=transport, trust_env=False) as client:
        thread = threading.Thread(target=calls, daemon=True)
        thread.start()
        thread.join(JOIN)
        assert len(ended) == 3, "it waits for its own thread"
        counts = transport.nodes("orders")[0].connections
    refused = http2 and path == "/last"
    assert ended.count(200) == 3 - refused
    assert (counts.idle, counts.in_use, counts.waiting) == (1, 0, 0)


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_signal_handler_may_call_amid_a_sweep(http2, make_node, make_h2, monkeypatch):
    """What closes idle connections holds the books too, and signs for them."""
    node = make_h2() if http2 else make_node()
    options = {"http1": False, "http2": True} if http2 else {}
    transport = Transport(registry(node), **options)
    plain, armed, ended = Stack.expire, [], []

    def amid(self):
        if armed:
            armed.clear()
            ended.append(client.get("http://orders/").status_code)
        plain(self)

    monkeypatch.setattr(Stack, "expire", amid)

    def sweeps() -> None:
        ended.append(client.get("http://orders/").status_code)
        armed.append("now")
        transport.sweep()
        ended.append(client.get("http://orders/").status_code)

    with http.Client(transport=transport, trust_env=False) as client:
        thread = threading.Thread(target=sweeps, daemon=True)
        thread.start()
        thread.join(JOIN)
        assert ended == [200] * 3, "it waits for its own thread"


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "dropped"])
@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_whoever_keeps_the_books_closes_what_others_end_meanwhile(
    http2, closes, make_node, make_h2, monkeypatch
):
    """Closing, and dropping an answer, do not wait for a thread that looks at the idle ones."""
    monkeypatch.setattr("rpcguard._transport.sync.SWEEP_EVERY", 3600.0)  # nobody else tidies up
    node = make_h2(half_h2) if http2 else make_node(half)
    options = {"http1": False, "http2": True} if http2 else {}
    looks, goes_on, plain = threading.Event(), threading.Event(), Stack.expire

    def expire(stack: Stack) -> None:
        if threading.current_thread() is sweeper:
            looks.set()
            goes_on.wait(JOIN)
        plain(stack)

    monkeypatch.setattr(Stack, "expire", expire)
    with Transport(registry(node), **options) as transport:
        client = http.Client(transport=transport, base_url="http://orders", trust_env=False)
        if closes:
            client.get("/")
        else:
            request = client.build_request("GET", "/half")
            dropped = client.send(request, stream=True)
        sweeper = threading.Thread(target=transport.sweep, daemon=True)
        sweeper.start()
        assert looks.wait(JOIN)
        if closes:
            client.close()
        else:
            del dropped
            gc.collect()
        goes_on.set()
        sweeper.join(JOIN)
        eventually(lambda: node.open == 0, "a connection was left open")


def in_line(transport: Transport, number: int) -> bool:
    return transport.nodes("orders")[0].connections.waiting == number


def test_who_waits_in_line_is_served_by_whoever_has_the_books_as_a_call_ends(make_h2, monkeypatch):
    """One that has waited looks into the books as another ends, whose connection is the next's."""
    monkeypatch.setattr("rpcguard._transport.sync.SWEEP_EVERY", 3600.0)  # nobody else tidies up
    node = make_h2(half_h2)
    looks, goes_on, plain = threading.Event(), threading.Event(), SyncHttp2Exchange._check
    options = {"http1": False, "http2": True, "limits": http.Limits(max_connections=2)}

    def check(exchange: SyncHttp2Exchange, slot: Http2Slot) -> None:
        looks.set()
        goes_on.wait(JOIN)
        plain(exchange, slot)

    monkeypatch.setattr(SyncHttp2Exchange, "_check", check)
    with Transport(registry(node), **options) as transport:
        client = http.Client(transport=transport, base_url="http://orders", timeout=JOIN)
        opened = []

        def half() -> None:
            opened.append(client.send(client.build_request("GET", "/half"), stream=True))

        half(), half()
        threads = [threading.Thread(target=half, daemon=True) for _ in range(2)]
        for thread in threads:
            waiting = transport.nodes("orders")[0].connections.waiting
            thread.start()
            eventually(partial(in_line, transport, waiting + 1), "it does not wait")
        opened[0].close()
        assert looks.wait(JOIN)
        opened[1].close()  # amid the look of the first one in line
        goes_on.set()
        for thread in threads:
            thread.join(JOIN)
        assert len(opened) == 4, "one waits though a connection is free"
        for one in opened:
            one.close()
