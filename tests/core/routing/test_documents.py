"""Rules as documents: taken whole or not at all."""

from __future__ import annotations

import tomllib

import pytest

from rpcguard._core.policies.routing import Guard, Route
from rpcguard._core.routing.documents import routes_of

CANARY = {
    "name": "orders-canary",
    "service": "orders",
    "share": 0.05,
    "sticky": "header.x-user-id",
    "to": {"version": "2.0.0"},
    "mark": "canary-2",
    "otherwise": "base",
    "least": 0.5,
    "guard": {"worse_by": 0.1},
}
TESTERS = {
    "name": "testers",
    "service": "*",
    "when": {"header.x-tester": ["alice", "bob"], "query.debug": None},
    "to": {"lane": "canary-2"},
}


def test_a_document_is_what_the_code_would_say() -> None:
    """The keys of a document are the fields of a route."""
    canary, testers = routes_of({"routes": [CANARY, TESTERS]}, may_fail=False)
    assert canary == Route(
        "orders-canary",
        service="orders",
        share=0.05,
        sticky="header.x-user-id",
        to={"version": "2.0.0"},
        mark="canary-2",
        otherwise="base",
        least=0.5,
        guard=Guard(worse_by=0.1),
    )
    assert testers.when == {"header.x-tester": ("alice", "bob"), "query.debug": None}


def test_toml_says_the_same() -> None:
    """A document may be written in either."""
    text = '[[routes]]\nname = "t"\nmark = "canary-2"\n[routes.when]\n"header.x-tester" = "*"\n'
    (route,) = routes_of(tomllib.loads(text), may_fail=False)
    assert route == Route("t", mark="canary-2", when={"header.x-tester": "*"})


def test_an_empty_list_is_a_document() -> None:
    """It takes all rules back."""
    assert routes_of({"routes": []}, may_fail=False) == ()


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (None, '"routes"'),
        ([], '"routes"'),
        ({}, '"routes"'),
        ({"routes": {}}, '"routes"'),
        ({"routes": [5]}, "route 1 must be an object"),
        ({"routes": [CANARY, {"to": {"lane": "a"}}]}, "route 2: name must be a text"),
        ({"routes": [{**CANARY, "wieght": 5}]}, "route 'orders-canary': key .*'wieght'"),
        ({"routes": [{**CANARY, "share": 1.01}]}, "route 'orders-canary': share .*1.01"),
        ({"routes": [{"name": "a", "mark": 5}]}, "route 'a': mark .*5"),
        ({"routes": [{**CANARY, "empty": "gone"}]}, "route 'orders-canary': empty .*'gone'"),
        ({"routes": [{**CANARY, "when": {"header.x": {"regex": "a+"}}}]}, r"when\['header.x'\]"),
        ({"routes": [{**CANARY, "guard": {"worse": 1}}]}, "'orders-canary': guard: key .*'worse'"),
        ({"routes": [{**CANARY, "guard": {"hold": 0}}]}, "'orders-canary': guard: hold .*0"),
        ({"routes": [CANARY, CANARY]}, "route 'orders-canary': name must be unique"),
        ({"routes": [CANARY, {**CANARY, "name": "b", "share": 0.96}]}, "route 'b': share"),
        ({"routes": [CANARY] * 10_000}, "at most 1000"),
    ],
)
def test_one_bad_part_rejects_the_whole(document: object, named: str) -> None:
    """A condition that is dropped would make its rule wider than it was meant."""
    with pytest.raises(ValueError, match=named):
        routes_of(document, may_fail=False)


def test_a_document_may_fail_calls_only_where_that_is_allowed() -> None:
    """Rules from outside are remote control of every caller."""
    document = {"routes": [{**CANARY, "otherwise": "fail"}]}
    with pytest.raises(ValueError, match=r"'orders-canary': otherwise .*may_fail"):
        routes_of(document, may_fail=False)
    assert routes_of(document, may_fail=True)[0].otherwise == "fail"


@pytest.mark.parametrize("limit", [{"timeout": 0.001}, {"attempt_timeout": 1}, {"attempts": 1}])
def test_limits_are_a_way_to_fail_calls(limit: dict[str, float]) -> None:
    """A millisecond for each call empties a service as well."""
    document = {"routes": [{**CANARY, **limit}]}
    with pytest.raises(ValueError, match=r"route 'orders-canary' must be without timeout"):
        routes_of(document, may_fail=False)
    (route,) = routes_of(document, may_fail=True)
    assert route.is_limit


@pytest.mark.parametrize("key", ["name", "service", "share", "mark", "otherwise", "guard"])
def test_a_value_of_any_length_makes_no_long_error(key: str) -> None:
    """It goes into a log, and the document is somebody else's."""
    document = {"routes": [{"name": "a", "to": {"version": "2"}, key: "x" * 100_000}]}
    with pytest.raises(ValueError, match=r"characters\)") as caught:
        routes_of(document, may_fail=False)
    assert len(str(caught.value)) < 1000
