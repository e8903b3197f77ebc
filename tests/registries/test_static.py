"""The fixed list of `static://`."""

from __future__ import annotations

import math

import pytest

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import InvalidRegistryURL
from rpcguard.registries.static import StaticRegistry


async def test_one_list_answers_for_every_service() -> None:
    """Proves the short form, with an IPv6 node and an upper-case name."""
    registry = StaticRegistry.from_url("static://10.0.0.1:8080,[::1]:81,Host:82")
    snapshot = await registry.fetch("anything")
    assert snapshot.nodes == (Node("10.0.0.1", 8080), Node("::1", 81), Node("host", 82))
    assert await registry.fetch("other") is snapshot
    assert snapshot.max_age == math.inf


async def test_services_are_told_apart_and_others_are_unknown() -> None:
    """Proves the long form: names in any case, and infinite age for the unknown too."""
    registry = StaticRegistry.from_url("static:///Orders=a:1,[::1]:2;billing=b%2Ec:3")
    assert (await registry.fetch("orders")).nodes == (Node("a", 1), Node("::1", 2))
    assert (await registry.fetch("BILLING")).nodes == (Node("b.c", 3),)
    assert await registry.fetch("x") == Snapshot((), known=False, max_age=math.inf)


async def test_options_hold_for_all_or_node_by_node() -> None:
    """Proves that one value is spread and several follow the order, over services too."""
    url = "static:///x=a:1,b:2;y=c:3?weight=2,0,1.5&zone=z1&scheme=https"
    registry = StaticRegistry.from_url(url)
    nodes = [*(await registry.fetch("x")).nodes, *(await registry.fetch("y")).nodes]
    assert [node.weight for node in nodes] == [2, 0, 1.5]
    assert {(node.zone, node.scheme) for node in nodes} == {("z1", "https")}


async def test_nodes_can_be_given_as_objects() -> None:
    """Proves the two constructor forms."""
    node = Node("a", 1, weight=3)
    assert (await StaticRegistry([node]).fetch("x")).nodes == (node,)
    registry = StaticRegistry({"X": [node], "empty": []})
    assert (await registry.fetch("x")).nodes == (node,)
    empty = await registry.fetch("empty")
    assert (empty.nodes, empty.known) == ((), True)
    assert repr(registry) == "StaticRegistry(x: 1 nodes, empty: 0 nodes)"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("static://", "no address"),
        ("static:///", "no address"),
        ("static://a", "has no port"),
        ("static://a:1/x=b:2", "not both"),
        ("static:///orders", "'orders' is not service"),
        ("static:///=a:1", "is not service"),
        ("static:///x=", "'x' has no address"),
        ("static:///x=a:1;X=b:1", "'X' is given twice"),
        ("static:///x=a:1;x.=b:1", "'x.' is given twice"),
        ("static:///x=a:0", "65535"),
        ("static://a:1,b:2,c:3?weight=1,2", "2 values for 3 nodes"),
        ("static://a:1?weight=-1", "weight"),
        ("static://a:1?weight=nan", "weight"),
        ("static://a:1?weight=heavy", "option 'weight' must be numbers, not 'heavy'"),
        ("static://a:1?scheme=ftp", "scheme"),
        ("static://a:1?colour=red", "'colour'"),
    ],
)
def test_a_wrong_url_is_refused(url: str, complaint: str) -> None:
    """Proves that each mistake is named and an example is shown."""
    with pytest.raises(InvalidRegistryURL, match=complaint) as caught:
        StaticRegistry.from_url(url)
    assert "static://10.0.0.1:8080" in str(caught.value)


def test_credentials_are_refused_without_showing_them() -> None:
    """Proves that a password in a static URL is an error that keeps it."""
    with pytest.raises(InvalidRegistryURL, match="no user or password") as caught:
        StaticRegistry.from_url("static://joe:secret@a:1")
    assert "secret" not in str(caught.value)


async def test_a_socket_is_an_address() -> None:
    """Beside others, with the options of its place; its id is its address."""
    url = "static:///orders=unix:/run/a.sock,10.0.0.1:80;b=unix:/run/b.sock?weight=2,1,3"
    orders = (await StaticRegistry.from_url(url).fetch("orders")).nodes
    assert [(node.address, node.uds, node.weight) for node in orders] == [
        ("unix:/run/a.sock", "/run/a.sock", 2.0),
        ("10.0.0.1:80", None, 1.0),
    ]
    (other,) = (await StaticRegistry.from_url(url).fetch("b")).nodes
    assert (other.id, other.weight) == ("unix:/run/b.sock", 3.0)


def test_an_objection_shows_the_form_with_names() -> None:
    """A few addresses are enough of it; without an objection there is nothing to be said."""
    many = StaticRegistry.from_url("static://a:1,[::1]:2,c:3,d:4")
    assert str(many.objection("x.y.")).endswith("are x.y: write static:///x.y=a:1,[::1]:2,c:3,...")
    assert [many.objection(host) for host in ("orders", "orders.", "::1", "")] == [None] * 4
    assert StaticRegistry.from_url("static:///orders=a:1").objection("x.y") is None


@pytest.mark.parametrize(
    ("listed", "host"),
    [
        ("bücher.example", "bücher.example"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("a.example.", "a.example"),
        ("A.example", "a.example."),
        ("[::1]", "0:0:0:0:0:0:0:1"),
        ("[0:0::1]", "::1"),
    ],
)
def test_an_address_of_the_list_is_one_however_it_is_spelt(listed: str, host: str) -> None:
    """Proves that international names, final dots and long IPv6 addresses are compared as hosts."""
    assert StaticRegistry.from_url(f"static://{listed}:80").objection(host) is None
    assert StaticRegistry.from_url("static://b.example:80").objection(host) is not None


@pytest.mark.parametrize("host", ["shop.bücher.example", "shop.xn--bcher-kva.example"])
@pytest.mark.parametrize("listed", ["shop.bücher.example", "SHOP.xn--bcher-kva.example."])
async def test_a_service_is_found_however_it_is_spelt(listed: str, host: str) -> None:
    """A host whose first part is plain comes from httpx in ASCII, others in their own letters."""
    registry = StaticRegistry({listed: [Node("a", 1)]})
    assert (await registry.fetch(host)).nodes == (Node("a", 1),)
    assert await StaticRegistry.from_url(f"static:///{listed}=a:1").fetch(host) == (
        await registry.fetch(host)
    )
