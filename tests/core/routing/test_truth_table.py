"""Where a call goes: mark, what its lane is like, and what is to be done otherwise."""

from __future__ import annotations

import itertools

import pytest

from rpcguard import EjectionPolicy, Node
from rpcguard._core.policies.routing import Otherwise, Route, Routing
from tests.support.stage import REFUSED, Stage

BASE = [Node("10.0.0.1", 80, id=f"base-{number}") for number in range(2)]
OTHER = [Node("10.0.0.2", 80, id="other-0", metadata={"lane": "other"})]
LANE = [Node("10.0.0.3", 80, id=f"lane-{n}", metadata={"dubbo.tag": "lane"}) for n in range(2)]

CONDITIONS = ("eligible", "half", "listed", "absent")
OTHERWISE: tuple[Otherwise, ...] = ("base", "any", "fail")
MARKS = (None, "lane", "unheard-of")


def staged(condition: str, otherwise: Otherwise, *routes: Route) -> Stage:
    """List two nodes of base, one of another lane, and the lane in some condition."""
    lane = [] if condition == "absent" else LANE
    routing = Routing(rules=routes, otherwise=otherwise)
    stage = Stage(
        *BASE, *OTHER, *lane, routing=routing, ejection=EjectionPolicy(max_share=1.0), probes=False
    )
    out = {"eligible": 0, "half": 1, "listed": 2, "absent": 0}[condition]
    for node in LANE[:out]:
        stage.service.mark_offline(node.id, 100.0)
    return stage


def reached(stage: Stage, mark: str | None, count: int = 60, **headers: str) -> set[str]:
    """Give the groups of nodes that calls reach; empty where a call finds none."""
    groups = set()
    for _ in range(count):
        lease = stage.service.pick(repeatable=True, ask=stage.ask(mark=mark, **headers))
        if lease is None:
            return set()
        groups.add(stage.end(lease).partition("-")[0])
    return groups


def expected(mark: str | None, condition: str, otherwise: Otherwise) -> set[str]:
    """Say what the contract says."""
    if mark is None:
        return {"base"}
    if mark == "lane" and condition in ("eligible", "half"):
        return {"lane"}
    return set() if otherwise == "fail" else {"base"}


@pytest.mark.parametrize(
    ("mark", "condition", "otherwise"), [*itertools.product(MARKS, CONDITIONS, OTHERWISE)]
)
def test_where_a_call_goes(mark: str | None, condition: str, otherwise: Otherwise) -> None:
    """36 rows: three kinds of mark, four conditions of the lane, three ways out."""
    stage = staged(condition, otherwise)
    assert reached(stage, mark) == expected(mark, condition, otherwise)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("otherwise", OTHERWISE)
def test_a_route_to_a_lane_is_as_a_mark(condition: str, otherwise: Otherwise) -> None:
    """What a route leads to is held, and left, by the same rules as a lane."""
    route = Route("r", when={"header.x": "1"}, to={"lane": "lane"}, otherwise=otherwise)
    stage = staged(condition, "base", route)
    assert reached(stage, None, x="1") == expected("lane", condition, otherwise)
    assert reached(stage, None) == {"base"}


@pytest.mark.parametrize(("otherwise", "served"), [("base", {"base"}), ("any", {"lane", "other"})])
def test_any_is_other_lanes_where_base_cannot_serve(otherwise: Otherwise, served: set[str]) -> None:
    """Else it is base, as ever; which is at its least bad where nothing else may be used."""
    stage = staged("eligible", otherwise)
    for node in BASE:
        stage.on(node.id, REFUSED)
    assert reached(stage, "unheard-of") == served


def test_too_few_of_a_lane_are_none() -> None:
    """With `least` the calls of a lane that is half gone go to base, and come back with it."""
    route = Route("r", when={"mark": "lane"}, to={"lane": "lane"}, least=0.6)
    stage = staged("half", "base", route)
    assert reached(stage, "lane") == {"base"}
    stage.service.mark_online("lane-0")
    assert reached(stage, "lane") == {"lane"}
    for node in (*BASE, LANE[0]):
        stage.service.mark_offline(node.id, 100.0)
    assert reached(stage, "lane") == {"lane"}, "few of it are better than what is out"


def test_the_least_bad_of_base_is_used_and_no_lane() -> None:
    """Panic stays inside: unmarked calls never spill into a lane while base is listed."""
    stage = staged("eligible", "base")
    for node in BASE:
        stage.service.mark_offline(node.id, 100.0)
    assert reached(stage, None) == {"base"}
    assert reached(stage, "lane") == {"lane"}
    assert reached(stage, "unheard-of") == {"base"}


def test_where_all_is_out_the_least_bad_of_the_lane_comes_first() -> None:
    """Then that of base; never that of another lane."""
    stage = staged("listed", "base")
    for node in (*BASE, *OTHER):
        stage.service.mark_offline(node.id, 100.0)
    assert reached(stage, "lane") == {"lane"}
    stage.list(*BASE, *OTHER)
    assert reached(stage, "lane") == {"base"}


def test_a_fleet_that_is_tagged_as_a_whole_serves_everybody() -> None:
    """Isolation is worth less than an outage; it is told once."""
    stage = Stage(*OTHER, *LANE, routing=Routing())
    assert reached(stage, None) == {"other", "lane"}
    assert reached(stage, "lane") == {"lane"}
    assert reached(stage, "unheard-of") == {"other", "lane"}
    assert stage.kinds().count("baseless") == 1


def test_base_that_is_drained_as_a_whole_is_no_base() -> None:
    """The registry takes all of base out: then lanes are better than nothing."""
    drained = [Node(one.host, 80, id=one.id, status="draining") for one in BASE]
    stage = Stage(*BASE, *LANE, routing=Routing())
    assert reached(stage, None) == {"base"}
    stage.list(*drained, *LANE)
    assert reached(stage, None) == {"lane"}


def test_without_a_routing_lanes_are_not_looked_at() -> None:
    """Nothing changes for those who do not ask for it."""
    stage = Stage(*BASE, *OTHER, *LANE)
    assert stage.ask(mark="lane") is None
    assert reached(stage, "lane") == {"base", "other", "lane"}
    assert stage.pick().routed is None


def test_a_group_may_be_ejected_wholly() -> None:
    """Its calls go to base, and base's caps do not shield it."""
    stage = Stage(*BASE, *BASE_MORE, *LANE, routing=Routing())
    for node in LANE:
        lease = next(
            one
            for one in iter(lambda: stage.pick(ask=stage.ask(mark="lane")), None)
            if one.live.node.id == node.id or stage.end(one) is None
        )
        stage.end(lease, REFUSED)
    assert {state for id_, state in stage.states().items() if id_.startswith("lane")} == {"ejected"}
    assert reached(stage, "lane") == {"base"}


BASE_MORE = [Node("10.0.0.1", 80, id=f"base-{number}") for number in range(2, 6)]


def test_a_lane_that_vanishes_while_a_call_is_under_way() -> None:
    """The attempt ends as it may, and the next one goes to base."""
    stage = staged("eligible", "base")
    ask = stage.ask(mark="lane")
    lease = stage.pick(ask=ask)
    stage.list(*BASE, *OTHER)
    stage.service.settle(lease, REFUSED)
    again = stage.service.pick_again((lease.live,), ask=ask)
    stage.service.release(lease)
    assert not isinstance(again, str)
    assert stage.end(again).startswith("base")
    assert again.routed is not None
    assert again.routed[:4] == (None, "lane", "base", "base")


def test_a_retry_leaves_the_canary_and_stays_in_the_lane() -> None:
    """A share may have met the fault of the new version; a marked call wants its lane."""
    route = Route("canary", share=0.999, to={"lane": "lane"})
    stage = staged("eligible", "base", route)
    for mark, second in ((None, "base"), ("lane", "lane")):
        ask = stage.ask(mark=mark)
        first = stage.pick(ask=ask)
        if not first.live.node.id.startswith("lane"):
            stage.end(first)
            ask = stage.ask(mark=mark)
            first = stage.pick(ask=ask)
        assert first.live.node.id.startswith("lane")
        stage.service.settle(first, REFUSED)
        again = stage.service.pick_again((first.live,), ask=ask)
        stage.service.release(first)
        assert not isinstance(again, str)
        assert stage.end(again).startswith(second)
        stage.service.mark_online(first.live.node.id)


@pytest.mark.parametrize(("retry", "second"), [("inside", "lane"), ("outside", "base")])
def test_a_route_may_say_where_its_retries_go(retry: str, second: str) -> None:
    """Whatever its share is."""
    route = Route("all", when={"header.x": "1"}, to={"lane": "lane"}, retry=retry)  # type: ignore[arg-type]
    stage = staged("eligible", "base", route)
    ask = stage.ask(x="1")
    first = stage.pick(ask=ask)
    stage.service.settle(first, REFUSED)
    again = stage.service.pick_again((first.live,), ask=ask)
    stage.service.release(first)
    assert not isinstance(again, str)
    assert stage.end(again).startswith(second)


def test_the_last_retry_of_a_lane_of_one_goes_to_base() -> None:
    """Another node of the lane first, then base."""
    stage = Stage(*BASE, LANE[0], routing=Routing())
    ask = stage.ask(mark="lane")
    first = stage.pick(ask=ask)
    stage.service.settle(first, REFUSED)
    again = stage.service.pick_again((first.live,), ask=ask)
    assert not isinstance(again, str)
    assert again.live.node.id.startswith("base")
