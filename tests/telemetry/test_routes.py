"""What is told of lanes, routes, zones and deadlines, as the real SDK collects it."""

from __future__ import annotations

import pytest

import rpcguard
from rpcguard.testing import ScriptedRegistry
from tests.support.calls import PATIENCE, settle
from tests.support.library import NoAvailableNode
from tests.support.telemetry import labels

RULES = [
    rpcguard.Route("testers", when={"header.x-tester": "*"}, to={"version": "2"}),
    rpcguard.Route("gone", when={"path": "/gone"}, to={"version": "3"}),
    rpcguard.Route("fails", when={"path": "/fails"}, to={"version": "3"}, otherwise="fail"),
]


def listed(provider, *, zone: str | None = None) -> ScriptedRegistry:
    """List a node of version 1, and one of version 2 that is in a lane, in zones of their own."""
    old, new = (provider().port for _ in "12")
    nodes = [
        rpcguard.Node("127.0.0.1", old, version="1", zone=zone),
        rpcguard.Node("127.0.0.1", new, version="2", zone="far", metadata={"lane": "c2"}),
    ]
    return ScriptedRegistry({"orders": nodes})


async def test_calls_of_routes_and_lanes_are_counted_by_where_they_went(
    calling, recorded, provider
):
    """To the nodes they are meant for, to base for want of these, or nowhere; others are not."""
    async with calling(listed(provider), routing=rpcguard.Routing(rules=RULES)) as caller:
        await caller.get()
        await caller.get(headers={"x-tester": "alice"}, extensions={"rpcguard": {"lane": "c2"}})
        await caller.get("/gone")
        with pytest.raises(NoAvailableNode):
            await caller.get("/fails")
    assert recorded.points("rpcguard.routed") == {
        labels(server_address="orders", rpcguard_route=route, rpcguard_result=result): 1
        for route, result in (("testers", "group"), ("gone", "base"), ("fails", "failed"))
    }


async def test_calls_that_go_anywhere_are_counted_so(calling, recorded, provider):
    """Where no node without a lane is listed, and the lane that is asked for is not there."""
    node = rpcguard.Node("127.0.0.1", provider().port, metadata={"lane": "c2"})
    registry = ScriptedRegistry({"orders": [node]})
    async with calling(registry, routing=rpcguard.Routing(otherwise="any")) as caller:
        await caller.get(extensions={"rpcguard": {"lane": "other"}})
    assert recorded.points("rpcguard.routed") == {
        labels(server_address="orders", rpcguard_route="", rpcguard_result="any"): 1
    }


async def test_a_span_tells_route_lane_and_fallback(calling, recorded, provider):
    """What is so of its attempt, and nothing of an ordinary call."""
    async with calling(listed(provider), routing=rpcguard.Routing(rules=RULES)) as caller:
        await caller.get(headers={"x-tester": "alice"}, extensions={"rpcguard": {"lane": "c2"}})
        await caller.get("/gone")
        await caller.get(extensions={"rpcguard": {"lane": "unheard-of"}})
        await caller.get()
    names = ("rpcguard.route", "rpcguard.lane", "rpcguard.lane.fallback")
    assert [tuple(span.attributes.get(name) for name in names) for span in recorded.spans()] == [
        ("testers", "c2", None),
        ("gone", None, "base"),
        (None, "unheard-of", "base"),
        (None, None, None),
    ]


async def test_marks_are_counted_by_where_they_stood(calling, recorded, provider):
    """Whether a node has the lane, and whether it is a mark at all."""
    routing = rpcguard.Routing(read=["x-mse-tag"])
    async with calling(listed(provider), routing=routing) as caller:
        await settle(caller.transport.wait_ready("orders", timeout=PATIENCE))
        for mark in ("c2", "unheard-of", "no mark", "m" * 10_000):
            await caller.get(headers={"x-mse-tag": mark})
        await caller.get(extensions={"rpcguard": {"lane": "c2"}})
        await caller.get()
    assert recorded.points("rpcguard.marks") == {
        labels(rpcguard_mark_source="header", rpcguard_mark_result="used"): 1,
        labels(rpcguard_mark_source="header", rpcguard_mark_result="unknown"): 1,
        labels(rpcguard_mark_source="header", rpcguard_mark_result="malformed"): 2,
        labels(rpcguard_mark_source="option", rpcguard_mark_result="used"): 1,
    }


async def test_attempts_are_counted_by_zone(calling, recorded, provider):
    """Where the caller has one; a lane elsewhere is left for none."""
    zone = rpcguard.ZonePolicy(zone="near")
    registry = listed(provider, zone="near")
    async with calling(registry, zone=zone, routing=rpcguard.Routing()) as caller:
        await caller.get()
        await caller.get(extensions={"rpcguard": {"lane": "c2"}})
    assert recorded.points("rpcguard.zone.picks") == {
        labels(server_address="orders", rpcguard_zone=zone): 1 for zone in ("own", "other")
    }


async def test_a_span_tells_what_is_left_of_its_deadline(calling, recorded, provider):
    """In seconds, where there is one."""
    async with calling(listed(provider)) as caller:
        await caller.get(extensions={"rpcguard": {"deadline": 30.0}})
    (span,) = recorded.spans()
    assert 0.0 < span.attributes["rpcguard.deadline.left"] <= 30.0
