"""What Consul's access control hides, and whether the adapter takes it for an empty service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from rpcguard.errors import RegistryError
from rpcguard.registries.consul import ConsulRegistry
from tests.support.require import require
from tests.support.servers.consul import Consul, ConsulAgent, NewerConsul

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


async def test_node_maintenance_drains(consul: ConsulAgent) -> None:
    """Maintenance of a whole machine drains each service on it."""
    maintenance = f"http://127.0.0.1:{consul.port}/v1/agent/maintenance"
    headers = {"X-Consul-Token": consul.token}
    for enable, status in (("true", "draining"), ("false", "up")):
        async with httpx.AsyncClient(headers=headers) as agent:
            (await agent.put(maintenance, params={"enable": enable})).raise_for_status()
        snapshot = await fetch(consul, consul.token, "web")
        assert [node.status for node in snapshot.nodes] == [status]
