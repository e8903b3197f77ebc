"""Routes of a real control plane reach the calls: go-control-plane, by a stream of ADS."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

import rpcguard
from tests.conformance.callers import act
from tests.conformance.providers import Providers
from tests.support.require import require
from tests.support.servers.base import free_ports
from tests.support.servers.control_plane import (
    CLUSTER,
    ENDPOINTS,
    GoControlPlane,
    aggregate,
    cluster,
    endpoints,
    listener,
    route,
    routes,
)
from tests.support.servers.xds import lb_endpoint

PATIENCE = 30.0  # seconds: a control plane or a node that stands still for a moment is no fault


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    require(GoControlPlane)
    server = GoControlPlane(tmp_path_factory.mktemp("plane"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def service(plane, request):
    """A service that no other test has."""
    return f"s{abs(hash(request.node.name)) % 10**8}"


@pytest.fixture
def nodes():
    """Six real nodes."""
    providers = Providers()
    (port,) = free_ports(1)
    addresses = [(f"127.0.9.{number}", port) for number in range(1, 7)]
    providers.start(*addresses)
    yield [f"{host}:{port}" for host, port in addresses]
    providers.close()


class Mesh:
    """A service with the clusters v1 and v2, as its operator sees it."""

    def __init__(self, plane, service):
        self.plane = plane
        self.service = service

    def name(self, version):
        return f"{self.service}-{version}"

    def has(self, version, *addresses):
        """Set the endpoints of a cluster."""
        places = [lb_endpoint(at.split(":")[0], int(at.split(":")[1])) for at in addresses]
        name = self.name(version)
        self.plane.put(cluster(name), endpoints(name, {"lb_endpoints": places}))

    def goes(self, *entries):
        """Set the routes."""
        table = f"{self.service}-routes"
        self.plane.put(routes(table, "*", *entries), listener(self.service, table))

    def split(self, **weights):
        return route({self.name(version): weight for version, weight in weights.items()})


@pytest.fixture
def mesh(plane, service, nodes):
    mesh = Mesh(plane, service)
    mesh.has("v1", *nodes[:2])
    mesh.has("v2", *nodes[2:4])
    return mesh


@asynccontextmanager
async def calling(mesh, query="", **options):
    """Give a function that makes calls, and counts the nodes that answer.

    They take turns, or one answer that took long would keep a node out of the next ones.
    """
    options = {"balancer": rpcguard.RoundRobin, "slow_start": False, **options}
    routing = rpcguard.Routing(source="registry", required=True)
    transport = rpcguard.AsyncTransport(
        f"xds://:{mesh.plane.token}@127.0.0.1:{mesh.plane.port}?timeout={PATIENCE}{query}",
        routing=routing,
        membership=rpcguard.MembershipPolicy(shrink_hold=0.0, empty_hold=0.0),
        **options,
    )
    base = f"http://{mesh.service}"
    async with httpx.AsyncClient(transport=transport, base_url=base, timeout=PATIENCE) as client:
        await transport.wait_ready(mesh.service, timeout=PATIENCE)

        async def calls(count, path="/", **headers):
            answers = Counter()
            for _ in range(count):
                answer = await client.get(path, headers=headers)
                answers[answer.raise_for_status().text] += 1
            return answers

        calls.transport, calls.client = transport, client
        yield calls


async def until(condition):
    """Wait until calls go where they should."""
    with anyio.fail_after(PATIENCE):
        while True:
            if await condition():
                return
            await anyio.sleep(0.01)


async def test_weights_are_met(mesh, nodes):
    """90/10 is 90/10 of the calls, within one percent, whatever the load of the nodes."""
    await act(mesh.goes, mesh.split(v1=90, v2=10))
    async with calling(mesh, balancer=rpcguard.LeastLoaded) as calls:
        answers = await calls(1000)
        second = sum(answers[node] for node in nodes[2:4])
        assert 90 <= second <= 110
        assert sum(answers[node] for node in nodes[:2]) == 1000 - second


async def test_an_edit_reaches_the_calls(mesh, nodes):
    """All to v1, then all to v2; none is lost on the way."""
    await act(mesh.goes, route(mesh.name("v1")))
    async with calling(mesh) as calls:
        assert set(await calls(20)) == set(nodes[:2])
        await act(mesh.goes, route(mesh.name("v2")))

        async def moved():
            return set(await calls(4)) <= set(nodes[2:4])

        await until(moved)
        assert set(await calls(20)) == set(nodes[2:4])


async def test_a_header_leads_elsewhere(mesh, nodes):
    """A tester gets v2, all others v1, in any order."""
    tester = {"name": "x-user", "string_match": {"exact": "alice"}}
    await act(
        mesh.goes,
        route(mesh.name("v2"), prefix="/", headers=[tester]),
        route(mesh.name("v1")),
    )
    async with calling(mesh) as calls:
        for _ in range(3):
            assert set(await calls(6, **{"x-user": "alice"})) <= set(nodes[2:4])
            assert set(await calls(6, **{"x-user": "bob"})) <= set(nodes[:2])
            assert set(await calls(6)) <= set(nodes[:2])


async def test_a_path_leads_elsewhere(mesh, nodes):
    """By prefix."""
    await act(mesh.goes, route(mesh.name("v2"), prefix="/v2"), route(mesh.name("v1")))
    async with calling(mesh) as calls:
        assert set(await calls(10, "/v2/orders")) == set(nodes[2:4])
        assert set(await calls(10, "/v1/orders")) == set(nodes[:2])


async def test_a_subset_without_nodes(mesh, nodes):
    """Its calls go to the others: a rule cannot empty a service."""
    await act(mesh.has, "v2")
    await act(mesh.goes, mesh.split(v1=50, v2=50))
    async with calling(mesh) as calls:
        assert set(await calls(20)) == set(nodes[:2])
        await act(mesh.has, "v2", nodes[3])

        async def there():
            return nodes[3] in await calls(4)

        await until(there)


async def test_a_cluster_that_vanishes(mesh, nodes, caplog):
    """What was deleted stays in use, with a word about it, until it comes back otherwise."""
    await act(mesh.goes, mesh.split(v1=50, v2=50))
    async with calling(mesh) as calls:
        assert set(await calls(40)) == set(nodes[:4])
        name = mesh.name("v2")
        await act(lambda: mesh.plane.put(drop={CLUSTER: [name], ENDPOINTS: [name]}))

        async def told():
            return f"Cluster {name!r}: it was deleted; the last version stays" in caplog.text

        await until(told)
        assert set(await calls(40)) == set(nodes[:4])
        await act(mesh.has, "v2", nodes[4])

        async def back():
            return nodes[4] in await calls(4)

        await until(back)


async def test_aggregates_are_priorities(mesh, nodes):
    """The second cluster is used when the first has nobody."""
    both = aggregate(mesh.name("both"), mesh.name("v1"), mesh.name("v2"))
    await act(mesh.plane.put, both)
    await act(mesh.goes, route(mesh.name("both")))
    async with calling(mesh) as calls:
        assert set(await calls(20)) == set(nodes[:2])
        await act(mesh.has, "v1")

        async def next_one():
            return set(await calls(4)) <= set(nodes[2:4])

        await until(next_one)


async def test_a_table_that_is_refused(mesh, nodes, caplog):
    """A regular expression is not run: the routes before it stay, and a line says why."""
    await act(mesh.goes, route(mesh.name("v1")), route(mesh.name("v2"), path="/none"))
    async with calling(mesh) as calls:
        assert set(await calls(20)) == set(nodes[:2])
        odd = {"name": "x-user", "safe_regex_match": {"regex": "a.*b"}}
        await act(mesh.goes, route(mesh.name("v2"), prefix="/", headers=[odd]))

        async def told():
            return "the regular expression 'a.*b' is not run here; the last routes stay" in (
                caplog.text
            )

        await until(told)
        assert set(await calls(20)) == set(nodes[:2])


async def test_who_looks_at_no_routes(mesh, nodes):
    """Nodes that a header alone leads to get none of his calls."""
    tester = {"name": "x-user", "present_match": True}
    await act(
        mesh.goes, route(mesh.name("v2"), prefix="/", headers=[tester]), route(mesh.name("v1"))
    )
    url = f"xds://:{mesh.plane.token}@127.0.0.1:{mesh.plane.port}?timeout={PATIENCE}"
    transport = rpcguard.AsyncTransport(url, balancer=rpcguard.RoundRobin)
    async with httpx.AsyncClient(transport=transport, timeout=PATIENCE) as client:
        await transport.wait_ready(mesh.service, timeout=PATIENCE)
        answers = {(await client.get(f"http://{mesh.service}/")).text for _ in range(20)}
    assert answers == set(nodes[:2])


async def test_one_change_among_a_thousand(mesh):
    """It arrives alone; all others keep what is known of them."""
    many = [f"127.1.{number // 250}.{number % 250 + 1}:9" for number in range(1000)]
    await act(mesh.has, "v1", *many)
    await act(mesh.goes, route(mesh.name("v1")))
    async with calling(mesh) as calls:
        transport = calls.transport

        def listed():
            return {view.node.id for view in transport.nodes(mesh.service)}

        assert listed() == set(many)
        await act(mesh.has, "v1", *many[1:], "127.1.9.9:9")

        async def changed():
            return listed() == {*many[1:], "127.1.9.9:9"}

        await until(changed)


def limited(cluster, timeout, retries, each):
    """Give a route with a timeout and a retry policy, as an operator writes them."""
    entry = route(cluster)
    retry = {"retryOn": "5xx,reset", "numRetries": retries, "perTryTimeout": each}
    return {**entry, "route": {**entry["route"], "timeout": timeout, "retryPolicy": retry}}


async def test_limits_of_a_control_plane(mesh):
    """Asked for, its timeouts and retries take away and never add; an edit reaches the calls."""
    seen = []

    def failing(request):
        seen.append(request.extensions["timeout"]["read"])
        return httpx.Response(503)

    async def sent(calls, method):
        """Make a call; give the timeouts of its attempts."""
        seen.clear()
        timeout = httpx.Timeout(100.0)
        assert (await calls.client.request(method, "/", timeout=timeout)).status_code == 503
        return list(seen)

    nodes = {"node_transport": lambda _: httpx.MockTransport(failing), "ejection": False}
    await act(mesh.goes, limited(mesh.name("v1"), "60s", 9, "20s"))
    async with calling(mesh, "&limits=on", **nodes) as calls:
        assert await sent(calls, "GET") == [pytest.approx(20.0, rel=0.5)] * 2
        assert len(await sent(calls, "POST")) == 1
        await act(mesh.goes, limited(mesh.name("v1"), "10s", 0, "20s"))

        async def fewer():
            return len(await sent(calls, "GET")) == 1

        await until(fewer)
        (timeout,) = await sent(calls, "GET")
        assert timeout <= 10.0
    async with calling(mesh, **nodes) as calls:
        assert await sent(calls, "GET") == [100.0, 100.0]
