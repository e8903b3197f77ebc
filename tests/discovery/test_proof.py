"""Nodes that an emptied registry has lost: what shows that they are still themselves."""

from __future__ import annotations

import contextlib
import weakref

import anyio
import pytest

from rpcguard import Node
from rpcguard._discovery.probes import probe
from tests.support.stage import Stage

pytestmark = pytest.mark.anyio

HTTP1 = b"HTTP/1.1 404 Not Found\r\n\r\n"
HTTP2 = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


class Answering:
    """A node that answers each connection with some bytes, one by one, and keeps what was asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    async def serve(self, stream) -> None:
        async with stream:
            with contextlib.suppress(anyio.EndOfStream):
                self.asked.append(await stream.receive())
                for number in range(len(self.answer)):
                    await stream.send(self.answer[number : number + 1])


@pytest.mark.parametrize(
    ("answer", "stays"),
    [(HTTP1, True), (HTTP2, True), (b"SSH-2.0-OpenSSH\r\n", False), (b"", False)],
    ids=["http1", "http2", "ssh", "closed"],
)
async def test_a_node_that_the_registry_lost_has_to_answer_over_http(answer, stays):
    """A probe asks each held node, so that one of a service without calls is kept, or goes."""
    node = Answering(answer)
    async with contextlib.AsyncExitStack() as stack, anyio.create_task_group() as group:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        stack.push_async_callback(listener.aclose)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        group.start_soon(listener.serve, node.serve)
        stage = Stage(Node("127.0.0.1", port, id="a"))
        stage.list()
        (live,) = stage.probing
        reports: list[float | None] = []
        report = stage.service.probed

        def note(of, *, alive, answered):
            reports.append(report(of, alive=alive, answered=answered))
            group.cancel_scope.cancel()
            return reports[-1]

        stage.service.probed = note
        stage.clock.advance(50)
        await probe(weakref.ref(stage.service), live)
    assert node.asked == [b"HEAD / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n"]
    stage.clock.advance(55)
    assert stage.listed() == ({"a"} if stays else set())
    assert reports == [20.0 if stays else None]


def test_a_node_that_is_reached_over_tls_is_not_asked():
    """Its certificate speaks for it whenever it is called."""
    stage = Stage("a", "b")
    stage.service.secure()
    stage.list()
    assert stage.probing == []


def test_a_list_that_is_back_ends_the_probes():
    """Nobody has to prove what the registry lists."""
    stage = Stage("a", "b")
    stage.list()
    assert len(stage.probing) == 2
    stage.list("a", "b")
    assert stage.probed("a", alive=True) is None
