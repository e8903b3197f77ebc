"""Nodes at Unix domain sockets: called and retried like any other."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from typing import TYPE_CHECKING

import pytest

from rpcguard import RoundRobin
from rpcguard._discovery import probes
from tests.support.library import AsyncTransport, Transport, http

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
