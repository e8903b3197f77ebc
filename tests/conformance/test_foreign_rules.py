"""Rules as Dubbo's and Polaris' consoles write them, on the real servers that keep them."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from kazoo.client import KazooClient

import rpcguard
from rpcguard import Routing
from tests.support.foreign_rules import CONDITION_RULE, POLARIS_RULE, TAG_RULE
from tests.support.require import require
from tests.support.servers.nacos import Nacos
from tests.support.servers.polaris import Polaris
from tests.support.servers.zookeeper import ZooKeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers.base import Server

pytestmark = pytest.mark.timeout(180)

HERE = "127.0.0.1"
NODES = {"8081": {}, "8082": {"env": "gray"}, "8083": {"region": "hangzhou"}}
"""The metadata of nodes by their ports; no call is made to one."""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rpcguard._discovery.rule_sources._ASK_EVERY", 0.2)


def started(kind: type[Server], factory: pytest.TempPathFactory) -> Server:
    require(kind)
    server = kind(factory.mktemp(kind.name))
    server.start()
    return server


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    server = started(ZooKeeper, tmp_path_factory)
    assert isinstance(server, ZooKeeper)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def nacos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nacos]:
    server = started(Nacos, tmp_path_factory)
    assert isinstance(server, Nacos)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def polaris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Polaris]:
    server = started(Polaris, tmp_path_factory)
    assert isinstance(server, Polaris)
    yield server
    server.stop()


class Caller:
    """A client of a service whose nodes answer with their port."""

    def __init__(self, url: str, **options: Any) -> None:
        routing = Routing(source="registry", required=True, **options)
        # A registry may tell of the nodes one by one, and of thirty calls one that still warms up
        # beside another got none in 4 of 60 runs, nor does one whose last answer took long: which
        # nodes may be called is all that counts.
        self.transport = rpcguard.Transport(
            url,
            routing=routing,
            node_transport=self._child,
            slow_start=False,
            balancer=rpcguard.RoundRobin,
        )
        self._client = httpx.Client(transport=self.transport, base_url="http://orders")

    @staticmethod
    def _child(node: rpcguard.Node) -> httpx.MockTransport:
        return httpx.MockTransport(lambda _: httpx.Response(200, text=str(node.port)))

    def get(self, url: str = "/", *, lane: str | None = None, **headers: str) -> set[str]:
        """Give the ports of the nodes that get such calls."""
        options = {"rpcguard": {"lane": lane}} if lane else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answers = (self._client.get(url, headers=named, extensions=options) for _ in range(30))
        return {answer.text for answer in answers}

    @property
    def names(self) -> list[str]:
        """Give the names of the rules in force."""
        return [route.name for route in self.transport.routes("orders")]

    @property
    def trouble(self) -> str:
        """Say why the last rules were refused."""
        (service,) = self.transport.services()
        return service.rules_trouble or ""

    def close(self) -> None:
        self._client.close()


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def judge(url: str, write: Callable[[str, str], None]) -> None:
    """Write Dubbo's rules of an application as its console does, and see where calls go."""
    with closing(Caller(url)) as caller:
        caller.transport.wait_ready("orders", timeout=30.0)
        until(lambda: len(caller.transport.nodes("orders")) == 3)
        assert caller.names == []
        write("orders.tag-router", TAG_RULE)
        until(lambda: caller.names == ["orders.tag-router gray", "orders.tag-router gray, kept"])
        assert caller.get() == {"8081", "8083"}
        assert caller.get(lane="gray") == {"8082"}
        write("orders.condition-router", CONDITION_RULE)
        until(lambda: len(caller.names) == 3)
        assert caller.get(x_region="hangzhou") == {"8083"}
        assert caller.get(x_region="beijing") == {"8081", "8083"}
        write("orders.tag-router", TAG_RULE.replace("force: false", "force: true"))
        until(lambda: "may_fail" in caller.trouble)
        assert caller.get(lane="gray") == {"8082"}, "the last good rules stay"
        write("orders.tag-router", TAG_RULE.replace("enabled: true", "enabled: false"))
        until(lambda: caller.names == ["orders.condition-router 1"])
        assert caller.get() == set(NODES)
    with closing(Caller(url)) as caller:
        caller.transport.wait_ready("orders", timeout=30.0)
        assert caller.names == ["orders.condition-router 1"], "waited for, as it was asked to"


def test_rules_of_dubbo_in_zookeeper(zookeeper: ZooKeeper) -> None:
    """Where its configuration centre keeps them: below /dubbo/config/dubbo."""
    client = KazooClient(hosts=f"{HERE}:{zookeeper.port}")
    client.start()
    try:
        for port, metadata in NODES.items():
            document = {
                "name": "orders",
                "id": f"{HERE}:{port}",
                "address": HERE,
                "port": int(port),
                "payload": {
                    "@class": "org.apache.dubbo.registry.zookeeper.ZookeeperInstance",
                    "id": f"{HERE}:{port}",
                    "name": "orders",
                    "metadata": metadata,
                },
            }
            data = httpx.Request("POST", "http://x", json=document).content
            client.create(f"/services/orders/{HERE}:{port}", data, makepath=True, ephemeral=True)

        def write(name: str, text: str) -> None:
            path = f"/dubbo/config/dubbo/{name}"
            client.ensure_path(path)
            client.set(path, text.encode())

        judge(f"zookeeper://{HERE}:{zookeeper.port}/services?layout=dubbo-app", write)
    finally:
        client.stop()
        client.close()


def test_rules_of_an_interface_in_zookeeper(zookeeper: ZooKeeper) -> None:
    """Dubbo 2: the rule of the interface, and those of the application that its nodes name."""
    client = KazooClient(hosts=f"{HERE}:{zookeeper.port}")
    client.start()
    try:
        for port in ("8081", "8082"):
            env = "gray" if port == "8082" else "base"
            about = f"interface=a.Shop&application=shop&env={env}"
            url = quote(f"rest://{HERE}:{port}/a.Shop?{about}", safe="")
            client.create(f"/dubbo/a.Shop/providers/{url}", makepath=True, ephemeral=True)
        for name, text in (
            ("a.Shop::.condition-router", "conditions: ['method=buy => env=base']"),
            ("shop.tag-router", TAG_RULE),
        ):
            client.create(f"/dubbo/config/dubbo/{name}", text.encode(), makepath=True)
        url = f"zookeeper://{HERE}:{zookeeper.port}/dubbo?layout=dubbo"
        with closing(Caller(url)) as caller:
            caller.transport.wait_ready("a.shop", timeout=30.0)
            names = [route.name for route in caller.transport.routes("a.shop")]
            assert caller.get("http://a.shop/a.Shop/buy") == {"8081"}
        assert names == [
            "shop.tag-router gray",
            "shop.tag-router gray, kept",
            "a.Shop::.condition-router 1",
        ]
    finally:
        client.stop()
        client.close()


def test_rules_of_dubbo_in_nacos(nacos: Nacos) -> None:
    """In its group `dubbo`, each under its name."""
    base = f"http://{HERE}:{nacos.port}/nacos/v3"
    headers = {"Authorization": f"Bearer {nacos.token}"}
    with httpx.Client(base_url=base, headers=headers, timeout=10.0) as client:
        for port, metadata in NODES.items():
            waits = {f"preserved.{name}": "3600000" for name in ("heart.beat.timeout",)}
            waits["preserved.ip.delete.timeout"] = "3600000"
            pairs = ",".join(f'"{key}":"{value}"' for key, value in {**metadata, **waits}.items())
            form = {"serviceName": "orders", "ip": HERE, "port": port, "metadata": f"{{{pairs}}}"}
            client.post("/client/ns/instance", data=form).raise_for_status()

        def write(name: str, text: str) -> None:
            form = {"dataId": name, "groupName": "dubbo", "content": text, "type": "yaml"}
            client.post("/admin/cs/config", data=form).raise_for_status()

        judge(f"nacos://nacos:{nacos.password}@{HERE}:{nacos.port}?interval=0.2", write)


def test_routing_rules_of_polaris(polaris: Polaris) -> None:
    """Posted as the console does, given to callers in the server's own form."""
    headers = {"X-Polaris-Token": polaris.token}
    with httpx.Client(base_url=f"http://{HERE}:{polaris.port}", headers=headers) as client:
        for port, metadata in NODES.items():
            node = {"service": "orders", "namespace": "default", "host": HERE, "port": int(port)}
            answer = client.post("/v1/RegisterInstance", json={**node, "metadata": metadata})
            assert answer.json()["code"] in (200000, 400201), answer.text
        made = client.post("/naming/v2/routings", json=[POLARIS_RULE]).raise_for_status().json()
        rule = made["responses"][0]["data"]["id"]
        client.put("/naming/v2/routings/enable", json=[{"id": rule, "enable": True}])
        token = quote(polaris.token, safe="")
        url = f"polaris://:{token}@{HERE}:{polaris.port}/default?interval=0.2"
        with closing(Caller(url)) as caller:
            caller.transport.wait_ready("orders", timeout=30.0)
            until(lambda: len(caller.transport.nodes("orders")) == 3)
            until(lambda: caller.names == ["orders-gray.one.g 1.1"])
            assert caller.get(x_user="alice") == {"8082"}
            assert caller.get(x_user="bob") == set(NODES)
            client.post("/naming/v2/routings/delete", json=[{"id": rule}]).raise_for_status()
            until(lambda: caller.names == [])
