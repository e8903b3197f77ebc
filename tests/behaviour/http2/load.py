"""A provider that remembers what it executed, and load on the nodes in front of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from tests.support.calls import soon
from tests.support.library import AsyncTransport, Transport, http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Provider(ThreadingHTTPServer):
    """Answer what the proxies forward, and count how often each call was executed.

    With `together` no call is answered before so many are there; each takes `pause` seconds.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.executed: Counter[str] = Counter()
        self.together: threading.Barrier | None = None
        self.pause = 0.01
        self.lock = threading.Lock()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a proxy that has left."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Provider

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        provider = self.server
        with provider.lock:
            provider.executed[f"{self.command} {self.path}"] += 1
        if provider.together is not None:
            provider.together.wait(20)
        time.sleep(provider.pause)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_POST = do_PUT = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def providing() -> Iterator[Provider]:
    """Run a provider."""
    with Provider() as provider:
        thread = threading.Thread(target=provider.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield provider
        finally:
            provider.shutdown()
            thread.join()


@dataclass
class Load:
    """Hold what became of the calls: those that failed, by method and path, with the reason."""

    made: int = 0
    retries: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    going: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def jobs(self, worker: int) -> Iterator[tuple[str, str]]:
        """Give one call after the other, every third a POST, until the load ends."""
        number = 0
        while self.going:
            yield "POST" if number % 3 == 0 else "GET", f"/{worker}/{number}"
            number += 1

    async def more(self, calls: int) -> None:
        """Wait until so many more calls were made, however long, as long as there are any."""
        enough = self.made + calls
        while (made := self.made) < enough:
            await soon(lambda made=made: self.made > made, "another call", patience=30)

    def answered(self, method: str, path: str, answer: http.Response) -> None:
        """Take in an answer."""
        with self._lock:
            self.made += 1
            self.retries += len(answer.extensions["rpcguard"].attempts) - 1
            if not answer.is_success:
                self.failed[f"{method} {path}"] = str(answer.status_code)

    def lost(self, method: str, path: str, error: Exception) -> None:
        """Take in a call that got no answer."""
        with self._lock:
            self.made += 1
            self.failed[f"{method} {path}"] = repr(error)

    def saveable(self) -> dict[str, str]:
        """Give the failed calls that may go again: GETs, and POSTs that were surely not taken.

        Those are refused by connection or by stream, or named by no GOAWAY, or never left h2.
        """
        return {
            call: error
            for call, error in self.failed.items()
            if call.startswith("GET") or any(sign in error for sign in _NOT_TAKEN)
        }


_NOT_TAKEN = (
    "ConnectError",
    "ConnectTimeout",
    "Max outbound streams",
    "error_code:7",
    "error_code=7",
    "last_stream_id:0",
)


def twice(provider: Provider) -> list[str]:
    """Give the calls that must not run twice and did."""
    return [call for call, times in provider.executed.items() if call[:4] == "POST" and times > 1]


@contextlib.asynccontextmanager
async def load(kind: str, nodes: str, *, workers: int = 8, **options) -> AsyncIterator[Load]:
    """Call the nodes over HTTP/2 without TLS while the block runs, from threads or tasks."""
    going = Load()
    made = {"http1": False, "http2": True} | options
    if kind != "sync":
        client = http.AsyncClient(transport=AsyncTransport(nodes, **made), base_url="http://orders")

        async def work(worker: int) -> None:
            for method, path in going.jobs(worker):
                try:
                    answer = await client.request(method, path, content=_body(method), timeout=20)
                except http.HTTPError as error:
                    going.lost(method, path, error)
                else:
                    going.answered(method, path, answer)

        async with client, anyio.create_task_group() as group:
            for worker in range(workers):
                group.start_soon(work, worker)
            try:
                yield going
            finally:
                going.going = False
        return
    with http.Client(transport=Transport(nodes, **made), base_url="http://orders") as sync:

        def labour(worker: int) -> None:
            for method, path in going.jobs(worker):
                try:
                    answer = sync.request(method, path, content=_body(method), timeout=20)
                except http.HTTPError as error:
                    going.lost(method, path, error)
                else:
                    going.answered(method, path, answer)

        async with anyio.create_task_group() as group:
            for worker in range(workers):
                group.start_soon(to_thread.run_sync, labour, worker)
            try:
                yield going
            finally:
                going.going = False


def _body(method: str) -> bytes | None:
    return b"pay" if method == "POST" else None
