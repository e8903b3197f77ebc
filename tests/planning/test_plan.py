"""How many nodes may go at once, rehearsed with the callers' own rules."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import accumulate

import pytest

from rpcguard._planning.batches import Batch, lost_by_formula
from rpcguard._planning.dialects import argo, as_dict, batches, kubernetes, order_of
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout
from rpcguard._planning.plan import plan_release
from rpcguard._planning.rehearsal import Rehearsed, rehearse, shortened

SHORT = Rollout(away=4.0, cold=4.0, watch=10.0)


def fleet(count: int, load: float, zones: str = "") -> Fleet:
    nodes = [
        PlannedNode(id=f"n{number}", zone=zones[number % len(zones)] if zones else None)
        for number in range(count)
    ]
    return Fleet(nodes=tuple(nodes), load=load)


@pytest.mark.timeout(240)  # a dozen rehearsals: half a minute of work
def test_twenty_nodes_at_sixty_percent_go_five_at_a_time():
    """The ceiling of 80 % decides; rows say how each figure was found."""
    plan = plan_release(fleet(20, 0.6), SHORT, Bounds())
    assert plan.advised is not None
    assert plan.advised.size == 5
    assert [row.how for row in plan.rows] == ["simulated"] * len(plan.rows)
    assert plan.advised.lost == 0
    assert plan.advised.p99 is not None
    assert plan.advised.p99 < 2.0
    over = next(row for row in plan.rows if row.size == 10)
    assert "left 120% > ceiling 80%" in over.objections


@pytest.mark.timeout(240)  # a dozen rehearsals: half a minute of work
def test_what_is_lost_and_slow_grows_with_the_batch():
    """More nodes away never leave more room, and beyond all that is left calls fail."""
    rows = plan_release(fleet(20, 0.7), SHORT, Bounds()).rows
    assert [row.left for row in rows] == sorted(row.left for row in rows)
    lost = {row.size: row.lost for row in rows}
    assert lost[1] == 0 < lost[max(lost)]


def test_the_same_seed_gives_the_same_plan():
    """A plan is no matter of luck."""
    first, second = (plan_release(fleet(8, 0.5), SHORT, Bounds(), seed=7) for _ in range(2))
    assert as_dict(first) == as_dict(second)


def test_a_thousand_nodes_are_played_at_scale():
    """Small batches of them are computed, larger ones are played with forty nodes."""
    plan = plan_release(fleet(1000, 0.5), SHORT, Bounds(largest=50))
    how = {row.size: row.how for row in plan.rows}
    assert how[1] == "by formula"
    assert how[50] == "simulated"
    assert plan.advised is not None
    assert plan.advised.size == 50


def test_no_plan_says_how_many_nodes_are_missing():
    """One of three at 60 % leaves 90 %: a fourth node makes it 80 % of three."""
    plan = plan_release(fleet(3, 0.6), SHORT, Bounds())
    assert plan.advised is None
    assert plan.missing == 1
    grown = Fleet(nodes=fleet(4, 0.6).nodes, load=0.6 * 3 / 4)
    assert plan_release(grown, SHORT, Bounds()).advised is not None


def test_a_service_of_one_node_has_no_plan():
    """Whoever restarts the only node loses what comes meanwhile."""
    plan = plan_release(fleet(1, 0.1), SHORT, Bounds())
    assert plan.advised is None
    assert plan.missing == 1


def test_an_idle_fleet_can_go_at_once():
    """Without load nothing is lost, and nothing is simulated wrongly."""
    plan = plan_release(fleet(4, 0.0), Rollout(canary=0), Bounds())
    assert plan.advised is not None
    assert plan.advised.size == 4


def test_the_rules_of_the_callers_are_named():
    """Half of the list at once meets three of rpcguard's own rules."""
    brief = replace(SHORT, slow_start=5.0)
    rows = {row.size: row for row in plan_release(fleet(8, 0.1), brief, Bounds(), fast=True).rows}
    assert rows[3].remarks == ()
    assert "slow start is suspended" in " ".join(rows[4].remarks)
    assert "doubts it for 60 s" in " ".join(rows[7].remarks)
    assert "at most half" in " ".join(rows[7].remarks)


def test_room_is_what_the_load_may_grow_by():
    """At that load the advice still holds, and above it, it does not."""
    plan = plan_release(fleet(20, 0.5), SHORT, Bounds(), fast=True)
    assert plan.advised is not None
    same = plan_release(fleet(20, plan.load_room), SHORT, Bounds(), fast=True).advised
    less = plan_release(fleet(20, plan.load_room + 0.01), SHORT, Bounds(), fast=True).advised
    assert same is not None
    assert same.size == plan.advised.size
    assert less is not None
    assert less.size < plan.advised.size


def test_an_idle_fleet_leaves_no_room_where_all_go_at_once():
    """The first call would find nobody."""
    plan = plan_release(fleet(4, 0.0), Rollout(canary=0), Bounds(), fast=True)
    assert (plan.load_room, plan.spare) == (0.0, 0)
    one = plan_release(fleet(4, 0.0), Rollout(canary=0), Bounds(largest=1), fast=True)
    assert (one.load_room, one.spare) == (pytest.approx(0.6), 3)


@pytest.mark.parametrize("pause", [None, 0.0])
@pytest.mark.parametrize(("count", "load"), [(3, 0.6), (2, 3.0), (6, 0.9)])
def test_so_many_nodes_as_are_missing_are_enough_and_not_one_less(count, load, pause):
    """Also where several nodes are cold at a time, of which an added one is soon another."""
    rollout = replace(SHORT, pause=pause)
    missing = plan_release(fleet(count, load), rollout, Bounds(), fast=True).missing
    assert missing
    for more, enough in ((missing, True), (missing - 1, False)):
        grown = fleet(count + more, load * count / (count + more))
        plan = plan_release(grown, rollout, Bounds(largest=1), fast=True)
        assert (plan.advised is not None) is enough


def test_no_number_of_nodes_makes_up_for_nodes_that_never_get_warm():
    """Then it says so in place of a number."""
    rollout = Rollout(away=0.0, cold=60.0, cold_factor=1e6, pause=0.0)
    plan = plan_release(fleet(4, 0.5), rollout, Bounds(), fast=True)
    assert plan.advised is None
    assert plan.missing is None


@pytest.mark.parametrize("load", [1e9, 1e308])
def test_a_load_that_no_fleet_bears_is_told_at_once(load):
    """A figure beyond all measure makes neither millions of nodes nor an overflow."""
    plan = plan_release(fleet(3, load), Rollout(), Bounds(), fast=True)
    assert plan.advised is None
    assert plan.missing is None


def test_a_larger_batch_may_be_in_bounds_where_a_smaller_one_is_not():
    """In haste and with new nodes first, fewer batches leave fewer nodes cold."""
    rollout = Rollout(surge=3, canary=2, pause=10.0)
    plan = plan_release(fleet(3, 0.8), rollout, Bounds(), fast=True)
    assert plan.rows[0].objections
    assert plan.advised is not None
    assert plan.advised.size == 2


def test_a_bound_that_is_passed_by_little_is_seen_to_be():
    """No row says that 80 % is above 80 %."""
    rows = plan_release(fleet(20, 0.5), Rollout(pause=0.0), Bounds(), fast=True).rows
    assert "left 80.09% > ceiling 80.00%" in {said for row in rows for said in row.objections}


def test_any_id_is_rehearsed():
    """Ids are addresses with most registries, and need not be host names."""
    nodes = tuple(PlannedNode(id=name) for name in ("10.0.0.1:80", "[::1]:80", "ü / 3"))
    plan = plan_release(Fleet(nodes=nodes, load=0.2), SHORT, Bounds(largest=1))
    assert plan.rows[0].how == "simulated"
    assert plan.advised is not None


def rehearsed(some: Fleet, rollout: Rollout, *batches: str) -> Rehearsed:
    """Rehearse batches that are given by the last letters of their nodes' ids."""
    nodes = {node.id[-1]: node for node in some.nodes}
    cut = [Batch(tuple(nodes[letter] for letter in batch)) for batch in batches]
    return rehearse(some, rollout, cut, seed=1)


def test_the_nodes_of_the_batches_are_those_that_go():
    """Whatever the order of the list: a large node is not played as a small one."""
    nodes = [PlannedNode(id=f"n{at}", weight=5.0 if at == 3 else 1.0) for at in range(4)]
    there = Fleet(nodes=tuple(nodes), load=0.5)
    back = Fleet(nodes=tuple(reversed(nodes)), load=0.5)
    batches = ("3", "0", "1", "2")
    assert rehearsed(there, SHORT, *batches) == rehearsed(back, SHORT, *batches)
    assert rehearsed(there, SHORT, *batches).p99 > 4.0


def test_the_batch_that_leaves_the_least_is_played():
    """Even where it is the sixth."""
    nodes = [PlannedNode(id=f"n{at}", weight=6.0 if at == 5 else 1.0) for at in range(6)]
    some = Fleet(nodes=tuple(nodes), load=0.5)
    assert rehearsed(some, SHORT, *"012345").p99 > 4.0


def test_weights_are_in_units_of_the_registry():
    """Nodes that all have 100 are as busy by the same calls as nodes that all have 1."""
    plans = []
    for weight in (1.0, 100.0):
        nodes = tuple(PlannedNode(id=f"n{at}", weight=weight) for at in range(3))
        plans.append(rehearsed(Fleet(nodes=nodes, load=0.4), SHORT, "0", "1", "2"))
    assert plans[0] == plans[1]


def test_new_nodes_that_come_first_are_rehearsed():
    """With one more before one less the others bear what they did."""
    one_less = rehearsed(fleet(3, 0.6), SHORT, "0", "1", "2")
    one_more = rehearsed(fleet(3, 0.6), replace(SHORT, surge=1), "0", "1", "2")
    assert one_more.p99 < 2.0 < one_less.p99


def test_a_pause_too_short_to_get_warm_is_rehearsed_as_such():
    """It stays in proportion when minutes are cut to seconds."""
    hasty = shortened(Rollout(away=20.0, cold=60.0, pause=0.0))
    assert (hasty.away, hasty.cold, hasty.pause) == (4.0, 4.0, 0.0)
    assert shortened(Rollout(pause=30.0)).pause == pytest.approx(2.0)
    assert shortened(Rollout()).pause == 4.0


def test_slow_calls_are_waited_for():
    """A call of three seconds fails nobody, with callers that are patient enough to make it."""
    slow = replace(fleet(3, 0.3), service_time=3.0)
    assert rehearsed(slow, SHORT, "0", "1", "2").lost == 0


def test_a_fleet_of_many_calls_is_played_with_fewer():
    """Queues are of calls, so that a hundred workers are as busy at a slower pace."""
    wide = replace(fleet(4, 0.5), workers=100)
    figures = rehearsed(wide, SHORT, "0", "1", "2", "3")
    assert figures.calm == pytest.approx(0.05 * 4000 / 2000 * math.log(100), rel=0.1)
    assert figures.lost == 0


@pytest.mark.parametrize("load", [1e-9, 0.01])
def test_a_handful_of_calls_tells_no_p99(load):
    """Chance is no objection: two idle nodes of one worker have a plan."""
    idle = Fleet(nodes=fleet(2, load).nodes, load=load, workers=1, service_time=0.5)
    plan = plan_release(idle, SHORT, Bounds())
    assert plan.advised is not None
    assert plan.advised.p99 is None


def test_beyond_all_that_is_left_the_formula_knows_more():
    """A rehearsal is too short for the queues of an overload of minutes."""
    plan = plan_release(fleet(4, 0.3), Rollout(), Bounds())
    row = next(row for row in plan.rows if row.size == 3)
    assert (row.how, row.lost_how) == ("simulated", "by formula")
    assert row.lost == lost_by_formula(plan.fleet, plan.rollout, row.batches)


def test_a_signal_that_is_missing_shows():
    """Callers that are not told find out by failing; with a slow registry that takes longer."""
    told = plan_release(fleet(10, 0.7), SHORT, Bounds(largest=2))
    silent = plan_release(
        fleet(10, 0.7), Rollout(away=4.0, cold=4.0, signal=False, lag=4.0), Bounds(largest=2)
    )
    assert told.rows[-1].p99 is not None
    assert silent.rows[-1].p99 is not None
    assert silent.rows[-1].lost >= told.rows[-1].lost


def test_the_four_dialects_say_the_same():
    """Order, Kubernetes, Argo and batches speak of the same nodes in the same steps."""
    plan = plan_release(fleet(12, 0.5, "abc"), SHORT, Bounds(), fast=True)
    row = plan.advised
    assert row is not None
    order = order_of(row)
    assert sum(map(len, order)) == 12
    rolling = kubernetes(plan, row)["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": row.size, "maxSurge": 0}
    assert kubernetes(plan, row)["spec"]["minReadySeconds"] == 4
    weights = [
        step["setWeight"]
        for step in argo(plan, row)["spec"]["strategy"]["canary"]["steps"]
        if "setWeight" in step
    ]
    assert weights == sorted(weights)
    assert weights[0] == 8
    said = batches(plan, row)
    assert [said["canary"], *said["batches"]] == [len(batch) for batch in order]
    json.dumps(as_dict(plan))


def test_every_dialect_waits_as_long_as_the_plan_does():
    """Also for a canary: warm first, then watched."""
    plan = plan_release(fleet(3, 0.3), Rollout(cold=60.0, watch=10.0), Bounds(largest=1), fast=True)
    assert plan.advised is not None
    spec = argo(plan, plan.advised)["spec"]
    pauses = [step["pause"] for step in spec["strategy"]["canary"]["steps"] if "pause" in step]
    assert pauses == [{"duration": "70s"}, {"duration": "60s"}]
    assert spec["minReadySeconds"] == 60
    said = batches(plan, plan.advised)
    assert (said["watch_seconds"], said["interval_seconds"]) == (70.0, 60.0)
    assert plan.advised.seconds == 3 * 20 + 70 + 60


@pytest.mark.parametrize(("cold", "deadline"), [(60.0, None), (599.0, 1238), (1800.0, 3640)])
def test_the_deadline_for_progress_is_longer_than_a_batch(cold, deadline):
    """A Deployment whose pods are ready later than its deadline is refused by Kubernetes."""
    plan = plan_release(fleet(3, 0.3), Rollout(cold=cold), Bounds(), fast=True)
    assert plan.advised is not None
    for made in (kubernetes, argo):
        assert made(plan, plan.advised)["spec"].get("progressDeadlineSeconds") == deadline


@pytest.mark.parametrize("count", [2, 3, 7, 12, 33, 80, 99, 100])
def test_argo_takes_as_many_pods_as_a_batch_has(count):
    """Its rule: the whole number nearest to the weight's share, the larger of two."""
    plan = plan_release(fleet(count, 0.3), SHORT, Bounds(largest=3), fast=True)
    row = plan.advised
    assert row is not None
    steps = argo(plan, row)["spec"]["strategy"]["canary"]["steps"]
    weights = [step["setWeight"] for step in steps if "setWeight" in step]
    pods = [math.floor(count * weight / 100 + 0.5) for weight in weights]
    assert pods == list(accumulate(len(batch.nodes) for batch in row.batches[:-1]))


@pytest.mark.parametrize("zones", ["mixed", "one-at-a-time"])
def test_no_batch_takes_the_last_two_of_a_zone(zones):
    """Mixed batches leave every zone a node; one zone at a time is what it says."""
    plan = plan_release(fleet(12, 0.3, "abc"), SHORT, Bounds(zones=zones), fast=True)
    assert plan.advised is not None
    for batch in plan.advised.batches:
        found = {node.zone for node in batch.nodes}
        assert len(found) == 1 if zones == "one-at-a-time" else len(batch.nodes) < 12
