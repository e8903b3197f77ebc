"""A few nodes of many: which ones, how they are shared out, and what stands in for them."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from rpcguard import LeastRequests, Node, RoundRobin
from rpcguard._core.balancing.subset import EXTENDED, Subsetting, chosen
from rpcguard._core.nodes.live import LiveNode

CALLERS, NODES, SIZE = 1000, 100, 20


def lives(count: int, **fields: object) -> list[LiveNode]:
    return [LiveNode(Node("10.0.0.1", 80, id=f"n{one}", **fields), 0.0) for one in range(count)]


def subsetting(nodes, *, seed=7, size=SIZE, instance=(0, 1), balancer=RoundRobin) -> Subsetting:
    made = Subsetting(
        lambda: balancer(rng=random.Random(seed)), size=size, seed=seed, instance=instance
    )
    for live in nodes:
        made.add(live)
    return made


def inside(one: Subsetting, nodes) -> set[str]:
    return {live.node.id for live in nodes if live not in one.outside}


def used(one: Subsetting, picks: int) -> Counter[str]:
    return Counter(one.pick(float(number)).node.id for number in range(picks))


def spread(subsets) -> float:
    """Give how many callers the busiest node has for one of the idlest."""
    counts = Counter(name for subset in subsets for name in subset)
    assert len(counts) == NODES
    return max(counts.values()) / min(counts.values())


def test_seeds_share_the_nodes_out_among_many_callers():
    """Of 1,000 callers with 20 of 100 nodes each node has about 200; by chance, 1.5 at most."""
    rng, nodes = random.Random(3), lives(NODES)
    seeds = [rng.getrandbits(64) for _ in range(CALLERS)]
    assert spread(inside(subsetting(nodes, seed=seed), nodes) for seed in seeds) < 1.5


@pytest.mark.parametrize("count", [2 * SIZE, NODES - 1, NODES, NODES + 1, 1009])
def test_places_share_them_out_evenly(count):
    """Each node has as many callers as any other, but for one, whatever the numbers are."""
    order = range(count)
    counts = Counter(
        node for index in range(CALLERS) for node in chosen(order, SIZE, (index, CALLERS))
    )
    assert max(counts.values()) - min(counts.values()) <= 1
    assert sum(counts.values()) == CALLERS * SIZE


@pytest.mark.parametrize(("instance", "most"), [((0, 1), 1), ((617, 1000), 2)])
def test_a_node_that_comes_or_goes_moves_hardly_any(instance, most):
    """The rest of the subset stays, so connections and what was learned do."""
    nodes = lives(NODES)
    one = subsetting(nodes, instance=instance)
    before = inside(one, nodes)
    for gone in nodes[:-1]:
        one.remove(gone)
        left = [live for live in nodes if live is not gone]
        now = inside(one, left)
        assert (len(now), len(now - before) <= most) == (SIZE, True)
        one.add(gone)
        assert inside(one, nodes) == before


def test_the_subset_is_of_the_seed_and_the_ids_alone():
    """Not of the order in which nodes come and go: a caller keeps what it has."""
    nodes = lives(NODES)
    shuffled = random.Random(5).sample(nodes, NODES)
    assert inside(subsetting(nodes), nodes) == inside(subsetting(shuffled), nodes)
    assert inside(subsetting(nodes), nodes) != inside(subsetting(nodes, seed=8), nodes)


@pytest.mark.parametrize("count", [0, 1, SIZE, 2 * SIZE - 1])
def test_few_nodes_are_all_used(count):
    """Below twice the size a subset would save hardly a connection."""
    nodes = lives(count)
    one = subsetting(nodes)
    assert (len(one), len(inside(one, nodes))) == (count, count)
    assert set(used(one, 4 * count)) == inside(one, nodes)


def test_as_many_as_are_wanted_take_the_calls_whoever_is_out():
    """The next in order stands in: fewer eligible nodes are no smaller subset, down to the last."""
    nodes = lives(NODES)
    one = subsetting(nodes)
    for left in range(NODES - 1, 0, -1):
        one.remove(next(live for live in nodes if live in one._inside))
        nodes = [live for live in nodes if live in one._inside or live in one.outside]
        wanted = SIZE if left >= 2 * SIZE else left
        assert (len(one), len(used(one, 3 * wanted))) == (left, wanted)
    one.remove(nodes[0])
    assert one.pick(0.0) is None


def test_those_that_were_tried_are_followed_by_the_rest():
    """A call whose whole subset was tried, or is full, is no call that has nowhere to go."""
    nodes = lives(NODES)
    one = subsetting(nodes, balancer=LeastRequests)
    tried = [live for live in nodes if live not in one.outside]
    assert one.pick(1.0, tried[1:]) is tried[0]
    assert one.why != EXTENDED
    live = one.pick(1.0, tried)
    assert live in one.outside
    assert (one.why, one.considered[0][0]) == (EXTENDED, live)
    assert one.pick(1.0, nodes) is None


def test_weights_count_once():
    """A node of thrice the weight is in no more subsets than another, and gets thrice the calls."""
    rng = random.Random(11)
    heavy, light = lives(NODES)[: NODES // 2], lives(NODES)[NODES // 2 :]
    for live in heavy:
        live.weight = 3.0
    ids = {live.node.id for live in heavy}
    calls: Counter[str] = Counter()
    subsets: Counter[bool] = Counter()
    for _ in range(300):
        one = subsetting([*heavy, *light], seed=rng.getrandbits(64))
        subsets.update(name in ids for name in inside(one, [*heavy, *light]))
        calls += used(one, 80)
    assert subsets[True] / subsets[False] == pytest.approx(1.0, abs=0.1)
    share = sum(count for name, count in calls.items() if name in ids) / calls.total()
    assert share == pytest.approx(0.75, abs=0.02)
