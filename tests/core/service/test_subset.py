"""A caller that uses a part of the nodes: what it shows, and when it goes beyond that part."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from rpcguard import Node, OverloadPolicy, Overrides, Route, Routing, SlowStart, Subset, ZonePolicy
from rpcguard._core.balancing.subset import EXTENDED, OUTSIDE
from rpcguard._core.policies.overrides import PoliciesByService
from tests.support.stage import REFUSED, SICK, Stage, ids, leaving, nodes

if TYPE_CHECKING:
    from rpcguard._core.service.service import Service

FEW = Subset(size=3)


def inside(stage: Stage) -> set[str]:
    return inside_of(stage.service)


def inside_of(service: Service) -> set[str]:
    views = service.nodes()
    return {view.node.id for view in views if view.state == "available" and not view.reason}


def lose(stage: Stage) -> None:
    """Let a node refuse, and a probe find that it is gone."""
    stage.end(lease := stage.pick(), REFUSED)
    stage.service.probed(lease.live, alive=False)


def one_of(names: set[str]) -> str:
    return min(names)


def test_the_views_say_who_is_outside():
    """Both `nodes` and `explain`: whoever wonders why a node gets no call finds it there."""
    stage = Stage(*ids(10), subset=FEW)
    few = inside(stage)
    assert len(few) == FEW.size
    assert set(stage.calls(60)) == few
    others = {view.node.id: view.reason for view in stage.service.nodes()}
    assert {name for name, reason in others.items() if reason == OUTSIDE} == set(ids(10)) - few
    assert dict(stage.service.explain()[-1].excluded) == dict.fromkeys(set(ids(10)) - few, OUTSIDE)


def test_without_the_option_each_node_is_used():
    """And `False` for one service is the same as none."""
    stage = Stage(*ids(10))
    assert inside(stage) == set(stage.calls(200)) == set(ids(10))
    made = PoliciesByService({"subset": FEW}, {"orders": Overrides(subset=False)})
    assert (made.of("orders").subset, made.of("users").subset) == (None, FEW)
    assert PoliciesByService({}, {"orders": Overrides(subset=FEW)}).of("orders").subset == FEW


def test_each_process_has_a_subset_of_its_own_and_a_fork_another():
    """The seed is drawn once per live list, so callers do not all meet at the same nodes."""
    seen = Counter()
    for seed in range(40):
        seen.update(inside(Stage(*ids(10), subset=FEW, seed=seed)))
    assert set(seen) == set(ids(10))
    stage = Stage(*ids(400), subset=Subset(size=20))
    assert inside_of(stage.service.heir()) != inside(stage)


def test_with_an_instance_it_is_of_that_alone():
    """A caller that is started again has the subset that it had."""
    fixed = Subset(size=3, instance=(1, 4))
    assert len({frozenset(inside(Stage(*ids(10), subset=fixed, seed=n))) for n in range(5)}) == 1


def test_another_stands_in_for_one_that_is_out_and_leaves_when_it_is_back():
    """Neither an ejection nor a node's own word makes the subset smaller."""
    stage = Stage(*ids(10), subset=FEW, slow_start=SlowStart(window=0.0))
    before = inside(stage)
    stage.end(stage.lease(one_of(before)), REFUSED)
    assert len(inside(stage)) == FEW.size
    assert len(inside(stage) - before) == 1
    stage.end(stage.lease(one_of(before & inside(stage))), leaving(30.0))
    assert len(inside(stage)) == FEW.size
    assert set(stage.calls(60)) == inside(stage)
    for view in stage.service.nodes():
        if view.state != "available":
            assert OUTSIDE not in (view.reason or "")
    stage.clock.advance(31.0)
    stage.call()
    for live in list(stage.probing):
        stage.service.probed(live, alive=True, answered=True)
    assert inside(stage) == before


def test_a_service_is_in_reach_as_long_as_one_node_is():
    """Where all but one are out, that one is used, and there is no panic before that."""
    stage = Stage(*ids(10), subset=FEW)
    for left in range(9, 0, -1):
        lose(stage)
        assert stage.service.usable
        assert len(inside(stage)) == (FEW.size if left >= 2 * FEW.size else left)
    assert not any(record.panic for record in stage.service.explain())
    lose(stage)
    assert not stage.service.usable
    assert stage.pick().proof


def test_a_full_subset_is_extended():
    """`max_per_node` passes nodes over; a burst goes to others then, and the record says so."""
    stage = Stage(*ids(10), subset=FEW, overload=OverloadPolicy(max_per_node=1))
    few = inside(stage)
    leases = [stage.pick() for _ in range(4)]
    went = [lease.live.node.id for lease in leases]
    assert set(went[:3]) == few
    assert went[3] not in few
    assert stage.service.explain()[-1].why == EXTENDED


def test_a_retry_has_another_node_though_the_subset_is_one():
    """A subset of one has no other node in it."""
    stage = Stage(*ids(10), subset=Subset(size=1))
    first = stage.pick()
    stage.end(first, SICK)
    second = stage.service.pick_again((first.live,))
    assert second.live is not first.live


def test_either_side_of_the_zone_has_its_own():
    """Calls stay in the zone as far as they would, and spill to a few nodes of the others."""
    near = nodes(*(f"near{one}" for one in range(10)), zone="a")
    far = nodes(*(f"far{one}" for one in range(20)), zone="b")
    stage = Stage(*near, *far, subset=FEW, zone=ZonePolicy(zone="a"))
    sides = Counter(name[:3] for name in inside(stage))
    assert sides == {"nea": 3, "far": 3}
    assert set(stage.calls(60)) <= inside(stage)
    stage.list(*near[:1], *far)
    assert "near0" in inside(stage)


def test_priorities_are_cut_each_for_itself():
    """A standby is no part of the subset of those that it stands by for."""
    first = nodes(*(f"a{one}" for one in range(10)))
    second = [Node("10.0.0.1", 80, id=f"b{one}", priority=1) for one in range(10)]
    stage = Stage(*first, *second, subset=FEW)
    assert Counter(name[0] for name in inside(stage)) == {"a": 3, "b": 3}
    assert {name[0] for name in stage.calls(30)} == {"a"}


def test_lanes_and_groups_are_never_cut():
    """They are few nodes as it is; what is of none of them is cut."""
    canary = nodes(*(f"canary{one}" for one in range(8)), metadata={"lane": "canary"})
    base = nodes(*(f"base{one}" for one in range(8)))
    route = Route("canary", to={"lane": "canary"}, share=0.5)
    stage = Stage(*canary, *base, subset=FEW, routing=Routing(rules=[route]))
    assert Counter(name[0] for name in inside(stage)) == {"c": 8, "b": 3}
    stage.service.go_by(())
    stage.call()
    assert {name[0] for name, why in stage.service.explain()[-1].excluded if why == OUTSIDE} == {
        "b"
    }


def test_a_doubted_node_is_replaced():
    """What the registry has left out is the last resort, and no part of the subset."""
    stage = Stage(*ids(10), subset=FEW)
    before = inside(stage)
    stage.list(*sorted(before)[:1])
    stage.call()
    assert {name for name, why in stage.service.explain()[-1].excluded if why == OUTSIDE}
    assert set(stage.calls(20)) == {one_of(before)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("size", value) for value in (0, -1, True, 1.5, None)],
        *[("instance", value) for value in (3, "ab", (1,), (3, 3), (-1, 3), (0, 0), (0.0, 2))],
    ],
)
def test_a_wrong_policy_is_refused_by_name(field, value):
    """It is told where it is made, not at the first call."""
    with pytest.raises(ValueError, match=field):
        Subset(**{field: value})


def test_an_instance_of_a_file_is_a_list():
    """TOML has no tuples."""
    assert Subset(instance=[1, 3]) == Subset(instance=(1, 3))  # type: ignore[arg-type]
