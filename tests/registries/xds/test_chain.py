"""From a listener to nodes, by what a control plane said so far; no connection."""

from __future__ import annotations

import math

import pytest

from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries.xds import chain as chain_of_xds
from rpcguard.registries.xds.books import AdsBooks, Missing
from rpcguard.registries.xds.chain import PRIORITIES, Chain
from rpcguard.registries.xds.messages import (
    CLUSTER_TYPE,
    ENDPOINT_TYPE,
    LISTENER_TYPE,
    REQUEST,
    ROUTE_TYPE,
    WRAPPER,
    WRAPPER_TYPE,
)
from rpcguard.registries.xds.resources import TYPES
from rpcguard.testing.clock import ManualClock
from tests.support.xds_messages import (
    aggregate,
    cluster,
    dns_cluster,
    endpoints,
    host,
    listener,
    places,
    response,
    route,
    table,
)


class Talk:
    """One service, followed through the books."""

    def __init__(self, start="listener", *, routed=False, patience=15.0):
        self.clock = ManualClock()
        self.books = AdsBooks({"id": "me"}, patience=patience, shown="xds://x", clock=self.clock)
        self.chain = Chain("orders", "orders", start=start, faults=FaultLog())
        self.chain.routed = routed
        self.books.begin()
        self.look()

    def look(self):
        names = {url: set() for url in TYPES}

        def find(url, name):
            names[url].add(name)
            return self.books.find(url, name)

        found = self.chain.walk(find)
        self.books.want(names)
        return found

    def say(self, url, version, *resources, **more):
        self.books.take(response(url, version, *resources, **more))
        return self.look()

    def asked(self):
        return [REQUEST.decode(request) for request in self.books.requests()]


def addresses(found):
    return [node.address for node in found.snapshot.nodes]


def test_step_by_step():
    """Each answer leads to the next question; nothing is told before all is there."""
    talk = Talk(routed=True)
    assert [one["resource_names"] for one in talk.asked()] == [["orders"]]
    assert talk.say(LISTENER_TYPE, "1", listener("orders", "table")) is None
    kinds = [(one["type_url"], one["resource_names"]) for one in talk.asked()]
    assert kinds == [(LISTENER_TYPE, ["orders"]), (ROUTE_TYPE, ["table"])]
    assert talk.say(ROUTE_TYPE, "1", table("table", "orders", route({"a": 9, "b": 1}))) is None
    assert (CLUSTER_TYPE, ["a", "b"]) in [
        (one["type_url"], one["resource_names"]) for one in talk.asked()
    ]
    assert talk.say(CLUSTER_TYPE, "1", cluster("a"), cluster("b", "of-b")) is None
    assert talk.say(ENDPOINT_TYPE, "1", endpoints("a", places(("10.0.0.1", 1)))) is None
    found = talk.say(
        ENDPOINT_TYPE, "2", endpoints("of-b", places(("10.0.0.1", 1), ("10.0.0.2", 2)))
    )
    assert addresses(found) == ["10.0.0.1:1", "10.0.0.2:2"]
    marks = [dict(node.metadata) for node in found.snapshot.nodes]
    assert marks == [{"xds:a": "yes", "xds:b": "yes"}, {"xds:b": "yes"}]
    assert [one.share for one in found.routes] == [0.9, 0.1]


def test_nothing_new_is_the_very_same():
    """Istio sends all of a type when one has changed."""
    talk = Talk("cluster")
    talk.say(CLUSTER_TYPE, "1", cluster("orders"))
    first = talk.say(ENDPOINT_TYPE, "1", endpoints("orders", places(("10.0.0.1", 1))))
    assert first is not None
    assert talk.say(ENDPOINT_TYPE, "2", endpoints("orders", places(("10.0.0.1", 1)))) is first
    assert talk.say(CLUSTER_TYPE, "2", cluster("orders")) is first
    other = talk.say(ENDPOINT_TYPE, "3", endpoints("orders", places(("10.0.0.1", 2))))
    assert other is not first


def test_a_table_of_a_whole_mesh_is_searched_once(monkeypatch):
    """Not for each answer of any type: each service would look through it."""
    searched = []
    real = chain_of_xds.host_for
    monkeypatch.setattr(
        chain_of_xds, "host_for", lambda *about: searched.append(about) or real(*about)
    )
    talk = Talk()
    hosts = [host("other", route("b")), host("orders", route("a"))]
    talk.say(LISTENER_TYPE, "1", listener("orders", hosts=hosts))
    talk.say(CLUSTER_TYPE, "1", cluster("a"))
    assert talk.say(ENDPOINT_TYPE, "1", endpoints("a", places(("10.0.0.1", 1)))) is not None
    assert len(searched) == 1
    talk.say(LISTENER_TYPE, "2", listener("orders", hosts=[*hosts, host("more", route("c"))]))
    assert len(searched) == 2


def test_who_looks_at_no_routes_gets_the_default():
    """Nodes that a condition alone leads to are not among his."""
    talk = Talk()
    tester = [{"name": "x-user", "exact_match": "alice"}]
    hosts = [host("orders", route("b", prefix="/", headers=tester), route("a"))]
    talk.say(LISTENER_TYPE, "1", listener("orders", hosts=hosts))
    assert (CLUSTER_TYPE, ["a"]) in [
        (one["type_url"], one["resource_names"]) for one in talk.asked()
    ]
    talk.say(CLUSTER_TYPE, "1", cluster("a"))
    found = talk.say(ENDPOINT_TYPE, "1", endpoints("a", places(("10.0.0.1", 1))))
    assert found is not None
    assert (addresses(found), found.routes) == (["10.0.0.1:1"], ())
    talk.chain.routed = True
    assert talk.look() is None


def test_a_table_that_is_refused_leaves_the_last(caplog):
    """At first its default alone is known; later the routes before it stay."""
    talk = Talk(routed=True)

    def hosts(*more):
        return listener("orders", hosts=[host("orders", *more, route("a"))])

    odd = route("b", safe_regex={"regex": "/v[0-9]"})
    talk.say(LISTENER_TYPE, "1", hosts(odd))
    talk.say(CLUSTER_TYPE, "1", cluster("a"), cluster("b"))
    found = talk.say(ENDPOINT_TYPE, "1", endpoints("a", places(("10.0.0.1", 1))))
    assert found is not None
    assert (addresses(found), found.routes) == (["10.0.0.1:1"], ())
    assert "the last routes stay" in caplog.text
    talk.say(LISTENER_TYPE, "2", hosts(route("b", path="/b")))
    talk.say(CLUSTER_TYPE, "2", cluster("a"), cluster("b"))
    found = talk.say(ENDPOINT_TYPE, "2", endpoints("b", places(("10.0.0.2", 2))))
    assert found is not None
    assert [one.name for one in found.routes] == ["/b", "/"]
    again = talk.say(LISTENER_TYPE, "3", hosts(odd))
    assert again is not None
    assert again.routes == found.routes


def test_aggregates_come_in_turn():
    """Clusters within clusters; a circle ends; a name is a node."""
    talk = Talk("cluster")
    talk.say(
        *(CLUSTER_TYPE, "1"),
        aggregate("orders", "a", "inner", "orders"),
    )
    talk.say(CLUSTER_TYPE, "2", aggregate("orders", "a", "inner", "orders"), cluster("a"))
    some = aggregate("orders", "a", "inner", "orders"), cluster("a"), aggregate("inner", "b", "c")
    talk.say(CLUSTER_TYPE, "3", *some)
    talk.say(CLUSTER_TYPE, "4", *some, cluster("b"), dns_cluster("c", "backup.test", 80))
    talk.say(ENDPOINT_TYPE, "1", endpoints("a", places(("10.0.0.1", 1))))
    found = talk.say(ENDPOINT_TYPE, "2", endpoints("b", places(("10.0.0.2", 2), priority=3)))
    assert found is not None
    levels = [(node.address, node.priority) for node in found.snapshot.nodes]
    assert levels == [
        ("10.0.0.1:1", 0),
        ("10.0.0.2:2", PRIORITIES + 3),
        ("backup.test:80", 2 * PRIORITIES),
    ]


def test_a_cluster_of_several_aggregates_has_its_first_place():
    """It is looked at once, however many ways lead to it: more than any walk can go."""
    talk = Talk("cluster")
    levels = [[f"{letter}{number}" for number in range(8)] for letter in "abcdefghijklm"]
    some = [
        aggregate(name, *below)
        for above, below in zip([["orders"], *levels], levels, strict=False)
        for name in above
    ]
    leaves = [cluster(name) for name in levels[-1]]
    for _ in [0, *levels]:
        talk.say(CLUSTER_TYPE, "1", *some, *leaves)
    listed = [
        endpoints(name, places(("10.0.0.1", port))) for port, name in enumerate(levels[-1], 1)
    ]
    found = talk.say(ENDPOINT_TYPE, "1", *listed)
    assert found is not None
    told = [(node.port, node.priority) for node in found.snapshot.nodes]
    assert told == [(number + 1, number * PRIORITIES) for number in range(8)]


@pytest.mark.parametrize("start", ["listener", "cluster", "endpoints"])
def test_what_does_not_come_is_absent(start):
    """Not before its time; then the service is unknown, or a cluster of it has no nodes."""
    talk = Talk(start)
    talk.clock.advance(14.9)
    assert talk.look() is None
    assert talk.books.next_due == pytest.approx(talk.clock() + 0.1)
    talk.clock.advance(0.2)
    found = talk.look()
    assert found is not None
    assert talk.books.next_due == math.inf
    if start == "cluster":
        assert found.snapshot.left_out == "there is no cluster 'orders'"
    assert found.snapshot.known == (start == "cluster")
    kind = {"listener": LISTENER_TYPE, "cluster": CLUSTER_TYPE, "endpoints": ENDPOINT_TYPE}[start]
    one = {LISTENER_TYPE: listener("orders", "table"), CLUSTER_TYPE: cluster("orders")}
    talk.say(kind, "1", one.get(kind, endpoints("orders")))
    found = talk.look()
    assert (found is None) == (start != "endpoints")


@pytest.mark.parametrize("missing", ["table", "host", "endpoints"])
def test_what_is_absent_is_named(missing):
    """A list that is empty for that reason says so."""
    talk = Talk()
    talk.say(LISTENER_TYPE, "1", listener("orders", "table"))
    if missing != "table":
        domain = "stock" if missing == "host" else "orders"
        talk.say(ROUTE_TYPE, "1", table("table", domain, route("a")))
        talk.say(CLUSTER_TYPE, "1", cluster("a"))
    talk.clock.advance(16)
    found = talk.look()
    assert found is not None
    assert found.snapshot.known
    words = {"table": "route configuration 'table'", "host": "virtual host for 'orders'"}
    assert words.get(missing, "endpoints 'a'") in found.snapshot.left_out


def test_a_whole_list_without_a_name_says_no():
    """Of listeners and clusters an answer has all: a second later what is not in it is absent."""
    talk = Talk()
    talk.asked()
    assert talk.say(LISTENER_TYPE, "1") is None
    talk.clock.advance(1.1)
    found = talk.look()
    assert found is not None
    assert not found.snapshot.known


def test_a_resource_error_says_no():
    """At once."""
    talk = Talk()
    talk.asked()
    error = {"resource_name": {"name": "orders"}, "error_detail": {"code": 5, "message": "none"}}
    found = talk.say(LISTENER_TYPE, "1", resource_errors=[error])
    assert found is not None
    assert not found.snapshot.known


def full():
    talk = Talk("cluster")
    talk.asked()
    talk.say(CLUSTER_TYPE, "1", cluster("orders"))
    found = talk.say(ENDPOINT_TYPE, "1", endpoints("orders", places(("10.0.0.1", 1))))
    assert found is not None
    talk.asked()
    return talk, found


def test_what_was_deleted_stays(caplog):
    """A cluster that vanishes takes nobody's nodes away; one line says so."""
    talk, found = full()
    assert talk.say(CLUSTER_TYPE, "2") is found
    assert "Cluster 'orders': it was deleted; the last version stays" in caplog.text
    assert [one.get("error_detail") for one in talk.asked()] == [None]


def test_a_denied_resource_stays(caplog):
    """An error about what is held is told, and changes nothing."""
    talk, found = full()
    error = {"resource_name": {"name": "orders"}, "error_detail": {"code": 7, "message": "no!"}}
    assert talk.say(ENDPOINT_TYPE, "2", resource_errors=[error]) is found
    assert "'orders': no!; the last version stays" in caplog.text


def test_good_ones_are_taken_beside_a_bad_one():
    """The answer is refused, with the name and the reason; its good part counts (A46)."""
    talk = Talk()
    hosts = [host("orders", route({"a": 1, "b": 1}))]
    talk.say(LISTENER_TYPE, "1", listener("orders", hosts=hosts))
    talk.asked()
    bad = cluster("b")[:-1]
    talk.say(CLUSTER_TYPE, "1", cluster("a"), bad)
    told = {one["type_url"]: one for one in talk.asked()}
    assert "error_detail" in told[CLUSTER_TYPE]
    assert "version_info" not in told[CLUSTER_TYPE]
    assert told[ENDPOINT_TYPE]["resource_names"] == ["a"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x0a\x06orders\x10\x04", "type 4"),
        (b"\x0a\x06orders\xb2\x02\x03\x0a\x01x", "type 'x'"),
        (b"\x0a\x06orders\x0a", "no message"),
    ],
)
def test_clusters_of_no_use(value, reason):
    """The reason goes back, and nothing is waited for any longer."""
    talk = Talk("cluster")
    talk.asked()
    found = talk.say(CLUSTER_TYPE, "1", value)
    (request,) = talk.asked()
    assert reason in request["error_detail"]["message"]
    assert (found is not None) == (reason != "no message")


@pytest.mark.parametrize("manager", ["none", "empty"])
def test_listeners_of_no_use(manager):
    """One that is made for a proxy, one without routes."""
    talk = Talk()
    talk.asked()
    value = b"\x0a\x06orders"
    if manager == "empty":
        value = listener("orders", "")
    talk.say(LISTENER_TYPE, "1", value)
    (request,) = talk.asked()
    wanted = {"none": "made for a proxy", "empty": "names no routes"}
    assert wanted[manager] in request["error_detail"]["message"]


def test_wrapped_resources():
    """One in the wrapper of its name and version is the same."""
    talk = Talk("endpoints")
    value = endpoints("orders", places(("10.0.0.1", 1)))
    inner = {"type_url": ENDPOINT_TYPE, "value": value}
    packed = {"type_url": WRAPPER_TYPE, "value": WRAPPER.encode({"resource": inner})}
    talk.books.take(response(ENDPOINT_TYPE, "1", resources=[packed]))
    assert addresses(talk.look()) == ["10.0.0.1:1"]


def test_a_sign_of_life(caplog):
    """A wrapper with a name alone says that the resource is still there; it is not deleted."""
    talk, found = full()
    alive = {"type_url": WRAPPER_TYPE, "value": WRAPPER.encode({"name": "orders"})}
    talk.books.take(response(CLUSTER_TYPE, "2", resources=[alive]))
    assert talk.look() is found
    assert "error_detail" not in talk.asked()[0]
    assert "deleted" not in caplog.text


def test_types_that_were_not_asked_for():
    """An answer of one is nothing, and a resource of one in another answer is refused."""
    talk = Talk("endpoints")
    talk.asked()
    talk.books.take(response("type.googleapis.com/other", "1", b"\xff"))
    talk.books.take(response(CLUSTER_TYPE, "1", cluster("orders")))
    assert talk.asked() == []
    wrong = {"type_url": CLUSTER_TYPE, "value": cluster("orders")}
    talk.books.take(response(ENDPOINT_TYPE, "1", resources=[wrong]))
    assert talk.look() is None
    (request,) = talk.asked()
    assert "of the type 'type.googleapis.com/envoy.config.cluster" in str(request["error_detail"])


def test_a_resource_that_is_there_twice():
    """The answer is refused, and the first one counts."""
    talk = Talk("endpoints")
    twice = [endpoints("orders", places(("10.0.0.1", port))) for port in (1, 2)]
    assert addresses(talk.say(ENDPOINT_TYPE, "1", *twice)) == ["10.0.0.1:1"]
    assert "orders: it is there twice" in talk.asked()[0]["error_detail"]["message"]


def test_refusals_have_pauses():
    """The same again at once is refused a second later; what is good is acknowledged at once."""
    talk = Talk("endpoints")
    bad, good = endpoints("orders", places(("", 1))), endpoints("orders", places(("10.0.0.1", 1)))
    talk.say(ENDPOINT_TYPE, "1", bad)
    assert ["error_detail" in one for one in talk.asked()] == [True]
    talk.clock.advance(0.4)
    talk.say(ENDPOINT_TYPE, "2", bad)
    assert talk.asked() == []
    assert talk.books.next_due == pytest.approx(talk.clock() + 0.6)
    talk.clock.advance(0.6)
    assert [one["response_nonce"] for one in talk.asked()] == ["n2"]
    talk.say(ENDPOINT_TYPE, "3", bad)
    talk.say(ENDPOINT_TYPE, "4", good)
    assert [one["version_info"] for one in talk.asked()] == ["4"]


def test_what_is_wanted_again_is_still_there():
    """A type that nobody wants goes on to be asked for, and the same names are not asked twice."""
    talk, _ = full()
    talk.asked()
    assert addresses(talk.say(CLUSTER_TYPE, "2", dns_cluster("orders", "x.test", 80))) == [
        "x.test:80"
    ]
    talk.asked()
    moved = endpoints("orders", places(("10.0.0.2", 2)))
    talk.say(ENDPOINT_TYPE, "2", moved)
    talk.asked()
    assert addresses(talk.say(CLUSTER_TYPE, "3", cluster("orders"))) == ["10.0.0.2:2"]


def test_priorities_have_an_end():
    """One beyond it would come after the next cluster of an aggregate."""
    talk = Talk("endpoints")
    talk.say(ENDPOINT_TYPE, "1", endpoints("orders", places(("10.0.0.1", 1), priority=129)))
    assert "priority 129 is more than 128" in talk.asked()[0]["error_detail"]["message"]


def test_labels_are_text_as_json_has_it():
    """In a message each number is a double, and 2 would be 2.0."""
    talk = Talk("endpoints")
    spread = places(("10.0.0.1", 1))
    labels = {"version": 2, "share": 0.5, "canary": True}
    spread["lb_endpoints"][0]["metadata"] = {"filter_metadata": {"envoy.lb": labels}}
    found = talk.say(ENDPOINT_TYPE, "1", endpoints("orders", spread))
    assert found is not None
    (node,) = found.snapshot.nodes
    assert node.version == "2"
    assert dict(node.metadata) == {"version": "2", "share": "0.5", "canary": "true"}


def test_too_many_resources():
    """Refused as a whole; what was held stays."""
    talk, found = full()
    talk.books.take(response(CLUSTER_TYPE, "2", *[b""] * 10_001))
    assert talk.look() is found
    assert "10001 resources" in talk.asked()[0]["error_detail"]["message"]


def test_a_new_stream_asks_anew():
    """Without the old version, with the node; what is missing is missing from now on."""
    talk, found = full()
    talk.clock.advance(100)
    talk.books.end()
    assert talk.books.find(ENDPOINT_TYPE, "other") is Missing.PENDING
    talk.books.begin()
    assert talk.look() is found
    requests = talk.asked()
    assert [one["resource_names"] for one in requests] == [["orders"], ["orders"]]
    assert not [one for one in requests if "version_info" in one or "response_nonce" in one]
    assert requests[0]["node"] == {"id": "me"}
    assert "node" not in requests[1]


def test_nobody_asks_for_everything():
    """A list of no names would mean all that there is: the old names stay."""
    talk, _ = full()
    talk.books.want({})
    assert talk.asked() == []
    talk.books.take(response(CLUSTER_TYPE, "2", cluster("orders")))
    assert [one["resource_names"] for one in talk.asked()] == [["orders"]]
    assert talk.books.holds_some
    talk.books.begin()
    talk.books.want({})
    assert not talk.books.holds_some
