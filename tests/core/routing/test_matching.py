"""Which routes a call matches, what it brings along, and into which cell a node falls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rpcguard._core.nodes.node import Node
from rpcguard._core.policies.routing import Route, checked_routes
from rpcguard._core.routing.cells import lane_of, values_of
from rpcguard._core.routing.facts import Facts
from rpcguard._core.routing.marks import first_mark
from rpcguard._core.routing.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

LANE_KEYS = ("lane", "dubbo.tag")


def facts(
    method: str = "GET",
    url: str = "http://orders/v1/orders/42?debug=1",
    *,
    headers: Mapping[str, str] | None = None,
    mark: str | None = None,
    baggage: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Facts:
    """Make the facts of a call."""
    return Facts(
        httpx.Request(method, url, headers=headers),
        mark=mark,
        baggage=(baggage or {}).get,
        options=options or {},
    )


def table(*routes: Route) -> Table:
    """Make a table for the service orders."""
    return Table("orders", routes, LANE_KEYS)


def matching(when: Mapping[str, object], of: Facts) -> bool:
    """Tell whether a route with these conditions matches a call."""
    route = Route("r", when=when, mark="a")  # type: ignore[arg-type]
    return bool(table(route).matching(of))


@pytest.mark.parametrize(
    ("when", "good"),
    [
        ({}, True),
        ({"method": "GET"}, True),
        ({"method": ["PUT", "POST"]}, False),
        ({"path": "/v1/orders/42"}, True),
        ({"path": "/v1/*"}, True),
        ({"path": ["/v2/*", "/v1/*"]}, True),
        ({"path": "/v1"}, False),
        ({"path": "*"}, True),
        ({"header.X-Tester": "alice"}, True),
        ({"header.x-tester": ["bob", "alice"]}, True),
        ({"header.x-tester": "*"}, True),
        ({"header.x-tester": None}, False),
        ({"header.x-other": None}, True),
        ({"header.x-other": "*"}, False),
        ({"header.x-tester": "alice", "query.debug": "0"}, False),
        ({"header.x-tester": "alice", "query.debug": "1"}, True),
        ({"cookie.session": "s7"}, True),
        ({"cookie.sess": "s7"}, False),
        ({"baggage.tenant": "acme"}, True),
        ({"option.key": "k1"}, True),
        ({"option.attempts": "3"}, True),
        ({"option.deadline": None}, True),
        ({"mark": "canary-2"}, True),
        ({"mark": None}, False),
    ],
)
def test_all_conditions_must_hold(when: Mapping[str, object], good: bool) -> None:
    """A text, several, present, absent; a final star of a path makes it a prefix."""
    call = facts(
        headers={"x-tester": "alice", "cookie": "a=b; session=s7"},
        mark="canary-2",
        baggage={"tenant": "acme"},
        options={"key": "k1", "attempts": 3},
    )
    assert matching(when, call) is good


def test_routes_of_other_services_are_not_in_the_table() -> None:
    """A star is every service, and names are compared in lower case."""
    routes = [Route(name, service=name, mark="a") for name in ("Orders", "billing", "*")]
    assert [one.route.name for one in table(*routes).matching(facts())] == ["Orders", "*"]


@pytest.mark.parametrize("called", ["shop.bücher.example", "shop.xn--bcher-kva.example"])
@pytest.mark.parametrize("said", ["Shop.Bücher.example.", "shop.xn--bcher-kva.example"])
def test_routes_count_however_their_service_is_spelt(called: str, said: str) -> None:
    """And their shares are of the same calls as those of all services."""
    routes = [
        Route("own", service=said, share=0.6, to={"version": "1"}),
        Route("all", share=0.6, to={"version": "2"}),
    ]
    found = Table(called, routes, ["lane"])
    assert [one.route.name for one in found.entries] == ["own", "all"]
    with pytest.raises(ValueError, match="sums to at most 1"):
        checked_routes([routes[0], Route("more", service=called, share=0.6, to={"version": "2"})])


def test_routes_count_for_the_ports_of_a_service() -> None:
    """As policies and switches do: with `dns://` and `hosts://` a service is a host with a port."""
    routes = [Route(name, service=name, mark="a") for name in ("orders", "orders:80", "orders:81")]
    found = Table("orders:80", routes, ["lane"])
    assert [one.route.name for one in found.entries] == ["orders", "orders:80"]


def test_the_order_of_the_rules_is_kept() -> None:
    """Whichever way a route is found, the first one written is the first one tried."""
    routes = [
        Route("present", when={"header.x": "*"}, mark="a"),
        Route("exact", when={"header.x": "1"}, mark="a"),
        Route("path", when={"path": "/v1/*"}, mark="a"),
        Route("method", when={"method": "GET"}, mark="a"),
        Route("all", mark="a"),
    ]
    for order in (routes, routes[::-1]):
        found = table(*order).matching(facts(headers={"x": "1"}))
        assert [one.route for one in found] == order


def test_a_call_is_matched_by_a_look_at_few_routes() -> None:
    """Of many routes on exact values only those that can match are looked at."""
    routes = [
        Route(f"r{n}", when={"header.x-user": f"u{n}", "path": "/v1/*"}, mark="a")
        for n in range(1000)
    ]
    seen: list[str] = []

    class Counting(Facts):
        def get(self, key: str) -> str | None:
            seen.append(key)
            return super().get(key)

    call = Counting(
        httpx.Request("GET", "http://orders/v1/x", headers={"x-user": "u7"}),
        mark=None,
        baggage={}.get,
        options={},
    )
    assert [one.route.name for one in table(*routes).matching(call)] == ["r7"]
    assert seen == ["path"]


@pytest.mark.parametrize(
    ("metadata", "lane"),
    [
        ({}, None),
        ({"lane": ""}, None),
        ({"lane": "base"}, None),
        ({"lane": "canary-2", "dubbo.tag": "grey"}, "canary-2"),
        ({"lane": "", "dubbo.tag": "grey"}, "grey"),
    ],
)
def test_a_nodes_lane_is_its_first_value(metadata: dict[str, str], lane: str | None) -> None:
    """Empty values and base are none."""
    assert lane_of(Node("10.0.0.1", 80, metadata=metadata), LANE_KEYS) == lane


def test_a_lane_may_stand_under_a_key_of_its_own() -> None:
    """As OpenSergo's tags do, of which each has a key; other keys are none."""
    keys = ("lane", "opensergo.io/canary-gray", "opensergo.io/canary-blue")
    nodes = [
        Node("10.0.0.1", 80, metadata={f"opensergo.io/canary-{one}": one})
        for one in ("gray", "blue", "red")
    ]
    assert [lane_of(node, keys) for node in nodes] == ["gray", "blue", None]


def test_cells_are_as_coarse_as_the_rules_allow() -> None:
    """What no rule asks for tells no nodes apart, so a balancer has them all to choose from."""
    rules = table(
        Route("v2", to={"version": "2", "metadata.size": "*"}, share=0.1),
        Route("two", to={"id": "n2"}, when={"header.x": "1"}),
        Route("base", to={"lane": "base"}, when={"header.x": "2"}),
    )
    one, same, two, grey = (
        Node("10.0.0.1", 80, id="n1", version="1"),
        Node("10.0.0.2", 80, id="n3", version="1", zone="a", metadata={"rack": "5"}),
        Node("10.0.0.3", 80, id="n2", version="2", metadata={"size": "xl"}),
        Node("10.0.0.4", 80, id="n4", version="2", metadata={"lane": "grey", "size": "s"}),
    )
    assert rules.cell_of(one) == rules.cell_of(same)
    assert len(rules.cell_of(one).targets) == 1
    assert len(rules.cell_of(two).targets) == 3
    assert rules.cell_of(grey).lane == "grey"
    assert len(rules.cell_of(grey).targets) == 1


def test_nodes_are_told_apart_by_where_they_are() -> None:
    """By host, port, both, and zone; each route leads to its own of two nodes."""
    here, there = Node("10.0.0.1", 80, zone="a"), Node("10.0.0.2", 81)
    for to in ({"host": "10.0.0.1"}, {"port": "80"}, {"address": "10.0.0.1:80"}, {"zone": "a"}):
        rules = table(Route("r", to=to))
        assert len(rules.cell_of(here).targets) == 1, to
        assert not rules.cell_of(there).targets, to


def test_a_node_is_counted_in_one_group() -> None:
    """Its lane before the routes that lead to it, the first of these before others, else base."""
    rules = table(Route("v2", to={"version": "2"}), Route("all", to={"version": "*"}))
    groups = [
        rules.group_of(Node("10.0.0.1", 80, version=version, metadata=metadata))
        for version, metadata in (("2", {"lane": "x"}), ("2", {}), ("1", {}), (None, {}))
    ]
    assert groups == ["x", "v2", "all", "base"]


def test_a_share_that_is_edited_moves_no_node() -> None:
    """Cells of the old rules and of the new are the same where destinations are."""
    node = Node("10.0.0.1", 80, version="2")
    before = table(Route("a", to={"version": "2"}, share=0.1))
    after = table(Route("b", to={"version": "2"}, share=0.5, mark="x"))
    assert before.cell_of(node) == after.cell_of(node)


@pytest.mark.parametrize(
    ("said", "expected", "malformed"),
    [
        ([None, None], (None, ""), ()),
        ([None, "a"], ("a", "context"), ()),
        (["b", "a"], ("b", "header"), ()),
        (["base", "a"], (None, "header"), ()),
        (["", "a"], (None, "header"), ()),
        (["x" * 10_000, "a"], ("a", "context"), ("header",)),
        (["a b", "ü"], (None, ""), ("header", "context")),
    ],
)
def test_the_first_place_that_names_a_lane_wins(
    said: list[str | None], expected: tuple[str | None, str], malformed: tuple[str, ...]
) -> None:
    """Base takes marks off; what cannot be a mark is passed over and told."""
    mark = first_mark(zip(("header", "context"), said, strict=True))
    assert (mark.lane, mark.source) == expected
    assert mark.malformed == malformed


def test_nodes_that_have_the_same_are_compared_once() -> None:
    """1,000 destinations and 10,000 nodes are no ten million comparisons."""
    routes = [Route(f"r{n}", when={"path": f"/{n}"}, to={"version": str(n)}) for n in range(1000)]
    rules = table(*routes)
    nodes = [Node("10.0.0.1", 80, id=str(n), version=str(n % 3)) for n in range(10_000)]
    assert len({rules.cell_of(node) for node in nodes}) == 3
    assert len(rules._cells) == 3


def test_a_node_is_in_the_cell_of_every_destination_that_admits_it() -> None:
    """Found by what destinations want exactly, or looked at where they want no text."""
    wanted: list[dict[str, Any]] = [
        *({"version": str(number)} for number in range(300)),
        {"version": ["7", "8"], "zone": "a"},
        {"zone": "*"},
        {"zone": None},
        {"lane": ""},
        {"metadata.env": ""},
        {"id": "n"},
    ]
    routes = [Route(f"r{number}", to=to) for number, to in enumerate(wanted)]
    made = table(*routes)
    for node in (
        Node("10.0.0.1", 80, version="7", zone="a"),
        Node("10.0.0.1", 80, version="8", id="n"),
        Node("10.0.0.1", 80, version="none", metadata={"env": ""}),
        Node("10.0.0.1", 80, metadata={"lane": "x"}),
    ):
        targets = {entry.target: dict(entry.route.to) for entry in made.entries}
        found = made.cell_of(node).targets
        keys = sorted({key for target in targets for key in target.keys})
        named = dict(zip(keys, values_of(node, keys, LANE_KEYS), strict=True))
        assert found == {target for target in targets if target.admits(named)}
        assert found
        group = made.group_of(node)
        first = next(entry.route.name for entry in made.entries if entry.target in found)
        assert group == (first if node.metadata.get("lane") is None else "x")
