"""Nodes at Unix domain sockets: called and retried like any other."""

from __future__ import annotations

import contextlib
import errno
import socket
import socketserver
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rpcguard import MembershipPolicy, Node, RoundRobin, Snapshot
from rpcguard._discovery import probes
from tests.support.library import AsyncTransport, Transport, http
from tests.support.sockets import full_socket
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class _Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(ANSWER)


@contextlib.contextmanager
def serving(path: Path) -> Iterator[None]:
    """Answer at a socket."""
    with socketserver.ThreadingUnixStreamServer(str(path), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def url_of(*paths: Path) -> str:
    return f"static:///orders={','.join(f'unix:{path}' for path in paths)}"


def test_a_node_at_a_socket_is_called(tmp_path):
    """The URL has the service, and nothing of where it is; a dead socket costs a retry."""
    path, dead = tmp_path / "orders.sock", tmp_path / "dead.sock"
    transport = Transport(url_of(dead, path), balancer=RoundRobin)
    with serving(path), http.Client(transport=transport, base_url="http://orders") as client:
        responses = [client.get("/v1") for _ in range(4)]
        assert {response.text for response in responses} == {"ok"}
        states = {view.node.id: view.state for view in transport.nodes("orders")}
    assert states == {f"unix:{path}": "available", f"unix:{dead}": "ejected"}
    assert {str(response.url) for response in responses} == {"http://orders/v1"}


async def test_tasks_call_it_too(tmp_path):
    """On asyncio and trio."""
    path = tmp_path / "orders.sock"
    transport = AsyncTransport(url_of(path))
    with serving(path):
        async with http.AsyncClient(transport=transport, base_url="http://orders") as client:
            response = await client.get("/v1")
    assert response.text == "ok"
    assert response.extensions["rpcguard"].node.address == f"unix:{path}"


@pytest.mark.parametrize("asked", [None, "orders"])
async def test_it_is_probed_at_its_socket(tmp_path, asked):
    """Connected to, and asked for the service where a lost node has to answer."""
    path = tmp_path / "orders.sock"
    assert await probes._connects("localhost", 80, 5.0, asked, uds=str(path)) is False
    with serving(path):
        assert await probes._connects("localhost", 80, 5.0, asked, uds=str(path)) is True


@pytest.mark.parametrize("kind", ["threads", "asyncio", "trio"])
def test_a_call_waits_for_a_full_backlog(tmp_path, kind):
    """A burst at the only node there is costs no call, as it does not over TCP."""
    path = tmp_path / "orders.sock"

    async def get() -> str:
        async with http.AsyncClient(transport=AsyncTransport(url_of(path))) as client:
            return (await client.get("http://orders/")).text

    with full_socket(str(path)) as listener:
        timer = threading.Timer(0.1, serve_all, [listener])
        timer.start()
        if kind == "threads":
            with http.Client(transport=Transport(url_of(path))) as client:
                assert client.get("http://orders/").text == "ok"
        else:
            assert anyio.run(get, backend=kind) == "ok"
        listener.shutdown(socket.SHUT_RDWR)  # to close it would not end an accept
        timer.join(20)
        assert not timer.is_alive()


def serve_all(listener: socket.socket) -> None:
    """Answer whoever has come, until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=answer_at, args=(peer,), daemon=True).start()


def answer_at(peer: socket.socket) -> None:
    with peer, contextlib.suppress(OSError):
        if peer.recv(65536):
            peer.sendall(ANSWER)


def test_a_socket_that_may_not_be_written_to_is_that_nodes_fault(tmp_path, monkeypatch):
    """It is ejected, where a firewall on this side would be nobody's fault."""
    path = tmp_path / "orders.sock"

    class Forbidden(socket.socket):
        def connect_ex(self, address: object) -> int:
            return errno.EACCES if self.family == socket.AF_UNIX else super().connect_ex(address)

    monkeypatch.setattr("rpcguard._connections.dial.socket.socket", Forbidden)
    with http.Client(transport=(transport := Transport(url_of(path)))) as client:
        with pytest.raises(http.ConnectError, match=str(path)):
            client.get("http://orders/")
        (view,) = transport.nodes("orders")
    assert view.failures == 1


@pytest.mark.parametrize("path", ["", "/" + "x" * 107, "/a\0b", 7])
def test_what_can_be_no_socket_is_refused(path):
    """Before a call is lost on it."""
    with pytest.raises(ValueError, match="uds must be the path of a Unix domain socket"):
        Node("localhost", 80, uds=path)
    Node("localhost", 80, uds="/" + "x" * 106)


def test_only_named_networks_leave_no_socket():
    """Whatever host is told beside it, now or in a later list."""
    stage = Stage(membership=MembershipPolicy(allowed_networks=["10.0.0.0/8"]))
    open_, socket_ = Node("10.0.0.1", 80, id="a"), Node("10.0.0.1", 80, id="a", uds="/x.sock")
    stage.service.reconcile(Snapshot([socket_]))
    assert stage.service.nodes() == []
    stage.service.reconcile(Snapshot([open_]))
    stage.service.reconcile(Snapshot([socket_]))
    assert all(view.node.uds is None for view in stage.service.nodes())


def test_its_span_tells_the_path(tmp_path):
    """As the conventions of OpenTelemetry have it; it has no port."""
    path, spans = tmp_path / "orders.sock", InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    transport = Transport(url_of(path), tracer_provider=provider)
    with serving(path), http.Client(transport=transport, base_url="http://orders") as client:
        client.get("/v1")
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    told = {key: value for key, value in span.attributes.items() if key.startswith("network.")}
    assert told == {
        "network.peer.address": str(path),
        "network.transport": "unix",
        "network.protocol.version": "1.1",
    }
