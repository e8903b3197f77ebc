"""Lane groups of Polaris read as routes, and the calls that go by them."""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from typing import Any

import pytest

from rpcguard import Node, Route, Routing
from rpcguard._core.policies.routing import checked_routes
from rpcguard.registries._rules.polaris_lanes import LaneSide, routes_of_lanes
from tests.support.foreign_rules import POLARIS_LANES
from tests.support.stage import Stage

ALICE = {"type": "EXACT", "value": "alice", "value_type": "TEXT"}


def group(**rule: object) -> dict[str, Any]:
    made = deepcopy(POLARIS_LANES)
    made["rules"][0].update(rule)  # type: ignore[index]
    return made


def argument(key: str, kind: str = "HEADER", value: object = "alice") -> dict[str, Any]:
    return {"type": kind, "key": key, "value": {**ALICE, "value": value}}


def matching(*arguments: object, mode: str = "AND") -> dict[str, Any]:
    return group(traffic_match_rule={"arguments": list(arguments), "match_mode": mode})


def read(
    *groups: object, service: str = "orders", caller: str | None = "web", now: float = 0.0
) -> list[Route]:
    side = LaneSide(service=service, namespace="default", caller=caller, now=now)
    return routes_of_lanes(groups, side)


def when(route: Route) -> dict[str, Any]:
    return {key: value for key, value in route.when.items() if value is not None}


def test_an_entry_marks_calls_and_all_others_follow_the_mark():
    """By the mark, or by the header in which Polaris' own callers say the lane."""
    sent_on, marked, entering = read(group())
    assert when(sent_on) == {"header.service-lane": "release-2/testers"}
    assert when(marked) == {"mark": "gray"}
    assert when(entering) == {"header.x-user": "alice"}
    assert {route.mark for route in (sent_on, entering)} == {"gray"}
    assert {tuple(route.to.items()) for route in (sent_on, marked, entering)} == {
        (("lane", ("gray",)),)
    }
    assert {route.otherwise for route in (sent_on, marked, entering)} == {"base"}


@pytest.mark.parametrize("caller", ["shop", None])
def test_who_is_no_entry_marks_nothing(caller):
    """Only the mark and the header lead into the lane."""
    names = [route.name for route in read(group(), caller=caller)]
    assert names == ["release-2/testers, sent on", "release-2/testers, marked"]


def test_an_entry_marks_calls_to_services_outside_of_the_group_too():
    """They go to nodes without a lane, and the mark goes on to the services behind them."""
    (entering,) = read(group(match_mode="STRICT"), service="auth")
    assert (dict(entering.to), entering.mark, entering.otherwise) == (
        {"lane": None},
        "gray",
        "base",
    )
    assert read(group(), service="auth", caller="shop") == []


def test_places_may_be_any():
    """A star stands for each service or namespace."""
    anywhere = group()
    anywhere["destinations"] = [{"service": "*", "namespace": "*"}]
    anywhere["entries"][0]["selector"] = {"service": "*", "namespace": "*"}
    assert len(read(anywhere, service="stock", caller="shop")) == 3
    anywhere["destinations"] = [{"service": "*", "namespace": "other"}]
    anywhere["entries"][0]["type"] = "polarismesh.cn/gateway/tse-gateway"
    assert read(anywhere) == []


def test_a_strict_lane_fails_its_calls_and_a_disabled_one_has_none():
    """Strict is what a rule is that does not say."""
    assert {route.otherwise for route in read(group(match_mode="STRICT"))} == {"fail"}
    assert {route.otherwise for route in read(group(match_mode=None))} == {"fail"}
    assert read(group(enable=False)) == []


def test_a_label_of_another_name_keeps_other_calls_off_its_nodes():
    """Even while its rule is disabled: whoever has the label is in some lane."""
    *_, entering, kept = read(group(label_key="env", default_label_value="gray,blue"))
    assert (dict(entering.to), entering.mark) == ({"metadata.env": ("gray", "blue")}, "gray")
    assert (kept.name, dict(kept.to), kept.share) == ("env, kept", {"metadata.env": "*"}, 0.0)
    assert [route.name for route in read(group(label_key="env", enable=False))] == ["env, kept"]


@pytest.mark.parametrize(
    ("gray", "share"),
    [
        (None, 1.0),
        ({"mode": "PERCENTAGE", "percentage": None}, 1.0),
        ({"mode": "PERCENTAGE", "percentage": {"percent": 5}}, 0.05),
        ({"mode": "PERCENTAGE", "percentage": {"percent": 0}}, 0.0),
        ({"mode": "WARMUP", "warmup": {"interval_second": 100, "curvature": 2}}, 0.25),
        ({"mode": "WARMUP", "warmup": {"interval_second": 50, "curvature": 2}}, 1.0),
        ({"mode": "WARMUP", "warmup": {"interval_second": 0, "curvature": 1}}, 1.0),
    ],
)
def test_a_lane_may_take_a_part_of_the_calls_or_warm_up(gray, share):
    """The share of a lane that was switched on 50 s ago."""
    now = datetime(2026, 11, 26, 20, 46, 20).astimezone().timestamp()
    *_, entering = read(group(traffic_gray=gray), now=now)
    assert entering.share == share


def test_a_lane_that_is_switched_on_in_the_future_takes_nothing_yet():
    """As with Polaris' own, whose clocks may differ."""
    for interval in (0, 100):
        warmup = {"mode": "WARMUP", "warmup": {"interval_second": interval, "curvature": 1}}
        assert read(group(traffic_gray=warmup), now=0.0)[-1].share == 0.0


def test_rules_are_tried_by_priority_and_then_by_age():
    """What an earlier one is about is never a later one's."""
    made = group()
    first, same = (
        {**made["rules"][0], "name": "first", "priority": 0},
        {**made["rules"][0], "name": "same", "ctime": "2026-11-27 00:00:00"},
    )
    made["rules"] += [same, first]
    entering = [route for route in read(made) if route.name.endswith(" 1")]
    assert [route.name for route in entering] == ["release-2/first 1"]
    everyone = {**first, "name": "everyone", "priority": 5, "traffic_match_rule": None}
    made["rules"].append(everyone)
    assert when(read(made)[-1]) == {}


def test_arguments_must_all_hold_or_any_of_them():
    """One route, or one for each."""
    both = argument("x-user"), argument("", "METHOD", "GET")
    assert when(read(matching(*both))[-1]) == {"header.x-user": "alice", "method": "GET"}
    either = read(matching(*both, mode="OR"))[2:]
    assert [when(route) for route in either] == [{"header.x-user": "alice"}, {"method": "GET"}]
    assert when(read(matching(mode="OR"))[-1]) == {}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (group(default_label_value=""), "default_label_value"),
        (group(default_label_value="a b"), "default_label_value"),
        (group(priority="high"), "priority"),
        (group(traffic_gray={"percentage": {"percent": 101}}), "percent"),
        (group(traffic_gray={"mode": "WARMUP"}, etime=""), "etime"),
        (group(traffic_gray={"mode": "WARMUP", "warmup": {"curvature": 10**400}}), "curvature"),
        (matching(argument("x-user"), argument("x-user")), "arguments"),
        (matching(argument("", "CALLER_IP")), "key must be one that a call tells"),
        (matching(argument("", "PATH", "/v1/*")), "path must be whole"),
        (matching({**argument("a"), "value": {"type": "REGEX", "value": "a+"}}), "type must be"),
        ({**group(), "rules": ["a rule"]}, "an object is wanted"),
        ({**group(), "rules": {}}, "rules must be a list"),
        ("a group", "an object is wanted"),
    ],
)
def test_a_lane_that_routes_cannot_say_is_refused(made, said):
    """With all others: a condition that is left out would make a lane wider."""
    with pytest.raises(ValueError, match=said):
        read(made)


def test_labels_of_an_entry_are_refused_where_the_caller_is_it():
    """No call tells them; of another entry they matter nothing."""
    made = group()
    made["entries"][0]["selector"]["labels"] = {"env": ALICE}
    with pytest.raises(ValueError, match="labels of an entry"):
        read(made)
    assert len(read(made, caller="shop")) == 2


def test_a_part_of_a_lane_before_one_that_may_be_about_the_same_call_is_refused():
    """What it does not take is of no lane with Polaris; here the next one would have it."""
    made = group(traffic_gray={"percentage": {"percent": 5}})
    last = {**group()["rules"][0], "name": "everyone", "priority": 2, "traffic_match_rule": None}
    made["rules"].append(last)
    with pytest.raises(ValueError, match="'release-2/testers 1': share must be all"):
        read(made)
    bob = {"arguments": [argument("x-user", value="bob")]}
    made["rules"][1]["traffic_match_rule"] = bob
    assert len(read(made)) == 5


def test_several_rules_may_lead_into_one_lane():
    """A call with its mark goes by the first of them."""
    made = group()
    bob = {"arguments": [argument("x-user", value="bob")]}
    strict = {"name": "bob", "priority": 9, "match_mode": "STRICT", "traffic_match_rule": bob}
    made["rules"].append({**made["rules"][0], **strict})
    routes = checked_routes(read(made))
    (marked,) = [route for route in routes if route.name.endswith(", marked")]
    assert (marked.name, marked.otherwise) == ("release-2/testers, marked", "base")
    assert sum(route.name.endswith(", sent on") for route in routes) == 2
    assert [when(route) for route in routes[3:]] == [
        {"header.x-user": "alice"},
        {"header.x-user": "bob"},
    ]


def test_a_lane_of_any_name_is_a_route():
    """The names of its group and of its rule together are longer than that of a route."""
    made = group(name="r" * 64)
    made["name"] = "g" * 64
    first, second, third = checked_routes(read(made))
    assert first.name.endswith("rrr, sent on")
    assert when(first) == {"header.service-lane": f"{'g' * 64}/{'r' * 64}"}
    assert len({route.name for route in (first, second, third)}) == 3


@pytest.mark.parametrize(
    ("one", "other", "same"), [("a", "b/c", True), ("a%2Fb", "c", False), ("a%252Fb", "c", False)]
)
def test_a_slash_in_a_name_makes_no_two_lanes_one(one, other, same):
    """What is the same in the header of Polaris' own callers is the first lane; both have marks."""
    first = {**group(name=other, default_label_value="x"), "name": one}
    second = {**group(name="c", default_label_value="y", priority=9), "name": "a/b"}
    routes = checked_routes(read(first, second))
    sent_on = {route.when.get("header.service-lane"): route.mark for route in routes}
    assert sent_on.pop(None) is not None
    assert sent_on == ({"a/b/c": "x"} if same else {f"{one}/{other}": "x", "a/b/c": "y"})
    assert [route.when["mark"] for route in routes if route.when.get("mark")] == ["x", "y"]


def test_more_lanes_than_there_may_be_are_not_compared():
    """Each is compared with those before it, and with those after it."""
    made = group()
    (rule,) = made["rules"]
    made["rules"] = [
        {**rule, "name": str(n), "traffic_match_rule": {"arguments": [argument("x", value=str(n))]}}
        for n in range(5_000)
    ]
    with pytest.raises(ValueError, match="at most 1000"):
        read(made)


def test_calls_go_by_the_lanes():
    """Alice's calls into the lane with its mark, those that are sent on too, and no others."""
    other = group(label_key="env", default_label_value="blue")
    other |= {"name": "other", "entries": []}
    nodes = [
        Node("10.0.0.1", 80, id="base"),
        Node("10.0.0.2", 80, id="gray", metadata={"lane": "gray"}),
        Node("10.0.0.3", 80, id="blue", metadata={"env": "blue"}),
    ]
    stage = Stage(*nodes, routing=Routing(rules=read(group(), other)))

    def went(mark: str | None = None, **headers: str) -> tuple[str, str | None]:
        lease = stage.pick(ask=stage.ask(mark=mark, **headers))
        assert lease.routed is not None
        return stage.end(lease), lease.routed.lane

    for _ in range(20):
        assert went() == went(**{"x-user": "bob"}) == ("base", None)
        assert went(**{"x-user": "alice"}) == went("gray") == ("gray", "gray")
        assert went(**{"service-lane": "release-2/testers"}) == ("gray", "gray")
        assert went("blue") == went(**{"service-lane": "other/testers"}) == ("blue", "blue")
