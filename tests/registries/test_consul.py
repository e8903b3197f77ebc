"""What a real Consul does not do on demand: odd entries, lost leaders, filtered lists, garbage."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import aclosing
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rpcguard._core.nodes.node import Node
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.consul import ConsulRegistry
from rpcguard.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import ScriptedServer, Seen

TOKEN = "53cr3t-t0ken"


@pytest.fixture
async def consul(server: ScriptedServer) -> AsyncIterator[ConsulRegistry]:
    registry = ConsulRegistry(f"consul://:{TOKEN}@{server.address}", timeout=3, max_bytes=100_000)
    yield registry
    await registry.aclose()


def entry(port: int = 80, *, node: Any = None, checks: Any = (), **service: Any) -> dict[str, Any]:
    return {
        "Node": {"Node": "n1", "Address": "10.0.0.7", "Datacenter": "dc1", **(node or {})},
        "Service": {
            "ID": f"w{port}",
            "Service": "web",
            "Tags": [],
            "Address": "",
            "Meta": None,
            "Port": port,
            "Weights": {"Passing": 1, "Warning": 1},
            "CreateIndex": 13,
            "ModifyIndex": 14,
            **service,
        },
        "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, *checks],
    }


def say(server: ScriptedServer, *entries: Any, index: object = 7, **headers: str) -> None:
    if index is not None:
        headers["X_Consul_Index"] = str(index)
    server.say(json.dumps(entries), **headers)


async def test_a_plain_entry(server: ScriptedServer, consul: ConsulRegistry) -> None:
    """Proves every field of an entry that has just what it must."""
    say(server, entry())
    node = Node("10.0.0.7", 80, id="n1/w80", generation=13, zone="dc1")
    assert (await consul.fetch("web")).nodes == (node,)
    assert server.seen[0].headers["x-consul-token"] == TOKEN


async def test_a_full_entry(server: ScriptedServer, consul: ConsulRegistry) -> None:
    """Proves that weight, zone, version, scheme, start, tags and metadata are read."""
    meta = {"version": "v2", "zone": "a", "secure": "true", "started_at": "1700000000", "x": "y"}
    say(server, entry(Address="::1", Meta=meta, Tags=["t1", "t2"], Weights={"Passing": 10}))
    [node] = (await consul.fetch("web")).nodes
    assert (node.host, node.weight, node.zone, node.version) == ("::1", 10.0, "a", "v2")
    assert (node.scheme, node.started_at) == ("https", 1.7e9)
    assert node.metadata == {**meta, "tags": "t1,t2"}


@pytest.mark.parametrize("said", ["nan", "inf", "-1", "soon", ""])
async def test_a_start_that_is_no_time_is_left_out(
    said: str, server: ScriptedServer, consul: ConsulRegistry
) -> None:
    """Proves that a node with an odd start is listed all the same, without one."""
    say(server, entry(Meta={"started_at": said}))
    [node] = (await consul.fetch("web")).nodes
    assert node.started_at is None


@pytest.mark.parametrize(
    ("found", "zone"),
    [
        (entry(Meta={"zone": ""}, Locality={"Zone": "az1"}), "az1"),
        (entry(node={"Locality": {"Zone": "az2"}, "Meta": {"zone": "z"}}), "az2"),
        (entry(node={"Meta": {"zone": "z"}}), "z"),
    ],
)
async def test_where_the_zone_comes_from(
    server: ScriptedServer, consul: ConsulRegistry, found: object, zone: str
) -> None:
    """Proves the order of the places where a zone can be."""
    say(server, found)
    assert (await consul.fetch("web")).nodes[0].zone == zone


@pytest.mark.parametrize(
    ("checks", "status", "weight"),
    [
        ([], "up", 5.0),
        ([{"CheckID": "c", "Status": "warning"}], "up", 2.0),
        ([{"CheckID": "c", "Status": "critical"}], "down", 5.0),
        ([{"CheckID": "_service_maintenance:w80", "Status": "critical"}], "draining", 5.0),
        ([{"CheckID": "_node_maintenance", "Status": "critical"}], "draining", 5.0),
        (
            [
                {"CheckID": "c", "Status": "critical"},
                {"CheckID": "_node_maintenance", "Status": "critical"},
            ],
            "draining",
            5.0,
        ),
        (["garbage", None], "up", 5.0),
    ],
)
async def test_what_checks_mean(
    server: ScriptedServer, consul: ConsulRegistry, checks: object, status: str, weight: float
) -> None:
    """Proves that maintenance is draining, critical is down, and a warning has its own weight."""
    say(server, entry(checks=checks, Weights={"Passing": 5, "Warning": 2}))
    [node] = (await consul.fetch("web")).nodes
    assert (node.status, node.weight) == (status, weight)


async def test_a_service_with_several_ports(server: ScriptedServer) -> None:
    """Proves that the named port is taken, else the default one."""
    ports = [{"name": "admin", "port": 81}, {"name": "web", "port": 82, "default": True}]
    say(server, entry(Port=0, ID="w", Ports=ports))
    for option, port in (("", 82), ("?port=admin", 81)):
        registry = ConsulRegistry(f"consul://{server.address}{option}")
        assert (await registry.fetch("web")).nodes[0].port == port
        await registry.aclose()


async def test_bad_entries_are_left_out(
    server: ScriptedServer, consul: ConsulRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that good nodes are used beside bad ones, with one warning for all polls."""
    bad = [7, {}, {"Node": 1}, entry(Port="many"), entry(Port=70000), entry(Address=[1])]
    say(server, *bad, entry(81))
    for _ in range(2):
        assert [node.port for node in (await consul.fetch("web")).nodes] == [81]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "6 bad nodes" in record.getMessage()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"No cluster leader", 500),
        (b"ACL not found", 403),
        (b"Permission denied", 403),
        (b"", 302),
        (b"{}", 200),
        (b"null", 200),
        (b"[7]", 200),
        (b"\xff[]", 200),
        (b"[" * 50_000, 200),
        (b" " * 200_000, 200),
    ],
)
async def test_useless_answers(
    server: ScriptedServer, consul: ConsulRegistry, body: bytes, status: int
) -> None:
    """Proves that refusals, redirects and garbage raise an error without the token."""
    server.say(body, status, X_Consul_Index="7", Location="/")
    with pytest.raises(RegistryError) as raised:
        await consul.fetch("web")
    assert TOKEN not in f"{raised.value!r} {consul!r}"


async def test_an_empty_list(server: ScriptedServer, consul: ConsulRegistry) -> None:
    """Proves that a service is unknown until a node of it was seen, then it is just empty."""
    say(server)
    assert not (await consul.fetch("web")).known
    say(server, entry())
    assert (await consul.fetch("web")).known
    say(server)
    snapshot = await consul.fetch("web")
    assert (snapshot.nodes, snapshot.known, snapshot.authoritative) == ((), True, True)
    assert not (await consul.fetch("other")).known


async def test_a_list_that_the_token_may_not_see(
    server: ScriptedServer, consul: ConsulRegistry
) -> None:
    """Proves that a filtered empty list is an error, and a filtered one removes nothing."""
    say(server, X_Consul_Results_Filtered_By_ACLs="true")
    with pytest.raises(RegistryError, match="service:read"):
        await consul.fetch("web")
    say(server, entry(), X_Consul_Results_Filtered_By_ACLs="true")
    assert not (await consul.fetch("web")).authoritative


@pytest.mark.parametrize(("left", "seen"), [((), None), ((1,), [1]), ((2, 1), [2, 1])])
@pytest.mark.parametrize("filtered", [True, False])
async def test_a_stream_of_which_the_token_may_see_less(
    server: ScriptedServer,
    consul: ConsulRegistry,
    left: tuple[int, ...],
    seen: list[int] | None,
    filtered: bool,
) -> None:
    """Proves that a list which a stream shortens is believed once a query says it is whole."""
    answers = iter([(1, 2, 3), left, left])

    def script(_: Seen) -> bytes:
        # The query that does not block is the third; it alone tells.
        entries, whole = next(answers), len(server.seen) == 3
        headers = {"X_Consul_Results_Filtered_By_ACLs": "true"} if filtered and whole else {}
        body = json.dumps([entry(port) for port in entries])
        backend = "blocking-query" if whole else "streaming"
        return server.answer(body, X_Consul_Index="7", X_Consul_Query_Backend=backend, **headers)

    server.script = script
    async with aclosing(consul.watch("web")) as snapshots:
        assert len((await anext(snapshots)).nodes) == 3
        if filtered and seen is None:
            with pytest.raises(RegistryError, match="service:read"):
                await anext(snapshots)
        else:
            snapshot = await anext(snapshots)
            assert [node.port for node in snapshot.nodes] == (seen or [])
            assert snapshot.authoritative is not filtered
    assert "index" not in server.seen[2].target


@pytest.mark.parametrize("at_first", [True, False])
async def test_a_stream_after_a_query_that_told_of_filtering(
    server: ScriptedServer, consul: ConsulRegistry, at_first: bool
) -> None:
    """Proves that what is the same as before in a stream is no whole list for that.

    Nodes that a token no longer saw were kept by one list, and dropped by the next.
    """
    is_filtered = at_first

    def script(seen: Seen) -> bytes:
        streamed = "index" in seen.target
        headers = {"X_Consul_Results_Filtered_By_ACLs": "true"} if is_filtered else {}
        backend = {"X_Consul_Query_Backend": "streaming" if streamed else "blocking-query"}
        body = json.dumps([entry(port) for port in ((1, 2) if asked else (1, 2, 3))])
        return server.answer(
            body, X_Consul_Index=str(len(server.seen)), **backend, **({} if streamed else headers)
        )

    server.script = script
    asked = at_first
    async with aclosing(consul.watch("web")) as snapshots:
        assert (await anext(snapshots)).authoritative is not at_first
        asked = is_filtered = True
        for _ in range(3):
            assert not (await anext(snapshots)).authoritative
        is_filtered = False
        assert (await anext(snapshots)).authoritative
        questions = len(server.seen)
        assert (await anext(snapshots)).authoritative
        assert len(server.seen) == questions + 1


@pytest.mark.parametrize(
    ("headers", "authoritative"),
    [
        ({"X_Consul_KnownLeader": "false"}, False),
        ({"X_Consul_LastContact": "10001"}, False),
        ({"X_Consul_KnownLeader": "true", "X_Consul_LastContact": "900"}, True),
        ({"X_Consul_LastContact": "garbage"}, True),
        ({"X_Consul_KnownLeader": "false", "X_Consul_Query_Backend": "streaming"}, True),
        ({"X_Consul_KnownLeader": "false", "X_Consul_Query_Backend": "blocking-query"}, False),
    ],
)
async def test_a_server_that_lost_its_leader(
    server: ScriptedServer,
    consul: ConsulRegistry,
    headers: dict[str, str],
    authoritative: bool,
) -> None:
    """Proves that a stale answer removes nothing."""
    say(server, entry(), **headers)
    assert (await consul.fetch("web")).authoritative is authoritative


async def test_the_index_is_sent_back(server: ScriptedServer, consul: ConsulRegistry) -> None:
    """Proves the rules of the index: never 0, and from the start again when it goes backwards."""
    given = iter([5, 9, 0, 0, 3, 3])
    asked: list[str | None] = []

    def script(seen: Seen) -> bytes:
        query = parse_qs(urlsplit(seen.target).query, keep_blank_values=True)
        asked.append(query.get("index", [None])[0])
        assert ("wait" in query) == ("index" in query)
        assert "stale" in query
        return server.answer("[]", X_Consul_Index=str(next(given)))

    server.script = script
    async with aclosing(consul.watch("web")) as snapshots:
        for _ in range(6):
            await anext(snapshots)
    assert asked == [None, "5", "9", None, "1", "3"]


@pytest.mark.parametrize("index", [None, "", "x", "-1", "\u00b2".encode().decode("latin1")])
async def test_a_watch_needs_the_index(
    server: ScriptedServer, consul: ConsulRegistry, index: str | None
) -> None:
    """Proves that an answer without an index ends a watch: else it would never block."""
    say(server, entry(), index=index)
    with pytest.raises(RegistryError, match="X-Consul-Index"):
        async with aclosing(consul.watch("web")) as snapshots:
            await anext(snapshots)


async def test_queries_are_held_back(
    server: ScriptedServer, consul: ConsulRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that a Consul that never blocks is not asked in a tight loop."""
    clock, pauses = ManualClock(1000.0), list[float]()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)

    pace = "rpcguard.registries.consul"
    monkeypatch.setattr(f"{pace}.time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(f"{pace}.anyio", SimpleNamespace(sleep=sleep))
    indexes = count(1)
    server.script = lambda _: server.answer("[]", X_Consul_Index=str(next(indexes)))
    async with aclosing(consul.watch("web")) as snapshots:
        for _ in range(9):
            await anext(snapshots)
    assert len(server.seen) == 9
    assert pauses == pytest.approx([0.0] * 5 + [0.2] * 4)


async def test_an_agent_that_went_silent(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that a query that blocks for longer than it was asked to counts as broken."""
    monkeypatch.setattr("rpcguard.registries.consul._SLACK", 0.1)
    stop = threading.Event()

    def script(seen: Seen) -> bytes:
        if "index=" in seen.target:
            stop.wait(10)
        return server.answer("[]", X_Consul_Index="5")

    server.script = script
    registry = ConsulRegistry(f"consul://{server.address}?wait=0.1")
    try:
        async with aclosing(registry.watch("web")) as snapshots:
            await anext(snapshots)
            with pytest.raises(RegistryError, match=r"no complete answer within 0\.2"):
                await anext(snapshots)
    finally:
        stop.set()
        await registry.aclose()


async def test_options_go_to_consul(server: ScriptedServer) -> None:
    """Proves that filters and places are passed on, encoded, and the consistency is chosen."""
    say(server)
    url = f"consul://{server.address}?dc=dc2&filter=Service.Meta.v%20%3D%3D%20%22a%26b%22"
    registry = ConsulRegistry(f"{url}&consistency=consistent&near=_agent")
    await registry.fetch("web/1")
    await registry.aclose()
    path, _, query = server.seen[0].target.partition("?")
    assert path == "/v1/health/service/web%2F1"
    assert parse_qs(query, keep_blank_values=True) == {
        "consistent": [""],
        "dc": ["dc2"],
        "filter": ['Service.Meta.v == "a&b"'],
        "near": ["_agent"],
    }


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("consul://", "no address"),
        ("consul://h:1/path", "no path"),
        ("consul://user:pass@h:1", "no users"),
        ("consul://h:1?consistency=odd", "consistency"),
        ("consul://h:1?wait=0", "wait"),
        ("consul://h:1?ca=/x", "TLS"),
        ("consul://h:1?passing=1", "passing"),
        ("consul://h:x", "host:port"),
    ],
)
def test_wrong_urls(url: str, part: str) -> None:
    """Proves that a wrong URL says which part is wrong, and shows a right one."""
    with pytest.raises(InvalidRegistryURL, match=part) as raised:
        registry_from_url(url)
    assert "consul+https://" in str(raised.value)


def test_right_urls() -> None:
    """Proves that both schemes are found, with their default ports and without the token."""
    assert repr(registry_from_url("consul://h")) == "ConsulRegistry('consul://h:8500')"
    registry = registry_from_url(f"consul+https://:{TOKEN}@h,[::1]:9?dc=a")
    assert repr(registry) == "ConsulRegistry('consul+https://h:8501,[::1]:9')"
