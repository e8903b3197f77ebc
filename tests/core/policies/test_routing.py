"""Routes, guards and zones as users write them: checked when made, and naming what is wrong."""

from __future__ import annotations

import copy
import pickle

import pytest

from rpcguard._core.policies.conditions import Conditions
from rpcguard._core.policies.routing import Guard, Route, Routing


def test_a_route_is_frozen_with_its_conditions() -> None:
    """Nothing of a route changes with what it was made of."""
    users = ["alice", "bob"]
    when = {"header.x-tester": users}
    route = Route("testers", when=when, to={"lane": "canary-2"})
    users.append("carol")
    when["path"] = ["/"]
    assert route.when == {"header.x-tester": ("alice", "bob")}
    assert pickle.loads(pickle.dumps(route)) == route == copy.deepcopy(route)
    assert hash(route) == hash(copy.deepcopy(route))
    with pytest.raises(AttributeError):
        route.share = 0.5  # type: ignore[misc]


def test_conditions_know_no_order() -> None:
    """Rules that say the same in another order are the same."""
    assert Conditions({"a": "1", "b": None}) == Conditions({"b": None, "a": "1"})
    assert Conditions({"a": "1"}) == {"a": "1"}
    with pytest.raises(KeyError):
        Conditions({"a": "1"})["b"]


def test_a_route_that_only_marks_leads_to_the_lane() -> None:
    """`mark` alone is the shortest way into a lane."""
    assert Route("in", mark="canary-2").to == {"lane": "canary-2"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "to must be conditions for nodes"),
        ({"to": {"colour": "red"}}, r"to key must be one of .*not 'colour'"),
        ({"to": {"metadata.": "red"}}, "to key must be"),
        ({"to": {"version": 2}}, r"to\['version'\] must be"),
        ({"to": {"version": []}}, r"to\['version'\] must be"),
        ({"to": {"version": ["1", "*"]}}, r"to\['version'\] must be"),
        ({"to": "2.0.0"}, "to must be a mapping"),
        ({"to": {"version": "2"}, "when": {"body": "x"}}, r"when key must be one of .*'body'"),
        ({"to": {"version": "2"}, "share": 1.5}, "share must be a number from 0 to 1, not 1.5"),
        ({"to": {"version": "2"}, "share": True}, "share must be"),
        ({"to": {"version": "2"}, "share": "5%"}, "share must be"),
        ({"to": {"version": "2"}, "least": -1}, "least must be"),
        ({"to": {"version": "2"}, "sticky": "header"}, "sticky must be header.NAME"),
        ({"to": {"version": "2"}, "sticky": "option.key"}, "sticky must be"),
        ({"to": {"version": "2"}, "mark": "a b"}, "mark must be 1 to 64"),
        ({"to": {"version": "2"}, "otherwise": "none"}, "otherwise must be base, any or fail"),
        ({"to": {"version": "2"}, "retry": "never"}, "retry must be"),
        ({"to": {"version": "2"}, "guard": 5}, "guard must be of class Guard"),
        ({"to": {"version": "2"}, "timeout": 0}, "timeout must be seconds above 0 or None"),
        ({"to": {"version": "2"}, "attempt_timeout": "1s"}, "attempt_timeout must be seconds"),
        ({"to": {"version": "2"}, "attempts": 0}, "attempts must be a whole number, 1 or more"),
        ({"to": {"version": "2"}, "service": ""}, "service must be"),
    ],
)
def test_a_wrong_route_says_what_is_wrong(fields: dict[str, object], named: str) -> None:
    """The error names the route, the field and the value."""
    with pytest.raises(ValueError, match=f"route 'orders-canary': {named}"):
        Route("orders-canary", **fields)  # type: ignore[arg-type]


def test_routes_have_names_of_their_own() -> None:
    """Metrics and salts go by the name."""
    rules = [Route("one", to={"version": "1"}, when={"method": m}) for m in ("GET", "PUT")]
    with pytest.raises(ValueError, match="route 'one': name must be unique"):
        Routing(rules=rules)


def test_shares_of_the_same_calls_sum_to_at_most_one() -> None:
    """More than all calls cannot be given away; other calls are another sum."""
    halves = [Route(f"r{n}", to={"version": str(n)}, share=0.5) for n in range(2)]
    Routing(rules=halves)
    Routing(rules=[Route(f"t{n}", to={"version": str(n)}, share=0.1) for n in range(10)])
    more = Route("more", to={"version": "3"}, share=0.01)
    with pytest.raises(ValueError, match="route 'more': share must be"):
        Routing(rules=[*halves, more])
    Routing(rules=[*halves, Route("other", to={"version": "3"}, service="billing")])


@pytest.mark.parametrize(
    "fields",
    [
        {"rules": [5]},
        {"rules": [Route("a", mark="a")], "source": "registry"},
        {"source": "ftp://x/routes.json"},
        {"lane": "a b"},
        {"lane_keys": ()},
        {"lane_keys": "lane"},
        {"read": "x-mse-tag"},
        {"write": [""]},
        {"lane_baggage": "a b"},
        {"otherwise": "none"},
        {"may_fail": 1},
        {"required": None},
        {"lane_service": "orders"},
    ],
)
def test_a_wrong_routing_names_the_field(fields: dict[str, object]) -> None:
    """As every policy."""
    with pytest.raises(ValueError, match=r"must be"):
        Routing(**fields)  # type: ignore[arg-type]


def test_there_is_an_end_to_the_number_of_routes() -> None:
    """Whoever writes rules must not slow every caller down."""
    rules = [Route(f"r{n}", mark="a", when={"header.x": str(n)}) for n in range(10_000)]
    with pytest.raises(ValueError, match="at most 1000"):
        Routing(rules=rules)


@pytest.mark.parametrize(
    "fields",
    [
        {"min_calls": 0},
        {"min_failures": 1.5},
        {"worse_by": 0},
        {"worse_by": 2},
        {"hold": 0},
        {"max_hold": -1},
        {"window": 0},
        {"enforce": 1},
    ],
)
def test_a_wrong_guard_names_the_field(fields: dict[str, object]) -> None:
    """As every policy."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        Guard(**fields)  # type: ignore[arg-type]
