"""Matching and cells, which are looked up, against a look at every condition of every route."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from hypothesis import given
from hypothesis import strategies as st

from rpcguard._core.nodes.node import Node
from rpcguard._core.policies.routing import Route
from rpcguard._core.routing.facts import Facts
from rpcguard._core.routing.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpcguard._core.policies.conditions import Wanted

LANE_KEYS = ("lane",)
TEXTS = ("", "1", "2", "a*")
PATHS = ("/", "/v1", "/v1/", "/v1/a", "/v1/ab", "/v2/a")


def wanted(texts: tuple[str, ...]) -> st.SearchStrategy[Wanted]:
    """Draw what a condition may want: absent, present, a text or several."""
    several = st.lists(st.sampled_from(texts), min_size=1, max_size=3)
    return st.one_of(st.none(), st.just("*"), st.sampled_from(texts), several)


def conditions(*keys: str) -> st.SearchStrategy[Mapping[str, Wanted]]:
    """Draw conditions on some of these keys."""
    prefixes = ("/*", "/v1*", "/v1/a*", "/v2/*", "**")
    one = {key: wanted((*PATHS, *prefixes) if key == "path" else TEXTS) for key in keys}
    return st.fixed_dictionaries({}, optional=one)


def holds(key: str, value: str | None, wanted: Wanted) -> bool:
    """Tell whether a condition holds, as the page on rules says it."""
    if wanted is None or value is None:
        return wanted is value
    if wanted == "*":
        return True
    texts = (wanted,) if isinstance(wanted, str) else wanted
    if key != "path":
        return value in texts
    return any(value.startswith(one[:-1]) if one.endswith("*") else value == one for one in texts)


def joined(texts: list[str]) -> str | None:
    """Give what headers of one name say: an empty one beside others says nothing."""
    return ", ".join(filter(None, texts)) if texts else None


@given(
    st.lists(
        conditions("path", "mark", "header.X", "header.x", "header.y", "query.q"), max_size=60
    ),
    st.lists(
        st.tuples(
            st.sampled_from(PATHS),
            st.sampled_from((None, *TEXTS)),
            st.lists(st.tuples(st.sampled_from("xXyz"), st.sampled_from(TEXTS)), max_size=3),
        ),
        min_size=1,
        max_size=9,
    ),
)
def test_a_call_matches_what_it_meets(
    whens: list[Mapping[str, Wanted]],
    calls: list[tuple[str, str | None, list[tuple[str, str]]]],
) -> None:
    """In order, whichever way a route is found: by a text, a prefix, presence or none of these."""
    routes = [Route(f"r{n}", when=when, to={"id": "n"}) for n, when in enumerate(whens)]
    table = Table("orders", routes, LANE_KEYS)
    for path, query, headers in calls:
        params = {} if query is None else {"q": query}
        request = httpx.Request("GET", f"http://orders{path}", params=params, headers=headers)
        said = {f"header.{name}": joined(request.headers.get_list(name)) for name in "xXyz"}
        of = {"path": path, "mark": None, "query.q": query, **said}
        facts = Facts(request, mark=None, baggage={}.get, options={})
        met = [
            route
            for route in routes
            if all(holds(key, of[key], wanted) for key, wanted in route.when.items())
        ]
        assert [entry.route for entry in table.matching(facts)] == met


@given(
    st.lists(conditions("version", "zone", "metadata.m", "id").filter(bool), max_size=30),
    st.lists(st.tuples(*[st.sampled_from((None, *TEXTS[1:]))] * 3), min_size=1, max_size=9),
)
def test_a_node_is_in_the_cell_of_all_that_it_meets(
    wanted: list[Mapping[str, Wanted]], nodes: list[tuple[str | None, ...]]
) -> None:
    """Found by a text that a destination wants, or looked at where it wants none."""
    routes = [Route(f"r{n}", to=to) for n, to in enumerate(wanted)]
    table = Table("orders", routes, LANE_KEYS)
    for version, zone, text in nodes:
        metadata = {} if text is None else {"m": text}
        node = Node("10.0.0.1", 80, id="1", version=version, zone=zone, metadata=metadata)
        of = {"version": version, "zone": zone, "metadata.m": text, "id": "1"}
        admitting = table.cell_of(node).targets
        for entry in table.entries:
            met = all(holds(key, of[key], wanted) for key, wanted in entry.route.to.items())
            assert (entry.target in admitting) is met
