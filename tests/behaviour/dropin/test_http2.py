"""HTTP/2 over TLS: the drop-in side of it, and its ways to say that nothing was done."""

from __future__ import annotations

import pytest

from tests.support.calls import FLAVOURS, each
from tests.support.http2_node import H2, as_h2_node
from tests.support.library import http

pytestmark = each(FLAVOURS)


@pytest.fixture
def make_h2(make_node, certified):
    """Make nodes that speak HTTP/2 for the service `orders`."""

    def make(act=H2.answer):
        context = certified("orders")
        context.set_alpn_protocols(["h2"])
        return as_h2_node(make_node(tls=context), act)

    return make


@pytest.fixture
def make_h2_caller(make_caller, trusting):
    """Make callers that speak HTTP/2."""
    return lambda *nodes: make_caller(
        *nodes, verify=trusting, http2=True, client={"base_url": "https://orders"}
    )


async def test_calls_share_a_connection(make_h2, make_h2_caller):
    """Calls are HTTP/2, carry the service as their authority, and share one connection."""
    node = make_h2()
    caller = make_h2_caller(node)
    for stream, method in ((1, "GET"), (3, "POST"), (5, "GET")):
        response = await caller.call(method=method)
        assert (response.http_version, response.text) == ("HTTP/2", "ok")
        assert response.extensions["stream_id"] == stream
    assert node.calls == [("GET", "orders"), ("POST", "orders"), ("GET", "orders")]
    assert len(node.peers) == 1
    assert node.names == ["orders"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_stream_goes_to_another_node(method, make_h2, make_h2_caller):
    """REFUSED_STREAM proves that nothing was done: any method may go again; the node failed."""
    busy, free = make_h2(H2.refuse), make_h2()
    caller = make_h2_caller(busy, free)
    response = await caller.call(method=method, content=b"pay")
    assert response.text == "ok"
    assert (len(busy.calls), len(free.calls)) == (1, 1)
    assert caller.view(busy).failures == 1
    assert caller.view(busy).state == "available"


async def test_a_broken_stream_is_not_repeated(make_h2, make_h2_caller):
    """INTERNAL_ERROR says nothing of what was done: a GET goes again, a POST does not."""
    bad, good = make_h2(H2.break_off), make_h2()
    caller = make_h2_caller(bad, good)
    assert (await caller.call()).text == "ok"
    with pytest.raises(http.RemoteProtocolError):
        await caller.call(method="POST", content=b"pay")
    assert len(good.calls) == 1
    assert caller.view(bad).failures == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_goaway_before_anything_was_done(method, make_h2, make_h2_caller):
    """GOAWAY with last stream 0 is safe for any method, and the node is marked offline."""
    leaving, good = make_h2(lambda node, _stream: node.go_away(0)), make_h2()
    caller = make_h2_caller(leaving, good)
    response = await caller.call(method=method, content=b"pay")
    assert response.text == "ok"
    assert (len(leaving.calls), len(good.calls)) == (1, 1)
    assert (caller.view(leaving).state, caller.view(leaving).reason) == ("offline", "GOAWAY")
    assert caller.view(leaving).failures == 1


async def test_goaway_that_includes_the_call(make_h2, make_h2_caller):
    """GOAWAY that names the call's stream leaves a POST failed, and the node marked offline."""
    leaving, good = make_h2(H2.go_away), make_h2()
    caller = make_h2_caller(leaving, good)
    with pytest.raises(http.TransportError):
        await caller.call(method="POST", content=b"pay")
    assert good.calls == []
    assert caller.view(leaving).state == "offline"
    assert (await caller.call()).text == "ok"


async def test_http1_nodes_are_spoken_to_as_they_like(make_node, certified, make_h2_caller):
    """With `http2=True` a node that knows only HTTP/1.1 is called all the same."""
    node = make_node(tls=certified("orders"))
    response = await make_h2_caller(node).call()
    assert (response.http_version, response.text) == ("HTTP/1.1", "ok")


async def test_a_large_body_in_both_directions(make_h2, make_h2_caller):
    """Flow control works through the transport."""
    got = []

    def echo(node: H2, stream: int) -> None:
        got.append(len(node.bodies[stream]))
        node.answer(stream, body=b"x" * 60_000)

    caller = make_h2_caller(make_h2(echo))
    response = await caller.call(method="PUT", content=b"y" * 500_000)
    assert (got, len(response.content)) == ([500_000], 60_000)
