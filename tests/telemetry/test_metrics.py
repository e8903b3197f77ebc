"""The metrics, as the real SDK collects them."""

from __future__ import annotations

import gc
import time

import anyio
import pytest

import rpcguard
from rpcguard import Snapshot
from tests.support.calls import eventually
from tests.support.library import NAME, Transport, http
from tests.support.telemetry import CUT, OFFLINE, OK, UNAVAILABLE, InOrder, labels

CALL = {"http_request_method": "GET", "server_address": "orders", "server_port": 80}
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class Scripted:
    """Be a registry that gives what it is told to, one thing per fetch; the last repeats."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)

    async def fetch(self, _service: str) -> Snapshot:
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return step


def listed(*ports: int) -> Snapshot:
    return Snapshot([rpcguard.Node("127.0.0.1", port) for port in ports])


async def until(condition) -> None:
    """Wait for what the discovery thread does; bounded."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - another thread meets it
            await anyio.sleep(0.005)


async def test_names_units_and_buckets(calling, recorded, provider, dead_port):
    """Every metric has the name, the unit and the buckets that the docs promise."""
    node = provider(OFFLINE, UNAVAILABLE)
    async with calling(Scripted(listed(dead_port, node.port)), balancer=InOrder) as caller:
        await caller.get()
        caller.transport.mark_offline("orders", node.id)
        await caller.request("POST", "/")
        found = recorded.metrics()
    assert {name: metric.unit for name, metric in found.items()} == {
        "http.client.request.duration": "s",
        "rpcguard.call.duration": "s",
        "rpcguard.call.attempts": "{attempt}",
        "rpcguard.ejections": "{ejection}",
        "rpcguard.nodes": "{node}",
        "rpcguard.offline.signals": "{signal}",
        "rpcguard.panics": "{panic}",
        "rpcguard.registry.age": "s",
        "rpcguard.registry.refreshes": "{refresh}",
        "rpcguard.retries": "{retry}",
        "rpcguard.retries.denied": "{retry}",
    }
    for name in ("http.client.request.duration", "rpcguard.call.duration"):
        assert found[name].data.data_points[0].explicit_bounds == SECONDS
    assert found["rpcguard.call.attempts"].data.data_points[0].explicit_bounds == (0, 1, 2, 3, 4, 5)


async def test_durations_by_outcome(calling, recorded, provider, dead_port):
    """Attempts and calls are counted apart, each with its own outcome."""
    async with calling(dead_port, provider(), balancer=InOrder) as caller:
        await caller.get()
    assert recorded.points("http.client.request.duration") == {
        labels(**CALL, error_type=f"{NAME}.ConnectError"): 1,
        labels(**CALL, http_response_status__code=200, network_protocol_version="1.1"): 1,
    }
    assert recorded.points("rpcguard.call.duration") == {
        labels(**CALL, http_response_status__code=200): 1
    }
    (attempts,) = recorded.metrics()["rpcguard.call.attempts"].data.data_points
    assert (attempts.count, attempts.sum) == (1, 2)
    assert recorded.points("rpcguard.retries") == {
        labels(server_address="orders", rpcguard_retry_reason="ConnectError"): 1
    }


async def test_the_duration_is_that_of_the_span(calling, recorded, provider):
    """The histogram and the span of an attempt agree; a call lasts as long as its body is open."""
    async with calling(provider()) as caller, caller.stream("POST", "/") as response:
        began = time.perf_counter()
        while (open_for := time.perf_counter() - began) < 0.05:  # noqa: ASYNC110 - it is time
            await anyio.sleep(0.01)
        await caller.read(response)
    (span,) = recorded.spans()
    (attempt,) = recorded.metrics()["http.client.request.duration"].data.data_points
    (call,) = recorded.metrics()["rpcguard.call.duration"].data.data_points
    assert attempt.sum == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1e-6)
    assert call.sum >= attempt.sum >= open_for >= 0.05


async def test_an_exemplar_leads_to_the_attempt(calling, recorded, provider):
    """A duration carries the ids of its own span, so that a graph leads to the trace."""
    async with calling(provider()) as caller:
        await caller.get()
    (span,) = recorded.spans()
    (point,) = recorded.metrics()["http.client.request.duration"].data.data_points
    assert [exemplar.span_id for exemplar in point.exemplars] == [span.get_span_context().span_id]


@pytest.mark.parametrize("body", ["broken off", "cancelled by nobody"])
async def test_a_streamed_answer_counts_as_one_call(calling, recorded, provider, body):
    """A call is counted when its body ends, with the failure of the body where there is one."""
    node = provider(CUT if body == "broken off" else OK)
    async with calling(node) as caller:
        try:
            async with caller.stream("POST", "/") as response:
                assert recorded.points("rpcguard.call.duration") == {}
                await caller.read(response)
        except http.RemoteProtocolError:
            assert body == "broken off"
    ((key, count),) = recorded.points("rpcguard.call.duration").items()
    assert count == 1
    assert dict(key).get("error.type") == (
        f"{NAME}.RemoteProtocolError" if body == "broken off" else None
    )


async def test_an_answer_that_the_child_read_is_counted(calling, recorded):
    """A child transport that answers from memory is measured, and gives its node back."""
    async with calling(
        "static://10.0.0.1:80",
        node_transport=lambda _node: http.MockTransport(lambda _: http.Response(200)),
    ) as caller:
        await caller.request("POST", "/")
        (view,) = caller.transport.nodes("orders")
    assert view.in_flight == 0
    assert sum(recorded.points("rpcguard.call.duration").values()) == 1
    assert sum(recorded.points("http.client.request.duration").values()) == 1
    assert len(recorded.spans()) == 1


@pytest.mark.parametrize(
    ("reason", "options", "extensions"),
    [
        ("not_idempotent", {}, {"idempotent": False}),
        ("budget", {"retry": rpcguard.RetryPolicy(budget_ratio=0.0, budget_floor=0.0)}, {}),
        ("no_other_node", {}, {}),
    ],
)
async def test_retries_that_were_not_made(calling, recorded, provider, reason, options, extensions):
    """A retry that was wanted and refused is counted by why it was refused."""
    nodes = [provider(UNAVAILABLE)] * (1 if reason == "no_other_node" else 2)
    if len(nodes) == 2:
        nodes[1] = provider()
    async with calling(*nodes, balancer=InOrder, **options) as caller:
        response = await caller.get(extensions={"rpcguard": extensions})
    assert response.status_code == 503
    assert recorded.points("rpcguard.retries.denied") == {
        labels(server_address="orders", rpcguard_denial_reason=reason): 1
    }
    assert recorded.points("rpcguard.retries") == {}


async def test_nodes_by_state(calling, recorded, provider):
    """The gauge tells how many nodes are in each state, those with none included."""
    nodes = [provider(OFFLINE), provider(), provider()]
    async with calling(*nodes, balancer=InOrder) as caller:
        await caller.get()
        states = recorded.points("rpcguard.nodes")
    expected = {"available": 2, "warming": 0, "ejected": 0, "offline": 1, "draining": 0}
    assert states == {
        labels(server_address="orders", rpcguard_node_state=state): number
        for state, number in expected.items()
    }
    assert recorded.points("rpcguard.nodes") == {}, "a closed transport has no nodes"


async def test_nodes_by_group(calling, recorded, provider, monkeypatch):
    """With routing a node counts in its lane, in the first route to it, or in base; few of them."""
    monkeypatch.setattr("rpcguard._telemetry.metrics._MOST_GROUPS", 2)
    about = [{"version": "2"}, {"metadata": {"lane": "a"}}, {"metadata": {"lane": "b"}}, {}]
    nodes = [rpcguard.Node("127.0.0.1", provider().port, **more) for more in about]
    rules = [rpcguard.Route("canary", share=0.0, to={"version": "2"})]
    routing = rpcguard.Routing(rules=rules)
    async with calling(Scripted(Snapshot(nodes)), routing=routing) as caller:
        await caller.get()
        points = recorded.points("rpcguard.nodes")
    about = {"server_address": "orders", "rpcguard_node_state": "available"}
    groups = {
        group: points.get(labels(**about, rpcguard_group=group), 0)
        for group in ("base", "canary", "a", "b", "other")
    }
    assert groups["base"] == groups["other"] == 1
    assert sum(groups.values()) == 4


async def test_the_age_of_rules(calling, recorded, provider, tmp_path):
    """A gauge tells since when a source has not said what is gone by."""
    file = tmp_path / "routes.json"
    file.write_text('{"routes": []}')
    routing = rpcguard.Routing(source=f"file://{file}", required=True)
    async with calling(provider(), routing=routing) as caller:
        await caller.get()
        with anyio.fail_after(20):
            while "rpcguard.rules.age" not in recorded.metrics():  # noqa: ASYNC110 - another thread
                await anyio.sleep(0.01)
        assert list(recorded.points("rpcguard.rules.age")) == [labels(server_address="orders")]


async def test_the_gauge_adds_up_transports_and_keeps_none(flavour, calling, recorded, provider):
    """Two transports of one provider are both counted; one that is dropped is forgotten."""
    node = provider()
    key = labels(server_address="orders", rpcguard_node_state="available")
    async with calling(node) as first, calling(node) as second:
        await first.get()
        await second.get()
        assert recorded.points("rpcguard.nodes")[key] == 2
    if flavour.startswith("sync"):
        dropped = Transport(f"static://{node.id}", **recorded.options)
        dropped.wait_ready("orders", timeout=20)
        assert recorded.points("rpcguard.nodes")[key] == 1
        del dropped

        def is_forgotten() -> bool:
            gc.collect()
            return recorded.points("rpcguard.nodes") == {}

        eventually(is_forgotten, "it is kept")  # by the thread that told of its list, for a moment


async def test_a_refused_connection_is_an_ejection(calling, recorded, provider, dead_port):
    """A node that refuses connections counts as ejected for that reason."""
    async with calling(dead_port, provider(), balancer=InOrder) as caller:
        await caller.get()
    assert recorded.points("rpcguard.ejections") == {
        labels(
            server_address="orders",
            rpcguard_ejection_reason="connect",
            rpcguard_ejection_enforced=True,
        ): 1
    }


async def test_ejections_by_judgement(calling, recorded, provider):
    """Failures in a row, and a share of failures, have names without numbers in them."""
    once = {"extensions": {"rpcguard": {"attempts": 1}}}
    async with calling(provider(UNAVAILABLE), provider(), balancer=InOrder) as caller:
        for _ in range(10):
            await caller.get(**once)
    async with calling(
        provider(UNAVAILABLE, OK, UNAVAILABLE),
        provider(),
        balancer=InOrder,
        ejection=rpcguard.EjectionPolicy(consecutive=100),
    ) as caller:
        for _ in range(20):
            await caller.get(**once)
    reasons = {
        dict(key)["rpcguard.ejection.reason"] for key in recorded.points("rpcguard.ejections")
    }
    assert reasons == {"consecutive", "failure_rate"}


async def test_shadow_mode_counts_and_does_not_act(calling, recorded, provider, dead_port):
    """With `enforce=False` ejections and signals are counted as such, and no node is taken out."""
    async with calling(
        dead_port,
        provider(OFFLINE),
        balancer=InOrder,
        ejection=rpcguard.EjectionPolicy(enforce=False),
        offline=rpcguard.OfflinePolicy(enforce=False),
    ) as caller:
        for _ in range(3):
            await caller.get()
        assert {view.state for view in caller.transport.nodes("orders")} == {"available"}
    (ejection,) = recorded.points("rpcguard.ejections")
    assert dict(ejection)["rpcguard.ejection.enforced"] is False
    assert recorded.points("rpcguard.offline.signals") == {
        labels(
            server_address="orders",
            rpcguard_offline_signal="X-RpcGuard-Offline",
            rpcguard_offline_enforced=False,
        ): 3
    }


async def test_signals_by_name(calling, recorded, provider):
    """A signal is counted by the header that carried it."""
    notice = (
        b"HTTP/1.1 200 OK\r\nx-envoy-immediate-health-check-fail: 1\r\nContent-Length: 0\r\n\r\n"
    )
    async with calling(provider(notice), provider(), balancer=InOrder) as caller:
        await caller.get()
    assert recorded.points("rpcguard.offline.signals") == {
        labels(
            server_address="orders",
            rpcguard_offline_signal="x-envoy-immediate-health-check-fail",
            rpcguard_offline_enforced=True,
        ): 1
    }


async def test_panic_is_counted(calling, recorded, provider):
    """Each time that the last eligible node goes is counted, not each call of that time."""
    node = provider()
    async with calling(node) as caller:
        await caller.get()
        for _ in range(2):
            caller.transport.mark_offline("orders", node.id)
            await caller.request("POST", "/")
            await caller.request("POST", "/")
            caller.transport.mark_online("orders", node.id)
            await caller.request("POST", "/")
    assert recorded.points("rpcguard.panics") == {labels(server_address="orders"): 2}


async def test_refreshes_and_the_age_of_the_list(calling, recorded, provider):
    """Answers and failures of the registry are counted; the age starts anew with each answer."""
    node = provider()
    steps = [OSError("down"), RuntimeError("still down"), listed(node.port)]
    membership = rpcguard.MembershipPolicy(poll_interval=30)
    async with calling(Scripted(*steps), membership=membership) as caller:
        await caller.get()
        await anyio.sleep(0.02)
        (age,) = recorded.points("rpcguard.registry.age").values()
    assert 0.02 <= age < 5
    assert recorded.points("rpcguard.registry.refreshes") == {
        labels(server_address="orders", error_type="OSError"): 1,
        labels(server_address="orders", error_type="RuntimeError"): 1,
        labels(server_address="orders"): 1,
    }


async def test_a_fixed_list_does_not_age(calling, recorded, provider):
    """A static list has no age that an alert could fire on."""
    async with calling(provider()) as caller:
        await caller.get()
        await until(lambda: recorded.points("rpcguard.registry.age") == {})


async def test_the_background_keeps_nothing_of_the_caller(calling, recorded, provider):
    """Discovery runs neither in the trace of the first caller nor as instrumented code."""
    from opentelemetry import context as otel
    from opentelemetry import trace

    node, seen = provider(), []

    class Curious(Scripted):
        async def fetch(self, service: str) -> Snapshot:
            seen.append(
                (trace.get_current_span(), otel.get_value("suppress_instrumentation")),
            )
            return await super().fetch(service)

    with recorded.tracer.start_as_current_span("caller"):
        async with calling(Curious(listed(node.port))) as caller:
            await caller.get()
    assert seen[0] == (trace.INVALID_SPAN, True)
