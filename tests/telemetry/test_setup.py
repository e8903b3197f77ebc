"""How telemetry is found, and what it costs to have it: processes of their own."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from rpcguard._core.service.effects import Event
from rpcguard._telemetry.log import EventLog
from rpcguard._telemetry.metrics import instruments_of


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_rpcguard_imports_no_telemetry():
    """Nothing of OpenTelemetry is imported before a transport is made."""
    told = run("""
        import sys, rpcguard
        print([name for name in sys.modules if name.startswith("opentelemetry")])
    """)
    assert told == "[]\n"


def test_global_providers_may_be_set_at_any_time():
    """A transport made, and used, before the SDK is set up is recorded from then on."""
    told = run("""
        import time, httpx, rpcguard
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        answer = httpx.MockTransport(lambda _: httpx.Response(200, text="ok"))
        made = lambda: httpx.Client(
            transport=rpcguard.Transport("static://10.0.0.1:80", node_transport=lambda _: answer),
            base_url="http://orders",
        )
        with made() as client:
            client.get("/before")
            spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
            provider = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(spans))
            trace.set_tracer_provider(provider)
            time.sleep(0.06)
            client.get("/spans")
            metrics.set_meter_provider(MeterProvider([reader]))
            time.sleep(0.06)
            client.get("/both")
            with made() as other:
                other.get("/other")
                print([span.attributes["url.full"] for span in spans.get_finished_spans()])
                (resource,) = reader.get_metrics_data().resource_metrics
                found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
                print([p.count for p in found["rpcguard.call.duration"].data.data_points])
                print([p.value for p in found["rpcguard.nodes"].data.data_points if p.value])
    """)
    assert told.splitlines() == [
        "['http://orders/spans', 'http://orders/both', 'http://orders/other']",
        "[2]",
        "[2]",
    ]


def test_instruments_are_made_once():
    """Threads that come at the same moment share the instruments: a second gauge would be lost."""
    barrier = threading.Barrier(2)

    class Slow(MeterProvider):
        def get_meter(self, *args, **options):
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(0.2)  # met only by a thread that makes them too
            return super().get_meter(*args, **options)

    provider = Slow()
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(instruments_of, [provider, provider])
    provider.shutdown()
    assert first is second
    assert barrier.broken


@pytest.mark.long("makes 150 transports while each allocation is traced")
def test_transports_without_an_sdk_leave_nothing_behind():
    """Clients that are made for one call each do not pile up in the API of OpenTelemetry."""
    told = run("""
        import gc, tracemalloc, httpx, rpcguard

        answer = httpx.MockTransport(lambda _: httpx.Response(200))
        url, options = "static://10.0.0.1:80", {"node_transport": lambda _: answer}
        def use(count):
            for _ in range(count):
                transport = rpcguard.Transport(url, **options)
                with httpx.Client(transport=transport) as client:
                    client.get("http://orders/")
            gc.collect()
        use(50)
        tracemalloc.start()
        use(100)
        kept = sum(
            stat.size
            for stat in tracemalloc.take_snapshot().statistics("filename")
            if "opentelemetry" in str(stat.traceback) or "telemetry" in str(stat.traceback)
        )
        print(kept < 20_000, kept)
    """)
    assert told.startswith("True"), told


def test_a_forked_child_reports_no_list_that_it_inherited():
    """After a fork the gauges leave the parent's lists alone, whose locks may be held for ever."""
    told = run("""
        import os, httpx, rpcguard
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        transport = rpcguard.Transport("static://10.0.0.1:80", meter_provider=provider)
        transport.wait_ready("orders", timeout=20)
        names = lambda: "rpcguard.nodes" in str(reader.get_metrics_data())
        print("parent", names(), flush=True)
        service = transport._services("orders")
        service._lock.acquire()
        pid = os.fork()
        if not pid:
            print("child", names(), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        service._lock.release()
        transport.close()
    """)
    assert told.splitlines() == ["parent True", "child False"]


def test_log_lines_that_repeat_are_held_back(caplog):
    """Panic and what is not enforced is told once per interval; everything else each time."""
    caplog.set_level(logging.DEBUG, "rpcguard")
    now = [0.0]
    journal = EventLog(interval=10.0, clock=lambda: now[0])
    panic = Event("panic", "orders", "a", "nothing is eligible")
    shadow = Event("ejected", "orders", "a", "5 failures in a row", enforced=False)
    ejected = Event("ejected", "orders", "a", "5 failures in a row")
    for _ in range(3):
        for event in (panic, shadow, ejected):
            journal.record(event)
    journal.record(Event("panic", "orders", "b", "nothing is eligible"))
    journal.record(Event("panic", "billing", "a", "nothing is eligible"))
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [
        ("WARNING", "service orders: node a panic: nothing is eligible"),
        ("INFO", "service orders: node a ejected (not enforced): 5 failures in a row"),
        *[("INFO", "service orders: node a ejected: 5 failures in a row")] * 3,
        ("WARNING", "service billing: node a panic: nothing is eligible"),
    ]
    now[0] = 10.1
    journal.record(panic)
    assert len(caplog.records) == len(told) + 1
