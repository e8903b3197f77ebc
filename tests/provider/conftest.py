"""Real servers around the two middlewares."""

from __future__ import annotations

import socketserver
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from tests.support.uvicorn_server import UvicornServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the access log out of the test output."""


class ThreadedWSGIServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextmanager
def running_uvicorn(app, **options) -> Iterator[str]:
    server = UvicornServer(app, ws="none", **options).begin()
    try:
        yield "http://node" if server.config.uds else f"http://127.0.0.1:{server.listens_at}"
    finally:
        server.stop()


@contextmanager
def running_wsgiref(app) -> Iterator[str]:
    server = make_server(
        "127.0.0.1", 0, app, server_class=ThreadedWSGIServer, handler_class=QuietHandler
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch) -> Path:
    """Let no test look at, or write, the file of another node on this machine."""
    file = tmp_path / "rpcguard-offline"
    monkeypatch.setenv("RPCGUARD_OFFLINE_FILE", str(file))
    return file


@pytest.fixture
def uvicorn_at() -> Iterator[Callable[..., str]]:
    """Start uvicorn for an app and give its base URL."""
    with ExitStack() as stack:
        yield lambda app, **options: stack.enter_context(running_uvicorn(app, **options))


@pytest.fixture
def wsgiref_at() -> Iterator[Callable[..., str]]:
    """Start a threaded wsgiref server for an app and give its base URL."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(running_wsgiref(app))
