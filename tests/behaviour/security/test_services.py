"""Service names that come from URLs of somebody else's choosing, without end."""

from __future__ import annotations

import gc
import sys
import threading
from functools import partial
from typing import Any

import httpx
import pytest
from anyio import to_thread
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import rpcguard
from rpcguard import Node
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries.static import StaticRegistry
from rpcguard.testing import ScriptedRegistry
from tests.support.calls import OK, Peer, eventually, open_sockets

MOST_STRANGERS, MOST_NAMES = 256, 1000


def flood(client, numbers, *, known=False):
    for number in numbers:
        if known:
            client.get(f"http://host-{number}/")
            continue
        with pytest.raises(rpcguard.NoAvailableNode, match="does not know this service"):
            client.get(f"http://host-{number}/")


def test_strangers_do_not_pile_up():
    """Thousands of unknown names leave memory, threads and the number of services as they were."""
    registry = ScriptedRegistry()
    registry.set("orders", [Node("127.0.0.1", 1)])
    answers = httpx.MockTransport(lambda _: httpx.Response(200))
    transport = rpcguard.Transport(registry, node_transport=lambda _: answers)
    with httpx.Client(transport=transport) as client:
        assert client.get("http://orders").status_code == 200
        flood(client, range(400))
        threads, sockets, before = threading.active_count(), open_sockets(), _blocks()
        flood(client, range(400, 1600))
        assert _blocks() - before < 15_000
        assert threading.active_count() <= threads
        assert open_sockets() <= sockets
        assert len(transport.services()) <= MOST_STRANGERS + 1
        assert client.get("http://orders").status_code == 200


def test_services_that_the_registry_takes_for_known_do_not_pile_up(make_node, caplog):
    """A list for all names makes every name known: the idle ones go, and their connections."""
    node, most = make_node(), 40
    transport = rpcguard.Transport(
        StaticRegistry([Node(node.host, node.port)]),
        membership=rpcguard.MembershipPolicy(max_services=most),
    )
    with httpx.Client(transport=transport, trust_env=False) as client:
        flood(client, range(most), known=True)
        assert "max_services" not in caplog.text
        flood(client, range(most, most + 20), known=True)
        assert len(transport.services()) == most
        assert len(transport._children) <= most
        names = {view.name for view in transport.services()}
        assert "host-0" not in names
        assert f"host-{most + 19}" in names
        # The bound is told of, once in a while, and with what lifts it.
        assert caplog.text.count("MembershipPolicy(max_services=...)") == 1
        # One that is forgotten comes back as if nothing had been.
        assert client.get("http://host-0/").status_code == 200


def test_names_that_were_known_do_not_pile_up(monkeypatch):
    """Of forgotten services the last are remembered, and of their rules nothing is."""
    monkeypatch.setattr("rpcguard._transport.services._MOST_MET", 3)
    answers = httpx.MockTransport(lambda _: httpx.Response(200))
    transport = rpcguard.Transport(
        "static://10.0.0.1:80",
        node_transport=lambda _: answers,
        membership=rpcguard.MembershipPolicy(max_services=2),
        routing=rpcguard.Routing(source="http://127.0.0.1:1/{service}"),
    )
    with httpx.Client(transport=transport) as client:
        for number in range(8):
            client.get(f"http://host-{number}/")
            name = f"host-{number}"
            eventually(partial(transport._rules.trouble, name), "its rules are not asked for")
        assert list(transport._services._met) == ["host-3", "host-4", "host-5"]
        assert set(transport._rules._troubles) == {"host-6", "host-7"}


def test_many_services_of_one_program_are_all_kept():
    """Six hundred services, called in turn, are asked for once each."""
    registry = ScriptedRegistry({f"host-{n}": [Node("127.0.0.1", 1)] for n in range(600)})
    asked: list[str] = []
    fetch = registry.fetch

    async def counted(service: str) -> rpcguard.Snapshot:
        asked.append(service)
        return await fetch(service)

    registry.fetch = counted
    answers = httpx.MockTransport(lambda _: httpx.Response(200))
    policy = rpcguard.MembershipPolicy(poll_interval=3600.0, resync_interval=3600.0)
    transport = rpcguard.Transport(registry, membership=policy, node_transport=lambda _: answers)
    with httpx.Client(transport=transport) as client:
        for _ in range(2):
            flood(client, range(600), known=True)
        assert len(transport.services()) == 600
    assert len(asked) <= 600


def test_a_service_in_use_is_not_forgotten(make_node):
    """A flood of names takes neither the list nor the connection from under an open answer."""
    whole, asked = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfirst")
        asked.set()
        whole.wait(20)
        peer.send(b"!")
        peer.serve(OK)

    node = make_node(script, Peer.serve)
    registry = ScriptedRegistry({"orders": [Node(node.host, node.port)]})
    transport = rpcguard.Transport(registry, retry=rpcguard.RetryPolicy(prefetch=0))
    with httpx.Client(transport=transport, trust_env=False) as client:
        with client.stream("GET", "http://orders/") as response:
            asked.wait(20)
            flood(client, range(MOST_STRANGERS + 50))
            whole.set()
            assert response.read() == b"first!"
        assert "orders" in {view.name for view in transport.services()}


def test_a_call_that_waits_for_its_first_list_is_not_forgotten():
    """Names of strangers cannot push out a service whose first list is on its way."""
    held = Held()
    answers = httpx.MockTransport(lambda _: httpx.Response(200))
    # The list is waited for as long as the flood takes, which a slow machine may need 5 s for.
    patient = rpcguard.MembershipPolicy(first_snapshot_timeout=60)
    transport = rpcguard.Transport(held, node_transport=lambda _: answers, membership=patient)
    with httpx.Client(transport=transport) as client:
        got: list[int] = []
        caller = threading.Thread(target=lambda: got.append(client.get("http://slow").status_code))
        caller.start()
        assert held.asked.wait(20)
        flood(client, range(MOST_STRANGERS + 10))
        held.may.set()
        caller.join(60)
        assert got == [200]


class Held:
    """List a node of `slow` once it may, and know no other service."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may = threading.Event()

    async def fetch(self, service: str) -> rpcguard.Snapshot:
        if service != "slow":
            return rpcguard.Snapshot((), known=False, max_age=float("inf"))
        self.asked.set()
        await to_thread.run_sync(self.may.wait, 10)
        return rpcguard.Snapshot([Node("127.0.0.1", 1)], max_age=float("inf"))


def test_metrics_tell_only_so_many_services_apart():
    """Attributes of metrics have a bounded number of service names, whatever is called."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    registry = ScriptedRegistry()
    transport = rpcguard.Transport(registry, meter_provider=provider)
    with httpx.Client(transport=transport) as client:
        flood(client, range(MOST_NAMES + 200))
    names = _names(reader)
    provider.shutdown()
    assert {"rpcguard.call.duration", "rpcguard.registry.refreshes"} <= names.keys()
    for metric, found in names.items():
        assert len(found) <= MOST_NAMES + 1, metric
        assert "_OTHER" in found or len(found) <= MOST_NAMES, metric
    assert "_OTHER" in names["rpcguard.call.duration"]


def test_metrics_tell_only_so_many_ports_apart():
    """A stranger who chooses no name, but any port, costs a bounded number of time series."""
    reader = InMemoryMetricReader()
    provider, tracer = MeterProvider([reader], shutdown_on_exit=False), TracerProvider()
    exporter = InMemorySpanExporter()
    tracer.add_span_processor(SimpleSpanProcessor(exporter))
    transport = rpcguard.Transport(
        ScriptedRegistry({"orders": [Node("10.0.0.1", 80)]}),
        node_transport=lambda _: httpx.MockTransport(lambda _: httpx.Response(200)),
        meter_provider=provider,
        tracer_provider=tracer,
    )
    with httpx.Client(transport=transport) as client:
        for port in range(1, MOST_NAMES + 201):
            client.get(f"http://orders:{port}/")
    for metric in ("rpcguard.call.duration", "http.client.request.duration"):
        ports = [point.attributes.get("server.port") for point in _points(reader, metric)]
        assert len(ports) == MOST_NAMES + 1
        assert None in ports
    provider.shutdown()
    told = {span.attributes["server.port"] for span in exporter.get_finished_spans()}
    assert len(told) == MOST_NAMES + 200


def test_a_user_who_needs_more_names_has_them():
    """`metric_names` of any transport of a meter provider holds for all of them."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    wide = rpcguard.MembershipPolicy(metric_names=MOST_NAMES + 100)
    transports = [
        rpcguard.Transport(ScriptedRegistry(), meter_provider=provider, membership=policy)
        for policy in (wide, rpcguard.MembershipPolicy(metric_names=1))
    ]
    with httpx.Client(transport=transports[1]) as client:
        flood(client, range(MOST_NAMES + 200))
    assert len(_names(reader)["rpcguard.call.duration"]) == MOST_NAMES + 101
    transports[0].close()
    provider.shutdown()


@pytest.mark.parametrize("number", [0, 2.5, True, None])
def test_a_wrong_number_of_names_is_refused(number):
    """It is a whole number above 0."""
    with pytest.raises(ValueError, match="metric_names must be a whole number above 0"):
        rpcguard.MembershipPolicy(metric_names=number)


def _points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    data = reader.get_metrics_data()
    assert data is not None
    scopes = [scope for one in data.resource_metrics for scope in one.scope_metrics]
    found = [metric for scope in scopes for metric in scope.metrics if metric.name == name]
    return [point for metric in found for point in metric.data.data_points]


def _names(reader: InMemoryMetricReader) -> dict[str, set[str]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: {str(point.attributes["server.address"]) for point in metric.data.data_points}
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_faults_of_many_services_do_not_pile_up(caplog):
    """What was warned of is remembered for the last thousand sources."""
    faults = FaultLog()
    for number in range(3000):
        faults.report(f"service {number}", "bad")
    assert len(faults._last) <= 1024


def _blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()
