"""The ZooKeeper registry: its layouts, and its connection against a real server."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections import Counter
from contextlib import aclosing, closing, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
import pytest
import trustme
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries._shared.documents import MAX_BYTES
from rpcguard.registries._shared.nodes import node_from_json
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.zookeeper.kazoo import daemon_threads
from rpcguard.registries.zookeeper.registry import ZooKeeperRegistry
from rpcguard.registries.zookeeper.znodes import LAYOUTS, Layout, Znode
from tests.support.servers.zookeeper import ZooKeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_silent = logging.getLogger("tests.zookeeper")
_silent.setLevel(logging.CRITICAL)

CURATOR: dict[str, Any] = {
    "name": "orders",
    "id": "n1",
    "address": "10.0.0.7",
    "port": 8080,
    "sslPort": None,
    "payload": {"metadata": {"instance_status": "UP", "zone": "z1", "weight": "2"}},
    "registrationTimeUTC": 1795288399961,
    "serviceType": "DYNAMIC",
}


def layout(name: str, **options: str) -> Layout:
    given: dict[str, Any] = {"protocols": ("rest", "tri"), "group": None, "version": None}
    return LAYOUTS[name](**{**given, **options})


def curator(name: str = "curator", **changes: object) -> Node:
    data = json.dumps({**CURATOR, **changes}).encode()
    return node_from_json(layout(name).node(Znode("/services/orders/n1", data, 7, 5.0)))


def payload(**metadata: object) -> dict[str, object]:
    return {"metadata": metadata}


def dubbo(*urls: str, **options: str) -> list[Node]:
    given = layout("dubbo", **options)
    chosen = given.chosen([Znode(f"/x/{quote(url, '')}") for url in urls])
    return [node_from_json(given.node(url)) for url in chosen]


# --- layouts


def test_a_curator_znode_gives_every_field() -> None:
    """Proves the mapping of the curator layout."""
    assert curator() == Node(
        "10.0.0.7",
        8080,
        id="n1",
        generation=7,
        weight=2.0,
        zone="z1",
        started_at=1795288399.961,
        metadata={"instance_status": "UP", "zone": "z1", "weight": "2"},
    )


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"payload": None}, "up"),
        ({"payload": payload(instance_status="OUT_OF_SERVICE")}, "draining"),
        ({"payload": payload(instance_status="DOWN")}, "down"),
        ({"payload": payload(instance_status="STARTING")}, "down"),
        ({"enabled": True}, "up"),
        ({"enabled": False}, "draining"),
    ],
)
def test_curator_status(changes: dict[str, object], status: str) -> None:
    """Proves which words drain a node and which take it down."""
    assert curator(**changes).status == status


def test_curator_details() -> None:
    """Proves TLS ports, odd weights and missing times."""
    node = curator(
        sslPort=8443, port=None, payload=payload(weight="much"), registrationTimeUTC=None
    )
    assert (node.port, node.scheme, node.weight, node.started_at) == (8443, "https", 1.0, 5.0)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"address": 5}', b'{"payload": 5}'])
def test_a_znode_without_sense_is_a_bad_node(data: bytes) -> None:
    """Proves that rubbish is refused by an error that the list reader counts."""
    with pytest.raises((ValueError, TypeError)):
        node_from_json(layout("curator").node(Znode("/services/orders/n1", data)))


def test_a_dubbo_application_has_its_port_in_metadata() -> None:
    """Proves that the first wanted protocol is used, and that others alone are no HTTP node."""
    endpoints = [{"port": 20880, "protocol": "dubbo"}, {"port": 50051, "protocol": "tri"}]
    metadata = {"dubbo.endpoints": json.dumps(endpoints), "timestamp": "1795288300000"}
    node = curator("dubbo-app", payload=payload(**metadata))
    assert (node.port, node.started_at) == (50051, 1795288300.0)
    assert curator("dubbo-app").port == 8080
    only = {"dubbo.endpoints": json.dumps(endpoints[:1])}
    with pytest.raises(ValueError, match="its protocols are dubbo, wanted is rest or tri"):
        curator("dubbo-app", payload=payload(**only))


PROVIDER = "tri://10.0.0.7:50051/org.x.Foo?application=a&version=1.0.0&group=g&timestamp=2000"


def test_a_dubbo_provider_gives_every_field() -> None:
    """Proves the mapping of the dubbo layout."""
    (node,) = dubbo(f"{PROVIDER}&weight=200&zone=z1&disabled=false")
    assert node.id == "10.0.0.7:50051"
    assert (node.weight, node.zone, node.version, node.status) == (2.0, "z1", "1.0.0", "up")
    assert (node.started_at, node.generation) == (2.0, "2000")
    assert node.metadata["application"] == "a"
    assert node.metadata["protocol"] == "tri"


def test_only_wanted_providers_are_listed() -> None:
    """Proves the filters by protocol, group and version, and that the newest of an address wins."""
    other = "dubbo://10.0.0.7:20880/org.x.Foo?timestamp=1"
    newer = PROVIDER.replace("timestamp=2000", "timestamp=3000")
    assert [node.generation for node in dubbo(other, newer, PROVIDER)] == ["3000"]
    assert len(dubbo(PROVIDER, group="g", version="1.0.0")) == 1
    assert dubbo(PROVIDER, group="h") == []
    assert dubbo(PROVIDER, version="2.0.0") == []


@pytest.mark.parametrize(
    ("offered", "options", "wanted"),
    [
        ("&group=g&version=1.0.0", {"group": "*", "version": "*"}, True),
        ("&group=g", {"group": "f, g"}, True),
        ("&group=g", {"group": ""}, False),
        ("", {"group": "g"}, False),
        ("", {"group": ""}, True),
        ("&default.group=g", {"group": "g"}, True),
        ("&group=h&default.group=g", {"group": "g"}, False),
        ("&default.version=1.0.0", {"version": "1.0.0"}, True),
        ("&version=1.0.0+5", {"version": "1.0.0+5"}, True),
        ("&version=1.0.0,2.0.0", {"version": "1.0.0"}, False),
        ("&version=0.0.0", {"version": ""}, True),
        ("", {"version": "0.0.0"}, True),
    ],
)
def test_group_and_version_match_as_in_dubbo(
    offered: str, options: dict[str, str], wanted: bool
) -> None:
    """Wildcards, several groups, the defaults of a provider, and no version under another name."""
    url = f"rest://10.0.0.7:80/org.x.Foo?timestamp=1{offered}"
    assert bool(dubbo(url, **options)) == wanted


def test_defaults_of_a_provider_count_where_a_service_has_none() -> None:
    """`<dubbo:provider>` registers what is set for all its services by names of their own."""
    defaults = "default.weight=50&default.zone=z&default.timestamp=1795288399961"
    (node,) = dubbo(f"rest://10.0.0.7:80/org.x.Foo?{defaults}")
    assert (node.weight, node.zone, node.started_at) == (0.5, "z", 1795288399.961)
    (node,) = dubbo(f"rest://10.0.0.7:80/org.x.Foo?weight=200&{defaults}&default.disabled=true")
    assert (node.weight, node.status) == (2.0, "draining")


def test_a_configurator_of_another_group_says_nothing_of_a_provider() -> None:
    """What an operator sets for one group leaves the others alone."""
    providers = [f"rest://10.0.0.{n}:80/org.x.Foo?timestamp=1&group=g{n}" for n in (1, 2)]
    override = "override://0.0.0.0/org.x.Foo?category=configurators&group=g1&weight=0"
    assert [node.weight for node in dubbo(*providers, override)] == [0.0, 1.0]


def test_each_option_counts_what_it_has_left_out() -> None:
    """An interface that only speaks Dubbo's own protocol, or has other groups, says so."""
    znodes = [
        Znode(f"/x/{quote(url, '')}")
        for url in ("dubbo://h:1/x", "dubbo://h:2/x", "rest://h:3/x?group=h", PROVIDER)
    ]
    given, counts = layout("dubbo", group="g", version="2.0.0"), Counter[str]()
    assert given.chosen([*znodes, Znode("/x/override%3A%2F%2F0.0.0.0%2Fx")], counts) == []
    assert counts == {"protocols=rest,tri": 2, "group=g": 1, "version=2.0.0": 1}


@pytest.mark.parametrize(
    ("override", "weight", "status"),
    [
        ("override://10.0.0.7:50051/org.x.Foo?weight=50", 0.5, "up"),
        ("override://10.0.0.7/org.x.Foo?disabled=true", 1.0, "draining"),
        ("override://0.0.0.0/org.x.Foo?weight=0&enabled=true", 0.0, "up"),
        ("override://0.0.0.0/org.x.Foo?weight=0&enabled=false", 1.0, "up"),
        ("override://0.0.0.0/org.x.Foo?weight=0&application=one-caller", 1.0, "up"),
        ("override://10.0.0.8/org.x.Foo?weight=0", 1.0, "up"),
        ("override://10.0.0.7:1/org.x.Foo?weight=0", 1.0, "up"),
        ("override://0.0.0.0/org.x.Foo?timeout=5", 1.0, "up"),
    ],
)
def test_configurators_apply_to_whom_they_name(override: str, weight: float, status: str) -> None:
    """Proves that an operator's weight and disabled arrive, and only where they are meant."""
    (node,) = dubbo(PROVIDER, override)
    assert (node.weight, node.status) == (weight, status)


def test_the_special_configurator_wins() -> None:
    """Proves that one for an address comes after one for all."""
    special, general = (f"override://{host}/org.x.Foo?weight=" for host in ("10.0.0.7", "0.0.0.0"))
    assert dubbo(PROVIDER, f"{special}70", f"{general}30")[0].weight == 0.7


@pytest.mark.parametrize("url", ["tri://[::1", "tri://10.0.0.7:99999/x", "tri://:80/x", "tri://h"])
def test_a_provider_without_address_is_a_bad_node(url: str) -> None:
    """Proves that a broken URL is counted as bad rather than lost."""
    with pytest.raises(ValueError, match=r"host|port"):
        dubbo(url)


# --- a real server


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    if not ZooKeeper.available():
        reason = "no zookeeper here; get it with: python -m tests.support.servers get zookeeper"
        if os.environ.get("RPCGUARD_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    server = ZooKeeper(tmp_path_factory.mktemp("zookeeper"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def operator(zookeeper: ZooKeeper) -> Iterator[KazooClient]:
    client = KazooClient(
        f"127.0.0.1:{zookeeper.port}",
        timeout=20.0,
        auth_data=[("digest", "user:r1ght")],
        logger=_silent,
    )
    client.start()
    for root in ("/services", "/dubbo"):
        if client.exists(root):
            client.delete(root, recursive=True)
    yield client
    client.stop()
    client.close()


@pytest.fixture
def url(zookeeper: ZooKeeper, operator: KazooClient) -> str:
    return f"zookeeper://127.0.0.1:{zookeeper.port}/?timeout=20&session_timeout=20"


def add(operator: KazooClient, name: str, service: str = "orders", **changes: object) -> None:
    data = json.dumps({**CURATOR, **changes}).encode()
    operator.create(f"/services/{service}/{name}", data, makepath=True)


def addresses(snapshot: Snapshot) -> list[str]:
    return sorted(node.address for node in snapshot.nodes)


def threads() -> set[threading.Thread]:
    """Give those that no event loop keeps for its own use."""
    return {t for t in threading.enumerate() if not t.name.startswith(("AnyIO", "Trio"))}


async def test_the_watch_tells_every_change(url: str, operator: KazooClient) -> None:
    """Proves, on both event loops, that lists and data arrive from kazoo's threads, and quickly."""
    registry = registry_from_url(url)
    assert isinstance(registry, ZooKeeperRegistry)
    async with aclosing(registry.watch("orders")) as watch:
        assert await anext(watch) == Snapshot((), known=False)
        for change, wanted in [
            (lambda: operator.ensure_path("/services"), []),
            (lambda: add(operator, "n1"), ["10.0.0.7:8080"]),
            (lambda: add(operator, "n2", port=81), ["10.0.0.7:8080", "10.0.0.7:81"]),
            (
                lambda: operator.set(
                    "/services/orders/n2", json.dumps({**CURATOR, "port": 82}).encode()
                ),
                ["10.0.0.7:8080", "10.0.0.7:82"],
            ),
            (lambda: operator.delete("/services/orders/n1"), ["10.0.0.7:82"]),
            (lambda: operator.delete("/services/orders", recursive=True), []),
            (lambda: add(operator, "n3"), ["10.0.0.7:8080"]),
        ]:
            await anyio.to_thread.run_sync(change)
            with anyio.fail_after(30):
                while addresses(await anext(watch)) != wanted:
                    pass
    await registry.aclose()


async def test_only_what_has_changed_is_read_again(
    url: str, operator: KazooClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that a change among many nodes costs one read of data."""
    for number in range(30):
        add(operator, f"n{number}", port=8000 + number)
    asked: list[str] = []
    get = KazooClient.get_async

    def counted(self: KazooClient, path: str, watch: object = None) -> object:
        asked.append(path)
        return get(self, path, watch)

    monkeypatch.setattr(KazooClient, "get_async", counted)
    registry = ZooKeeperRegistry.from_url(url)
    async with aclosing(registry.watch("orders")) as watch:
        assert len((await anext(watch)).nodes) == 30
        assert len(asked) == 30
        asked.clear()
        changed = json.dumps({**CURATOR, "port": 9}).encode()
        await anyio.to_thread.run_sync(lambda: operator.set("/services/orders/n7", changed))
        with anyio.fail_after(20):
            while "10.0.0.7:9" not in addresses(await anext(watch)):
                pass
    await registry.aclose()
    assert asked == ["/services/orders/n7"]


async def test_a_service_is_found_in_any_case(url: str, operator: KazooClient) -> None:
    """Proves that a host name, which httpx lowers, finds a Java interface."""
    name = "org.x.DemoService"
    provider = quote("tri://10.0.0.7:50051/org.x.DemoService?timestamp=1", safe="")
    operator.create(f"/dubbo/{name}/providers/{provider}", makepath=True)
    operator.ensure_path("/dubbo/org.x.Other/consumers")
    registry = ZooKeeperRegistry.from_url(f"{url}&layout=dubbo")
    assert addresses(await registry.fetch(name.lower())) == ["10.0.0.7:50051"]
    assert not (await registry.fetch("org.x.other")).known
    async with aclosing(registry.watch("org.x.other")) as watch:
        assert not (await anext(watch)).known
        path = f"/dubbo/org.x.Other/providers/{provider}"
        await anyio.to_thread.run_sync(lambda: operator.create(path, makepath=True))
        with anyio.fail_after(20):
            while not (await anext(watch)).nodes:
                pass
    await registry.aclose()


@pytest.mark.parametrize("service", ["", ".", "..", "a/b"])
async def test_a_name_that_would_walk_the_tree_is_unknown(url: str, service: str) -> None:
    """Proves that a service name is one step of the path."""
    registry = ZooKeeperRegistry.from_url(url)
    assert await registry.fetch(service) == Snapshot((), known=False)
    await registry.aclose()


async def test_empty_and_bad_services(
    url: str, operator: KazooClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that empty is known, one bad node costs itself, and only bad ones are an error."""
    operator.ensure_path("/services/empty")
    add(operator, "n1", "mixed")
    operator.create("/services/mixed/n2", b"rubbish")
    operator.create("/services/bad/n1", b"rubbish", makepath=True)
    registry = ZooKeeperRegistry.from_url(url)
    assert await registry.fetch("empty") == Snapshot(())
    assert addresses(await registry.fetch("mixed")) == ["10.0.0.7:8080"]
    assert "1 bad nodes left out" in caplog.text
    with pytest.raises(RegistryError, match="none of 1 nodes"):
        await registry.fetch("bad")
    await registry.aclose()


async def test_interfaces_that_nobody_provides_leave_nothing(
    url: str, operator: KazooClient
) -> None:
    """Proves that what is known of interfaces grows with what is there, not with what is asked."""
    place = f"/dubbo/org.x.Foo/providers/{quote(PROVIDER, safe='')}"
    operator.create(place, makepath=True)
    registry = ZooKeeperRegistry.from_url(f"{url}&layout=dubbo")
    for name in ["org.x.Foo", *(f"org.x.Other{number}" for number in range(20))]:
        await registry.fetch(name)
        await registry.routes(name)
    assert list(registry._known) == ["org.x.Foo"]
    await registry.aclose()


async def test_a_lost_connection_ends_the_watch(
    zookeeper: ZooKeeper, url: str, operator: KazooClient
) -> None:
    """Proves that a loss raises, gives no empty list, and that the next watch works again."""
    add(operator, "n1")
    registry = ZooKeeperRegistry.from_url(url)
    async with aclosing(registry.watch("orders")) as watch:
        await anext(watch)
        await anyio.to_thread.run_sync(zookeeper.kill)
        with pytest.raises(RegistryError, match="lost"), anyio.fail_after(20):
            await anext(watch)
    with pytest.raises(RegistryError):
        await registry.fetch("orders")
    await anyio.to_thread.run_sync(zookeeper.start)
    async with aclosing(registry.watch("orders")) as watch:
        assert addresses(await anext(watch)) == ["10.0.0.7:8080"]
    await registry.aclose()


async def test_an_expired_session_ends_the_watch(url: str, operator: KazooClient) -> None:
    """Proves that a session which the server has ended gives no empty list but a new one."""
    add(operator, "n1")
    registry = ZooKeeperRegistry.from_url(url)
    async with aclosing(registry.watch("orders")) as watch:
        await anext(watch)
        client = registry._session._client
        assert client is not None

        def expire() -> None:
            thief = KazooClient(
                url[12:].partition("/")[0], client_id=client.client_id, logger=_silent
            )
            thief.start()
            thief.stop()  # which ends the session that both have
            thief.close()

        await anyio.to_thread.run_sync(expire)
        with pytest.raises(RegistryError, match="lost"), anyio.fail_after(20):
            await anext(watch)
    async with aclosing(registry.watch("orders")) as watch:
        assert addresses(await anext(watch)) == ["10.0.0.7:8080"]
    await registry.aclose()


async def test_a_silent_server_counts_as_lost(
    zookeeper: ZooKeeper, url: str, operator: KazooClient
) -> None:
    """Proves that a server which is stopped in its tracks, connection open, ends the watch."""
    add(operator, "n1")
    registry = ZooKeeperRegistry.from_url(url.replace("session_timeout=20", "session_timeout=4"))
    try:
        async with aclosing(registry.watch("orders")) as watch:
            await anext(watch)
            zookeeper.signal(signal.SIGSTOP)
            with pytest.raises(RegistryError, match="lost"), anyio.fail_after(20):
                await anext(watch)
    finally:
        zookeeper.signal(signal.SIGCONT)
    assert addresses(await registry.fetch("orders")) == ["10.0.0.7:8080"]
    await registry.aclose()


async def test_wrong_credentials_are_told_and_never_shown(
    zookeeper: ZooKeeper, operator: KazooClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves the digest, the error for a wrong one, and that kazoo's own log keeps it secret."""
    caplog.set_level(1)
    acl = [make_digest_acl("user", "r1ght", all=True)]
    operator.create("/services/orders/n1", json.dumps(CURATOR).encode(), acl=acl, makepath=True)
    for password in ("r1ght", "wr0ng"):
        registry = ZooKeeperRegistry.from_url(
            f"zookeeper://user:{password}@127.0.0.1:{zookeeper.port}"
        )
        if password == "r1ght":
            assert addresses(await registry.fetch("orders")) == ["10.0.0.7:8080"]
        else:
            with pytest.raises(RegistryError, match="credentials") as raised:
                await registry.fetch("orders")
            assert password not in repr(raised.value)
        assert password not in repr(registry)
        await registry.aclose()
    assert "r1ght" not in caplog.text
    assert "wr0ng" not in caplog.text


async def test_closing_ends_the_threads(url: str, operator: KazooClient) -> None:
    """Proves that `aclose` leaves no thread behind, may be repeated, and that a fetch reopens."""
    before = threads()
    registry = ZooKeeperRegistry.from_url(url)
    for _ in range(2):
        await registry.fetch("orders")
        # Not how many there are: one that a test before has left may end at any time.
        assert len(threads() - before) == 3
        await registry.aclose()
        await registry.aclose()
        assert threads() <= before


FORK = """
import os, sys, anyio
from rpcguard.registries.zookeeper import ZooKeeperRegistry
registry = ZooKeeperRegistry.from_url(sys.argv[1])
def look():
    nodes = anyio.run(registry.fetch, "orders").nodes
    told = f"{os.getpid() == parent} {[node.address for node in nodes]}\\n"
    os.write(1, told.encode())  # in one piece: two processes write
parent = os.getpid()
look()
child = os.fork()
look()
if child:
    assert os.waitpid(child, 0)[1] == 0
    look()
"""


def test_a_fork_and_an_exit_without_close_do_no_harm(url: str, operator: KazooClient) -> None:
    """Proves that a child reads by a connection of its own, and that threads hold up no exit."""
    add(operator, "n1")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert sorted(done.stdout.splitlines()) == [
        "False ['10.0.0.7:8080']",
        *["True ['10.0.0.7:8080']"] * 3,
    ]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_node_that_leaves_and_comes_back_at_once_has_not_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Proves that a loss is looked at twice before it is told, and other changes are not."""
    registry = ZooKeeperRegistry([("127.0.0.1", 1)])
    a, b = Node("a", 1), Node("b", 1)
    heavy = Node("b", 1, weight=2.0)
    script = [[a, b], [a], [a, heavy], [a, b], [a], [a]]

    async def read(_: object) -> Snapshot:
        return Snapshot(script.pop(0))

    async def rung(_: object) -> None:
        return None

    monkeypatch.setattr(registry, "_read", read)
    monkeypatch.setattr("rpcguard.registries.zookeeper.branch.Bell.rung", rung)
    async with aclosing(registry.watch("orders")) as watch:  # type: ignore[type-var]
        told = [list((await anext(watch)).nodes) for _ in range(4)]
    assert told == [[a, b], [a, heavy], [a, b], [a]]
    assert script == []


# --- servers that are none


@pytest.fixture
def listen() -> Iterator[Callable[[bytes], int]]:
    """Give a function that starts a server which says one thing to everybody."""
    servers = []

    def start(greeting: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    with closing(connection):
                        connection.recv(1000)
                        connection.sendall(greeting)
                        connection.recv(1000) if not greeting else None
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        return server.getsockname()[1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    "greeting",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x25" + b"\xff" * 37, b"\0" * 99],
    ids=["silence", "http", "ones", "zeros"],
)
async def test_a_server_that_is_no_zookeeper_is_an_error(
    listen: Callable[[bytes], int], greeting: bytes
) -> None:
    """Proves that silence and nonsense end with an error in time and leave no thread behind."""
    registry = ZooKeeperRegistry.from_url(f"zookeeper://127.0.0.1:{listen(greeting)}?timeout=0.1")
    for _ in range(2):
        with anyio.fail_after(20), pytest.raises(RegistryError):
            await registry.fetch("orders")
    await registry.aclose()


WELCOME = struct.pack(">iiiqi16s?", 37, 0, 6000, 1, 16, b"", False)


@pytest.mark.parametrize("answer", [200 * 2**20, 2**31 - 1])
async def test_an_answer_without_measure_is_not_taken(answer: int) -> None:
    """Proves that a server that announces 200 MB, or 2 GB, can send no more than buffers hold."""
    sent: list[int] = []
    ended = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with closing(connection), suppress(OSError):
            connection.recv(1000)
            connection.sendall(WELCOME)
            connection.recv(1000)
            connection.sendall(struct.pack(">i", answer))
            for _ in range(200):
                connection.sendall(bytes(2**20))
                sent.append(2**20)
        ended.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        registry = ZooKeeperRegistry.from_url(f"zookeeper://127.0.0.1:{port}?timeout=2")
        with anyio.fail_after(20), pytest.raises(RegistryError):
            await registry.fetch("orders")
        assert await anyio.to_thread.run_sync(ended.wait, 5.0)
        await registry.aclose()
    assert sum(sent) < MAX_BYTES


async def test_znodes_that_are_too_much_together_are_an_error(
    zookeeper: ZooKeeper, operator: KazooClient
) -> None:
    """Proves that many znodes, each of them allowed, do not fill the memory."""
    for name in ("n1", "n2", "n3"):
        operator.create(f"/services/large/{name}", json.dumps(CURATOR).encode(), makepath=True)
    hosts = [("127.0.0.1", zookeeper.port)]
    for limit, read in ((500, False), (5000, True)):
        registry = ZooKeeperRegistry(hosts, max_bytes=limit)
        if read:
            assert len((await registry.fetch("large")).nodes) == 3
        else:
            with pytest.raises(RegistryError, match="'large' has more than 500 bytes"):
                await registry.fetch("large")
        await registry.aclose()


# --- TLS


@pytest.fixture
def tls_front(zookeeper: ZooKeeper) -> Iterator[tuple[int, trustme.CA]]:
    """Give a port that takes TLS with a client certificate and passes on to the server."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass  # one side has gone, so the other goes too
        finally:
            for end in (source, target):
                end.close()

    def serve() -> None:
        while True:
            try:
                plain, _ = server.accept()
            except OSError:
                return
            try:
                front = context.wrap_socket(plain, server_side=True)
            except OSError:
                continue
            back = socket.create_connection(("127.0.0.1", zookeeper.port))
            for ends in ((front, back), (back, front)):
                threading.Thread(target=copy, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1], authority
    server.close()


# kazoo leaves it to the garbage collector to close the socket of a failed handshake.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_tls_with_a_client_certificate(
    tls_front: tuple[int, trustme.CA], operator: KazooClient, tmp_path: Path
) -> None:
    """Proves CA file, client certificate and host name check."""
    port, authority = tls_front
    add(operator, "n1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    mine = authority.issue_cert("caller")
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "me.pem"))
    files = f"ca={tmp_path}/ca.pem&cert={tmp_path}/me.pem&timeout=20"
    registry = ZooKeeperRegistry.from_url(f"zookeeper+tls://localhost:{port}?{files}")
    assert addresses(await registry.fetch("orders")) == ["10.0.0.7:8080"]
    await registry.aclose()
    strange = trustme.CA()
    strange.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    registry = ZooKeeperRegistry.from_url(
        f"zookeeper+tls://localhost:{port}?ca={tmp_path}/other.pem&timeout=0.2"
    )
    with pytest.raises(RegistryError):
        await registry.fetch("orders")
    await registry.aclose()


def test_a_socket_of_a_failed_handshake_is_closed(
    tls_front: tuple[int, trustme.CA], tmp_path: Path
) -> None:
    """Proves that nothing is left to the garbage collector, which warns of open sockets."""
    strange = tmp_path / "strange.pem"
    trustme.CA().cert_pem.write_to_path(str(strange))
    address, options = ("localhost", tls_front[0]), {"use_ssl": True, "ca": str(strange)}
    with pytest.raises(ssl.SSLError):
        daemon_threads(MAX_BYTES).create_connection(address, timeout=20.0, **options)
    gc.collect()


# --- URLs


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("zookeeper:///services", "no address"),
        ("zookeeper://h1?layout=eureka", "'layout' must be one of curator, spring, dubbo"),
        ("zookeeper://h1?timeout=0", "'timeout'"),
        ("zookeeper://h1?session_timeout=x", "'session_timeout'"),
        ("zookeeper://h1?chroot=/a", "unknown option 'chroot'"),
        ("zookeeper://h1?ca=/etc/ca.pem", "TLS"),
        ("zookeeper+tls://h1?key=/etc/key.pem", "key needs cert"),
        ("zookeeper://user:s3cret@h1:0", "port"),
    ],
)
def test_a_wrong_url_is_told_in_full(url: str, part: str) -> None:
    """Proves that the wrong part is named, a right URL shown, and no password repeated."""
    with pytest.raises(InvalidRegistryURL) as raised:
        registry_from_url(url)
    assert part in str(raised.value)
    assert "zookeeper://user:password@h1:2181,h2:2181/services" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_roots_and_ports() -> None:
    """Proves the defaults, and that a chroot is part of the path."""
    shown = {
        "zookeeper://H1,h2:99": "h1:2181,h2:99/services",
        "zookeeper://h1/?layout=dubbo": "h1:2181/dubbo",
        "zookeeper://h1/my/root/": "h1:2181/my/root",
        "zookeeper+tls://[::1]/": "[::1]:2281/services",
    }
    for url, wanted in shown.items():
        assert repr(registry_from_url(url)) == f"ZooKeeperRegistry({wanted!r})"
    with pytest.raises(ValueError, match="layout"):
        ZooKeeperRegistry([("h1", 1)], layout="none")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that whoever has not installed the extra is told how."""
    monkeypatch.setitem(sys.modules, "kazoo.client", None)
    monkeypatch.delitem(sys.modules, "rpcguard.registries.zookeeper")
    monkeypatch.delitem(sys.modules, "rpcguard.registries.zookeeper.registry")
    with pytest.raises(ImportError, match=r"pip install 'rpcguard\[zookeeper\]'"):
        registry_from_url("zookeeper://10.0.0.1/")


@pytest.mark.parametrize(
    ("host", "words"), [("127.0.0.1:1", "refused"), ("no-such-name.invalid:1", "resolved")]
)
async def test_what_every_server_refuses_is_told_without_waiting(host: str, words: str) -> None:
    """Nobody listens: an hour of patience is not used up to say so."""
    registry = ZooKeeperRegistry.from_url(f"zookeeper://{host}?timeout=3600")
    with pytest.raises(RegistryError, match=words):
        await registry.fetch("orders")
    await registry.aclose()
