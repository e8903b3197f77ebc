"""Two threads at the books of one node's connections, at each line of what one of them does."""

from __future__ import annotations

import contextlib
import functools

import httpx
import pytest

from rpcguard._connections.http2.sync import SyncHttp2Exchange
from rpcguard._connections.sync import SyncExchange
from rpcguard._httpx import HTTPX
from tests.support.calls import Node, Peer, eventually
from tests.support.http2_node import H2, as_h2_node
from tests.support.interleavings import interleavings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
FILES = (
    "/_connections/book_keeping.py",
    "/_connections/stack.py",
    "/_connections/books.py",
    "sync.py",
)


def half(peer: Peer) -> None:
    while seen := peer.request():
        peer.send(HEAD + (b"okok" if "/whole" in seen.line else b"ok"))


def half_h2(h2: H2, stream: int) -> None:
    if h2.peer.node.asked_for.get("/whole") == (h2, stream):
        h2.answer(stream)
    else:
        h2.begin(stream, b"ok")


class Desk:
    """The connections to a node that ends few answers: one is in use, and one idle."""

    def __init__(self, port: int, *, http2: bool) -> None:
        kind, options = (SyncHttp2Exchange, {"http1": False}) if http2 else (SyncExchange, {})
        limits = httpx.Limits(max_connections=2, keepalive_expiry=3600.0)
        make = HTTPX.derive(kind, "BaseTransport")
        self.connections = make(
            HTTPX, scheme="http", host="127.0.0.1", port=port, limits=limits, **options
        )
        self.answer = self.opened()
        self.opened("/whole").read()

    def opened(self, path: str = "/") -> httpx.Response:
        request = httpx.Request("GET", f"http://orders{path}")
        response: httpx.Response = self.connections.handle_request(request)
        return response

    def call(self) -> None:
        self.opened().close()

    def end(self) -> None:
        self.answer.close()

    def drop(self) -> None:
        del self.answer

    def sweep(self) -> None:
        self.connections.sweep()

    def close(self) -> None:
        self.connections.close()

    def close_idle(self) -> None:
        self.connections.close_idle()

    @property
    def held(self) -> int:
        """Count the connections that somebody owns."""
        counts = self.connections.counts
        return counts.idle + counts.in_use


@pytest.fixture(params=[False, True], ids=["HTTP/1.1", "HTTP/2"])
def make_desk(request):
    """Make what calls a node of one of both protocols, which goes with it as `node`."""
    with contextlib.closing(Node(half)) as node:
        if request.param:
            as_h2_node(node, half_h2)
        make = functools.partial(Desk, node.port, http2=request.param)
        make.node = node  # type: ignore[attr-defined]
        yield make


@pytest.mark.parametrize("other", ["call", "end", "drop", "close", "close_idle"])
@pytest.mark.parametrize("one", ["end", "sweep", "close"])
def test_nothing_is_left_to_be_done(one, other, make_desk):
    """Whoever comes last closes and gives back what the two of them have left.

    A finalizer takes no lock: what it drops is for the next one who comes.
    """
    node, desks = make_desk.node, []

    def scene():
        desks.append(make_desk())
        return getattr(desks[-1], one), getattr(desks[-1], other)

    for where, raised in interleavings(scene, lambda name: name.endswith(FILES)):
        desk = desks.pop()
        refused = "close" in (one, other) and [isinstance(it, httpx.ConnectError) for it in raised]
        assert not raised or refused == [True], (where, raised)
        if other == "drop":
            desk.sweep()
        counts = desk.connections.counts
        over = {one, other} & {"end", "drop"}
        assert (counts.in_use, counts.waiting) == (0 if over else 1, 0), where
        cut = "close" in (one, other) and not over
        eventually(lambda: node.open == (0 if cut else desk.held), f"{where}: one is open")  # noqa: B023
        if not over:
            desk.end()
        desk.close()
        eventually(lambda: node.open == 0, f"{where}: one is open at the end")
