"""Which nodes go together, and what is left of the fleet meanwhile."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcguard._planning.batches import (
    Batch,
    cut,
    duration,
    in_order,
    left,
    lefts,
    lost_by_formula,
    most_warming,
    takes_a_zone,
)
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout, load_of


def fleet(*zones: str | None, load: float = 0.6, weight: float = 1.0) -> Fleet:
    """Give a fleet with a node for each letter, in the zone of that name."""
    nodes = [
        PlannedNode(id=f"n{number}", zone=zone, weight=weight) for number, zone in enumerate(zones)
    ]
    return Fleet(nodes=tuple(nodes), load=load)


WARM = Rollout(cold=0.0, canary=0)


def sizes(some: Fleet, rollout: Rollout, size: int, zones: str = "mixed") -> list[int]:
    return [len(batch.nodes) for batch in cut(some, rollout, size=size, zones=zones)]


def test_batches_are_as_even_as_possible_after_the_canary():
    """One is watched first, and no batch is a rest of one node."""
    assert sizes(fleet(*"a" * 20), Rollout(), 6) == [1, 5, 5, 4, 5]
    assert sizes(fleet(*"a" * 20), WARM, 7) == [7, 6, 7]


def test_a_canary_is_no_larger_than_a_batch_and_leaves_a_node():
    """A service of one node has no canary, and a batch of one is its own canary."""
    assert sizes(fleet("a"), Rollout(canary=3), 1) == [1]
    assert sizes(fleet(*"aaa"), Rollout(canary=3), 2) == [2, 1]


def test_zones_take_turns_or_follow_each_other():
    """Mixed spreads each zone over the whole order, so that the last of one never go together."""
    some = fleet(*"aaabbc")
    assert [node.zone for node in in_order(some, "mixed")] == list("abacba")
    assert [node.zone for node in in_order(some, "one-at-a-time")] == list("aaabbc")
    assert sizes(some, WARM, 3, "one-at-a-time") == [3, 2, 1]


@pytest.mark.parametrize(
    ("load", "size", "expected"),
    [
        *((0.4, 1, 42), (0.4, 4, 50), (0.4, 10, 80), (0.6, 1, 63), (0.6, 4, 75), (0.6, 5, 80)),
        *((0.6, 7, 92), (0.6, 10, 120), (0.7, 2, 78), (0.7, 4, 88), (0.8, 2, 89), (0.8, 4, 100)),
    ],
)
def test_what_is_left_is_the_published_table(load, size, expected):
    """Twenty nodes: the utilisation of those that stay while a batch is away."""
    some = fleet(*"a" * 20, load=load)
    found = left(some, WARM, cut(some, WARM, size=size, zones="mixed"))
    assert round(100 * found) == expected


def test_one_of_three_at_sixty_percent_leaves_ninety():
    """The case that took a site down: three nodes, a third of them away."""
    some = fleet(*"aaa")
    assert left(some, WARM, cut(some, WARM, size=1, zones="mixed")) == pytest.approx(0.9)


def test_cold_nodes_count_for_less_until_they_are_warm():
    """The next batch goes while the last one still serves a third as fast."""
    some = fleet(*"a" * 10, load=0.5)
    hasty, patient = Rollout(canary=0, pause=0.0, cold=20.0), Rollout(canary=0)
    batches = cut(some, hasty, size=2, zones="mixed")
    assert left(some, hasty, batches) == pytest.approx(5.0 / (10 - 2 - 2 * 2 / 3))
    assert left(some, patient, batches) == pytest.approx(5.0 / 8)


def test_all_that_are_still_cold_count_not_only_the_last_batch():
    """In haste four batches are cold at a time, each a bit warmer than the one after it."""
    some = fleet(*"a" * 10, load=0.3)
    hasty = Rollout(canary=0, pause=0.0, away=20.0, cold=60.0)
    batches = cut(some, hasty, size=1, zones="mixed")
    factors = (3.0, 3.0 - 2.0 / 3.0, 3.0 - 4.0 / 3.0)
    cold = sum(1.0 - 1.0 / factor for factor in factors)
    assert left(some, hasty, batches) == pytest.approx(3.0 / (10 - 1 - cold))


def test_a_canary_that_was_watched_is_warm():
    """The watch comes besides the pause, however short that is."""
    some = fleet(*"aaaa", load=0.3)
    rollout = Rollout(pause=0.0, watch=60.0)
    batches = cut(some, rollout, size=1, zones="mixed")
    assert lefts(some, rollout, batches)[1] == pytest.approx(1.2 / 3)
    assert lefts(some, rollout, batches)[2] > 1.2 / 3


def test_weights_count_not_nodes():
    """A node of weight 100 beside one of weight 1 leaves next to nothing."""
    nodes = (PlannedNode(id="large", weight=100.0), PlannedNode(id="small"))
    some = Fleet(nodes=nodes, load=0.5)
    assert left(some, WARM, cut(some, WARM, size=1, zones="mixed")) == pytest.approx(50.5)


def test_new_nodes_that_come_first_make_up_for_those_that_leave():
    """With a surge of the size of the batch nothing is missing."""
    some, rollout = fleet(*"aaaa"), Rollout(cold=0.0, canary=0, surge=2)
    assert left(some, rollout, cut(some, rollout, size=2, zones="mixed")) == pytest.approx(0.6)


def test_nobody_is_left_and_nothing_is_asked():
    """All nodes at once leave nobody; without load nothing matters."""
    busy, idle = fleet(*"aa"), fleet(*"aa", load=0.0)
    assert left(busy, WARM, cut(busy, WARM, size=2, zones="mixed")) == math.inf
    assert left(idle, WARM, cut(idle, WARM, size=2, zones="mixed")) == 0.0


def test_calls_are_lost_only_above_all_that_is_left():
    """Up to 100 % the rest serves every call; above it the excess of the time away fails."""
    some = fleet(*"a" * 20)
    assert lost_by_formula(some, WARM, cut(some, WARM, size=5, zones="mixed")) == 0.0
    batches = cut(some, WARM, size=10, zones="mixed")
    assert lost_by_formula(some, WARM, batches) == pytest.approx(1e6 / 6)


def test_calls_are_lost_while_a_batch_is_cold_too():
    """Half of the nodes at a third of their pace are two thirds of the fleet, at 80 % load."""
    some, rollout = fleet(*"aa", load=0.8), Rollout(away=0.0, cold=60.0, canary=0)
    batches = cut(some, rollout, size=1, zones="mixed")
    assert lost_by_formula(some, rollout, batches) > 0
    surged = Rollout(away=0.0, cold=60.0, canary=0, surge=1)
    assert lost_by_formula(some, surged, batches) == 0


def test_batches_that_follow_each_other_warm_up_together():
    """Slow start looks at all that came back within its window."""
    some = fleet(*"aaaaaa")
    rollout = Rollout(canary=0, away=20.0, pause=20.0, slow_start=100.0)
    batches = cut(some, rollout, size=1, zones="mixed")
    assert most_warming(rollout, batches) == 3.0
    assert most_warming(Rollout(slow_start=0.0), batches) == 0.0


def test_a_batch_that_takes_a_whole_zone_is_named():
    """Unless the zone has only this node, which has to go some time."""
    some, same = fleet(*"aabc"), fleet(*"aa")
    assert takes_a_zone(some, cut(some, WARM, size=1, zones="mixed")) is None
    assert takes_a_zone(some, cut(some, WARM, size=4, zones="mixed")) == "a"
    assert takes_a_zone(same, cut(same, WARM, size=2, zones="mixed")) is None


def test_the_only_nodes_of_two_zones_do_not_go_together():
    """One of them may go beside nodes of larger zones: no order would leave it its zone."""
    some = fleet(*"a" * 20, "b", "c")
    assert takes_a_zone(some, cut(some, WARM, size=4, zones="mixed")) is None
    assert takes_a_zone(some, [Batch(some.nodes[18:])]) in ("b", "c")


def test_a_small_zone_is_not_gone_with_the_first_batches():
    """Two of twenty nodes are in a zone of their own: they go at its two ends."""
    some = fleet(*"a" * 18, *"bb")
    assert takes_a_zone(some, cut(some, WARM, size=8, zones="mixed")) is None


def test_nodes_without_a_zone_make_none():
    """What no registry named cannot be lost."""
    some = fleet("a", "a", "b", "b", None)
    assert takes_a_zone(some, [Batch(some.nodes[4:])]) is None
    assert takes_a_zone(some, [Batch(some.nodes[2:])]) == "b"


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    st.integers(1, 45),
    st.integers(0, 5),
    st.sampled_from(["mixed", "one-at-a-time"]),
)
def test_every_node_goes_once(zones, size, canary, how):
    """Batches cover the fleet, none is empty and none too large."""
    some = fleet(*zones)
    batches = cut(some, Rollout(canary=canary), size=size, zones=how)
    gone = [node.id for batch in batches for node in batch.nodes]
    assert sorted(gone) == sorted(node.id for node in some.nodes)
    assert all(0 < len(batch.nodes) <= size for batch in batches)


def test_the_length_counts_absence_patience_and_the_watch():
    """Each batch is away, all but the last are waited for, and the canary is watched."""
    some = fleet(*"aaa")
    batches = cut(some, Rollout(), size=1, zones="mixed")
    assert duration(Rollout(), batches) == 3 * 20 + 2 * 60 + 300


def test_load_follows_from_calls_a_second():
    """900 calls a second of 50 ms on 20 nodes of 4 workers."""
    found = load_of(rate=900, service_time=0.05, workers=4, nodes=20)
    assert found == pytest.approx(0.5625)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Fleet(nodes=(), load=0.5), "nodes"),
        (lambda: fleet("a", load=-1), "load"),
        (lambda: Rollout(cold_factor=0.5), "cold_factor"),
        (lambda: Rollout(pause=-1), "pause"),
        (lambda: Bounds(zones="all"), "zones"),
        (lambda: PlannedNode(id="a", weight=0), "weight"),
        (lambda: Fleet(nodes=fleet("a").nodes, load=1e308, peak=9.0), "load times peak"),
        (lambda: load_of(rate=-1.0, service_time=0.05, workers=4, nodes=2), "rate"),
        (lambda: load_of(rate=1.0, service_time=0.05, workers=0, nodes=2), "workers"),
    ],
)
def test_a_bad_figure_is_named(make, named):
    """What cannot be planned with is told by its name."""
    with pytest.raises(ValueError, match=f"^{named} must be"):
        make()
