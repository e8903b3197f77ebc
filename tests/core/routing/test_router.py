"""Shares and routes over a live list: what they take, while nodes warm, fail, come and go."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from rpcguard import EjectionPolicy, Node, SlowStart, Subset
from rpcguard._core.nodes.live import Lease
from rpcguard._core.policies.routing import Guard, Route, Routing
from rpcguard._core.service import reconcile
from rpcguard._core.service.asks import Aim
from tests.support.stage import GOOD, REFUSED, SICK, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard import LiveNode


def fleet(old: int = 6, new: int = 2, **fields: object) -> list[Node]:
    """List nodes of version 1 and of version 2, none of them in a lane."""
    return [
        *(Node("10.0.0.1", 80, id=f"v1-{number}", version="1") for number in range(old)),
        *(
            Node("10.0.0.2", 80, id=f"v2-{number}", version="2", **fields)  # type: ignore[arg-type]
            for number in range(new)
        ),
    ]


def canary(share: float = 0.05, **fields: object) -> Route:
    """Send a share to version 2."""
    return Route("canary", service="orders", share=share, to={"version": "2"}, **fields)  # type: ignore[arg-type]


def went(stage: Stage, calls: int, *, mark: str | None = None, **headers: str) -> Counter[str]:
    """Count calls by version."""
    counts: Counter[str] = Counter()
    for _ in range(calls):
        lease = stage.pick(ask=stage.ask(mark=mark, **headers))
        stage.clock.advance(0.01)
        counts[stage.end(lease)[:2]] += 1
    return counts


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("calls", [20, 100, 333])
def test_a_share_is_exact_to_one_call_of_a_caller(share: float, calls: int) -> None:
    """And what it does not take stays off its nodes."""
    for seed in range(5):
        stage = Stage(*fleet(), routing=Routing(rules=[canary(share)]), seed=seed)
        assert abs(went(stage, calls)["v2"] - share * calls) <= 1


@pytest.mark.parametrize("new", ["1", "2"])
def test_calls_of_no_rule_spare_the_version_that_is_new(new: str) -> None:
    """They go to both by weight, of which new nodes lack a part, whichever comes first."""
    by_header = Route("tester", when={"header.x-tester": "*"}, to={"version": "2"})
    old, whole = (fleet(1, 5), fleet(6, 5)) if new == "1" else (fleet(5, 1), fleet(5, 6))
    stage = Stage(*old, routing=Routing(rules=[by_header]))
    stage.clock.advance(300.0)
    stage.list(*whole)
    counts = went(stage, 200)
    assert 0 < counts[f"v{new}"] < 80  # of what they have without their ramps it were 109


def test_explain_forgets_who_was_outside_by_other_rules() -> None:
    """A group is few nodes as it is: none of them is outside of the caller's part."""
    stage = Stage(*fleet(6, 6), routing=Routing(), subset=Subset(size=2))
    stage.end(stage.pick(ask=stage.ask()))
    assert len(stage.service.explain()[-1].excluded) == 10
    stage.service.go_by([canary(0.5)])
    stage.end(stage.pick(ask=stage.ask()))
    assert {name[:2] for name, _ in stage.service.explain()[-1].excluded} == {"v1"}


def test_what_is_foreseen_names_the_lane() -> None:
    """By its name, and the base for calls of none."""
    lane = Node("10.0.0.3", 80, id="n", metadata={"lane": "blue"})
    stage = Stage(*fleet(), lane, routing=Routing())
    told = [stage.service.foresee(stage.ask(mark=mark))[0].group for mark in ("blue", None)]
    assert told == ["blue", "base"]


def test_groups_without_a_node_weigh_nothing() -> None:
    """Whatever is left of adding and taking away weights that are no sums of powers of two."""
    listed = [Node("10.0.0.1", 80, id=f"n{at}", weight=at / 10) for at in (1, 2, 3)]
    stage = Stage(*listed, routing=Routing())
    for node in listed:
        stage.service.mark_offline(node.id, 60.0)
    pools = stage.service._roster.pools
    assert [pool.weight for pool in pools._pools.values()] == [0.0]


def test_a_lane_that_is_gone_is_forgotten() -> None:
    """Each is a group of its own as long as one of its nodes is listed, and no longer."""
    stage = Stage(*fleet(), routing=Routing())
    pools = stage.service._roster.pools
    for number in range(20):
        stage.list(*fleet(), Node("10.0.0.3", 80, id="n", metadata={"lane": f"lane-{number}"}))
        assert len(pools.cells) == 2
    stage.list(*fleet())
    assert len(pools.cells) == 1


def test_sticky_users_stay_and_two_shares_divide_them() -> None:
    """A user is on one side, raising keeps those who are in, and two shares do not overlap."""
    users = [f"user-{number}" for number in range(400)]

    def side(*rules: Route) -> dict[str, str]:
        stage = Stage(*fleet(), routing=Routing(rules=rules))
        return {
            user: stage.end(stage.pick(ask=stage.ask(**{"x-user-id": user})))[:2] for user in users
        }

    few = side(canary(0.1, sticky="header.x-user-id"))
    assert few == side(canary(0.1, sticky="header.x-user-id"))
    many = side(canary(0.4, sticky="header.x-user-id"))
    assert all(many[user] == "v2" for user in users if few[user] == "v2")
    assert 100 <= sum(one == "v2" for one in many.values()) <= 220
    both = [
        canary(0.4, sticky="header.x-user-id"),
        Route("rest", to={"version": "1"}, share=0.6, sticky="header.x-user-id"),
    ]
    assert side(*both) == many


def test_a_sticky_share_without_its_key_takes_turns() -> None:
    """A call that lacks the header is not lost to the share."""
    rules = [canary(0.25, sticky="header.x-user-id")]
    stage = Stage(*fleet(), routing=Routing(rules=rules))
    assert abs(went(stage, 400)["v2"] - 100) <= 1


def test_a_key_that_the_call_names_decides() -> None:
    """`sticky="key"` is the option of the call."""
    stage = Stage(*fleet(), routing=Routing(rules=[canary(0.5, sticky="key")]))
    sides = {key: set() for key in "abcdef"}
    for _ in range(5):
        for key, seen in sides.items():
            seen.add(stage.end(stage.pick(ask=stage.ask(key=key)))[:2])
    assert all(len(seen) == 1 for seen in sides.values())


def test_a_group_that_warms_gets_its_ramp_of_the_share() -> None:
    """A canary that has just been listed gets its floor, and its share when it is warm."""
    stage = Stage(
        *fleet(new=0),
        routing=Routing(rules=[canary(0.5)]),
        slow_start=SlowStart(window=100.0, floor=0.1, curve=1.0, calls=10**6),
    )
    stage.list(*fleet())
    assert abs(went(stage, 200)["v2"] - 200 * 0.5 * 0.1) <= 1
    stage.clock.advance(48.0)
    assert 45 <= went(stage, 200)["v2"] <= 60
    stage.clock.advance(60.0)
    assert abs(went(stage, 200)["v2"] - 100) <= 1


def test_marked_calls_are_not_thinned() -> None:
    """Nor does a share concern them: the draw was made at the entry."""
    stage = Stage(
        *fleet(new=0), routing=Routing(rules=[canary(0.05)]), slow_start=SlowStart(window=100.0)
    )
    stage.list(*fleet(metadata={"lane": "c2"}))
    assert went(stage, 50, mark="c2") == {"v2": 50}
    assert went(stage, 50, mark="c3") == {"v1": 50}


def test_slow_start_is_suspended_by_cell() -> None:
    """All nodes of a new canary are as good as each other; base's new node is still thinned."""
    stage = Stage(
        *fleet(new=0), routing=Routing(rules=[canary(0.5)]), slow_start=SlowStart(window=100.0)
    )
    stage.list(*fleet(old=7))
    ramps = {one.node.id: one.effective_weight for one in stage.service.nodes()}
    assert ramps["v2-0"] == ramps["v2-1"] == 1.0
    assert ramps["v1-6"] == pytest.approx(0.1)


def test_a_route_marks_the_calls_that_it_takes() -> None:
    """And keeps the mark of a call that had one."""
    rules = [canary(0.5, mark="c2"), Route("t", when={"header.x": "1"}, to={"lane": "c2"})]
    stage = Stage(*fleet(), routing=Routing(rules=rules))
    seen = Counter()
    for _ in range(10):
        lease = stage.pick(ask=stage.ask())
        assert lease.routed is not None
        seen[lease.routed[:4]] += 1
        stage.end(lease)
    assert seen == {("canary", "c2", "canary", None): 5, (None, None, "base", None): 5}
    lease = stage.pick(ask=stage.ask(mark="mine", x="1"))
    assert lease.routed is not None
    assert lease.routed[:4] == ("t", "mine", "base", "base")


def test_a_route_without_a_lane_leads_into_no_other_lane() -> None:
    """Version 2 of somebody's own lane is no canary for everybody."""
    nodes = [
        *fleet(new=0),
        Node("10.0.0.3", 80, id="v2-bob", version="2", metadata={"lane": "bob"}),
        Node("10.0.0.3", 80, id="v2-c2", version="2", metadata={"lane": "c2"}),
    ]
    stage = Stage(*nodes, routing=Routing(rules=[canary(0.5, mark="c2")]))
    seen = {stage.end(stage.pick(ask=stage.ask())) for _ in range(100)}
    assert "v2-c2" in seen
    assert "v2-bob" not in seen


def test_no_rule_empties_a_service() -> None:
    """A share of nothing to all nodes, a route to nodes that are not there."""
    for rule in (
        Route("r", share=0.0, to={"id": "*"}),
        Route("r", share=0.5, to={"version": "9"}),
        Route("r", to={"version": "9"}),
        Route("r", to={"lane": "nobody"}, otherwise="any"),
    ):
        stage = Stage(*fleet(), routing=Routing(rules=[rule]))
        assert sum(went(stage, 50).values()) == 50


def test_a_canary_that_is_gone_or_sick_costs_no_call() -> None:
    """Ejected, drained, dropped by the registry: its calls go to base."""
    stage = Stage(*fleet(), routing=Routing(rules=[canary(0.5)]))
    for number in range(2):
        stage.service.mark_offline(f"v2-{number}", 1000.0)
    assert went(stage, 40) == {"v1": 40}
    stage.list(*fleet(new=0), authoritative=True)
    stage.clock.advance(61.0)
    assert went(stage, 40) == {"v1": 40}
    assert stage.service.routes()[0].measured == 0.0


def test_rules_change_under_load() -> None:
    """In-flight calls, statistics and the turns of routes that stay are kept."""
    stage = Stage(*fleet(), routing=Routing(rules=[canary(0.0)]))
    held = [stage.pick(ask=stage.ask()) for _ in range(10)]
    went(stage, 100)
    before = {one.node.id: (one.in_flight, one.successes) for one in stage.service.nodes()}
    rules = [Route("one", when={"header.x": "1"}, to={"id": "v1-1"}), canary(0.5)]
    stage.service.go_by(rules)
    assert before == {one.node.id: (one.in_flight, one.successes) for one in stage.service.nodes()}
    assert [stage.end(lease)[:2] for lease in held] == ["v1"] * 10
    assert abs(went(stage, 100)["v2"] - 50) <= 1
    assert {stage.end(stage.pick(ask=stage.ask(x="1"))) for _ in range(10)} == {"v1-1"}
    stage.service.go_by([])
    assert stage.service.routes() == []
    assert went(stage, 80)["v2"] > 0


def test_a_call_that_was_matched_by_old_rules_goes_by_the_new() -> None:
    """Between the match and the pick the rules may change."""
    stage = Stage(*fleet(), routing=Routing(rules=[Route("r", to={"version": "1"})]))
    ask = stage.ask()
    stage.service.go_by([Route("s", to={"version": "2"})])
    lease = stage.pick(ask=ask)
    assert stage.end(lease).startswith("v2")
    assert lease.routed is not None
    assert lease.routed.route == "s"


def test_what_is_foreseen_of_such_a_call_is_by_the_new_rules() -> None:
    """Of a route that is gone nothing is known any more, such as what its guard has seen."""
    stage = Stage(*fleet(), routing=Routing(rules=[canary(0.5, guard=Guard())]))
    ask = stage.ask()
    stage.service.go_by([Route("all", to={"version": "2"})])
    assert ask is not None
    assert [one.route for one in stage.service.foresee(ask)] == ["all"]


def test_a_call_amid_other_rules_finds_its_nodes() -> None:
    """It goes by the old rules, or by the new ones, and its nodes are there by both.

    Nodes stayed where the old rules had them while calls went by the new ones: what may go nowhere
    else failed, and testers were served by others.
    """
    stage = Stage(*fleet(old=70), routing=Routing())
    service, router = stage.service, stage.service.router
    assert router is not None
    went = Counter[tuple[str | None, str]]()

    def alone(job: Callable[[], object]) -> object:
        done = service._alone(job)
        lease = stage.pick(ask=stage.ask(x="1"))
        assert lease.routed is not None
        assert lease.routed.fallback is None
        went[lease.routed.route, stage.end(lease)[:2]] += 1
        return done

    for version in ("2", "1"):
        to = {"version": version}
        rule = Route(f"to v{version}", when={"header.x": "1"}, to=to, otherwise="fail")
        router.adopt([rule], service._roster, alone, stage.clock)
    assert {way for way in went if way[0] is not None} == {("to v2", "v2"), ("to v1", "v1")}


def test_a_cold_canary_gets_what_its_ramp_allows_as_its_rule_comes() -> None:
    """For a quarter of a second what its nodes lacked was counted where they had been before."""
    stage = Stage(*fleet(new=0), routing=Routing())
    stage.list(*fleet(new=1))
    stage.service.go_by([canary(0.5)])
    assert stage.service.routes()[0].effective_share == pytest.approx(0.05)


def test_the_lock_is_held_for_a_few_nodes_at_a_time() -> None:
    """10,000 nodes that all move to other cells keep no pick waiting for long."""
    stage = Stage(*fleet(old=1000, new=1000), routing=Routing(rules=[canary(0.0)]))
    router = stage.service.router
    assert router is not None
    pools, moved, longest = stage.service._roster.pools, [0], [0]
    place_again = pools.place_again

    def counting(live: LiveNode) -> None:
        moved[0] += 1
        place_again(live)

    def alone(job: Callable[[], object]) -> object:
        moved[0] = 0
        result = job()
        longest[0] = max(longest[0], moved[0])
        return result

    pools.place_again = counting  # type: ignore[method-assign]
    routes = [Route("new", to={"version": "1"})]
    router.adopt(routes, stage.service._roster, alone, stage.clock)
    assert 0 < longest[0] <= 32


def test_many_routes_are_taken_over_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that all of them are gone through others get their turns, again and again."""
    pauses: list[None] = []
    monkeypatch.setattr(reconcile, "let_others_run", lambda: pauses.append(None))
    stage = Stage(*fleet(), routing=Routing())
    rules = [Route(f"r{n}", when={"header.x": str(n)}, to={"version": "2"}) for n in range(640)]
    stage.service.go_by(rules)
    assert len(pauses) >= 4 * 640 // 32  # shares, routes, bundles and what is remembered of each


def test_a_guard_switches_a_sick_canary_off_and_on_again() -> None:
    """Its share is 0 while it is held; marked calls go on."""
    guard = Guard(min_calls=20, hold=30.0)
    stage = Stage(
        *fleet(metadata={"lane": "c2"}),
        routing=Routing(rules=[canary(0.5, guard=guard, mark="c2")]),
        ejection=EjectionPolicy(enforce=False),
    )
    for _ in range(60):
        lease = stage.pick(ask=stage.ask())
        stage.end(lease, SICK if lease.live.node.id.startswith("v2") else GOOD)
    assert stage.kinds().count("guarded") == 1
    view = stage.service.routes()[0]
    assert view.effective_share == 0.0
    assert 0.0 < (view.guard or 0.0) <= 30.0
    assert went(stage, 40) == {"v1": 40}
    assert went(stage, 10, mark="c2") == {"v2": 10}
    stage.clock.advance(31.0)
    assert went(stage, 40)["v2"] in (19, 20, 21)
    assert stage.service.routes()[0].guard is None


def test_a_guard_is_not_tripped_by_what_both_share() -> None:
    """A database that is down fails everybody."""
    stage = Stage(
        *fleet(),
        routing=Routing(rules=[canary(0.5, guard=Guard(min_calls=20))]),
        ejection=EjectionPolicy(enforce=False),
    )
    for _ in range(200):
        stage.end(stage.pick(ask=stage.ask()), SICK)
    assert "guarded" not in stage.kinds()


def test_a_share_that_is_more_than_its_nodes_part_is_told_once() -> None:
    """90 % of the calls on a tenth of the nodes; nothing is cut, the user asked."""
    stage = Stage(*fleet(old=9, new=1), routing=Routing(rules=[canary(0.9)]))
    assert abs(went(stage, 100)["v2"] - 90) <= 1
    assert stage.kinds().count("strained") == 1
    assert stage.service.routes()[0].strain == pytest.approx(9.0)


def test_a_route_is_shown_with_what_it_really_gets() -> None:
    """Name, share, measured, ramp, nodes."""
    rules = [canary(0.25), Route("t", when={"header.x": "*"}, to={"version": "1"})]
    stage = Stage(*fleet(), routing=Routing(rules=rules))
    went(stage, 100)
    one, two = stage.service.routes()
    assert (one.name, one.service, one.share, one.effective_share) == (
        "canary",
        "orders",
        0.25,
        0.25,
    )
    assert one.measured == pytest.approx(0.25, abs=0.01)
    assert (one.ramp, one.nodes, one.eligible, one.guard) == (1.0, 2, 2, None)
    assert one.strain == pytest.approx(1.0)
    assert (two.name, two.nodes, two.measured) == ("t", 6, None)


def test_priority_levels_are_inside_a_group() -> None:
    """Group first, then priority: base of a lower priority before any lane."""
    nodes = [
        Node("10.0.0.1", 80, id="base-1", priority=1),
        Node("10.0.0.1", 80, id="base-0", priority=0),
        Node("10.0.0.1", 80, id="lane-0", priority=0, metadata={"lane": "a"}),
    ]
    stage = Stage(*nodes, routing=Routing())
    assert {stage.end(stage.pick(ask=stage.ask())) for _ in range(20)} == {"base-0"}
    stage.service.mark_offline("base-0", 100.0)
    assert {stage.end(stage.pick(ask=stage.ask())) for _ in range(20)} == {"base-1"}
    assert {stage.end(stage.pick(ask=stage.ask(mark="a"))) for _ in range(20)} == {"lane-0"}


def test_weights_count_across_the_cells_of_a_group() -> None:
    """A group of two cells is drawn by weight; one cell's nodes are not worth more."""
    rules = [Route("r", when={"header.x": "1"}, to={"version": "1"})]
    stage = Stage(*fleet(old=3, new=1), routing=Routing(rules=rules), seed=3)
    counts = went(stage, 2000)
    assert 400 <= counts["v2"] <= 600


def test_a_retry_of_a_call_of_many_cells_tries_other_nodes() -> None:
    """An attempt that is drawn into a cell whose nodes were all tried finds those of another."""
    rules = [Route("r", when={"header.x": "1"}, to={"version": "1"})]
    for seed in range(20):
        stage = Stage(*fleet(old=1, new=1), routing=Routing(rules=rules), seed=seed)
        ask = stage.ask()
        first = stage.pick(ask=ask)
        stage.service.settle(first, REFUSED)
        again = stage.service.pick_again((first.live,), ask=ask)
        assert not isinstance(again, str)
        assert again.live is not first.live


def test_half_open_nodes_of_a_lane_are_tried_by_its_calls_only() -> None:
    """An ordinary call is not spent on finding out whether a lane's node is back."""
    nodes = [
        *(Node("10.0.0.1", 80, id=f"base-{n}") for n in range(3)),
        Node("10.0.0.2", 80, id="lane-0", metadata={"lane": "a"}),
    ]
    stage = Stage(*nodes, routing=Routing(), ejection=EjectionPolicy(consecutive=1, max_share=1.0))
    lease = stage.pick(ask=stage.ask(mark="a"))
    stage.end(lease, SICK)
    assert stage.states()["lane-0"] == "ejected"
    stage.clock.advance(20.0)
    assert {stage.end(stage.pick(ask=stage.ask()))[:4] for _ in range(20)} == {"base"}
    assert stage.end(stage.pick(ask=stage.ask(mark="a"))) == "lane-0"
    assert stage.states()["lane-0"] == "warming"


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_call_whose_route_allows_one_attempt_is_no_trial(attempts: int) -> None:
    """It could not be sent again, were the half-open node still dead."""
    route = Route("all", to={"version": "1"}, attempts=attempts)
    policy = EjectionPolicy(consecutive=1, max_share=1.0)
    stage = Stage(*fleet(new=0), routing=Routing(rules=[route]), ejection=policy)
    sick = stage.end(stage.pick(ask=stage.ask()), SICK)
    stage.clock.advance(7.0)  # half-open, and not for as long as calls of any kind wait
    lease = stage.pick(ask=stage.ask())
    assert (lease.live.node.id == sick) == (attempts > 1)


def test_a_forked_child_starts_its_turns_anew() -> None:
    """Rules are taken over, accumulators get another random start."""
    stage = Stage(*fleet(), routing=Routing(rules=[canary(0.5)]))
    stage.service.go_by([canary(0.25)])
    heir = stage.service.heir()
    assert [view.share for view in heir.routes()] == [0.25]
    assert heir.routes()[0].measured is None


def test_lanes_that_are_not_looked_at_are_told_once() -> None:
    """A caller without a routing sends ordinary calls to nodes that others keep apart."""
    stage = Stage(*fleet(metadata={"dubbo.tag": "grey"}))
    stage.list(*fleet(new=3, metadata={"dubbo.tag": "grey"}))
    said = [event.reason for event in stage.told if event.kind == "overlooked"]
    assert said == ["2 of 8 nodes are in lanes, which are not looked at"]


def test_a_call_that_goes_to_its_node_again_keeps_its_mark() -> None:
    """Only the connection had ended; the node is told of the lane as it was before."""
    stage = Stage(*fleet(old=0, new=1, metadata={"lane": "c2"}), routing=Routing())
    ask = stage.ask(mark="c2")
    first = stage.pick(ask=ask)
    stage.service.settle(first, SICK)
    again = stage.service.pick_again((first.live,), same_node=True, ask=ask)
    assert not isinstance(again, str)
    assert again.live is first.live
    assert again.routed is not None
    assert again.routed.lane == "c2"


def test_a_share_goes_by_the_nodes_that_are_there_now() -> None:
    """A group that was looked at before other nodes joined it is looked at anew."""
    stage = Stage(*fleet(new=0), routing=Routing(rules=[canary(0.5)]))
    router, ask = stage.service.router, stage.ask()
    assert router is not None
    assert ask is not None
    (entry,) = ask.matched
    assert not router._paths.group(entry, None).listed
    stage.list(*fleet())
    assert router._paths.group(entry, None).listed


def test_a_call_may_go_again_by_a_route_that_is_gone() -> None:
    """It finds a node, and nobody counts for a route that no rule names any more."""
    stage = Stage(*fleet(), routing=Routing(rules=[Route("r", to={"version": "2"})]))
    ask = stage.ask()
    assert stage.end(stage.pick(ask=ask)).startswith("v2")
    stage.service.go_by([])
    assert stage.end(stage.pick(ask=ask))
    assert stage.service.routes() == []


def test_nodes_that_no_share_leads_to_any_more_are_for_all() -> None:
    """The same nodes under another rule: where calls may go is worked out anew."""
    stage = Stage(*fleet(), routing=Routing(rules=[canary(0.0)]))
    assert went(stage, 40)["v2"] == 0
    stage.service.go_by([Route("canary", when={"header.x": "1"}, to={"version": "2"})])
    assert went(stage, 80)["v2"] > 0


def test_marks_of_any_number_leave_little_behind() -> None:
    """They may come from anywhere: what is remembered of them is bounded, and picks stay right."""
    stage = Stage(*fleet(), routing=Routing(rules=[canary(0.05)]))
    counts: Counter[str] = Counter()
    for number in range(2500):
        first = stage.pick(ask=stage.ask(mark=f"lane-{number}"))
        ask = stage.ask(mark=f"lane-{number}")
        tried = stage.pick(ask=ask)
        again = stage.service.pick_again((tried.live,), ask=ask, free=True)
        assert isinstance(again, Lease)
        for lease in (first, tried, again):
            assert lease.routed is not None
            assert lease.routed.lane == f"lane-{number}"
            counts[stage.end(lease)[:2]] += 1
    assert set(counts) == {"v1"}
    gc.collect()
    assert sum(isinstance(one, Aim) for one in gc.get_objects()) < 2500
