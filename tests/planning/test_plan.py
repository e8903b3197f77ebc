"""How many nodes may go at once, rehearsed with the callers' own rules."""

from __future__ import annotations

import json
import math
from itertools import accumulate

import pytest

from rpcguard._planning.dialects import argo, as_dict, batches, kubernetes, order_of
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout
from rpcguard._planning.plan import plan_release

SHORT = Rollout(away=4.0, cold=4.0, watch=10.0)


def fleet(count: int, load: float, zones: str = "") -> Fleet:
    nodes = [
        PlannedNode(id=f"n{number}", zone=zones[number % len(zones)] if zones else None)
        for number in range(count)
    ]
    return Fleet(nodes=tuple(nodes), load=load)


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
    rows = {row.size: row for row in plan_release(fleet(8, 0.1), SHORT, Bounds(), fast=True).rows}
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
