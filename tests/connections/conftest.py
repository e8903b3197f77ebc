"""Nodes scripted byte by byte on real sockets, and one way to call them from every flavour."""

from __future__ import annotations

import contextlib
import inspect
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import httpcore
import httpcore2
import httpx
import httpx2
import pytest
import trustme

from rpcguard._connections.aio import AsyncExchange
from rpcguard._connections.sync import SyncExchange
from rpcguard._httpx import HTTPX
from rpcguard.httpx2 import HTTPX2
from tests.support.calls import secured

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from rpcguard._connections.library import Library

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENCE = 20.0  # seconds: a busy machine is no fault, and a hang is told before the timeout is


class Peer:
    """Speak for the node on one accepted connection."""

    def __init__(self, node: Node, sock: socket.socket, number: int) -> None:
        self.node, self.sock, self.number = node, sock, number
        self.gone = threading.Event()

    def head(self) -> bytes:
        """Read up to the end of a request's head; empty when the caller has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.recv()
            if not more:
                return b""
            data += more
        self.node.requests.append((self.number, data))
        return data

    def recv(self) -> bytes:
        try:
            return self.sock.recv(65536)
        except OSError:
            return b""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def answer(self, data: bytes = OK) -> bytes:
        request = self.head()
        if request:
            self.send(data)
        return request

    def serve(self, data: bytes = OK) -> None:
        while self.answer(data):
            pass

    def until_gone(self) -> None:
        while self.recv():
            pass
        self.gone.set()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Node:
    """Accept connections and run the next script on each; the last script repeats."""

    def __init__(self, *scripts, tls: ssl.SSLContext | None = None, uds: str | None = None) -> None:
        self.scripts = scripts or (Peer.serve,)
        self.tls, self.uds = tls, uds
        self.requests: list[tuple[int, bytes]] = []
        self.peers: list[Peer] = []
        self.names: list[str | None] = []
        if tls is not None:
            tls.sni_callback = lambda _sock, name, _context: self.names.append(name)
        if uds is None:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=500)
            self.port = self.listener.getsockname()[1]
        else:
            self.port = 80
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(uds)
            self.listener.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            peer = Peer(self, sock, len(self.peers) + 1)
            self.peers.append(peer)
            threading.Thread(target=self._speak, args=(peer,), daemon=True).start()

    def _speak(self, peer: Peer) -> None:
        script = self.scripts[min(peer.number, len(self.scripts)) - 1]
        try:
            if self.tls is not None:
                peer.sock = secured(self.tls, peer.sock)
            script(peer)
        except OSError:
            pass  # the caller refused the certificate
        finally:
            peer.sock.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
        self._thread.join(PATIENCE)


@dataclass(frozen=True)
class Flavour:
    """One way to call: a library, and sync, asyncio or trio."""

    kind: str
    http: ModuleType
    core: ModuleType
    library: Library

    @property
    def sync(self) -> bool:
        return self.kind == "sync"

    @property
    def stack(self) -> Callable[..., Any]:
        """The connections of one node, of this library and kind."""
        ours, theirs = (SyncExchange, "BaseTransport")
        if not self.sync:
            ours, theirs = (AsyncExchange, "AsyncBaseTransport")
        return partial(self.library.derive(ours, theirs), self.library)

    @property
    def own(self) -> type:
        """The library's own transport, the model for everything that is not about speed."""
        return self.http.HTTPTransport if self.sync else self.http.AsyncHTTPTransport


LIBRARIES = {
    "httpx": (httpx, httpcore, HTTPX),
    "httpx2": (httpx2, httpcore2, HTTPX2),
}
FLAVOURS = {
    f"{kind}-{name}": Flavour(kind, *modules)
    for name, modules in LIBRARIES.items()
    for kind in ("sync", "asyncio", "trio")
}


async def settle(value):
    """Await what needs it, so that one scenario serves sync and async."""
    return await value if inspect.isawaitable(value) else value


class Caller:
    """Call through a transport; every method is awaited, whatever the flavour."""

    def __init__(
        self, flavour: Flavour, transport, *, scheme: str = "http", timeout=PATIENCE
    ) -> None:
        self.flavour, self.stack = flavour, transport
        client = flavour.http.Client if flavour.sync else flavour.http.AsyncClient
        self.client = client(
            transport=transport, timeout=timeout, base_url=f"{scheme}://orders", trust_env=False
        )

    async def call(self, url="/", *, method="GET", **options):
        return await settle(self.client.request(method, url, **options))

    async def open(self, url="/", *, method="GET", **options):
        return await settle(
            self.client.send(self.client.build_request(method, url, **options), stream=True)
        )

    async def read(self, response):
        return response.read() if self.flavour.sync else await response.aread()

    async def end(self, response) -> None:
        await settle(response.close() if self.flavour.sync else response.aclose())

    async def close(self) -> None:
        await settle(self.client.close() if self.flavour.sync else self.client.aclose())

    async def close_stack(self) -> None:
        await settle(self.stack.close() if self.flavour.sync else self.stack.aclose())

    async def drop_idle(self) -> None:
        await settle(self.stack.close_idle() if self.flavour.sync else self.stack.aclose_idle())

    @property
    def books(self) -> tuple[int, int, int]:
        counts = self.stack.counts
        return counts.idle, counts.in_use, counts.waiting


@pytest.fixture
def flavours() -> dict[str, Flavour]:
    return FLAVOURS


@pytest.fixture(params=FLAVOURS)
def flavour(request) -> Flavour:
    return FLAVOURS[request.param]


@pytest.fixture
def anyio_backend(flavour) -> str:
    return "trio" if flavour.kind == "trio" else "asyncio"


@pytest.fixture
def make_node():
    with contextlib.ExitStack() as stack:

        def make(*scripts, **options) -> Node:
            return stack.enter_context(contextlib.closing(Node(*scripts, **options)))

        yield make


@pytest.fixture
async def make_caller(flavour):
    callers: list[Caller] = []

    def make(node=None, *, own=False, timeout=PATIENCE, **options) -> Caller:
        scheme = options.setdefault("scheme", "http")
        if own:
            transport = flavour.own(verify=options.get("ssl_context") or True)
        else:
            options = {"limits": flavour.http.Limits(), "host": "127.0.0.1"} | options
            options.setdefault("port", node.port if node else 0)
            transport = flavour.stack(**options)
        callers.append(Caller(flavour, transport, scheme=scheme, timeout=timeout))
        return callers[-1]

    yield make
    for caller in callers:
        await caller.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def certified(authority):
    def make(*names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        return context

    return make


def eventually(check, what: str) -> None:
    """Poll until the other side of a socket has caught up."""
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


@pytest.fixture
def until():
    return eventually


@pytest.fixture
def reached():
    """Wait beside other tasks until something has come about, or fail."""

    async def wait(check) -> None:
        deadline = time.monotonic() + PATIENCE
        while not check():
            assert time.monotonic() < deadline
            await anyio.sleep(0.002)  # other threads bring it about

    return wait
