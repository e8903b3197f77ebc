"""What a real Nacos does not do on demand: other versions, expired tokens, protection, garbage."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from rpcguard._core.nodes.node import Node
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.nacos import NacosRegistry
from tests.support.json_api import JsonApi, running_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rpcguard._core.nodes.snapshot import Snapshot

V3, V1 = "/nacos/v3/client/ns/instance/list", "/nacos/v1/ns/instance/list"
LOGIN3, LOGIN1 = "/nacos/v3/auth/user/login", "/nacos/v1/auth/login"
PASSWORD = "p&ss=w0rd+%ü"
ENCODED = "p%26ss%3Dw0rd%2B%25%C3%BC"


def host(ip: str = "10.0.0.7", **fields: object) -> dict[str, Any]:
    known = {"ip": ip, "port": 8080, "weight": 1.0, "healthy": True, "enabled": True}
    return {**known, "ephemeral": True, "clusterName": "DEFAULT", "metadata": {}, **fields}


def v3(*hosts: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"code": 0, "message": "success", "data": list(hosts)}


def v1(*hosts: dict[str, Any], **fields: object) -> tuple[int, Any]:
    about = {"name": "DEFAULT_GROUP@@orders", "cacheMillis": 10000, "hosts": list(hosts)}
    return 200, {**about, "reachProtectionThreshold": False, **fields}


def token(text: str) -> tuple[int, Any]:
    return 200, {"accessToken": text, "tokenTtl": 18000, "globalAdmin": True, "username": "u"}


@pytest.fixture
def api() -> Iterator[JsonApi]:
    with running_api() as api:
        yield api


@pytest.fixture
async def registry(api: JsonApi) -> AsyncIterator[NacosRegistry]:
    registry = NacosRegistry(f"nacos://{api.address}", max_bytes=10_000)
    yield registry
    await registry.aclose()


@pytest.fixture
async def secured(api: JsonApi) -> AsyncIterator[NacosRegistry]:
    registry = NacosRegistry(f"nacos://u:{ENCODED}@{api.address}")
    yield registry
    await registry.aclose()


async def fetch(url: str) -> Snapshot:
    registry = NacosRegistry(url)
    try:
        return await registry.fetch("orders")
    finally:
        await registry.aclose()


async def test_v3_is_asked_for_every_cluster(api: JsonApi) -> None:
    """Proves the question: servers before 3.2 show only DEFAULT where no cluster is named."""
    api.say(V3, v3(host()))
    await fetch(f"nacos://{api.address}?namespace=prod&group=g")
    assert api.asked[0].query == {
        "serviceName": "orders",
        "namespaceId": "prod",
        "groupName": "g",
        "clusterName": ",",
    }
    await fetch(f"nacos://{api.address}?cluster=za,zb")
    assert api.asked[1].query["clusterName"] == "za,zb"


async def test_fields_of_a_node(api: JsonApi, registry: NacosRegistry) -> None:
    """Proves the mapping from the fields and metadata that Nacos has."""
    metadata = {"version": "v2", "zone": "z1", "secure": "true", "timestamp": "1700000000500"}
    api.say(
        V3,
        v3(
            host(weight=2.5, clusterName="shanghai", metadata=metadata),
            host("10.0.0.8", weight=0, healthy=False, clusterName="shanghai"),
            host("10.0.0.9", enabled=False),
        ),
    )
    first, second, third = (await registry.fetch("orders")).nodes
    assert first == Node(
        "10.0.0.7",
        8080,
        id="10.0.0.7#8080#shanghai",
        weight=2.5,
        zone="z1",
        version="v2",
        scheme="https",
        started_at=1700000000.5,
        generation="1700000000.500",
        metadata=metadata,
    )
    assert (second.zone, second.weight, second.status) == ("shanghai", 0, "down")
    assert (third.zone, third.status, third.started_at) == (None, "draining", None)


@pytest.mark.parametrize("status", [404, 405, 410, 501])
async def test_a_server_without_v3_is_asked_by_v1(
    api: JsonApi, registry: NacosRegistry, status: int
) -> None:
    """Proves that v1 is found once, and v3 again after the server was replaced by a newer one."""
    api.say(V3, (status, {"status": status}))
    api.say(V1, v1(host()))
    for _ in range(2):
        assert len((await registry.fetch("orders")).nodes) == 1
    assert api.paths() == [V3, V1, V1]
    assert api.asked[1].query == {"serviceName": "orders", "groupName": "DEFAULT_GROUP"}
    api.say(V1, (404, b"<html>"))
    api.say(V3, v3(host(), host("10.0.0.8")))
    assert len((await registry.fetch("orders")).nodes) == 2
    assert len((await registry.fetch("orders")).nodes) == 2
    assert api.paths()[3:] == [V1, V3, V3]


async def test_what_is_no_nacos_says_so(registry: NacosRegistry) -> None:
    """Proves that a wrong address or path is an error and no unknown service."""
    with pytest.raises(RegistryError, match="is this Nacos, and its path"):
        await registry.fetch("orders")


async def test_the_context_path_is_that_of_the_url(api: JsonApi) -> None:
    """Proves that a server under another path is found."""
    api.say("/registry/v3/client/ns/instance/list", v3(host()))
    assert (await fetch(f"nacos://{api.address}/registry/")).nodes


async def test_protection_makes_nobody_healthy(api: JsonApi, registry: NacosRegistry) -> None:
    """Proves that a list under protection takes no node away and believes no `healthy`."""
    api.say(V1, v1(host(healthy=False), host("10.0.0.8"), reachProtectionThreshold=True))
    snapshot = await registry.fetch("orders")
    assert not snapshot.authoritative
    assert [node.status for node in snapshot.nodes] == ["up", "up"]


async def test_null_is_no_list(api: JsonApi, registry: NacosRegistry) -> None:
    """Proves that a v1 answer without hosts takes no node away."""
    api.say(V1, v1(hosts=None))
    snapshot = await registry.fetch("orders")
    assert (snapshot.nodes, snapshot.authoritative, snapshot.known) == ((), False, False)


@pytest.mark.parametrize(
    ("advice", "url", "interval"),
    [
        (10000, "", 10.0),
        (1, "", 1.0),
        (10**9, "", 60.0),
        (0, "", None),
        ("soon", "", None),
        (10000, "?interval=0.5", 0.5),
    ],
)
async def test_the_advised_interval(
    api: JsonApi, advice: object, url: str, interval: float | None
) -> None:
    """Proves that v1's advice is followed within bounds, and the URL's before it."""
    api.say(V1, v1(host(), cacheMillis=advice))
    assert (await fetch(f"nacos://{api.address}{url}")).max_age == interval


async def test_v3_advises_nothing(api: JsonApi) -> None:
    """Proves that the transport's own interval, or the URL's, holds for v3."""
    api.say(V3, v3(host()))
    assert (await fetch(f"nacos://{api.address}")).max_age is None
    assert (await fetch(f"nacos://{api.address}?interval=3")).max_age == 3.0


async def test_empty_is_unknown_until_a_node_was_seen(
    api: JsonApi, registry: NacosRegistry
) -> None:
    """Proves how an unknown service is told from one that has lost its nodes."""
    api.say(V3, v3(), v3(host()), v3(), (404, {"code": 21008, "message": "service not exist"}))
    snapshots = [await registry.fetch("orders") for _ in range(4)]
    assert [snapshot.known for snapshot in snapshots] == [False, True, True, True]
    assert [len(snapshot.nodes) for snapshot in snapshots] == [0, 1, 0, 0]
    assert all(snapshot.authoritative for snapshot in snapshots)
    assert set(api.paths()) == {V3}  # 404 with Nacos' own code is an answer of v3


# --- access


async def test_login_and_token(api: JsonApi, secured: NacosRegistry) -> None:
    """Proves that the password goes out in a body only, and the token in a header only."""
    api.say(LOGIN3, token("t1"))
    api.say(V3, v3(host()))
    assert (await secured.fetch("orders")).nodes
    assert (await secured.fetch("orders")).nodes
    assert api.paths() == [LOGIN3, V3, V3]
    login, first, _ = api.asked
    assert (login.form["username"], login.form["password"]) == ("u", PASSWORD)
    assert login.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (login.query, "accessToken" in first.query) == ({}, False)
    assert first.headers["authorization"] == "Bearer t1"


async def test_a_refused_token_is_renewed_once(api: JsonApi, secured: NacosRegistry) -> None:
    """Proves that an expired token costs one login, and one that never works raises."""
    api.say(LOGIN3, token("t1"), token("t2"), token("t3"))
    api.say(V3, v3(host()), (403, {"status": 403}), v3(host()), (403, {"status": 403}))
    await secured.fetch("orders")
    assert (await secured.fetch("orders")).nodes
    assert api.asked[-1].headers["authorization"] == "Bearer t2"
    with pytest.raises(RegistryError, match="credentials"):
        await secured.fetch("orders")
    assert api.paths() == [LOGIN3, V3, V3, LOGIN3, V3, V3, LOGIN3, V3]


async def test_many_services_log_in_once(api: JsonApi, secured: NacosRegistry) -> None:
    """Proves that services which ask at the same moment share one login."""
    api.say(LOGIN3, token("t1"))
    api.say(V3, v3(host()))
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(secured.fetch, f"svc{number}")
    assert api.paths().count(LOGIN3) == 1
    assert api.paths().count(V3) == 10


async def test_an_old_server_has_an_old_login(api: JsonApi, secured: NacosRegistry) -> None:
    """Proves that 1.x and 2.x, which have no v3 login, are logged into by theirs."""
    api.say(LOGIN1, token("t1"))
    api.say(V1, v1(host()))
    assert (await secured.fetch("orders")).nodes
    assert api.paths() == [LOGIN3, LOGIN1, V3, V1]
    assert api.asked[-1].headers["authorization"] == "Bearer t1"


@pytest.mark.parametrize(
    "refusal", [(403, {"status": 403}), (500, {"status": 500}), (200, {"code": 403}), (200, [])]
)
async def test_a_refused_login_shows_no_secret(
    api: JsonApi, secured: NacosRegistry, refusal: tuple[int, Any]
) -> None:
    """Proves that every way in which Nacos refuses a password is one clear error."""
    api.say(LOGIN3, refusal)
    with pytest.raises(RegistryError, match="credentials") as raised:
        await secured.fetch("orders")
    shown = f"{raised.value} {raised.value!r} {secured!r}"
    assert not [secret for secret in (PASSWORD, ENCODED, "u:") if secret in shown]
    assert api.paths() == [LOGIN3]


# --- nonsense


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"\xff\xfe"),
        (200, b"nothing"),
        (200, []),
        (200, {}),
        (200, {"code": 0}),
        (200, {"code": 30000, "message": "server error", "data": []}),
        (200, {"code": 0, "data": {"hosts": []}}),
        (200, {"code": 0, "data": [{"port": 1}]}),
        (200, {"code": 0, "data": [7]}),
        (200, {"cacheMillis": 1, "hosts": {"ip": "a"}}),
        (200, b" " * 20_000),
        (302, b""),
        (400, {"code": 10000, "message": "parameter missing"}),
        (403, {"status": 403}),
        (503, b"server is STARTING now, please try again later!"),
    ],
)
async def test_nonsense_is_an_error(
    api: JsonApi, registry: NacosRegistry, answer: tuple[int, Any]
) -> None:
    """Proves that no broken answer is ever taken for an empty list."""
    api.say(V3, answer)
    with pytest.raises(RegistryError, match=api.address):
        await registry.fetch("orders")


async def test_a_bad_node_costs_only_itself(
    api: JsonApi, registry: NacosRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that the good nodes of a list stay, with one warning for the rest."""
    api.say(V3, v3(host(), host(None), host(port=70000), 7))
    with caplog.at_level(logging.WARNING, logger="rpcguard"):
        for _ in range(2):
            assert len((await registry.fetch("orders")).nodes) == 1
    assert [record.message for record in caplog.records if "3 bad nodes" in record.message]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("nacos://", "no address"),
        ("nacos://h:0", "port"),
        ("nacos://h?interval=never", "interval"),
        ("nacos://h?namspace=x", "namspace"),
        ("nacos://h?ca=/x", "TLS"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, part: str) -> None:
    """Proves that a wrong part is named and a right URL shown."""
    with pytest.raises(InvalidRegistryURL, match=part) as raised:
        registry_from_url(url)
    assert "nacos://user:password@" in str(raised.value)
