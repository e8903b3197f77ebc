"""A real istiod: endpoints out of Kubernetes, a VirtualService that reaches the calls, tokens.

It is not built where nobody asked for it: `python -m tests.support.servers get istiod`.
"""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing

import anyio
import httpx
import pytest

import rpcguard
from rpcguard.errors import RegistryError
from rpcguard.registries.xds.ads import AdsRegistry
from tests.conformance.callers import act
from tests.conformance.providers import Providers
from tests.support.servers.base import free_ports
from tests.support.servers.istiod import Istiod

HOST = "orders.shop.svc.cluster.local"
CALLER = "node=sidecar~10.9.0.1~web-1.shop~shop.svc.cluster.local"
NAMES = "resource={service}.shop.svc.cluster.local:80"

pytestmark = [
    pytest.mark.skipif(not Istiod.available(), reason="istiod is built where it is asked for"),
    pytest.mark.timeout(180),
]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def istiod(tmp_path_factory):
    server = Istiod(tmp_path_factory.mktemp("istiod"))
    server.start()
    yield server
    server.stop()


def url(istiod, **options):
    more = "".join(f"&{name}={value}" for name, value in options.items())
    return f"xds://127.0.0.1:{istiod.port}?{CALLER}&{NAMES}&timeout=5{more}"


def slices(*addresses):
    port = {"name": "http", "port": 8080}
    return {
        "metadata": {"name": "stock-a", "labels": {"kubernetes.io/service-name": "stock"}},
        "addressType": "IPv4",
        "ports": [port],
        "endpoints": [{"addresses": [at], "conditions": {"ready": True}} for at in addresses],
    }


async def until(condition):
    """Wait until a condition holds."""
    with anyio.fail_after(60):
        while True:
            if condition():
                return
            await anyio.sleep(0.05)


async def test_endpoint_slices(istiod):
    """Those of a Service are its nodes, and a change is pushed; an unknown host is unknown."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    service = {"metadata": {"name": "stock"}, "spec": {"ports": ports}}
    path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
    await act(istiod.create, "/api/v1/namespaces/shop/services", service)
    await act(istiod.create, path, slices("10.1.0.1", "10.1.0.2"))
    registry = AdsRegistry(url(istiod))
    assert not (await registry.fetch("nothing")).known
    lists = registry.watch("stock")
    wanted = {"10.1.0.1:8080", "10.1.0.2:8080"}
    with anyio.fail_after(30):
        async for snapshot in lists:
            found = {node.address for node in snapshot.nodes}
            if found == {"10.1.0.1:8080", "10.1.0.3:8080"}:
                break
            if found == wanted:
                with istiod.kubernetes.client() as client:
                    changed = slices("10.1.0.1", "10.1.0.3")
                    client.put(f"{path}/stock-a", json=changed).raise_for_status()
    await lists.aclose()


def objects(weights, addresses):
    """Give a ServiceEntry of two versions, and a VirtualService."""
    entries = [
        {"address": at.split(":")[0], "labels": {"version": f"v{1 + number % 2}"}}
        for number, at in enumerate(addresses)
    ]
    (port,) = {int(at.split(":")[1]) for at in addresses}
    meta = {"name": "orders", "namespace": "shop"}
    kind = "networking.istio.io/v1"
    to = {version: {"destination": {"host": HOST, "subset": version}} for version in ("v1", "v2")}
    tester = {"headers": {"x-user": {"exact": "alice"}}}
    split = [{**to[version], "weight": weight} for version, weight in weights.items()]
    entry = {
        "hosts": [HOST],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": port}],
        "endpoints": entries,
    }
    subsets = [{"name": name, "labels": {"version": name}} for name in to]
    http = [{"match": [tester], "route": [to["v2"]]}, {"route": split}]
    return [
        {"apiVersion": kind, "kind": "ServiceEntry", "metadata": meta, "spec": entry},
        {
            "apiVersion": kind,
            "kind": "DestinationRule",
            "metadata": meta,
            "spec": {"host": HOST, "subsets": subsets},
        },
        {
            "apiVersion": kind,
            "kind": "VirtualService",
            "metadata": meta,
            "spec": {"hosts": [HOST], "http": http},
        },
    ]


async def test_a_virtual_service_reaches_the_calls(istiod):
    """90/10 within one percent, a header to v2, and an edit that moves all."""
    providers = Providers()
    (port,) = free_ports(1)
    addresses = [(f"127.0.10.{number}", port) for number in range(1, 5)]
    await act(providers.start, *addresses)
    names = [f"{host}:{port}" for host, port in addresses]
    first, second = set(names[::2]), set(names[1::2])
    istiod.configure("orders", *objects({"v1": 90, "v2": 10}, names))
    routing = rpcguard.Routing(source="registry", required=True)
    transport = rpcguard.AsyncTransport(url(istiod), routing=routing)
    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:

        async def answers(count, **headers):
            told = Counter()
            for _ in range(count):
                told[(await client.get("/", headers=headers)).raise_for_status().text] += 1
            return told

        await transport.wait_ready("orders", timeout=30.0)
        await until(lambda: {one.node.address for one in transport.nodes("orders")} == set(names))
        told = await answers(1000)
        assert 90 <= sum(told[name] for name in second) <= 110
        assert set(await answers(10, **{"x-user": "alice"})) <= second
        istiod.configure("orders", *objects({"v1": 0, "v2": 100}, names))
        with anyio.fail_after(60):
            while True:
                if set(await answers(8)) <= second:
                    break
                await anyio.sleep(0.05)
        assert first.isdisjoint(await answers(40))
    await act(providers.close)


async def test_limits_of_a_virtual_service(istiod):
    """Where they are asked for; what it does not say is Istio's own default of two retries."""
    entry, rule, service = objects({"v1": 50, "v2": 50}, ["10.1.0.1:80", "10.1.0.2:80"])
    first = service["spec"]["http"][0]
    first |= {"timeout": "3s", "retries": {"attempts": 1, "perTryTimeout": "1s"}}
    istiod.configure("orders", entry, rule, service)
    registry = AdsRegistry(url(istiod, limits="on"))
    with anyio.fail_after(60):
        async with aclosing(registry.watch_routes("orders")) as pushed:
            async for routes in pushed:
                limits = [(one.timeout, one.attempt_timeout, one.attempts) for one in routes]
                if limits == [(3.0, 1.0, 2), (None, None, 3), (None, None, 3)]:
                    break
    await registry.aclose()


async def test_tokens(istiod, tmp_path):
    """The secure port takes a token of the right audience, and says what is wrong with others."""
    file = tmp_path / "token"
    place = f"xds+tls://127.0.0.1:{istiod.secure_port}?ca={istiod.ca_file}"
    registry = AdsRegistry(
        f"{place}&name=istiod.istio-system.svc&token_file={file}&{CALLER}&{NAMES}&timeout=5"
    )
    for audience, wanted in (("istio-ca", None), ("other", "status 16"), ("istio-ca", None)):
        file.write_text(await act(istiod.token, "web", audience))
        if wanted is None:
            await registry.fetch("nothing")
        else:
            with pytest.raises(RegistryError, match=wanted):
                await registry.fetch("nothing")
    await registry.aclose()
