"""Side by side with opentelemetry-instrumentation-httpx: one span per attempt, never two."""

from __future__ import annotations

import contextlib

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.trace import SpanKind

from tests.support.library import LIBRARY, http
from tests.support.telemetry import UNAVAILABLE, InOrder

pytestmark = pytest.mark.skipif(LIBRARY == "httpx2", reason="the instrumentation is for httpx")

CONTRIB = "opentelemetry.instrumentation.httpx"


@pytest.fixture
def instrumented(recorded):
    """Instrument httpx for the whole process while a test runs."""
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(**recorded.options)
    yield
    instrumentor.uninstrument()


@pytest.fixture(params=["own children", "httpx children"])
def children(request, flavour) -> dict:
    """Use the stacks of rpcguard, or transports of httpx that the instrumentation patches."""
    if request.param == "own children":
        return {}
    made = http.AsyncHTTPTransport if flavour.startswith("async") else http.HTTPTransport
    return {"node_transport": lambda _node: made()}


@pytest.mark.usefixtures("instrumented")
async def test_with_instrument(calling, recorded, provider, children):
    """With `instrument()` there is our span per attempt, and none of the instrumentation's."""
    nodes = provider(UNAVAILABLE), provider()
    async with calling(*nodes, balancer=InOrder, **children) as caller:
        with recorded.tracer.start_as_current_span("caller") as outer:
            await caller.get()
    clients = [span for span in recorded.spans(None) if span.kind is SpanKind.CLIENT]
    assert [span.instrumentation_scope.name for span in clients] == ["rpcguard"] * 2
    assert {span.parent.span_id for span in clients} == {outer.get_span_context().span_id}
    for node, span in zip(nodes, clients, strict=True):
        (headers,) = node.requests
        assert f"{span.get_span_context().span_id:016x}" in headers["traceparent"]


@pytest.mark.usefixtures("instrumented")
async def test_other_clients_keep_their_instrumentation(calling, recorded, provider):
    """A client beside ours is instrumented as before, during and after our calls."""
    node = provider()
    async with calling(node) as caller:
        await caller.get()
        async with http.AsyncClient() as other:
            await other.get(f"http://{node.id}/")
    (span,) = recorded.spans(CONTRIB)
    assert node.requests[1]["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"


@pytest.mark.usefixtures("instrumented")
async def test_without_our_spans_the_instrumentation_goes_on(flavour, calling, recorded, provider):
    """Where rpcguard makes no spans, the instrumentation of its children is left alone."""
    node = provider()
    made = http.AsyncHTTPTransport if flavour.startswith("async") else http.HTTPTransport
    async with calling(
        node, tracer_provider=trace.NoOpTracerProvider(), node_transport=lambda _node: made()
    ) as caller:
        await caller.get()
    (span,) = recorded.spans(None)
    assert span.instrumentation_scope.name == CONTRIB
    assert node.requests[0]["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"


async def test_with_instrument_client(calling, recorded, provider, children):
    """With `instrument_client()` there is one more CLIENT span, around the attempts."""
    failing, good = provider(UNAVAILABLE), provider()
    async with calling(failing, good, balancer=InOrder, **children) as caller:
        HTTPXClientInstrumentor.instrument_client(caller.client, **recorded.options)
        with contextlib.ExitStack() as stack:
            stack.callback(HTTPXClientInstrumentor.uninstrument_client, caller.client)
            await caller.get()
    (outer,) = recorded.spans(CONTRIB)
    first, second = recorded.spans()
    assert first.parent.span_id == second.parent.span_id == outer.context.span_id
    assert f"{second.context.span_id:016x}" in good.requests[0]["traceparent"]
    assert len(recorded.spans(None)) == 3


@pytest.mark.usefixtures("instrumented")
async def test_a_quiet_caller_stays_quiet(calling, recorded, provider, children):
    """In the helper that the instrumentation documents for it, nobody makes a span."""
    from opentelemetry.instrumentation.utils import (
        suppress_http_instrumentation,
        suppress_instrumentation,
    )

    node = provider()
    async with calling(node, **children) as caller:
        for suppress in (suppress_http_instrumentation, suppress_instrumentation):
            with suppress():
                await caller.get()
    assert recorded.spans(None) == []
    assert not any("traceparent" in headers for headers in node.requests)
