"""What a provider may say of itself, and of others: headers that are forged, endless or broken."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import rpcguard
from rpcguard import Node
from rpcguard._core.outcomes.responses import classify_response
from tests.support.calls import FLAVOURS, Peer, each

HERE, THERE = Node("10.0.0.1", 8080), Node("10.0.0.2", 8080)


ODD_PAUSES = b"9" * 5000, b"Sun, 06 Nov 9999999 08:49:37 GMT", b"-1", b"1e999"


def said(*lines: str, status: str = "200 OK", body: str = "ok"):
    head = "".join(f"{line}\r\n" for line in lines)
    answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n{body}".encode()
    return lambda peer: Peer.serve(peer, answer)


@each(FLAVOURS)
async def test_a_provider_takes_only_itself_offline(make_node, make_caller):
    """A notice that names another node is ignored and counted, in whatever it is carried."""
    victim = make_node()
    names = f"127.0.0.1:{victim.port}", f"127.0.0.1:{victim.port} ", f"[::1]:{victim.port}", "*"
    lines = [f"sermant.grace.mark.shutdown.service.endpoint: {name}" for name in names]
    forger = make_node(said(*lines))
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    caller = make_caller(forger, victim, meter_provider=provider)
    for _ in range(3):
        await caller.call()
    assert caller.view(victim).state == "available"
    assert caller.view(forger).state == "available"
    [metric] = [one for one in _metrics(reader) if one.name == "rpcguard.offline.signals"]
    [point] = [one for one in metric.data.data_points if one.value]  # beside its zeros
    provider.shutdown()
    assert point.attributes["rpcguard.offline.enforced"] is False
    assert point.value == 3


@each(FLAVOURS)
async def test_what_a_gateway_relays_takes_no_gateway_off(make_node, make_caller):
    """A signal that names a node behind the one that answered marks neither of them."""
    behind = make_node()
    gateway = make_node(said(f"X-RpcGuard-Offline: 1; at=127.0.0.1:{behind.port}"))
    caller = make_caller(gateway, behind, balancer=rpcguard.RoundRobin)
    for _ in range(4):
        await caller.call()
    assert caller.view(gateway).state == caller.view(behind).state == "available"
    assert gateway.seen


@each(FLAVOURS)
async def test_a_node_that_is_listed_by_name_is_known_by_its_peer(make_node, make_caller):
    """A node names its IP, since that is all that it knows, and the caller the one that it met."""
    leaving, staying = make_node(), make_node()
    leaving.scripts = (said(f"X-RpcGuard-Offline: 1; at=127.0.0.1:{leaving.port}"),)
    listed = f"localhost:{leaving.port},127.0.0.1:{staying.port}"
    caller = make_caller(listing=f"static:///orders={listed}", balancer=rpcguard.RoundRobin)
    for _ in range(4):
        await caller.call()
    states = {view.node.host: view.state for view in caller.transport.nodes("orders")}
    assert states == {"localhost": "offline", "127.0.0.1": "available"}


def _metrics(reader):
    return [
        metric
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


@each(FLAVOURS)
async def test_what_all_providers_say_is_about_none_of_them(make_node, make_caller):
    """A signal without a name that every node passes on may come from behind them: all stay."""
    nodes = [make_node(said("X-RpcGuard-Offline: 1; ttl=999999999")) for _ in range(4)]
    caller = make_caller(*nodes, balancer=rpcguard.RoundRobin)
    for _ in range(40):
        assert (await caller.call()).status_code == 200
    views = caller.transport.nodes("orders")
    assert [view.state for view in views] == ["available"] * 4


@pytest.mark.parametrize(
    "value",
    [
        b"1" * 100_000,
        b"1;" + b" ttl=1;" * 10_000,
        b"1; ttl=" + b"9" * 200,
        b"1; ttl=1e308",
        b"1; ttl=inf",
        b"1; ttl=nan",
        b"1; ttl=-1",
        b"1; ttl=\xb2",
        b"\x00\xff",
        b"",
    ],
)
def test_an_odd_notice_lives_no_longer_than_it_may(value):
    """A value that is endless or no number gives no notice, or one of the usual length."""
    verdict = classify_response(200, [(b"x-rpcguard-offline", value)], HERE)
    notice = verdict.notice
    assert notice is None or notice.ttl is None or 0 < notice.ttl < float("inf")
    if len(value) > 256:
        assert notice is None


@pytest.mark.parametrize(
    "value", [b"9" * 5000, b"Sun, 06 Nov 9999999 08:49:37 GMT", b"-1", b"1e999"]
)
def test_an_odd_pause_is_none(value):
    """A Retry-After that cannot be waited for is not followed."""
    assert classify_response(503, [(b"retry-after", value)], HERE).notice is None


@each(FLAVOURS)
async def test_an_answer_with_endless_headers_is_a_failure_of_its_node(make_node, make_caller):
    """A head over h11's 100 KiB ends in an httpx error or in the next node's answer."""
    endless = make_node(said(*[f"X-RpcGuard-Offline: {'1' * 200}"] * 2000))
    good = make_node()
    caller = make_caller(endless, good)
    response = await caller.call()
    assert [one.outcome for one in response.extensions["rpcguard"].attempts] == [
        "RemoteProtocolError",
        "200",
    ]
    assert caller.view(endless).state == "available"


def test_only_the_address_of_the_node_itself_counts():
    """The notice that names a node counts when it is the one that answers, and no other."""
    name = b"sermant.grace.mark.shutdown.service.endpoint"
    own = classify_response(200, [(name, b"10.0.0.1:8080")], HERE).notice
    other = classify_response(200, [(name, THERE.address.encode())], HERE).notice
    assert own is not None
    assert own.source == "signal"
    assert other is not None
    assert other.source == "foreign"
