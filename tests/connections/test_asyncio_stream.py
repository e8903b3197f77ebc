"""The streams for asyncio: what httpcore's own would do, and uvloop."""

from __future__ import annotations

import socket
import threading

import httpx
import pytest

from rpcguard._connections.aio import AsyncExchange
from rpcguard._httpx import HTTPX


@pytest.fixture(params=["asyncio-httpx", "asyncio-httpx2"])
def flavour(request, flavours):
    return flavours[request.param]


async def test_a_wrong_socket_option(make_node, make_caller, flavour) -> None:
    """An option that the system refuses is a `ConnectError`, before anything is dialled."""
    node = make_node()
    caller = make_caller(node, socket_options=[(socket.SOL_SOCKET, 9999, 1)])
    with pytest.raises(flavour.http.ConnectError):
        await caller.call("/")
    assert caller.books == (0, 0, 0)
    assert node.peers == []


async def test_writing_to_a_lost_connection(make_node, make_caller, flavour) -> None:
    """Once the connection is lost a write is a `WriteError`, not a warning in a log."""

    def vanish(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.recv()
        peer.reset()

    caller = make_caller(make_node(vanish))
    response = await caller.open("/", method="CONNECT")
    stream = response.extensions["network_stream"]
    await stream.write(b"go")
    with pytest.raises(flavour.core.ReadError, match="reset"):
        await stream.read(10)
    with pytest.raises(flavour.core.WriteError):
        await stream.write(b"more")
    await caller.end(response)
    assert caller.books == (0, 0, 0)


async def test_what_came_while_the_loop_was_blocked(make_node, make_caller, until) -> None:
    """An end that the loop has not seen yet is found before a kept connection is used."""
    node = make_node(lambda peer: peer.answer(), lambda peer: peer.serve())
    caller = make_caller(node)
    await caller.call("/")
    until(lambda: node.peers[0].sock.fileno() < 0, "the node did not close")  # blocks the loop
    assert (await caller.call("/", method="POST")).text == "ok"
    assert [number for number, _ in node.requests] == [1, 2]


async def test_unasked_data_makes_a_connection_unusable(make_node, make_caller, reached) -> None:
    """A kept connection on which something arrived between calls is not used again."""
    answered = threading.Event()

    def talkative(peer) -> None:
        peer.answer()
        answered.wait(20)
        peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        peer.until_gone()

    node = make_node(talkative, lambda peer: peer.serve())
    caller = make_caller(node)
    stream = (await caller.call("/")).extensions["network_stream"]
    assert not stream.get_extra_info("is_readable")
    answered.set()
    await reached(lambda: stream.get_extra_info("is_readable"))
    assert (await caller.call("/")).status_code == 200
    assert [number for number, _ in node.requests] == [1, 2]


def test_uvloop(make_node, certified, trusting) -> None:
    """The streams for asyncio serve uvloop too, TLS and large bodies included."""
    uvloop = pytest.importorskip("uvloop")
    body = bytes(range(256)) * 4000

    def mirror(peer) -> None:
        while head := peer.head():
            received = head.partition(b"\r\n\r\n")[2]
            while len(received) < len(body):
                received += peer.recv()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + received)

    node = make_node(mirror, tls=certified("orders"))

    async def call() -> None:
        stack = HTTPX.derive(AsyncExchange, "AsyncBaseTransport")(
            HTTPX,
            scheme="https",
            host="localhost",
            port=node.port,
            ssl_context=trusting,
            limits=httpx.Limits(),
        )
        async with httpx.AsyncClient(transport=stack, trust_env=False) as client:
            for _ in range(2):
                response = await client.post("https://orders/", content=body)
                assert response.content == body
                assert stack.counts.idle == 1

    uvloop.run(call())
    assert len(node.peers) == 1
