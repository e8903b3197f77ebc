"""What two threads do to one transport in the same moment, at each line of what one of them does.

The files whose lines count are few in each test: another place to stop is a fiftieth of a second.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from rpcguard._core.policies.bundle import Policies
from rpcguard._core.policies.routing import Route, Routing
from rpcguard._discovery.background import background
from rpcguard._discovery.following import Subscriptions
from rpcguard._discovery.rules import Rules
from tests.support.calls import eventually, registry
from tests.support.interleavings import interleavings
from tests.support.library import Transport, TransportClosed, http
from tests.support.stage import Stage

if TYPE_CHECKING:
    from concurrent.futures import Future


class Child(http.BaseTransport):
    """A node that answers, and counts its ends."""

    def __init__(self) -> None:
        self.closed = 0

    def handle_request(self, request: http.Request) -> http.Response:
        return http.Response(200, content=b"ok")

    def close(self) -> None:
        self.closed += 1


class Desk:
    """A transport, and the children that were made for it."""

    def __init__(self, make_node) -> None:
        self.children: list[Child] = []
        self.transport = Transport(registry(make_node()), node_transport=self.make)

    def make(self, _: object) -> Child:
        self.children.append(Child())
        return self.children[-1]

    def call(self) -> None:
        request = http.Request("GET", "http://orders/")
        self.transport.handle_request(request).close()


def lines_of(*files: str):
    return lambda filename: filename.endswith(files)


@pytest.fixture
def make_desk(make_node):
    node = make_node()
    return functools.partial(Desk, lambda: node)


def test_a_service_that_is_first_called_as_the_transport_closes_is_closed(make_desk):
    """Its first call is served or refused, and waits for no list that nobody follows any more."""
    desks = []

    def scene():
        desks.append(make_desk())
        return desks[-1].call, desks[-1].transport.close

    for where, raised in interleavings(scene, lines_of("/_transport/services.py")):
        assert all(isinstance(error, TransportClosed) for error in raised), where
        assert all(service.closed for service in desks[-1].transport._services), where
        assert [child.closed for child in desks[-1].children] in ([], [1]), where


def test_of_two_children_that_are_made_for_one_node_one_is_closed(make_desk):
    """Two threads make their first call to it."""
    desks = []

    def scene():
        desks.append(make_desk())
        return desks[-1].call, desks[-1].call

    for where, raised in interleavings(scene, lines_of("/_transport/kept.py")):
        assert not raised, where
        assert [child.closed for child in desks[-1].children].count(0) == 1, where
        desks[-1].transport.close()
        assert [child.closed for child in desks[-1].children] in ([1], [1, 1]), where


def test_a_child_that_is_made_as_all_are_closed_is_closed(make_desk):
    """A call looks whether it is cut, and makes one, while another thread closes all there is."""
    desks = []

    def scene():
        desks.append(make_desk())
        desks[-1].transport._drain_timeout = 0.0  # it cuts the call, which stands still
        return desks[-1].call, desks[-1].transport.close

    for where, raised in interleavings(scene, lines_of("/_transport/kept.py")):
        assert all(isinstance(error, TransportClosed) for error in raised), where
        assert [child.closed for child in desks[-1].children] in ([], [1]), where


@pytest.mark.parametrize("other", ["close", "retire"])
def test_what_another_thread_closes_meanwhile_is_closed_once(other, make_desk):
    """Two close the transport, or a node leaves as it closes."""
    desks = []

    def scene():
        desk = make_desk()
        desks.append(desk)
        desk.call()
        ((live, _),) = desk.transport._children
        retire = functools.partial(desk.transport.retire, live)
        return desk.transport.close, retire if other == "retire" else desk.transport.close

    ours = lines_of("/_transport/sync.py", "/_transport/kept.py", "/_discovery/following.py")
    for where, raised in interleavings(scene, ours):
        assert not raised, where
        assert [child.closed for child in desks[-1].children] == [1], where


def test_nobody_looks_at_idle_connections_once_all_is_closed(make_desk, monkeypatch, swept_often):
    """Two threads make the first calls, and each may begin to."""
    desks, looking = [], []

    def spawn(*task: object) -> Future[object]:
        looking.append(background().spawn(*task))
        return looking[-1]

    def scene():
        desks.append(make_desk())
        return desks[-1].call, desks[-1].call

    monkeypatch.setattr("rpcguard._transport.sync.background", lambda: SimpleNamespace(spawn=spawn))
    for where, raised in interleavings(scene, lines_of("/_transport/sync.py")):
        assert not raised, where
        desks[-1].transport.close()
    assert len(looking) > len(desks), "no two began at once"
    eventually(lambda: all(one.done() for one in looking), "somebody goes on to look")


class Loop:
    """The discovery loop, as far as rules are concerned: what was begun there and not ended."""

    def __init__(self) -> None:
        self.running = 0

    def __call__(self) -> Loop:
        return self

    def spawn(self, *_: object) -> Loop:
        self.running += 1
        return self

    def cancel(self) -> None:
        self.running -= 1


@pytest.fixture
def loop(monkeypatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr("rpcguard._discovery.rules.background", loop)
    return loop


def rules_of(path) -> Rules:
    routing = Routing(source=f"file://{path}")
    following = Subscriptions(
        "static://127.0.0.1:1", policy=Policies().membership, on_refresh=lambda *_: None
    )
    return Rules(routing, following, on_refresh=lambda _: None)


def test_rules_are_not_followed_for_a_service_that_is_made_as_all_stops(loop, tmp_path):
    """Nobody would end that any more."""
    service = Stage("a", routing=Routing()).service

    def scene():
        rules = rules_of(tmp_path / "routes.json")
        return functools.partial(rules.follow, service), rules.stop

    for where, raised in interleavings(scene, lines_of("/_discovery/rules.py")):
        assert not raised, where
        assert loop.running == 0, where


def test_rules_reach_every_service_though_another_comes_meanwhile(loop, tmp_path):
    """Services are called for the first time by any thread."""
    services = [Stage("a", routing=Routing()).service for _ in range(3)]
    for number, service in enumerate(services):
        service.name = f"orders-{number}"
    routes = (Route("canary", to={"version": "2"}),)

    def scene():
        rules = rules_of(tmp_path / "routes.json")
        for service in services:
            service.go_by(())
        for service in services[:2]:
            rules.follow(service)
        take = functools.partial(rules._take, "", routes)
        return take, functools.partial(rules.follow, services[2])

    for where, raised in interleavings(scene, lines_of("/_discovery/rules.py", "/weakref.py")):
        assert not raised, where
        assert [service.rules for service in services] == [routes] * 3, where
