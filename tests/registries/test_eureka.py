"""What a real Eureka does not do on demand: warming peers, disagreement, old forms, garbage."""

from __future__ import annotations

import logging
from base64 import b64encode
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from rpcguard._core.nodes.node import Node
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.eureka import EurekaRegistry
from tests.support.json_api import JsonApi, running_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rpcguard._core.nodes.snapshot import Snapshot

PATH = "/eureka/apps/ORDERS"
DIRTY = "1795288390000"


def instance(name: str = "h1", **fields: object) -> dict[str, Any]:
    return {
        "instanceId": f"{name}:orders:8080",
        "hostName": name,
        "app": "ORDERS",
        "ipAddr": "10.0.0.7",
        "status": "UP",
        "overriddenStatus": "UNKNOWN",
        "port": {"$": 8080, "@enabled": "true"},
        "securePort": {"$": 8443, "@enabled": "false"},
        "dataCenterInfo": {"@class": "x$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"registrationTimestamp": 1795288399961},
        "metadata": {"@class": "java.util.Collections$EmptyMap"},
        "lastUpdatedTimestamp": "1795288399961",
        "lastDirtyTimestamp": DIRTY,
        **fields,
    }


def listed(*instances: object) -> tuple[int, Any]:
    return 200, {"application": {"name": "ORDERS", "instance": list(instances)}}


@pytest.fixture
def peers() -> Iterator[list[JsonApi]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running_api()) for _ in range(2)]


@pytest.fixture
def api(peers: list[JsonApi]) -> JsonApi:
    return peers[0]


@pytest.fixture
async def registry(api: JsonApi) -> AsyncIterator[EurekaRegistry]:
    registry = EurekaRegistry(f"eureka+http://{api.address}", max_bytes=10_000)
    yield registry
    await registry.aclose()


@pytest.fixture
async def both(peers: list[JsonApi]) -> AsyncIterator[EurekaRegistry]:
    registry = EurekaRegistry(f"eureka+http://{peers[0].address},{peers[1].address}/eureka/")
    yield registry
    await registry.aclose()


async def fetch(url: str, service: str = "orders") -> Snapshot:
    registry = EurekaRegistry(url)
    try:
        return await registry.fetch(service)
    finally:
        await registry.aclose()


async def test_the_question(api: JsonApi) -> None:
    """Proves the path, that JSON is asked for, and how user and password go out."""
    api.say("/eureka/v2/apps/A%2FB%20C", listed(instance()))
    url = f"eureka+http://us%40er:p%3Aw@{api.address}/eureka/v2?interval=7"
    snapshot = await fetch(url, "a/b c")
    assert snapshot.max_age == 7.0
    headers = api.asked[0].headers
    assert headers["authorization"] == f"Basic {b64encode(b'us@er:p:w').decode()}"
    assert "json" in headers["accept"]
    assert "x-eureka-accept" not in headers  # the compact form has no metadata


async def test_fields_of_a_node(api: JsonApi, registry: EurekaRegistry) -> None:
    """Proves the mapping of the fields and of the metadata that people use."""
    metadata = {"zone": "z1", "version": "v2", "weight": "2.5"}
    amazon = {"name": "Amazon", "metadata": {"availability-zone": "us-east-1c"}}
    api.say(
        PATH,
        listed(
            instance(metadata=metadata),
            instance("h2", dataCenterInfo=amazon, metadata={"started_at": "1700000000"}),
        ),
    )
    first, second = (await registry.fetch("orders")).nodes
    assert first == Node(
        "10.0.0.7",
        8080,
        id="h1:orders:8080",
        weight=2.5,
        zone="z1",
        version="v2",
        metadata=metadata,
        started_at=1795288390.0,
        generation=DIRTY,
    )
    assert (second.zone, second.started_at, second.weight) == ("us-east-1c", 1700000000.0, 1.0)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("UP", "up"),
        ("OUT_OF_SERVICE", "draining"),
        ("DOWN", "down"),
        ("STARTING", "down"),
        ("UNKNOWN", "down"),
        ("NEVER_HEARD_OF", "down"),
        (None, "down"),
    ],
)
async def test_every_status(
    api: JsonApi, registry: EurekaRegistry, said: str | None, status: str
) -> None:
    """Proves that only UP gets calls, and that only the operator's status drains."""
    api.say(PATH, listed(instance(status=said)))
    assert (await registry.fetch("orders")).nodes[0].status == status


@pytest.mark.parametrize(
    ("plain", "secure", "option", "port", "scheme"),
    [
        ("true", "true", "", 8080, None),
        ("true", "true", "?secure=true", 8443, "https"),
        ("false", "true", "", 8443, "https"),
        ("true", "false", "?secure=true", 8080, None),
    ],
)
async def test_the_port(
    api: JsonApi, plain: str, secure: str, option: str, port: int, scheme: str | None
) -> None:
    """Proves which of the two ports is taken."""
    ports = {
        "port": {"$": 8080, "@enabled": plain},
        "securePort": {"$": "8443", "@enabled": secure},
    }
    api.say(PATH, listed(instance(**ports)))
    (node,) = (await fetch(f"eureka+http://{api.address}{option}")).nodes
    assert (node.port, node.scheme) == (port, scheme)


async def test_the_address(api: JsonApi) -> None:
    """Proves that the IP address is taken unless the URL, or Eureka, has only the name."""
    api.say(PATH, listed(instance()), listed(instance()), listed(instance(ipAddr=None)))
    urls = [f"eureka+http://{api.address}{option}" for option in ("", "?address=hostname", "")]
    hosts = [(await fetch(url)).nodes[0].host for url in urls]
    assert hosts == ["10.0.0.7", "h1", "h1"]


async def test_an_object_is_a_list_of_one(api: JsonApi, registry: EurekaRegistry) -> None:
    """Proves that the form of old servers is read, and a node with the host's name for an id."""
    old = instance()
    del old["instanceId"]
    api.say(PATH, (200, {"application": {"name": "ORDERS", "instance": old}}))
    (node,) = (await registry.fetch("orders")).nodes
    assert (node.id, node.metadata) == ("h1", {})


async def test_an_id_of_amazon(api: JsonApi, registry: EurekaRegistry) -> None:
    """Proves that an instance of Amazon without an id of its own has that of the machine."""
    machine = {"name": "Amazon", "metadata": {"instance-id": "i-1", "availability-zone": "z"}}
    api.say(PATH, listed(instance(instanceId=None, dataCenterInfo=machine)))
    (node,) = (await registry.fetch("orders")).nodes
    assert (node.id, node.zone) == ("i-1", "z")


async def test_one_node_is_asked_for_by_its_id(api: JsonApi, registry: EurekaRegistry) -> None:
    """Proves what is known of one node: as in a list, changed or gone."""
    api.say(PATH, listed(instance()))
    api.say(
        f"{PATH}/h1:orders:8080",
        (200, {"instance": instance()}),
        (200, {"instance": instance(status="OUT_OF_SERVICE", lastDirtyTimestamp="7")}),
        (404, b""),
    )
    (node,) = (await registry.fetch("orders")).nodes
    assert await registry.check("orders", node) == node
    changed = await registry.check("orders", node)
    assert changed is not None
    assert (changed.id, changed.status, changed.generation) == (node.id, "draining", "7")
    assert await registry.check("orders", node) is None


async def test_the_peer_of_the_list_is_asked_for_a_node(
    peers: list[JsonApi], both: EurekaRegistry
) -> None:
    """Proves that another peer, which may not have heard of the node, does not say it is gone."""
    peers[1].say(PATH, listed(instance()))
    peers[1].say(f"{PATH}/h1:orders:8080", (200, {"instance": instance()}), (503, b""))
    peers[0].say(PATH, (403, b""))
    (node,) = (await both.fetch("orders")).nodes
    assert await both.check("orders", node) == node
    with pytest.raises(RegistryError, match="503"):
        await both.check("orders", node)
    assert peers[0].paths() == [PATH]


@pytest.mark.parametrize(
    "answer",
    [
        (401, b""),
        (403, b""),
        (500, b""),
        (200, b"<html>"),
        (200, []),
        (200, {}),
        (200, {"instance": 7}),
        (200, {"instance": instance(port={"$": "x", "@enabled": "true"})}),
    ],
)
async def test_no_sure_word_of_one_node(
    api: JsonApi, registry: EurekaRegistry, answer: tuple[int, Any]
) -> None:
    """Proves that only 404 says that a node is gone."""
    api.say(f"{PATH}/n%2F1%20%3F", answer)
    with pytest.raises(RegistryError):
        await registry.check("orders", Node("10.0.0.7", 80, id="n/1 ?"))
    assert api.paths() == [f"{PATH}/n%2F1%20%3F"]


async def test_not_found_is_unknown_until_a_node_was_seen(
    api: JsonApi, registry: EurekaRegistry
) -> None:
    """Proves how an unknown service is told from one that has lost its nodes."""
    api.say(PATH, (404, b""), listed(instance()), (404, b""), listed())
    snapshots = [await registry.fetch("orders") for _ in range(4)]
    assert [snapshot.known for snapshot in snapshots] == [False, True, True, True]
    assert [len(snapshot.nodes) for snapshot in snapshots] == [0, 1, 0, 0]
    assert all(snapshot.authoritative for snapshot in snapshots)


async def test_a_name_of_dots_is_not_asked_for(api: JsonApi, registry: EurekaRegistry) -> None:
    """Proves that no name walks up the path."""
    assert not (await registry.fetch("..")).known
    assert api.asked == []


# --- peers


@pytest.mark.parametrize("bad", [(403, b""), (500, b""), (503, b""), (200, b" " * 40_000_000)])
async def test_a_peer_that_has_no_list_is_passed_over(
    peers: list[JsonApi], both: EurekaRegistry, bad: tuple[int, Any]
) -> None:
    """Proves that the next peer is asked and kept; its first answer takes no node away."""
    first, second = peers
    first.say(PATH, listed(instance()), bad, listed())
    second.say(PATH, listed(instance("h2")))
    snapshots = [await both.fetch("orders") for _ in range(3)]
    assert [snapshot.authoritative for snapshot in snapshots] == [True, False, True]
    assert [snapshot.nodes[0].id[:2] for snapshot in snapshots] == ["h1", "h2", "h2"]
    assert (len(first.asked), len(second.asked)) == (2, 2)


async def test_when_no_peer_answers_all_are_named(
    peers: list[JsonApi], both: EurekaRegistry
) -> None:
    """Proves that the error says what each of them answered."""
    peers[0].say(PATH, (403, b""))
    peers[1].say(PATH, (401, b""))
    with pytest.raises(RegistryError) as raised:
        await both.fetch("orders")
    assert f"{peers[0].address}{PATH}: status 403: this peer has no list yet" in str(raised.value)
    assert f"{peers[1].address}{PATH}: status 401: the credentials" in str(raised.value)


# --- nonsense


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"\xff"),
        (200, b"<applications/>"),
        (200, []),
        (200, {}),
        (200, {"application": []}),
        (200, {"application": {"instance": None}}),
        (200, {"application": {"instance": "x"}}),
        (200, {"application": {"instance": [{"instanceId": "x"}]}}),
        (200, {"application": {"instance": [instance(port={"$": -1, "@enabled": "true"})]}}),
        (200, b" " * 20_000),
        (304, b""),
        (307, b""),
        (401, b""),
    ],
)
async def test_nonsense_is_an_error(
    api: JsonApi, registry: EurekaRegistry, answer: tuple[int, Any]
) -> None:
    """Proves that no broken answer is ever taken for an empty list."""
    api.say(PATH, answer)
    with pytest.raises(RegistryError, match=api.address):
        await registry.fetch("orders")


async def test_a_bad_node_costs_only_itself(
    api: JsonApi, registry: EurekaRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that the good nodes stay, and that odd metadata is no reason to lose one."""
    odd = instance("h2", metadata={"weight": "heavy"}, lastDirtyTimestamp="soon")
    api.say(PATH, listed(instance(), odd, instance("h3", port={}), 7))
    with caplog.at_level(logging.WARNING, logger="rpcguard"):
        nodes = (await registry.fetch("orders")).nodes
    assert [(node.id[:2], node.weight) for node in nodes] == [("h1", 1.0), ("h2", 1.0)]
    assert "2 bad nodes left out" in caplog.text


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("eureka+http://", "no address"),
        ("eureka+http://h:x", "address"),
        ("eureka+http://h?address=mac", "address"),
        ("eureka+http://h?secure=yes", "secure"),
        ("eureka+http://h?key=/k", "TLS"),
        ("eureka+https://h?key=/k", "cert"),
        ("eureka+http://h?intervall=1", "intervall"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, part: str) -> None:
    """Proves that a wrong part is named and a right URL shown."""
    with pytest.raises(InvalidRegistryURL, match=part) as raised:
        registry_from_url(url)
    assert "eureka+http://user:password@" in str(raised.value)


def test_the_password_is_not_shown() -> None:
    """Proves that `repr` has the addresses alone."""
    registry = registry_from_url("eureka+https://user:53cr3t@h1,h2:1/eureka")
    assert repr(registry) == "EurekaRegistry('eureka+https://h1:8761,h2:1/eureka')"
