"""The spans of attempts, as the real SDK records them."""

from __future__ import annotations

import anyio
import httpx2
import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import SpanKind, StatusCode

import rpcguard
import rpcguard.httpx2
from tests.support.library import NAME, NoAvailableNode, Transport, http
from tests.support.telemetry import CUT, OFFLINE, OK, UNAVAILABLE, InOrder

TASKS = ["async-asyncio", "async-trio"]


def parent_in(headers: dict[str, str]) -> tuple[str, str]:
    _, trace_id, span_id, _ = headers["traceparent"].split("-")
    return trace_id, span_id


def ids(span) -> tuple[str, str]:
    context = span.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


async def test_an_attempt_is_one_client_span(calling, recorded, provider):
    """A good call makes one CLIENT span with the attributes of the conventions, and no other."""
    node = provider()
    async with calling(node) as caller:
        await caller.get("/v1/orders/42?full=1")
    (span,) = recorded.spans(None)
    assert span.name == "GET"
    assert span.kind is SpanKind.CLIENT
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "server.address": "orders",
        "server.port": 80,
        "url.full": "http://orders/v1/orders/42?full=1",
        "http.response.status_code": 200,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": node.port,
        "network.protocol.version": "1.1",
        "rpcguard.node.id": node.id,
        "rpcguard.attempt": 1,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope.name == "rpcguard"
    assert span.instrumentation_scope.version == rpcguard.__version__
    assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"


async def test_a_retry_is_a_sibling(calling, recorded, provider, dead_port):
    """Both attempts are spans under the caller's; only the second has a resend count."""
    node = provider()
    async with calling(dead_port, node, balancer=InOrder) as caller:
        with recorded.tracer.start_as_current_span("caller") as outer:
            await caller.request("POST", "/", content=b"x")
    first, second = recorded.spans()
    assert first.parent.span_id == second.parent.span_id == outer.get_span_context().span_id
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description
    assert first.attributes["error.type"] == f"{NAME}.ConnectError"
    assert "http.response.status_code" not in first.attributes
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert second.attributes["rpcguard.attempt"] == 2
    assert "error.type" not in second.attributes
    assert second.status.status_code is StatusCode.UNSET
    (event,) = second.events
    assert (event.name, dict(event.attributes)) == (
        "rpcguard.retry",
        {"rpcguard.retry.reason": "ConnectError"},
    )
    assert first.end_time <= second.start_time


async def test_each_node_sees_its_own_attempt(calling, recorded, provider):
    """Each attempt's headers name its own span as the parent; the caller's request is untouched."""
    failing, good = provider(UNAVAILABLE), provider()
    async with calling(failing, good, balancer=InOrder) as caller:
        request = caller.client.build_request("GET", "/")
        before = list(request.headers.raw)
        if caller.is_async:
            await caller.client.send(request)
        else:
            caller.client.send(request)
    first, second = recorded.spans()
    assert parent_in(failing.requests[0]) == ids(first)
    assert parent_in(good.requests[0]) == ids(second)
    assert request.headers.raw == before


async def test_a_parent_header_of_the_caller_is_replaced(calling, recorded, provider):
    """A traceparent that is on the request already gives way to that of the attempt, once."""
    node = provider()
    async with calling(node) as caller:
        await caller.get(headers={"traceparent": f"00-{1:032x}-{2:016x}-01"})
    assert parent_in(node.requests[0]) == ids(recorded.spans()[0])


async def test_secrets_are_redacted(calling, recorded, provider):
    """Credentials and signatures of a URL do not reach the span."""
    async with calling(provider()) as caller:
        await caller.get("http://ann:s3cret@orders/x?sig=s3cret&b=1&Signature=s3cret&design=2")
    (span,) = recorded.spans()
    assert span.attributes["url.full"] == (
        "http://REDACTED:REDACTED@orders/x?sig=REDACTED&b=1&Signature=REDACTED&design=2"
    )
    assert "s3cret" not in span.to_json()


async def test_protocol_errors_are_not_quoted(calling, recorded, provider):
    """The message of a protocol error may hold what was sent, so it stays off the span."""
    broken = provider(b"HTTP/1.1 200 OK\r\nSet-Cookie s3cret\r\n\r\n")
    async with calling(broken) as caller:
        with pytest.raises(http.RemoteProtocolError):
            await caller.request("POST", "/")
    (span,) = recorded.spans()
    assert span.attributes["error.type"] == f"{NAME}.RemoteProtocolError"
    assert "s3cret" not in span.to_json()


async def test_an_unknown_method(calling, recorded, provider):
    """A method outside the list is `_OTHER`, on a span named HTTP."""
    async with calling(provider()) as caller:
        await caller.request("BREW", "/")
        await caller.request("QUERY", "/")
    brew, query = recorded.spans()
    assert brew.name == "HTTP"
    assert brew.attributes["http.request.method"] == "_OTHER"
    assert brew.attributes["http.request.method_original"] == "BREW"
    assert query.name == query.attributes["http.request.method"] == "QUERY"


async def test_known_methods_can_be_said(calling, recorded, provider, monkeypatch):
    """The environment variable of the conventions replaces the list of known methods."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "BREW,GET")
    async with calling(provider()) as caller:
        await caller.request("BREW", "/")
        await caller.request("POST", "/")
    assert [span.name for span in recorded.spans()] == ["BREW", "HTTP"]


async def test_an_error_status(calling, recorded, provider):
    """4xx and 5xx are errors of the span, with the code as the type and no description."""
    node = provider(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", UNAVAILABLE)
    async with calling(node) as caller:
        await caller.get()
        await caller.get()
    for span, code in zip(recorded.spans(), (404, 503), strict=True):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert span.attributes["error.type"] == str(code)
        assert span.attributes["http.response.status_code"] == code


async def test_a_span_lasts_until_its_body_is_closed(calling, recorded, provider):
    """While the answer's body is open the span is, too."""
    async with calling(provider()) as caller:
        async with caller.stream("POST", "/") as response:
            assert recorded.spans() == []
            await caller.read(response)
        (span,) = recorded.spans()
    assert span.attributes["http.response.status_code"] == 200


async def test_a_stream_left_early_is_no_error(calling, recorded, provider):
    """A body that is closed unread ends the span as it stands."""
    async with calling(provider()) as caller, caller.stream("POST", "/"):
        pass
    (span,) = recorded.spans()
    assert span.status.status_code is StatusCode.UNSET


async def test_a_body_that_breaks_off_is_an_error(calling, recorded, provider):
    """A failing read ends the span as an error that keeps the status code."""
    async with calling(provider(CUT)) as caller:
        with pytest.raises(http.RemoteProtocolError):
            await caller.request("POST", "/")
    (span,) = recorded.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == f"{NAME}.RemoteProtocolError"
    assert span.attributes["http.response.status_code"] == 200


async def test_a_body_that_breaks_off_and_is_retried(calling, recorded, provider):
    """A read-ahead that fails is the first span's error, and the second span is clean."""
    async with calling(provider(CUT), provider(), balancer=InOrder) as caller:
        response = await caller.get()
    assert response.text == "ok"
    first, second = recorded.spans()
    assert first.attributes["error.type"] == f"{NAME}.RemoteProtocolError"
    assert second.status.status_code is StatusCode.UNSET
    assert second.events[0].attributes["rpcguard.retry.reason"] == "RemoteProtocolError"


@pytest.mark.parametrize("flavour", TASKS, indirect=True)
async def test_a_cancelled_call_is_no_error(calling, recorded, provider):
    """A call that its caller gives up ends its span without an error and without a type."""
    silent = provider(None)
    async with calling(silent) as caller:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(caller.get)
                await anyio.to_thread.run_sync(silent.asked.wait, 5)
                scope.cancel()
    (span,) = recorded.spans()
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in span.attributes
    (key,) = recorded.points("rpcguard.call.duration")
    assert "error.type" not in dict(key)


async def test_a_node_that_goes_offline_or_is_ejected(calling, recorded, provider, dead_port):
    """The span of the attempt from which it follows tells that the node is out, and why."""
    leaving = provider(OFFLINE)
    async with calling(leaving, dead_port, provider(), balancer=InOrder) as caller:
        await caller.get()
        await caller.get()
    told = [
        (span.attributes["rpcguard.node.id"], event.name, dict(event.attributes))
        for span in recorded.spans()
        for event in span.events
        if event.name != "rpcguard.retry"
    ]
    assert told == [
        (leaving.id, "rpcguard.offline", {"rpcguard.node.reason": "X-RpcGuard-Offline"}),
        (
            f"127.0.0.1:{dead_port}",
            "rpcguard.ejected",
            {"rpcguard.node.reason": "cannot connect"},
        ),
    ]


async def test_baggage_passes_through(calling, recorded, provider):
    """What the caller has in its baggage reaches the node, with an SDK and without."""
    node = provider()
    token = otel.attach(baggage.set_baggage("tenant", "blue"))
    try:
        async with calling(node) as caller:
            await caller.get()
        async with calling(node, instrumented=False) as caller:
            await caller.get()
    finally:
        otel.detach(token)
    assert [headers["baggage"] for headers in node.requests] == ["tenant=blue"] * 2
    assert "traceparent" not in node.requests[1]
    assert len(recorded.spans()) == 1


async def test_a_remote_parent_passes_through_without_an_sdk(calling, provider):
    """Without an SDK the context that came in goes out unchanged, not by the caller's request."""
    node = provider()
    parent = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    token = otel.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    try:
        async with calling(node, instrumented=False) as caller:
            response = await caller.get()
    finally:
        otel.detach(token)
    assert "traceparent" not in response.request.headers
    assert node.requests[0]["traceparent"] == f"00-{1:032x}-{2:016x}-01"


async def test_a_span_that_is_not_sampled_goes_out(calling, recorded, provider):
    """The decision not to sample reaches the node; metrics are recorded all the same."""
    node = provider()
    sampled_out = TracerProvider(ParentBased(ALWAYS_OFF))
    async with calling(node, tracer_provider=sampled_out) as caller:
        await caller.get()
    sampled_out.shutdown()
    assert int(node.requests[0]["traceparent"][-2:], 16) & 1 == 0
    assert recorded.spans() == []
    assert sum(recorded.points("http.client.request.duration").values()) == 1


async def test_a_sampler_sees_the_attributes(calling, provider):
    """What a sampler may decide by is there when the span is made."""
    seen = {}

    class Asking(Sampler):
        def should_sample(self, context, trace_id, name, kind, attributes, *rest):
            seen.update(attributes)
            return SamplingResult(Decision.DROP)

        def get_description(self):
            return "asking"

    asking = TracerProvider(Asking())
    async with calling(provider(), tracer_provider=asking) as caller:
        await caller.get("/x")
    asking.shutdown()
    assert seen["url.full"] == "http://orders/x"
    assert seen["server.address"] == "orders"


async def test_the_span_is_current_while_the_child_sends(calling, recorded):
    """The child runs in the context of the attempt's span, and the caller's comes back after it."""
    current = []

    def note(_request):
        current.append(trace.get_current_span())
        return http.Response(200)

    async with calling(
        "static://10.0.0.1:80", node_transport=lambda _node: http.MockTransport(note)
    ) as caller:
        with recorded.tracer.start_as_current_span("caller") as outer:
            await caller.get()
            assert trace.get_current_span() is outer
    (span,) = recorded.spans()
    assert current[0].get_span_context() == span.get_span_context()
    assert otel.get_value("suppress_instrumentation") is None


KEYS = [
    "suppress_instrumentation",
    otel._SUPPRESS_INSTRUMENTATION_KEY,
    otel._SUPPRESS_HTTP_INSTRUMENTATION_KEY,
]


@pytest.mark.parametrize("key", KEYS, ids=["plain", "all", "http"])
async def test_a_suppressed_context_stays_silent(calling, recorded, provider, dead_port, key):
    """Where the caller wants no instrumentation: no span, no metric of calls, no header."""
    node = provider()
    token = otel.attach(otel.set_value(key, True, baggage.set_baggage("tenant", "blue")))
    try:
        async with calling(dead_port, node, balancer=InOrder) as caller:
            await caller.get()
    finally:
        otel.detach(token)
    assert recorded.spans(None) == []
    of_calls = ("http.client.", "rpcguard.call.", "rpcguard.retries")
    assert not [name for name in recorded.metrics() if name.startswith(of_calls)]
    assert not {"traceparent", "baggage"} & set(node.requests[0])


async def test_an_exporter_that_uses_httpx_makes_no_spans(calling, recorded, provider):
    """An exporter that posts by a guarded client is not traced, or it would never end."""
    collector = provider()
    posted = []

    class Posting(InMemorySpanExporter):
        def export(self, spans):
            with Transport(f"static://{collector.id}", **recorded.options) as transport:
                answer = http.Client(transport=transport).post("http://collector/v1/traces")
                posted.append(answer.status_code)
            return super().export(spans)

    recorded.tracer_provider.add_span_processor(SimpleSpanProcessor(Posting()))
    async with calling(provider()) as caller:
        await caller.get()
    assert posted == [200]
    assert [span.attributes["server.address"] for span in recorded.spans()] == ["orders"]
    assert "traceparent" not in collector.requests[0]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("flavour", ["async-asyncio"], indirect=True)
async def test_the_httpx2_flavour_is_traced_too(recorded, provider, dead_port, kind, flavour):
    """Clients of httpx2 get the same spans, with that library's exceptions."""
    assert flavour
    node = provider()
    registry = f"static://127.0.0.1:{dead_port},{node.id}"
    options = {"balancer": InOrder, **recorded.options}
    if kind == "sync":
        transport = rpcguard.httpx2.Transport(registry, **options)
        with httpx2.Client(transport=transport) as client:
            client.get("http://orders/")
    else:
        transport = rpcguard.httpx2.AsyncTransport(registry, **options)
        async with httpx2.AsyncClient(transport=transport) as client:
            await client.get("http://orders/")
    first, second = recorded.spans()
    assert first.attributes["error.type"] == "httpx2.ConnectError"
    assert second.attributes["http.request.resend_count"] == 1
    assert parent_in(node.requests[0]) == ids(second)


async def test_an_ordinary_url_is_traced_too(calling, recorded, provider):
    """A host that the registry does not know is a service, and its address a node."""
    other = provider()
    async with calling("static:///orders=10.0.0.1:80", unknown_service="direct") as caller:
        await caller.get(f"http://127.0.0.1:{other.port}/")
    (span,) = recorded.spans()
    assert span.attributes["server.address"] == "127.0.0.1"
    assert span.attributes["server.port"] == other.port
    assert span.attributes["rpcguard.node.id"] == f"127.0.0.1:{other.port}"
    assert span.attributes["network.peer.port"] == other.port
    (key,) = recorded.points("rpcguard.call.duration")
    assert dict(key)["server.address"] == "127.0.0.1"
    assert parent_in(other.requests[0]) == ids(span)


async def test_no_node_is_no_span(calling, recorded):
    """A call without a node fails without a span, and counts as a failed call."""
    async with calling("static:///other=10.0.0.1:80") as caller:
        with pytest.raises(NoAvailableNode):
            await caller.get()
    assert recorded.spans() == []
    ((key, count),) = recorded.points("rpcguard.call.duration").items()
    assert dict(key)["error.type"] == f"{NoAvailableNode.__module__}.NoAvailableNode"
    assert count == 1


@pytest.mark.parametrize("flavour", TASKS, indirect=True)
async def test_many_attempts_at_once_keep_apart(calling, recorded, provider):
    """Calls of many tasks do not mix their contexts: each span has its own caller as parent."""
    node = provider(OK)
    async with calling(node) as caller:

        async def one(number: int) -> None:
            with recorded.tracer.start_as_current_span(f"caller {number}"):
                await caller.get(f"/{number}")

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(one, number)
    callers = {span.get_span_context().span_id: span.name for span in recorded.spans("test")}
    told = {(callers[s.parent.span_id], s.attributes["url.full"]) for s in recorded.spans()}
    assert told == {(f"caller {number}", f"http://orders/{number}") for number in range(20)}
