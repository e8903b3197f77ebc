"""Scripted nodes on real sockets, callers of every flavour, and the SDK's in-memory exporters."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.library import AsyncTransport, Transport, http

if TYPE_CHECKING:
    import rpcguard

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
OFFLINE = b"HTTP/1.1 200 OK\r\nX-RpcGuard-Offline: 1\r\nContent-Length: 2\r\n\r\nok"


class InOrder:
    """Balance by the order of the list: the first node that is not excluded, then the next."""

    def __init__(self) -> None:
        self.considered = ()
        self._nodes: list[rpcguard.LiveNode] = []

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, live: rpcguard.LiveNode) -> None:
        self._nodes.append(live)

    def remove(self, live: rpcguard.LiveNode) -> None:
        self._nodes.remove(live)

    def pick(self, _now: float, excluded=()) -> rpcguard.LiveNode | None:
        found = next((live for live in self._nodes if live not in excluded), None)
        if found is not None:
            self._nodes.remove(found)
            self._nodes.append(found)
        return found


class Provider:
    """Answer on a socket with the scripted bytes, one after the other; the last one repeats.

    None stands for silence, and an answer that is shorter than it says ends its connection.
    """

    def __init__(self, *script: bytes | None) -> None:
        self.requests: list[dict[str, str]] = []
        self.asked = threading.Event()
        self._script = script or (OK,)
        self._closing = threading.Event()
        provider = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    while provider.serve(self.rfile, self.wfile):
                        pass

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        self.id = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def serve(self, rfile, wfile) -> bool:
        if not rfile.readline():
            return False
        headers = {}
        while line := rfile.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        rfile.read(int(headers.get("content-length", 0)))
        answer = self._script[min(len(self.requests), len(self._script) - 1)]
        self.requests.append(headers)
        self.asked.set()
        if answer is None:
            self._closing.wait(20)
            return False
        wfile.write(answer)
        return answer != CUT

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def provider():
    """Start nodes by their script."""
    with contextlib.ExitStack() as stack:

        def start(*script: bytes | None) -> Provider:
            return stack.enter_context(contextlib.closing(Provider(*script)))

        yield start


@pytest.fixture
def dead_port():
    """Give a port that refuses connections: bound, and not listened to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


class Recorded:
    """Hold a tracer and a meter provider, and what they recorded."""

    def __init__(self) -> None:
        self.spans_out = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.spans_out))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader])
        self.tracer = self.tracer_provider.get_tracer("test")

    @property
    def options(self) -> dict:
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def spans(self, scope: str | None = "rpcguard") -> list:
        """Give the finished spans of a scope, of all for None, in the order of their start."""
        spans = self.spans_out.get_finished_spans()
        return sorted(
            (span for span in spans if scope in (None, span.instrumentation_scope.name)),
            key=lambda span: span.start_time,
        )

    def metrics(self) -> dict:
        """Give each metric by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            if scope.scope.name == "rpcguard"
            for metric in scope.metrics
        }

    def points(self, name: str, *, born: bool = False) -> dict:
        """Give the value of each point of a metric, of a histogram the count, by attributes.

        Without the zeros that a counter is `born` with.
        """
        metric = self.metrics().get(name)
        unborn = not born and getattr(metric and metric.data, "is_monotonic", False)
        found = {
            frozenset(point.attributes.items()): getattr(point, "value", getattr(point, "count", 0))
            for point in (metric.data.data_points if metric else ())
        }
        return {key: value for key, value in found.items() if value or not unborn}


def labels(**attributes) -> frozenset:
    """Give attributes as a key of `points`; `_` in a name stands for a dot, `__` for `_`."""
    return frozenset(
        (name.replace("__", "\0").replace("_", ".").replace("\0", "_"), value)
        for name, value in attributes.items()
    )


@pytest.fixture
def recorded():
    """Give fresh providers with in-memory exporters."""
    recorded = Recorded()
    yield recorded
    recorded.tracer_provider.shutdown()
    recorded.meter_provider.shutdown()


@pytest.fixture(params=["sync-asyncio", "async-asyncio", "async-trio"])
def flavour(request) -> str:
    """Run a test with a sync client, and with an async one on both event loops."""
    return request.param


@pytest.fixture
def anyio_backend(flavour: str) -> str:
    return flavour.partition("-")[2]


class Caller:
    """Call by a sync or an async client, with one way to say it."""

    def __init__(self, flavour: str, *registry, **options) -> None:
        self.is_async = flavour.startswith("async")
        made = AsyncTransport if self.is_async else Transport
        client = http.AsyncClient if self.is_async else http.Client
        self.transport = made(*registry, **options)
        self.client = client(transport=self.transport, base_url="http://orders")

    async def request(self, *args, **options) -> http.Response:
        response = self.client.request(*args, **options)
        return await response if self.is_async else response

    async def get(self, path: str = "/", **options) -> http.Response:
        return await self.request("GET", path, **options)

    @asynccontextmanager
    async def stream(self, *args, **options):
        """Hand out a response whose body is not read."""
        if self.is_async:
            async with self.client.stream(*args, **options) as response:
                yield response
        else:
            with self.client.stream(*args, **options) as response:
                yield response

    async def read(self, response: http.Response) -> bytes:
        return await response.aread() if self.is_async else response.read()

    async def close(self) -> None:
        if self.is_async:
            await self.client.aclose()
        else:
            self.client.close()


@pytest.fixture
def calling(flavour: str, recorded: Recorded):
    """Open a caller of a list of nodes, given by their ports or as a registry."""

    @asynccontextmanager
    async def open_caller(*nodes, instrumented: bool = True, **options):
        registry = nodes[0]
        if not isinstance(registry, str) and not hasattr(registry, "fetch"):
            registry = "static://" + ",".join(
                f"127.0.0.1:{getattr(node, 'port', node)}" for node in nodes
            )
        if instrumented:
            options = recorded.options | options
        caller = Caller(flavour, registry, **{"drain_timeout": 0.5} | options)
        try:
            yield caller
        finally:
            await caller.close()

    return open_caller
