"""Code of others that watches, and fails: processors, samplers, propagators, meters."""

from __future__ import annotations

import logging

import pytest
from opentelemetry import propagate
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler

from rpcguard._telemetry.hooks import Hooks
from tests.support.library import Transport, http

GIVEN = {"authorization": "Bearer mine"}


class HookError(RuntimeError):
    """What a hook raises here."""


def fail(*_: object, **__: object) -> None:
    raise HookError("a fault of an exporter")


def broken(where: str, monkeypatch) -> dict[str, object]:
    """Give the options of a transport with a hook that raises."""
    provider = TracerProvider()
    if where in ("on_start", "on_end"):
        provider.add_span_processor(type("Broken", (SpanProcessor,), {where: fail})())
    elif where == "sampler":
        sampler = type("Broken", (Sampler,), {"should_sample": fail, "get_description": str})()
        provider = TracerProvider(sampler=sampler)
    elif where == "propagator":
        propagator = type("Broken", (), {"inject": fail})()
        monkeypatch.setattr(propagate, "get_global_textmap", lambda: propagator)
    elif where == "meter":
        meters = MeterProvider()
        instrument = type("Broken", (), {"record": fail, "add": fail})
        transport = {"tracer_provider": provider, "meter_provider": meters}
        monkeypatch.setattr(
            "opentelemetry.sdk.metrics._internal.instrument.Histogram.record", instrument.record
        )
        monkeypatch.setattr(
            "opentelemetry.sdk.metrics._internal.instrument.Counter.add", instrument.add
        )
        return transport
    return {"tracer_provider": provider}


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("where", ["on_start", "on_end", "sampler", "propagator", "meter"])
def test_a_hook_that_raises_costs_the_caller_nothing(where, status, monkeypatch, caplog):
    """Each call has its answer, its node is free, its headers went out, and one line tells."""
    seen = []

    def node(request: http.Request) -> http.Response:
        seen.append(request.headers.get("authorization"))
        return http.Response(status, stream=http.ByteStream(b"ok"))

    transport = Transport(
        "static://10.0.0.1:1,10.0.0.2:1",
        node_transport=lambda _: http.MockTransport(node),
        **broken(where, monkeypatch),
    )
    caplog.set_level(logging.WARNING, "rpcguard")
    with http.Client(transport=transport, base_url="http://orders", headers=GIVEN) as client:
        for _ in range(4):
            with client.stream("GET", "/") as response:
                assert response.status_code == status
                assert response.read() == b"ok"
        assert [view.in_flight for view in transport.nodes("orders")] == [0, 0]
        assert transport._services("orders").calls == 0
    assert set(seen) == {"Bearer mine"}
    assert caplog.text.count("telemetry failed, and the call went on") <= 1


def test_what_one_hook_raises_costs_another_nothing(monkeypatch):
    """Spans end where a meter fails, and the context goes out where no span could be begun."""
    ended, injected = [], []
    options = broken("meter", monkeypatch)
    keep = type("Keep", (SpanProcessor,), {"on_end": lambda _, span: ended.append(span.name)})
    options["tracer_provider"].add_span_processor(keep())  # type: ignore[attr-defined]
    propagator = type("Noting", (), {"inject": lambda *_, **__: injected.append("headers")})()
    monkeypatch.setattr(propagate, "get_global_textmap", lambda: propagator)
    for some in (options, broken("sampler", monkeypatch)):
        transport = Transport(
            "static://10.0.0.1:1",
            node_transport=lambda _: http.MockTransport(lambda _: http.Response(200)),
            **some,
        )
        with http.Client(transport=transport, base_url="http://orders") as client:
            client.get("/")
    assert ended == ["GET"]
    assert injected == ["headers", "headers"]


def test_hooks_that_come_late_fail_alone():
    """One of several that waited for another costs neither those behind it nor the caller."""
    hooks, told = Hooks(), []

    def outer() -> None:
        for late in (fail, lambda: told.append("late")):
            hooks.tell(late)

    hooks.tell(outer)
    assert told == ["late"]
    assert not hooks.nested


def test_one_line_a_minute_tells_of_it(caplog):
    """The first failure is logged with its traceback, the next a minute later."""
    now = [0.0]
    hooks = Hooks(clock=lambda: now[0])
    for at in (0.0, 1.0, 59.0, 61.0):
        now[0] = at
        hooks.tell(fail)
    assert caplog.text.count("HookError: a fault of an exporter") == 2


def test_a_hook_amid_another_comes_after_it():
    """A finalizer in the middle of an SDK's work, whose locks it would wait for, waits itself."""
    hooks, order = Hooks(), []

    def outer() -> None:
        order.append("outer begins")
        assert hooks.nested
        hooks.tell(lambda: order.append("inner"))
        order.append("outer ends")

    hooks.tell(outer)
    assert order == ["outer begins", "outer ends", "inner"]
    assert not hooks.nested


def test_ctrl_c_goes_through():
    """What is no `Exception` is the caller's, and leaves nothing behind."""
    hooks = Hooks()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hooks.tell(interrupt)
    assert not hooks.nested
