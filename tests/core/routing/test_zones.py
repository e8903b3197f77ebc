"""Calls stay in the caller's zone as long as that costs nothing, and are never lost to it."""

from __future__ import annotations

from collections import Counter

import pytest

from rpcguard import EjectionPolicy, Node, SlowStart, ZonePolicy
from rpcguard._core.policies.routing import Routing
from rpcguard._core.service.draws import NEAR, SPILLED
from rpcguard._core.service.zones import zones_of
from tests.support.stage import REFUSED, SICK, Stage
from tests.support.zones import CASES, ZoneCase, ZoneOutcome, play


def listed(a: int = 2, b: int = 2, **fields: object) -> list[Node]:
    """List nodes of zone a and of zone b."""
    return [
        Node("10.0.0.1", 80, id=f"{zone}{number}", zone=zone, **fields)  # type: ignore[arg-type]
        for zone, count in (("a", a), ("b", b))
        for number in range(count)
    ]


def at_a(**fields: object) -> ZonePolicy:
    """Be a caller in zone a."""
    return ZonePolicy(zone="a", **fields)  # type: ignore[arg-type]


def went(stage: Stage, calls: int = 60, *, mark: str | None = None) -> Counter[str]:
    """Count calls, one after the other, by zone."""
    counts: Counter[str] = Counter()
    for _ in range(calls):
        lease = stage.pick(ask=stage.ask(mark=mark))
        stage.clock.advance(0.01)
        counts[stage.end(lease)[0]] += 1
    return counts


pytestmark = pytest.mark.timeout(600)  # a minute of traffic for each case: seconds of processor


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[ZoneOutcome, ZoneOutcome]]:
    """Play each case blind and with the default policy."""
    return {case.name: tuple(play(case, one) for one in (None, ZonePolicy())) for case in CASES}  # type: ignore[misc]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_call_is_lost_to_a_zone(
    outcomes: dict[str, tuple[ZoneOutcome, ZoneOutcome]], case: ZoneCase
) -> None:
    """Balanced or not, half dead or slow: nothing fails, and the tail is that of a blind caller."""
    blind, near = outcomes[case.name]
    assert near.failed == blind.failed == 0.0
    assert near.p99 <= 1.25 * blind.p99
    assert near.across < 0.6 * blind.across


def test_a_balanced_fleet_stays_at_home(
    outcomes: dict[str, tuple[ZoneOutcome, ZoneOutcome]],
) -> None:
    """At most a fifth of the calls cross zones, of two thirds."""
    blind, near = outcomes["balanced"]
    assert near.across <= 0.2
    assert blind.across > 0.6


def test_few_calls_stay_at_home_from_the_first_on() -> None:
    """No history counts as the caller's own mean, and idle load does not fade in between."""
    stage = Stage(*listed(5, 10), zone=at_a())
    for _ in range(60):
        stage.clock.advance(3.0)
        assert went(stage, 1) == {"a": 1}
    assert stage.service.explain()[-1].why == NEAR


def test_explain_says_that_the_own_zone_was_busier() -> None:
    """Of a node at home with a pile of calls and ten idle ones elsewhere it is one elsewhere."""
    stage = Stage(*listed(1, 10), zone=at_a())
    busy = [stage.pick() for _ in range(40)]
    assert len(busy) == 40
    assert SPILLED in {record.why for record in stage.service.explain()}


def test_the_first_answer_is_what_answers_take() -> None:
    """Whatever was assumed before; the second has half a say, and so on."""
    zones = zones_of(ZonePolicy(zone="a"))
    assert zones is not None
    zones.observe(0.3)
    assert zones.typical == pytest.approx(0.3)
    zones.observe(0.5)
    assert zones.typical == pytest.approx(0.4)


def test_no_list_has_no_hints() -> None:
    """Only nodes can all have some: where none is listed, zones count."""
    zones = zones_of(ZonePolicy(zone="a"))
    assert zones is not None
    assert zones.turn(0) is False
    assert zones.turn(1) is True


def test_a_node_that_moves_between_zones_is_where_it_is_now() -> None:
    """Whether by its zone or by its hints, and whatever else the registry says anew of it."""
    for fields in ({}, {"weight": 2.0}):
        stage = Stage(*listed(1, 1), zone=at_a())
        assert went(stage) == {"a": 60}
        stage.list(Node("10.0.0.1", 80, id="a0", zone="b"), Node("10.0.0.1", 80, id="b0", zone="a"))
        assert went(stage) == {"b": 60}
        stage.list(*(Node("10.0.0.1", 80, id=f"{name}0", zone=name, **fields) for name in "ab"))
        assert went(stage) == {"a": 60}
        assert {view.weight for view in stage.service.nodes()} == {fields.get("weight", 1.0)}


def test_a_strict_zone_tries_no_node_out_elsewhere() -> None:
    """What was ejected elsewhere, while nothing was listed here, waits."""
    policies = {"ejection": EjectionPolicy(jitter=0), "probes": False}
    stage = Stage(*listed(0, 2), zone=at_a(strict=True), **policies)  # type: ignore[arg-type]
    stage.on("b0", SICK, 5)
    stage.list(*listed(2, 2))
    stage.clock.advance(6.0)
    assert went(stage) == {"a": 60}


def test_load_spills() -> None:
    """A node of the own zone may have `spill` times the load of one elsewhere, no more."""
    stage = Stage(*listed(1, 9), zone=at_a(spill=3.0))
    went(stage, 20)
    held = [stage.pick() for _ in range(4)]  # of the nodes elsewhere any that is drawn is idle
    assert [lease.live.node.zone for lease in held] == ["a", "a", "a", "b"]
    for lease in held:
        stage.end(lease)


@pytest.mark.parametrize("gone", ["out", "dropped"])
def test_a_zone_that_is_gone_is_left(gone: str) -> None:
    """And is used again as soon as it is back."""
    stage = Stage(*listed(), zone=at_a())
    if gone == "out":
        for name in ("a0", "a1"):
            stage.service.mark_offline(name, 100.0)
    else:
        stage.list(*listed(0, 2))
        stage.clock.advance(61.0)
        stage.list(*listed(0, 2))
    assert went(stage) == {"b": 60}
    if gone == "out":
        for name in ("a0", "a1"):
            stage.service.mark_online(name)
    else:
        stage.list(*listed())
    assert went(stage)["a"] > 0
    stage.clock.advance(200.0)
    assert went(stage) == {"a": 60}


def test_one_own_node_of_thirty_is_used_and_not_overrun() -> None:
    """It gets calls while it is idle."""
    stage = Stage(*listed(1, 29), zone=at_a())
    assert went(stage) == {"a": 60}


def test_nodes_without_a_zone_are_elsewhere() -> None:
    """They serve where the own zone does not."""
    nodes = [*listed(1, 0), Node("10.0.0.9", 80, id="x0")]
    stage = Stage(*nodes, zone=at_a())
    assert went(stage) == {"a": 60}
    stage.service.mark_offline("a0", 100.0)
    assert went(stage) == {"x": 60}


@pytest.mark.parametrize(("zone", "told"), [("A", 1), ("a", 0), (None, 0)])
def test_a_zone_that_no_node_is_in_is_told_once(zone: str | None, told: int) -> None:
    """Names of zones are spelt in more than one way; every node serves."""
    stage = Stage(*listed(), zone=ZonePolicy(zone=zone))
    stage.list(*listed(3, 3))
    assert stage.kinds().count("strange") == told
    if zone == "A":
        assert set(went(stage)) == {"a", "b"}
        reason = next(event.reason for event in stage.told if event.kind == "strange")
        assert reason == "no node is in the caller's zone 'A'; they are in: a, b"


def test_a_retry_leaves_the_zone() -> None:
    """However many nodes it has: what took the first may have taken them all."""
    for _ in range(20):
        stage = Stage(*listed(40, 2), zone=at_a())
        first = stage.pick()
        assert first.live.node.zone == "a"
        stage.service.settle(first, REFUSED)
        again = stage.service.pick_again((first.live,))
        assert not isinstance(again, str)
        assert again.live.node.zone == "b"


def test_a_strict_zone_is_left_only_when_it_lists_nothing() -> None:
    """Its least bad node comes before any other, and a retry stays too."""
    stage = Stage(*listed(), zone=at_a(strict=True))
    held = [stage.pick() for _ in range(30)]
    assert {lease.live.node.zone for lease in held} == {"a"}
    for lease in held:
        stage.end(lease)
    first = stage.pick()
    stage.service.settle(first, REFUSED)
    again = stage.service.pick_again((first.live,))
    assert not isinstance(again, str)
    assert again.live.node.zone == "a"
    stage.end(again, REFUSED)
    assert went(stage) == {"a": 60}
    stage.list(*listed(0, 2))
    stage.clock.advance(61.0)
    stage.list(*listed(0, 2))
    assert went(stage) == {"b": 60}


def test_of_a_strict_zone_only_its_own_nodes_are_foreseen() -> None:
    """What `rpcguard routes` tells of a call is where it may go."""
    stage = Stage(*listed(2, 2), zone=at_a(strict=True), routing=Routing())
    (foreseen,) = stage.service.foresee(stage.ask())
    assert foreseen.nodes == ("a0", "a1")


def test_what_is_not_enforced_changes_nothing() -> None:
    """Zones are looked at and not followed."""
    stage = Stage(*listed(), zone=at_a(enforce=False))
    assert went(stage)["b"] > 10


def test_zones_are_inside_of_priorities_inside_of_lanes() -> None:
    """Group first, then priority, then zone."""
    nodes = [
        Node("10.0.0.1", 80, id="a-low", zone="a", priority=1),
        Node("10.0.0.1", 80, id="b-high", zone="b", priority=0),
        Node("10.0.0.1", 80, id="c-high", zone="c", priority=0, metadata={"lane": "l"}),
        Node("10.0.0.1", 80, id="a-lane", zone="a", priority=0, metadata={"lane": "l"}),
    ]
    stage = Stage(*nodes, zone=at_a(), routing=Routing())
    assert went(stage) == {"b": 60}
    assert went(stage, mark="l") == {"a": 60}
    stage.service.mark_offline("a-lane", 100.0)
    assert went(stage, mark="l") == {"c": 60}


def test_hints_count_where_all_nodes_have_some() -> None:
    """As Kubernetes' own proxies do it: all or nothing."""
    hinted = [
        Node("10.0.0.1", 80, id="a0", zone="a", metadata={"hints": "b"}),
        Node("10.0.0.1", 80, id="b0", zone="b", metadata={"hints": "c,a"}),
    ]
    stage = Stage(*hinted, zone=at_a())
    assert went(stage) == {"b": 60}
    stage.list(*hinted, Node("10.0.0.1", 80, id="b1", zone="b"))
    assert went(stage) == {"a": 60}
    stage.list(*hinted[:1], Node("10.0.0.1", 80, id="b0", zone="b", metadata={"hints": "a"}))
    assert went(stage) == {"b": 60}
    stage.list(*listed(1, 1))
    assert went(stage) == {"a": 60}
    stage.list(*hinted)
    assert went(stage) == {"b": 60}


def test_a_zone_that_is_all_new_is_not_overrun() -> None:
    """Slow start of the whole own zone: it gets calls, and the others most of them at first."""
    stage = Stage(*listed(0, 6), zone=at_a(), slow_start=SlowStart(window=100.0))
    stage.list(*listed(2, 6))
    assert went(stage)["a"] > 0
    stage.clock.advance(101.0)
    assert went(stage) == {"a": 60}


def test_two_zones_of_one_node_each() -> None:
    """The smallest fleet: the own node, and the other when it fails."""
    stage = Stage(*listed(1, 1), zone=at_a())
    assert went(stage) == {"a": 60}
    lease = stage.pick()
    stage.end(lease, REFUSED)
    assert went(stage) == {"b": 60}
