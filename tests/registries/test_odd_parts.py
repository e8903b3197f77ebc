"""Parts of an answer that a call does not need, in another shape than their registry's own."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from rpcguard.registries._shared.nodes import nodes_from_json
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.zookeeper.znodes import LAYOUTS, Znode
from tests.support.json_api import JsonApi, running_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ODD: list[object] = [None, "text", 7, True, [], ["a"], [["a", 1]], {}, {"metadata": 3}]

HOST = "10.0.0.7"


def consul(**odd: object) -> object:
    service = {"ID": "a", "Address": HOST, "Port": 80, **odd}
    return [{"Node": {"Node": "n"}, "Service": service, "Checks": odd.get("Checks", [])}]


def etcd(value: object) -> object:
    encoded = b64encode(json.dumps(value).encode()).decode()
    return {"header": {"revision": "1"}, "kvs": [{"key": "L28vb3JkZXJzL2E=", "value": encoded}]}


def kratos(**odd: object) -> object:
    return etcd({"endpoints": [f"http://{HOST}:80"], **odd})


def grpc(**odd: object) -> object:
    return etcd({"Addr": f"{HOST}:80", **odd})


def eureka(**odd: object) -> object:
    port = {"$": 80, "@enabled": "true"}
    instance = {"instanceId": "a", "ipAddr": HOST, "port": port, "status": "UP", **odd}
    return {"application": {"instance": [instance]}}


def kubernetes(**odd: object) -> object:
    endpoint = {"addresses": [HOST], **odd}
    ports = [{"port": 80}, *(["odd", 5] if odd.get("hints") else [])]
    item = {"metadata": {"name": "a"}, "ports": ports, "endpoints": [endpoint]}
    return {"metadata": {"resourceVersion": "1"}, "items": [item]}


def nacos(**odd: object) -> object:
    return {"code": 0, "data": [{"ip": HOST, "port": 80, **odd}]}


def polaris(**odd: object) -> object:
    return {"code": 200000, "instances": [{"host": HOST, "port": 80, **odd}]}


def xds(**odd: object) -> object:
    place = {"socket_address": {"address": HOST, "port_value": 80}}
    endpoint = {"endpoint": {"address": place}, **odd}
    locality = {"lb_endpoints": [endpoint], "locality": odd.get("metadata")}
    return {"resources": [{"cluster_name": "orders", "endpoints": [locality]}]}


def document(**odd: object) -> object:
    return {"services": {"orders": [{"host": HOST, "port": 80, **odd}]}}


CASES: list[tuple[str, str, Callable[..., object], tuple[str, ...]]] = [
    ("consul://{}", "/v1/health/service/orders", consul,
     ("Meta", "Weights", "Tags", "Checks", "Locality", "CreateIndex")),
    ("etcd://{}/o?layout=kratos", "/v3/kv/range", kratos, ("metadata", "version", "id", "name")),
    ("etcd://{}/o?layout=grpc", "/v3/kv/range", grpc, ("Metadata", "Op")),
    ("eureka+http://{}", "/eureka/apps/ORDERS", eureka,
     ("metadata", "dataCenterInfo", "leaseInfo", "securePort", "lastDirtyTimestamp", "vipAddress")),
    ("kubernetes://shop?server=http://{}",
     "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", kubernetes,
     ("conditions", "targetRef", "hints", "zone", "nodeName")),
    ("nacos://{}", "/nacos/v3/client/ns/instance/list", nacos,
     ("metadata", "clusterName", "weight", "instanceId", "ephemeral")),
    ("polaris://{}", "/v1/Discover", polaris,
     ("metadata", "location", "weight", "protocol", "version", "ctime", "id")),
    ("xds+http://{}", "/v3/discovery:endpoints", xds,
     ("metadata", "health_status", "load_balancing_weight")),
    ("http://{}/all", "/all", document,
     ("metadata", "zone", "version", "started_at", "generation", "id", "scheme", "priority")),
]  # fmt: skip


@pytest.fixture
def api() -> Iterator[JsonApi]:
    with running_api() as api:
        yield api


@pytest.mark.parametrize(
    ("url", "path", "answer", "names"), CASES, ids=[case[0].partition(":")[0] for case in CASES]
)
async def test_an_odd_part_never_costs_a_node(
    url: str, path: str, answer: Callable[..., Any], names: tuple[str, ...], api: JsonApi
) -> None:
    """Whatever stands where a registry has labels, places or marks, the address is enough."""
    lost = []
    for name in names:
        for odd in ODD:
            api.say(path, (200, answer(**{name: odd})))
            registry = registry_from_url(url.format(api.address))
            nodes = (await registry.fetch("orders")).nodes
            if [node.address for node in nodes] != [f"{HOST}:80"]:
                lost.append((name, odd))
            await registry.aclose()  # type: ignore[attr-defined]
    assert not lost


def curator_nodes(layout: str, **odd: object) -> list[str]:
    """Read one registration of Curator's form."""
    chosen = LAYOUTS[layout](protocols=("rest", "tri"), group=None, version=None)
    instance = {"name": "orders", "address": HOST, "port": 80, **odd}
    znode = Znode("/services/orders/n1", json.dumps(instance).encode(), 5, 1.0)
    nodes = nodes_from_json(chosen.chosen([znode]), where="here", read=chosen.node)
    return [node.address for node in nodes]


@pytest.mark.parametrize("layout", ["curator", "dubbo-app"])
def test_a_payload_is_whatever_the_service_likes(layout: str) -> None:
    """Curator leaves the payload to its users: a text, a list with a class name, a number."""
    for name in ("payload", "registrationTimeUTC", "serviceType", "uriSpec", "sslPort", "id"):
        for odd in ODD:
            if (name, odd) != ("sslPort", 7):  # that is a port
                assert curator_nodes(layout, **{name: odd}) == [f"{HOST}:80"], (name, odd)


@pytest.mark.parametrize(
    ("endpoints", "address"),
    [
        ("not JSON", f"{HOST}:80"),
        ("7", f"{HOST}:80"),
        ('[{"port": "9090", "protocol": "tri"}]', f"{HOST}:9090"),
        ('{"port": 9090, "protocol": "tri"}', f"{HOST}:9090"),
        ([{"port": 9090, "protocol": "tri"}], f"{HOST}:9090"),
        ([5, {"port": 1}, {"port": 9090, "protocol": "tri"}], f"{HOST}:9090"),
    ],
)
def test_ports_of_dubbo_protocols_in_any_spelling(endpoints: object, address: str) -> None:
    """Ports of text, one object for a list, and JSON that is no text inside of JSON."""
    payload = {"metadata": {"dubbo.endpoints": endpoints}}
    assert curator_nodes("dubbo-app", payload=payload) == [address]
