"""The xDS registry against a fake control plane, and the fake against a real Envoy."""

from __future__ import annotations

import json
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.xds.rest import XdsRegistry
from tests.support.servers.envoy import Envoy
from tests.support.servers.xds import TYPE, ControlPlane, lb_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


Document = dict[str, Any]


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlPlane]:
    control = ControlPlane(tmp_path)
    control.start()
    yield control
    control.stop()


@asynccontextmanager
async def registry_at(place: str, options: str = "") -> AsyncIterator[XdsRegistry]:
    registry = XdsRegistry.from_url(f"xds+http://{place}?node=me&timeout=20{options}")
    try:
        yield registry
    finally:
        await registry.aclose()


async def fetch(control: ControlPlane, options: str = "", service: str = "orders") -> Snapshot:
    async with registry_at(f"127.0.0.1:{control.port}", options) as registry:
        return await registry.fetch(service)


def locality(*endpoints: Document, **more: object) -> Document:
    return {"lb_endpoints": list(endpoints), **more}


class Scripted(ControlPlane):
    """Give the answers of `script` in turn, the last one again and again."""

    script: list[tuple[int, str]]

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def say(self, body: str, status: int = 200) -> None:
        self.script = [(status, body)]

    def answer(self, path: str, authorization: str | None, body: bytes) -> tuple[int, bytes]:
        self.requests.append(json.loads(body))
        status, text = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return status, text.encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Scripted]:
    scripted = Scripted(tmp_path)
    scripted.start()
    yield scripted
    scripted.stop()


# --- the protocol


async def test_the_request_is_what_envoy_sends(control: ControlPlane) -> None:
    """Proves the first request, and that the next one names the version that is there."""
    control.assign("orders", [locality(lb_endpoint("10.0.0.1", 80))])
    async with registry_at(f"127.0.0.1:{control.port}", "&cluster=shop") as registry:
        first = await registry.fetch("orders")
        assert await registry.fetch("orders") == first
    one, two = control.requests
    assert (
        one["node"].items()
        >= {"id": "me", "cluster": "shop", "user_agent_name": "rpcguard"}.items()
    )
    assert one["resource_names"] == ["orders"]
    assert one["type_url"] == TYPE
    assert "version_info" not in one
    assert two["version_info"].endswith("-2")
    assert first.nodes == (Node("10.0.0.1", 80),)


async def test_the_interval_is_advised(control: ControlPlane) -> None:
    """Proves that `refresh` is the poll interval, for known and unknown services."""
    control.assign("orders", [locality(lb_endpoint("10.0.0.1", 80))])
    assert (await fetch(control)).max_age == 1.0
    assert (await fetch(control, "&refresh=0.5")).max_age == 0.5
    assert await fetch(control, service="other") == Snapshot((), known=False, max_age=1.0)


async def test_resource_names_can_have_a_form(control: ControlPlane) -> None:
    """Proves `resource`, for control planes that name clusters in their own way."""
    control.assign("outbound|80||orders.svc", [locality(lb_endpoint("10.0.0.1", 80))])
    assert (await fetch(control, "&resource=outbound%7C80%7C%7C{service}.svc")).nodes


async def test_empty_and_no_longer_named(control: ControlPlane) -> None:
    """Proves that no endpoints is an empty list, and that a missing resource changes nothing."""
    control.assign("orders", [locality(lb_endpoint("10.0.0.1", 80))])
    async with registry_at(f"127.0.0.1:{control.port}") as registry:
        first = await registry.fetch("orders")
        control.wipe()
        control.assign("other", [])
        assert await registry.fetch("orders") == first
        control.assign("orders", [])
        assert await registry.fetch("orders") == Snapshot((), max_age=1.0)


async def test_a_broken_version_is_refused_and_the_one_before_stays(
    server: Scripted,
) -> None:
    """Proves the NACK: the next request has the old version and says what was wrong."""
    good = {"version_info": "1", "resources": [assignment(locality(lb_endpoint("10.0.0.1", 80)))]}
    bad = {"version_info": "2", "resources": [assignment({"lb_endpoints": "none"})]}
    server.script = [(200, json.dumps(answer)) for answer in (good, bad, good)]
    async with registry_at(server.place) as registry:
        await registry.fetch("orders")
        with pytest.raises(RegistryError, match="lb_endpoints must be a list"):
            await registry.fetch("orders")
        await registry.fetch("orders")
    requests = server.requests
    assert [request.get("version_info") for request in requests] == [None, "1", "1"]
    assert "error_detail" not in requests[1]
    assert requests[2]["error_detail"] == {
        "code": 3,
        "message": "lb_endpoints must be a list of objects",
    }


@pytest.mark.parametrize(
    ("status", "reason"),
    [(304, "304"), (401, "credentials"), (403, "credentials"), (404, "404"), (503, "503")],
)
async def test_another_status_is_an_error(server: Scripted, status: int, reason: str) -> None:
    """Proves that the list stays in use, also for a 304 that nobody asked for."""
    server.say("", status)
    async with registry_at(server.place) as registry:
        with pytest.raises(RegistryError, match=reason):
            await registry.fetch("orders")


# --- the messages


def assignment(*localities: Document, **more: object) -> Document:
    return {"@type": TYPE, "cluster_name": "orders", "endpoints": list(localities), **more}


async def read(server: Scripted, *resources: Document) -> Snapshot:
    answer = {"version_info": "1", "type_url": TYPE, "resources": resources}
    server.say(json.dumps(answer))
    async with registry_at(server.place) as registry:
        return await registry.fetch("orders")


async def test_every_field(server: Scripted) -> None:
    """Proves the mapping of an endpoint and its locality."""
    endpoint = lb_endpoint(
        "10.0.0.1",
        8080,
        load_balancing_weight=5,
        health_status="HEALTHY",
        metadata={"filter_metadata": {"envoy.lb": {"version": "v2", "timestamp": "5000"}}},
    )
    endpoint["endpoint"]["hostname"] = "n1"
    where = {"region": "r1", "zone": "z1", "sub_zone": "s1"}
    snapshot = await read(server, assignment(locality(endpoint, locality=where, priority=1)))
    (node,) = snapshot.nodes
    assert node == Node(
        "10.0.0.1",
        8080,
        weight=5.0,
        zone="z1",
        version="v2",
        started_at=5.0,
        priority=1,
        metadata={
            "region": "r1",
            "sub_zone": "s1",
            "hostname": "n1",
            "version": "v2",
            "timestamp": "5000",
        },
    )


async def test_both_spellings_and_wrapped_resources(server: Scripted) -> None:
    """Proves JSON names, numbers for enumerations, and resources with a TTL around them."""
    place = {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}
    endpoints = [{"endpoint": {"address": place}, "healthStatus": 3, "loadBalancingWeight": 2}]
    resource = {
        "@type": "type.googleapis.com/envoy.service.discovery.v3.Resource",
        "name": "orders",
        "ttl": "5s",
        "resource": {
            "@type": TYPE,
            "clusterName": "orders",
            "endpoints": [{"locality": {"region": "r1", "subZone": "s"}, "lbEndpoints": endpoints}],
        },
    }
    server.say(json.dumps({"versionInfo": "1", "resources": [resource]}))
    async with registry_at(server.place) as registry:
        (node,) = (await registry.fetch("orders")).nodes
    assert (node.address, node.status, node.weight, node.zone) == (
        "10.0.0.1:80",
        "draining",
        2,
        "r1",
    )
    assert node.metadata["sub_zone"] == "s"


@pytest.mark.parametrize(
    ("health", "status", "priority"),
    [
        (None, "up", 2),
        ("UNKNOWN", "up", 2),
        (1, "up", 2),
        ("UNHEALTHY", "down", 2),
        ("DRAINING", "draining", 2),
        (4, "down", 2),
        ("DEGRADED", "up", 131),
    ],
)
async def test_health(server: Scripted, health: object, status: str, priority: int) -> None:
    """Proves what each health status means, and that a degraded node is the last resort."""
    endpoint = lb_endpoint("10.0.0.1", 80, health_status=health)
    (node,) = (await read(server, assignment(locality(endpoint, priority=2)))).nodes
    assert (node.status, node.priority) == (status, priority)


async def test_locality_weights_count_where_all_have_one(server: Scripted) -> None:
    """Proves that localities share by weight within a priority, and endpoints within them."""

    def localities(*weights: int | None) -> list[Document]:
        return [
            locality(
                *(lb_endpoint(f"10.0.{n}.{i}", 80, load_balancing_weight=i) for i in (1, 3)),
                load_balancing_weight=weight,
            )
            for n, weight in enumerate(weights)
        ]

    both = await read(server, assignment(*localities(8, 4)))
    assert [node.weight for node in both.nodes] == [2.0, 6.0, 1.0, 3.0]
    for weights in [(8, None), (8,)]:
        some = await read(server, assignment(*localities(*weights)))
        assert [node.weight for node in some.nodes] == [1.0, 3.0] * len(weights)


def at(**place: object) -> Document:
    return {"endpoint": {"address": {"socket_address": {"address": "a", **place}}}}


@pytest.mark.parametrize(
    "endpoint",
    [
        {"endpoint": {"address": {"pipe": {"path": "/tmp/x"}}}},
        {"endpoint_name": "elsewhere"},
        at(named_port="http"),
        at(port_value=1, protocol="UDP"),
    ],
)
async def test_an_endpoint_that_cannot_be_called_is_left_out(
    server: Scripted, caplog: pytest.LogCaptureFixture, endpoint: Document
) -> None:
    """Proves that one odd endpoint costs itself and a warning, and only odd ones an error."""
    snapshot = await read(server, assignment(locality(endpoint, lb_endpoint("10.0.0.2", 80))))
    assert [node.host for node in snapshot.nodes] == ["10.0.0.2"]
    assert "1 bad nodes left out" in caplog.text
    with pytest.raises(RegistryError, match="none of 1 nodes"):
        await read(server, assignment(locality(endpoint)))


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        '{"resources": {}}',
        '{"resources": [5]}',
        '{"resources": [{"cluster_name": "orders", "endpoints": 5}]}',
        '{"resources": [{"cluster_name": "orders", "endpoints": [{"lb_endpoints": [5]}]}]}',
        '{"resources": [{"cluster_name": "orders", "endpoints": '
        '[{"priority": "x", "lb_endpoints": [{}]}]}]}',
    ],
)
async def test_another_shape_is_an_error(server: Scripted, body: str) -> None:
    """Proves that a broken answer never becomes an empty list."""
    server.say(body)
    async with registry_at(server.place) as registry:
        with pytest.raises(RegistryError):
            await registry.fetch("orders")


# --- URLs


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("xds+http://", "no address"),
        ("xds+http://h/v3", "there is no path"),
        ("xds+http://h?resource=orders", "'resource' must have {service}"),
        ("xds+http://h?refresh=0", "'refresh'"),
        ("xds+http://h?ca=/etc/ca.pem", "TLS"),
        ("xds+https://user:s3cret@h:0", "port"),
        ("xds+http://h?nod=x", "unknown option 'nod'"),
    ],
)
def test_a_wrong_url_is_told_in_full(url: str, part: str) -> None:
    """Proves that the wrong part is named, a right URL shown, and no password repeated."""
    with pytest.raises(InvalidRegistryURL) as raised:
        registry_from_url(url)
    assert part in str(raised.value)
    assert "xds+http://user:password@10.0.0.1:18000?" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_it_says_whom_it_asks() -> None:
    """Proves a repr without credentials, and the usual ports."""
    assert repr(registry_from_url("xds+http://u:s3cret@h1")) == "XdsRegistry('xds+http://h1:80')"
    assert repr(registry_from_url("xds+https://[::1]")) == "XdsRegistry('xds+https://[::1]:443')"


# --- a real Envoy


@pytest.fixture
def envoy(control: ControlPlane, tmp_path: Path) -> Iterator[Envoy]:
    if not Envoy.available():
        reason = "no envoy here; get it with: python -m tests.support.servers get envoy"
        if os.environ.get("RPCGUARD_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    server = Envoy(tmp_path / "envoy", control_port=control.port)
    control.assign("orders", [locality(lb_endpoint("127.0.0.1", 9))])
    server.start()
    yield server
    server.stop()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end, "Envoy did not take it"
        time.sleep(0.05)


def test_envoy_takes_the_fake_for_a_control_plane(control: ControlPlane, envoy: Envoy) -> None:
    """Proves that the fake speaks the protocol: Envoy takes its lists, statuses and 304s."""
    until(lambda: envoy.hosts().keys() == {"127.0.0.1:9"})
    control.assign(
        "orders",
        [
            locality(
                lb_endpoint("10.0.0.1", 80, health_status="DRAINING", load_balancing_weight=5),
                lb_endpoint("10.0.0.2", 81, health_status="UNHEALTHY"),
                locality={"region": "r1", "zone": "z1"},
            ),
            locality(lb_endpoint("10.0.0.3", 82, health_status="DEGRADED"), priority=1),
        ],
    )
    until(lambda: len(envoy.hosts()) == 3)
    hosts = envoy.hosts()
    states = {name: host["health_status"].get("eds_health_status") for name, host in hosts.items()}
    assert states == {
        "10.0.0.1:80": "DRAINING",
        "10.0.0.2:81": "UNHEALTHY",
        "10.0.0.3:82": "DEGRADED",
    }
    assert hosts["10.0.0.1:80"]["weight"] == 5
    assert hosts["10.0.0.1:80"]["locality"]["zone"] == "z1"
    assert hosts["10.0.0.3:82"]["priority"] == 1
    asked = len(control.requests)
    until(lambda: len(control.requests) > asked + 3)
    counted = envoy.counters()
    assert counted["update_rejected"] == counted["update_failure"] == 0
    assert counted["update_success"] >= 2
    assert control.requests[-1]["version_info"].endswith("-3")
    control.assign("orders", [])
    until(lambda: envoy.hosts() == {})


async def test_envoy_and_rpcguard_read_the_same(control: ControlPlane, envoy: Envoy) -> None:
    """Proves that both have the same nodes, weights, zones and priorities from one answer."""
    control.assign(
        "orders",
        [
            locality(
                *(lb_endpoint(f"10.0.{n}.{i}", 80, load_balancing_weight=i) for i in range(1, 4)),
                locality={"zone": f"z{n}"},
                priority=n,
            )
            for n in range(2)
        ],
    )
    until(lambda: len(envoy.hosts()) == 6)
    theirs = {
        (name, host["weight"], host["locality"]["zone"], host.get("priority", 0))
        for name, host in envoy.hosts().items()
    }
    nodes = (await fetch(control)).nodes
    assert {(node.address, node.weight, node.zone, node.priority) for node in nodes} == theirs
