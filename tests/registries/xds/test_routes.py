"""Routes of xDS as routes of ours."""

from __future__ import annotations

import pytest

from rpcguard.registries.xds import routes as routes_of_xds
from rpcguard.registries.xds.messages import ROUTE_CONFIGURATION
from rpcguard.registries.xds.routes import (
    cluster_key,
    conditions_of,
    default_of,
    host_for,
    plan_of,
)
from tests.support.xds_messages import host, route


def plan(*routes):
    return plan_of("orders", host("orders", *routes))


def told(found):
    """Give the routes as condition, cluster and share."""
    return [
        (dict(one.when), next(iter(one.to)).removeprefix("metadata.xds:"), round(one.share, 9))
        for one in found.routes
    ]


def test_one_cluster_needs_no_route():
    """Its nodes are the list."""
    found = plan(route("v1"))
    assert (found.clusters, found.default, found.routes) == (("v1",), ("v1",), ())


def test_weights_are_shares_of_calls():
    """A weight of 0 is no share at all."""
    found = plan(route({"v1": 90, "v2": 10, "v3": 0}))
    assert told(found) == [({}, "v1", 0.9), ({}, "v2", 0.1)]
    assert found.default == ("v1", "v2")


def test_conditions_come_in_order():
    """The first that matches wins; what is left goes to the last."""
    tester = {"name": "x-user", "string_match": {"exact": "alice"}}
    found = plan(route("v2", prefix="/", headers=[tester]), route("v1"))
    assert told(found) == [({"header.x-user": "alice"}, "v2", 1.0), ({}, "v1", 1.0)]
    assert found.default == ("v1",)


def test_a_fraction_leaves_the_rest_to_the_next():
    """Shares of the same conditions are of the same calls, and sum to 1."""
    some = {"default_value": {"numerator": 2500, "denominator": 1}}
    found = plan(
        route("v2", prefix="/", runtime_fraction=some), route({"v1": 1, "v3": 1}), route("v4")
    )
    assert told(found) == [({}, "v2", 0.25), ({}, "v1", 0.375), ({}, "v3", 0.375)]
    assert "v4" not in found.clusters


def test_names_are_unique():
    """Two routes of one name, as Istio has them, can be told apart."""
    one = {**route({"v1": 1, "v2": 1}, path="/a"), "name": "default"}
    two = {**route({"v1": 1, "v2": 1}), "name": "default"}
    names = [found.name for found in plan(one, two).routes]
    assert names == ["default: v1", "default: v2", "default: v1 #2", "default: v2 #2"]


HEADER = "header.x-a"


@pytest.mark.parametrize(
    ("match", "when"),
    [
        ({"prefix": "/"}, {}),
        ({"prefix": "/", "case_sensitive": False}, {}),
        ({"prefix": "/v1"}, {"path": "/v1*"}),
        ({"path": "/v1/a"}, {"path": "/v1/a"}),
        ({"path_separated_prefix": "/v1"}, {"path": ("/v1", "/v1/*")}),
        ({"safe_regex": {"regex": "/a|/b"}}, {"path": ("/a", "/b")}),
        ({"safe_regex": {"regex": ".*"}}, {}),
        ({"headers": [{"name": "X-A", "exact_match": "1"}]}, {HEADER: "1"}),
        ({"headers": [{"name": "x-a", "string_match": {"exact": "1"}}]}, {HEADER: "1"}),
        ({"headers": [{"name": "x-a", "present_match": True}]}, {HEADER: "*"}),
        ({"headers": [{"name": "x-a", "present_match": False}]}, {HEADER: None}),
        ({"headers": [{"name": "x-a"}]}, {HEADER: "*"}),
        (
            {"headers": [{"name": "x-a", "present_match": True, "invert_match": True}]},
            {HEADER: None},
        ),
        (
            {"headers": [{"name": "x-a", "present_match": False, "invert_match": True}]},
            {HEADER: "*"},
        ),
        (
            {"headers": [{"name": "x-a", "safe_regex_match": {"regex": r"1\.0|2\.0"}}]},
            {HEADER: ("1.0", "2.0")},
        ),
        ({"headers": [{"name": ":method", "exact_match": "GET"}]}, {"method": "GET"}),
        ({"headers": [{"name": ":authority", "exact_match": "a"}]}, {"header.host": "a"}),
        ({"query_parameters": [{"name": "q", "string_match": {"exact": "1"}}]}, {"query.q": "1"}),
        ({"query_parameters": [{"name": "q", "present_match": True}]}, {"query.q": "*"}),
        ({"query_parameters": [{"name": "q", "present_match": False}]}, {"query.q": None}),
    ],
)
def test_what_can_be_said(match, when):
    """Each condition that has the same meaning here."""
    assert conditions_of(match) == when


@pytest.mark.parametrize(
    "match",
    [
        {"path": "/v1*"},
        {"prefix": "/V1", "case_sensitive": False},
        {"safe_regex": {"regex": "/a.*"}},
        {"safe_regex": {"regex": r"/\d"}},
        {"safe_regex": {"regex": r"/a\*"}},
        {"safe_regex": {"regex": "(a+)+$"}},
        {"connect_matcher": {}},
        {"path_match_policy": {}},
        {"grpc": {}},
        {"tls_context": {}},
        {"dynamic_metadata": [{}]},
        {"filter_state": [{}]},
        {"cookies": [{}]},
        {"headers": [{"name": "x-a", "exact_match": "*"}]},
        {"headers": [{"name": "x-a", "exact_match": "1", "invert_match": True}]},
        {"headers": [{"name": "x-a", "prefix_match": "1"}]},
        {"headers": [{"name": "x-a", "suffix_match": "1"}]},
        {"headers": [{"name": "x-a", "contains_match": "1"}]},
        {"headers": [{"name": "x-a", "range_match": {}}]},
        {"headers": [{"name": "x-a", "safe_regex_match": {"regex": "v[12]"}}]},
        {"headers": [{"name": "x-a", "string_match": {"prefix": "1"}}]},
        {"headers": [{"name": "x-a", "string_match": {"custom": {}}}]},
        {"headers": [{"name": "x-a", "string_match": {"exact": "a", "ignore_case": True}}]},
        {"headers": [{"name": "x-a", "treat_missing_header_as_empty": True}]},
        {"headers": [{"name": ":scheme", "exact_match": "https"}]},
        {"headers": [{"name": ":path", "exact_match": "/a"}]},
        {"headers": [{"name": "x-a", "exact_match": "1"}, {"name": "x-a", "exact_match": "2"}]},
    ],
)
def test_what_cannot_be_said_refuses_the_table(match):
    """Neither the condition is left out, nor the route: its calls would go elsewhere."""
    with pytest.raises(ValueError, match=r"route .*: "):
        plan(route("v2", **match), route("v1"))


SUBSET = {"name": "a", "weight": 1, "metadata_match": {}}
"""A cluster of which only some nodes are meant."""

NEW = b"\xd2\x3e\x00"
"""A field of the number 1002, which no version has."""


def field(number, value):
    """Give a message as a field of another one."""
    return bytes([number << 3 | 2, len(value)]) + value


@pytest.mark.parametrize(
    "match",
    [NEW, field(6, NEW), field(6, field(13, NEW)), field(7, NEW)],
    ids=["match", "header", "text", "query"],
)
def test_a_field_of_tomorrow_refuses_the_table(match):
    """It may be a condition: read without it, the route would match more."""
    table = field(2, field(3, field(1, match) + field(2, field(1, b"a"))))
    (host,) = ROUTE_CONFIGURATION.decode(table)["virtual_hosts"]
    with pytest.raises(ValueError, match="not known here: 1002"):
        plan_of("orders", host)


@pytest.mark.parametrize(
    "entry",
    [
        {"match": {"prefix": "/"}, "redirect": {}},
        {"match": {"prefix": "/"}, "route": {"cluster": "a", "prefix_rewrite": "/b"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "a", "metadata_match": {}}},
        {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [SUBSET]}}},
        {"match": {"prefix": "/"}, "route": {"cluster_header": "x-to"}},
        {"match": {"prefix": "/"}, "route": {"weighted_clusters": {}}},
        {
            "match": {"prefix": "/", "runtime_fraction": {"default_value": {"denominator": 9}}},
            "route": {"cluster": "a"},
        },
    ],
)
def test_actions_that_are_not_done_here(entry):
    """A call that should be rewritten or redirected is not sent somewhere as it is."""
    with pytest.raises(ValueError, match="route '/'"):
        plan(entry)


def test_a_tree_of_matchers_is_refused():
    """Its routes are not in the list of routes."""
    with pytest.raises(ValueError, match="matcher tree"):
        plan_of("orders", {**host("orders"), "matcher": {}})


def test_tables_have_an_end(monkeypatch):
    """Of routes and of clusters; what is beyond it is not even made."""
    with pytest.raises(ValueError, match="1001 routes"):
        plan(*[route("a", path=f"/{number}") for number in range(1001)])
    with pytest.raises(ValueError, match="1001 routes"):
        plan(route({f"c{number}": 1 for number in range(1001)}))
    monkeypatch.setattr(routes_of_xds, "Route", None)
    ends = {f"c{number}": 1 for number in range(100)}
    with pytest.raises(ValueError, match="2000 routes"):
        plan(*[route(ends, path=f"/{number}") for number in range(20)])
    assert len(default_of(host("a", route({f"c{number}": 1 for number in range(2000)})))) == 1000


@pytest.mark.parametrize(
    ("domains", "best"),
    [
        (["*", "orders"], 1),
        (["*", "*.local", "*.shop.local"], 2),
        (["orders.*", "*.shop.local"], 1),
        (["orders.shop.local:80", "*.local"], 0),
        (["*", "orders.*"], 1),
    ],
)
def test_the_most_exact_domain_wins(domains, best):
    """In the order of Envoy: exact, suffix, prefix, any."""
    hosts = [host(domain) for domain in domains]
    names = ("orders.shop.local:80", "orders.shop.local", "orders")
    assert host_for(hosts, names) is hosts[best]


def test_no_domain():
    """No host is taken for want of a better one."""
    assert host_for([host("stock"), host("*.other")], ("orders",)) is None
    assert default_of(host("orders")) == ()


def test_long_names_of_clusters():
    """A key has room for the usual ones, and a digest of the others."""
    usual = "outbound|80|v1|orders.shop.svc.cluster.local"
    assert cluster_key(usual) == f"xds:{usual}"
    long = f"outbound|80|v1|{'o' * 200}.svc.cluster.local"
    assert cluster_key(long) != cluster_key(f"{long}x")
    assert told(plan(route({long: 1, "b": 1})))[0][2] == 0.5


def test_they_are_read_from_messages():
    """What a message says is what the tests above say."""
    entry = route({"v1": 90, "v2": 10}, prefix="/", headers=[{"name": "a", "present_match": False}])
    data = ROUTE_CONFIGURATION.encode({"virtual_hosts": [host("orders", entry)]})
    found = ROUTE_CONFIGURATION.decode(data)["virtual_hosts"][0]
    assert told(plan_of("orders", found)) == [
        ({"header.a": None}, "v1", 0.9),
        ({"header.a": None}, "v2", 0.1),
    ]


def limits(**action):
    """Give what a route with these parts of its action may take."""
    entry = route("v1")
    entry["route"].update(action)
    (found,) = plan_of("orders", host("orders", entry), limited=True).routes or (None,)
    return found and (found.timeout, found.attempt_timeout, found.attempts)


@pytest.mark.parametrize(
    ("action", "found"),
    [
        ({}, None),
        ({"timeout": 0.0}, None),
        ({"timeout": 2.0}, (2.0, None, None)),
        ({"timeout": 2.0, "max_stream_duration": {"max_stream_duration": 1.0}}, (1.0, None, None)),
        ({"timeout": 0.0, "max_stream_duration": {"max_stream_duration": 1.0}}, (1.0, None, None)),
        ({"max_stream_duration": {"max_stream_duration": 0.0}}, None),
        ({"retry_policy": {}}, (None, None, 2)),
        ({"retry_policy": {"num_retries": 0}}, (None, None, 1)),
        ({"retry_policy": {"num_retries": 2, "per_try_timeout": 0.5}}, (None, 0.5, 3)),
    ],
)
def test_limits(action, found):
    """Timeouts and numbers of retries; a zero is no limit, as in Envoy."""
    assert limits(**action) == found


def test_limits_are_asked_for():
    """Without that, a table of one cluster is no table at all."""
    entry = route({"v1": 1, "v2": 1})
    entry["route"]["timeout"] = 2.0
    assert not any(one.is_limit for one in plan(entry).routes)


def test_limits_of_a_virtual_host():
    """Its retry policy is that of routes without one."""
    own, other = route("v1", path="/a"), route("v1")
    own["route"]["retry_policy"] = {"num_retries": 0}
    whole = {**host("orders", own, other), "retry_policy": {"num_retries": 2}}
    found = plan_of("orders", whole, limited=True).routes
    assert [one.attempts for one in found] == [1, 3]


def test_limits_are_read_from_messages():
    """With the numbers of their fields."""
    entry = route("v1")
    entry["route"] |= {
        "timeout": {"seconds": 2},
        "max_stream_duration": {"max_stream_duration": {"seconds": 1, "nanos": 500_000_000}},
        "retry_policy": {"num_retries": 4, "per_try_timeout": {"nanos": 250_000_000}},
    }
    whole = host("orders", entry)
    data = ROUTE_CONFIGURATION.encode({"virtual_hosts": [whole]})
    found = plan_of("orders", ROUTE_CONFIGURATION.decode(data)["virtual_hosts"][0], limited=True)
    (one,) = found.routes
    assert (one.timeout, one.attempt_timeout, one.attempts) == (1.5, 0.25, 5)
