"""What Consul's access control hides, and whether the adapter takes it for an empty service."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from rpcguard.errors import RegistryError
from rpcguard.registries.consul import ConsulRegistry
from tests.support.require import require
from tests.support.servers.consul import Consul, ConsulAgent, NewerConsul

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from rpcguard._core.nodes.snapshot import Snapshot

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=[Consul, NewerConsul], scope="module")
def consul(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ConsulAgent]:
    """Give a Consul with one node of the services web and secret."""
    require(request.param)
    server = request.param(tmp_path_factory.mktemp("consul"))
    server.start()
    try:
        for name in ("web", "secret"):
            put(server, "agent/service/register", Name=name, Address="10.0.0.7", Port=80)
        yield server
    finally:
        server.stop()


@pytest.fixture
def token(consul: ConsulAgent) -> Callable[[str], str]:
    """Give a function that makes a token of a policy."""

    def make(rules: str) -> str:
        name = f"p{abs(hash(rules))}"
        put(consul, "acl/policy", Name=name, Rules=rules)
        answer = put(consul, "acl/token", Policies=[{"Name": name}])
        return str(answer.json()["SecretID"])

    return make


def put(consul: ConsulAgent, path: str, **body: object) -> httpx.Response:
    return httpx.put(
        f"http://127.0.0.1:{consul.port}/v1/{path}",
        headers={"X-Consul-Token": consul.token},
        json=body,
    ).raise_for_status()


def change_policy(consul: ConsulAgent, name: str, rules: str) -> None:
    place = f"http://127.0.0.1:{consul.port}/v1/acl/policy/name/{name}"
    found = httpx.get(place, headers={"X-Consul-Token": consul.token}).raise_for_status().json()
    put(consul, f"acl/policy/{found['ID']}", ID=found["ID"], Name=name, Rules=rules)


async def until_empty(snapshots: AsyncIterator[Snapshot]) -> None:
    with anyio.fail_after(60):
        while (await anext(snapshots)).nodes:
            pass


async def fetch(consul: ConsulAgent, token: str, service: str) -> Snapshot:
    registry = ConsulRegistry(f"consul://:{token}@127.0.0.1:{consul.port}")
    try:
        return await registry.fetch(service)
    finally:
        await registry.aclose()


async def test_a_token_that_may_see_enough(
    consul: ConsulAgent, token: Callable[[str], str]
) -> None:
    """Reading the service and the nodes is all that a token needs."""
    enough = token('service "web" { policy = "read" }\nnode_prefix "" { policy = "read" }')
    snapshot = await fetch(consul, enough, "web")
    assert [node.address for node in snapshot.nodes] == ["10.0.0.7:80"]
    assert snapshot.authoritative


@pytest.mark.parametrize(
    "rules",
    [
        'service "web" { policy = "read" }',
        'service "other" { policy = "read" }\nnode_prefix "" { policy = "read" }',
    ],
    ids=["no nodes", "another service"],
)
async def test_a_token_that_may_not_see_enough(
    consul: ConsulAgent, token: Callable[[str], str], rules: str
) -> None:
    """A hidden service is an error where Consul tells of it, and never an empty known one."""
    weak = token(rules)
    if isinstance(consul, NewerConsul):
        with pytest.raises(RegistryError, match="service:read"):
            await fetch(consul, weak, "web")
    else:
        assert not (await fetch(consul, weak, "web")).known


async def test_a_token_that_may_see_less_than_before(
    consul: ConsulAgent, token: Callable[[str], str]
) -> None:
    """What a policy takes away during a watch is an error where Consul tells of it, and no list."""
    if not isinstance(consul, NewerConsul):
        pytest.skip("this one tells of nothing")
    enough = 'service "web" { policy = "read" }\nnode_prefix "" { policy = "read" } # for a while'
    secret, policy = token(enough), f"p{abs(hash(enough))}"
    registry = ConsulRegistry(f"consul://:{secret}@127.0.0.1:{consul.port}?wait=5")
    async with aclosing(registry.watch("web")) as snapshots:
        assert len((await anext(snapshots)).nodes) == 1
        change_policy(consul, policy, 'service "other" { policy = "read" }')
        with pytest.raises(RegistryError, match="service:read"):
            await until_empty(snapshots)
    await registry.aclose()


async def test_node_maintenance_drains(consul: ConsulAgent) -> None:
    """Maintenance of a whole machine drains each service on it."""
    maintenance = f"http://127.0.0.1:{consul.port}/v1/agent/maintenance"
    headers = {"X-Consul-Token": consul.token}
    for enable, status in (("true", "draining"), ("false", "up")):
        async with httpx.AsyncClient(headers=headers) as agent:
            (await agent.put(maintenance, params={"enable": enable})).raise_for_status()
        snapshot = await fetch(consul, consul.token, "web")
        assert [node.status for node in snapshot.nodes] == [status]
