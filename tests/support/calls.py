"""Nodes that a test scripts byte by byte, and one way to call them from every flavour."""

from __future__ import annotations

import atexit
import contextlib
import inspect
import os
import select
import socket
import struct
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import rpcguard
from rpcguard.registries.static import StaticRegistry
from tests.support.library import AsyncTransport, Transport, http

if TYPE_CHECKING:
    import ssl

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENCE = 20.0  # seconds: a busy machine is no fault, and a hang is told before the timeout is


@dataclass
class Seen:
    """One request as a node read it; `whole` tells whether its body came to its end."""

    head: bytes
    connection: int
    body: bytes = b""
    whole: bool = False

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def headers(self) -> http.Headers:
        pairs = (line.split(b":", 1) for line in self.head.strip().split(b"\r\n")[1:])
        return http.Headers([(name.strip(), value.strip()) for name, value in pairs])


class Peer:
    """Speak for a node on one accepted connection."""

    def __init__(self, node: Node, sock: socket.socket, number: int) -> None:
        self.node, self.sock, self.number = node, sock, number
        self.gone = threading.Event()
        self._rest = b""

    def recv(self) -> bytes:
        try:
            return self.sock.recv(65536)
        except OSError:
            return b""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def request(self) -> Seen | None:
        """Read a whole request, body included; None when the caller has gone."""
        data = self._rest
        while b"\r\n\r\n" not in data:
            more = self.recv()
            if not more:
                return None
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        seen = Seen(head + b"\r\n\r\n", self.number)
        self.node.seen.append(seen)
        if seen.headers.get("transfer-encoding") == "chunked":
            self._chunks(seen, data)
        else:
            self._known(seen, data, int(seen.headers.get("content-length", "0")))
        return seen

    def _known(self, seen: Seen, data: bytes, length: int) -> None:
        while len(data) < length:
            more = self.recv()
            if not more:
                seen.body = data
                return
            data += more
        seen.body, self._rest, seen.whole = data[:length], data[length:], True

    def _chunks(self, seen: Seen, data: bytes) -> None:
        while True:
            while b"\r\n" not in data:
                data += (more := self.recv())
                if not more:
                    return
            size, _, data = data.partition(b"\r\n")
            length = int(size, 16)
            while len(data) < length + 2:
                data += (more := self.recv())
                if not more:
                    return
            seen.body += data[:length]
            data = data[length + 2 :]
            if not length:
                self._rest, seen.whole = data, True
                return

    def answer(self, data: bytes = OK) -> Seen | None:
        seen = self.request()
        if seen is not None:
            self.send(data)
        return seen

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

    def __init__(
        self, *scripts, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.scripts = scripts or (Peer.serve,)
        self.tls, self.host = tls, host
        self.seen: list[Seen] = []
        self.peers: list[Peer] = []
        self.names: list[str | None] = []
        self._door = threading.Lock()
        if tls is not None:
            tls.sni_callback = lambda _sock, name, _context: self.names.append(name)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, backlog=1000)
        self.port = self.listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def methods(self) -> list[str]:
        return [seen.method for seen in self.seen]

    @property
    def asked(self) -> int:
        """Count the requests that came with their whole body."""
        return sum(seen.whole for seen in self.seen)

    @property
    def open(self) -> int:
        """Count the connections that the caller has not left."""
        return sum(not peer.gone.is_set() for peer in self.peers)

    def is_left(self) -> bool:
        """Tell whether all is read that callers sent, and all of them have left."""
        with self._door:
            listens = self.listener.fileno() >= 0
            waiting = listens and select.select([self.listener], [], [], 0)[0]
            return not waiting and not self.open

    def _accept(self) -> None:
        while True:
            try:
                select.select([self.listener], [], [])
                with self._door:
                    sock, _ = self.listener.accept()
                    peer = Peer(self, sock, len(self.peers) + 1)
                    self.peers.append(peer)
            except (OSError, ValueError):  # it was closed
                return
            threading.Thread(target=self._speak, args=(peer,), daemon=True).start()

    def _speak(self, peer: Peer) -> None:
        script = self.scripts[min(peer.number, len(self.scripts)) - 1]
        try:
            if self.tls is not None:
                peer.sock = secured(self.tls, peer.sock)
            script(peer)
        except OSError:
            pass  # the caller has gone, or refused the certificate
        finally:
            peer.sock.close()
            peer.gone.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
        self._thread.join(PATIENCE)


def secured(context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
    """Shake hands as a server; where that fails, nothing is left open."""
    try:
        return context.wrap_socket(sock, server_side=True)
    except OSError as error:
        # Before 3.13 it drops its own socket, unclosed, where the caller had reset the connection
        # before the handshake began: only the frame of that still has it.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if isinstance(left := frame.f_locals.get("self"), socket.socket):
                left.close()
        raise


def unused_port(host: str = "127.0.0.1") -> int:
    """Give a port where nobody listens, but who is told of it.

    It is bound, or another process might come to listen there, to the end of the program: whoever
    has only the address of a node still calls it. A server that sets SO_REUSEADDR, as all that a
    test starts do, may listen there as often as it likes.
    """
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((host, 0))
    atexit.register(held.close)
    return held.getsockname()[1]


class Dead:
    """Stand for a node whose port refuses, until one is started there."""

    def __init__(self) -> None:
        self.host, self.port = "127.0.0.1", unused_port()
        self.seen: list[Seen] = []
        self.peers: list[Peer] = []
        self.asked, self.tls = 0, None

    def is_left(self) -> bool:
        """Tell whether all is read that callers sent, as for a node that listens."""
        return True


class InOrder:
    """Pick the first node of the list that was not tried, so that a test knows who is asked."""

    considered = ()

    def __init__(self) -> None:
        self._nodes: list[rpcguard.LiveNode] = []

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, live) -> None:
        self._nodes.append(live)
        self._nodes.sort(key=lambda live: live.node.metadata.get("place", ""))

    def remove(self, live) -> None:
        self._nodes.remove(live)

    def reweighed(self) -> None:
        pass

    def pick(self, now, excluded=()):
        return next((live for live in self._nodes if live not in excluded), None)


@dataclass(frozen=True)
class Flavour:
    """One way to call: sync, asyncio or trio, over rpcguard's own children or httpx's."""

    kind: str
    child: str = "stack"

    @property
    def sync(self) -> bool:
        return self.kind == "sync"

    @property
    def transport(self) -> type:
        return Transport if self.sync else AsyncTransport

    @property
    def client(self) -> type:
        return http.Client if self.sync else http.AsyncClient

    def node_transport(self, context: ssl.SSLContext) -> dict[str, Any]:
        if self.child == "stack":
            return {}
        kind = http.HTTPTransport if self.sync else http.AsyncHTTPTransport
        return {"node_transport": lambda _node: kind(verify=context)}


KINDS = ("sync", "asyncio", "trio")
FLAVOURS = [Flavour(kind) for kind in KINDS]
BOTH_CHILDREN = [Flavour(kind, child) for child in ("stack", "pool") for kind in KINDS]


def each(flavours):
    """Run a test once for every flavour given."""
    return pytest.mark.parametrize(
        "flavour", flavours, ids=lambda flavour: f"{flavour.kind}-{flavour.child}", indirect=True
    )


async def settle(value):
    """Await what needs it, so that one scenario serves sync and async."""
    return await value if inspect.isawaitable(value) else value


def listed(nodes, **options) -> list[rpcguard.Node]:
    """List scripted nodes, in this order for the `InOrder` balancer."""
    return [
        rpcguard.Node(node.host, node.port, metadata={"place": f"{place:03}"}, **options)
        for place, node in enumerate(nodes)
    ]


class Caller:
    """Call through a transport; every method is awaited, whatever the flavour."""

    def __init__(self, flavour: Flavour, transport, **options) -> None:
        self.flavour, self.transport = flavour, transport
        options = {"base_url": "http://orders", "timeout": PATIENCE, "trust_env": False} | options
        self.client = flavour.client(transport=transport, **options)

    async def call(self, url="/", *, method="GET", **options) -> http.Response:
        return await settle(self.client.request(method, url, **options))

    async def open(self, url="/", *, method="GET", **options) -> http.Response:
        request = self.client.build_request(method, url, **options)
        return await settle(self.client.send(request, stream=True))

    async def read(self, response) -> bytes:
        return response.read() if self.flavour.sync else await response.aread()

    async def end(self, response) -> None:
        await settle(response.close() if self.flavour.sync else response.aclose())

    async def settle_list(self) -> None:
        """Wait until the list of the service is there."""
        await settle(self.transport.wait_ready("orders", timeout=PATIENCE))

    async def close(self) -> None:
        await settle(self.client.close() if self.flavour.sync else self.client.aclose())

    def body(self, *parts: bytes):
        """Give a body that can be read only once."""
        return _once(*parts) if self.flavour.sync else _aonce(*parts)

    def view(self, node) -> rpcguard.NodeView:
        """Show what is known of a scripted node."""
        (view,) = (v for v in self.transport.nodes("orders") if v.node.port == node.port)
        return view

    @property
    def in_flight(self) -> int:
        return sum(view.in_flight for view in self.transport.nodes("orders"))


def _once(*parts):
    yield from parts


async def _aonce(*parts):
    for part in parts:
        yield part


def registry(*nodes, **services) -> StaticRegistry:
    """List nodes as the service `orders`, and more services by name."""
    return StaticRegistry({"orders": listed(nodes)} | services)


@dataclass
class Clock:
    """A clock that a test moves by hand."""

    now: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


def open_sockets() -> int:
    """Count the sockets of this process."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sum(link.startswith("socket:") for link in links)


def eventually(check, what: str, patience: float = PATIENCE) -> None:
    """Poll until the other side of a socket, or another thread, has caught up."""
    deadline = time.monotonic() + patience
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


async def soon(check, what: str, patience: float = PATIENCE) -> None:
    """Poll as `eventually` does, and let the event loop work meanwhile."""
    deadline = time.monotonic() + patience
    while not check():
        assert time.monotonic() < deadline, what
        await anyio.sleep(0.002)


async def unhurried(scenario, seconds: float) -> None:
    """Run a scenario that ends by a short timeout, and in which others have to be done before.

    It gives False where they were not, since the machine was busy for as long; then it is run
    again with ten times as much, and with a hundred times.
    """
    for times in (1, 10, 100):
        if await scenario(seconds * times):
            return
    pytest.fail(f"{seconds * times} s were not enough")


def unhurriedly(scenario, seconds: float) -> None:
    """Do the same with a scenario that runs in no event loop."""
    for times in (1, 10, 100):
        if scenario(seconds * times):
            return
    pytest.fail(f"{seconds * times} s were not enough")


def echo(peer: Peer) -> None:
    """Answer each request with its own path."""
    while (seen := peer.request()) is not None:
        path = seen.line.split()[1].encode()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))
