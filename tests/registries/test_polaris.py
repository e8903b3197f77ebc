"""What a real Polaris does not do on demand: odd codes, lost revisions, garbage."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from rpcguard._core.nodes.node import Node
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.polaris import PolarisRegistry
from tests.support.foreign_rules import POLARIS_LANES
from tests.support.json_api import JsonApi, running_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rpcguard._core.nodes.snapshot import Snapshot

PATH = "/v1/Discover"
TOKEN = "nu/0WRA+4="
ENCODED = "nu%2F0WRA%2B4%3D"


def instance(key: str = "9c", **fields: object) -> dict[str, Any]:
    return {
        "id": key,
        "service": "orders",
        "namespace": "default",
        "host": "10.0.0.7",
        "port": 8080,
        "protocol": None,
        "version": None,
        "weight": 100,
        "healthy": True,
        "isolate": False,
        "location": None,
        "metadata": {},
        "ctime": "2026-11-21 19:00:00",
        "mtime": "2026-11-21 19:05:00",
        "revision": "77",
        **fields,
    }


def listed(revision: str, *instances: object) -> tuple[int, Any]:
    service = {"name": "orders", "namespace": "default", "revision": revision}
    about = {"code": 200000, "info": "execute success", "type": "INSTANCE", "service": service}
    return 200, {**about, "instances": list(instances)}


def code(number: int, info: str = "") -> tuple[int, Any]:
    return number // 1000, {"code": number, "info": info, "service": None, "instances": []}


@pytest.fixture
def api() -> Iterator[JsonApi]:
    with running_api() as api:
        yield api


@pytest.fixture
async def registry(api: JsonApi) -> AsyncIterator[PolarisRegistry]:
    registry = PolarisRegistry(f"polaris://:{ENCODED}@{api.address}", max_bytes=10_000)
    yield registry
    await registry.aclose()


async def fetch(url: str) -> Snapshot:
    registry = PolarisRegistry(url)
    try:
        return await registry.fetch("orders")
    finally:
        await registry.aclose()


async def test_the_question(api: JsonApi, registry: PolarisRegistry) -> None:
    """Proves the question, its namespace, and that the token goes out in a header."""
    api.say(PATH, listed("r1", instance()))
    await registry.fetch("orders")
    assert api.asked[0].json == {
        "type": "INSTANCE",
        "service": {"namespace": "default", "name": "orders"},
    }
    assert api.asked[0].headers["x-polaris-token"] == TOKEN
    await fetch(f"polaris://{api.address}/pr%20od/")
    assert api.asked[1].json["service"]["namespace"] == "pr od"
    assert "x-polaris-token" not in api.asked[1].headers


async def test_no_change_gives_the_last_list(api: JsonApi, registry: PolarisRegistry) -> None:
    """Proves that the revision is sent, and forgotten when the service has gone."""
    api.say(
        PATH,
        listed("r1", instance()),
        code(200001, "discover data is no change"),
        code(400202, "not found resource"),
        listed("r2", instance(), instance("9d")),
        code(200001),
    )
    snapshots = [await registry.fetch("orders") for _ in range(5)]
    assert [len(snapshot.nodes) for snapshot in snapshots] == [1, 1, 0, 2, 2]
    assert [snapshot.known for snapshot in snapshots] == [True, True, False, True, True]
    revisions = [asked.json["service"].get("revision") for asked in api.asked]
    assert revisions == [None, "r1", "r1", None, "r2"]


async def test_services_have_revisions_of_their_own(
    api: JsonApi, registry: PolarisRegistry
) -> None:
    """Proves that one service's revision is not sent for another."""
    api.say(PATH, listed("r1", instance()))
    await registry.fetch("orders")
    await registry.fetch("billing")
    assert "revision" not in api.asked[1].json["service"]


async def test_no_change_without_a_list_is_an_error(
    api: JsonApi, registry: PolarisRegistry
) -> None:
    """Proves that a server which answers to a revision that nobody sent is not believed."""
    api.say(PATH, code(200001))
    with pytest.raises(RegistryError, match="200001"):
        await registry.fetch("orders")


async def test_an_empty_service_is_known(api: JsonApi, registry: PolarisRegistry) -> None:
    """Proves that Polaris tells an empty service from an unknown one."""
    api.say(PATH, listed("r1"))
    snapshot = await registry.fetch("orders")
    assert (snapshot.nodes, snapshot.known, snapshot.authoritative) == ((), True, True)


async def test_fields_of_a_node(api: JsonApi, registry: PolarisRegistry) -> None:
    """Proves the mapping; a null is what the field is by default."""
    metadata = {"started_at": "1700000000", "k": "v"}
    location = {"region": None, "zone": "z1", "campus": None}
    api.say(
        PATH,
        listed(
            "r1",
            instance(
                weight=250, version="v2", protocol="HTTPS", location=location, metadata=metadata
            ),
            instance("9d", weight=None, protocol="grpc", metadata={"zone": "", "version": ""}),
        ),
    )
    first, second = (await registry.fetch("orders")).nodes
    assert first == Node(
        "10.0.0.7",
        8080,
        id="9c",
        weight=2.5,
        zone="z1",
        version="v2",
        scheme="https",
        metadata=metadata,
        started_at=1700000000.0,
        generation="2026-11-21 19:00:00",
    )
    assert (second.weight, second.zone, second.version, second.scheme) == (1.0, None, None, None)


@pytest.mark.parametrize(
    ("fields", "status", "weight"),
    [
        ({"isolate": True, "healthy": False}, "draining", 1.0),
        ({"healthy": False}, "down", 1.0),
        ({"healthy": None}, "up", 1.0),
        ({"weight": 0}, "up", 0.0),
    ],
)
async def test_every_status(
    api: JsonApi, registry: PolarisRegistry, fields: dict[str, Any], status: str, weight: float
) -> None:
    """Proves that the operator's isolation is draining, and comes before sickness."""
    api.say(PATH, listed("r1", instance(**fields)))
    (node,) = (await registry.fetch("orders")).nodes
    assert (node.status, node.weight) == (status, weight)


async def test_the_interval(api: JsonApi) -> None:
    """Proves that lists are polled as Polaris' own clients do, or as the URL says."""
    api.say(PATH, listed("r1", instance()), code(400202), listed("r1", instance()))
    urls = [f"polaris://{api.address}", f"polaris://{api.address}?interval=0.5"]
    assert [(await fetch(url)).max_age for url in (*urls, urls[1])] == [2.0, 0.5, 0.5]


# --- nonsense


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"\xff"),
        (200, b"nothing"),
        (200, []),
        (200, {}),
        (200, {"code": 200000}),
        (200, {"code": 200000, "instances": None, "service": {}}),
        (200, {"code": 200000, "instances": [7], "service": {}}),
        (200, {"code": "200000", "instances": [], "service": {}}),
        (200, b" " * 20_000),
        (308, b""),
        (400, {"code": 400001, "info": "request decode failed"}),
        (502, b"<html>bad gateway</html>"),
        (500, {"code": 500000, "info": "execute exception"}),
    ],
)
async def test_nonsense_is_an_error(
    api: JsonApi, registry: PolarisRegistry, answer: tuple[int, Any]
) -> None:
    """Proves that no broken answer is ever taken for an empty list."""
    api.say(PATH, answer)
    with pytest.raises(RegistryError, match=api.address):
        await registry.fetch("orders")


@pytest.mark.parametrize("answer", [code(401001, "invalid token"), (403, b"no")])
async def test_a_refused_token_is_not_shown(
    api: JsonApi, registry: PolarisRegistry, answer: tuple[int, Any]
) -> None:
    """Proves that a wrong token is a clear error without it."""
    api.say(PATH, answer)
    with pytest.raises(RegistryError, match="credentials") as raised:
        await registry.fetch("orders")
    shown = f"{raised.value} {raised.value!r} {registry!r}"
    assert TOKEN not in shown
    assert ENCODED not in shown


async def test_a_bad_node_costs_only_itself(
    api: JsonApi, registry: PolarisRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that the good nodes of a list stay, with one warning for the rest."""
    api.say(PATH, listed("r1", instance(), instance("9d", port=0), 7))
    with caplog.at_level(logging.WARNING, logger="rpcguard"):
        assert len((await registry.fetch("orders")).nodes) == 1
    assert "2 bad nodes left out" in caplog.text


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("polaris://", "no address"),
        ("polaris://user:pw@h", "no user"),
        ("polaris://h/a/b", "one name"),
        ("polaris://h?namespace=x", "namespace"),
        ("polaris://h?interval=0", "interval"),
        ("polaris://h?ca=/x", "TLS"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, part: str) -> None:
    """Proves that a wrong part is named and a right URL shown."""
    with pytest.raises(InvalidRegistryURL, match=part) as raised:
        registry_from_url(url)
    assert "polaris://:TOKEN@" in str(raised.value)
    assert "pw" not in str(raised.value)


async def test_lanes_of_the_service_and_of_its_caller(api: JsonApi) -> None:
    """Both are asked for, since an entry of a lane need not be in it; one group counts once."""
    registry = PolarisRegistry(f"polaris://{api.address}?caller=web")
    lanes = 200, {"code": 200000, "lanes": [POLARIS_LANES]}
    api.say(PATH, listed("r1"), lanes, lanes)
    try:
        routes = await registry.routes("orders")
    finally:
        await registry.aclose()
    assert [route.name.partition("/")[2] for route in routes] == [
        "testers, sent on",
        "testers, marked",
        "testers 1",
    ]
    asked = [(one.json["type"], one.json["service"]["name"]) for one in api.asked]
    assert asked == [("ROUTING", "orders"), ("LANE", "orders"), ("LANE", "web")]


@pytest.mark.parametrize("number", [400001, 400004])
async def test_a_server_without_lanes_is_asked_for_them_once(
    api: JsonApi, registry: PolarisRegistry, number: int
) -> None:
    """It would log each question as an error; its other rules are read on."""
    api.say(PATH, listed("r1"), code(number), listed("r1"))
    assert await registry.routes("orders") == await registry.routes("orders") == []
    assert [one.json["type"] for one in api.asked] == ["ROUTING", "LANE", "ROUTING"]


async def test_lanes_that_cannot_be_read_are_no_rules(
    api: JsonApi, registry: PolarisRegistry
) -> None:
    """The last rules stay, as with any other answer that is none."""
    api.say(PATH, listed("r1"), code(500000, "no store"))
    with pytest.raises(RegistryError, match="no store"):
        await registry.routes("orders")
