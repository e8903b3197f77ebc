"""Several shares of the same calls, over a live list."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest

from rpcguard import Node
from rpcguard._core.policies.routing import Guard, Route, Routing
from rpcguard._core.routing import facts, table
from rpcguard._core.service import choices, paths, takers
from tests.support.interrupts import Interrupter, Signals
from tests.support.stage import Stage

VERSIONS = "123"


def fleet(*versions: str) -> list[Node]:
    """List two nodes of each version."""
    return [
        Node("10.0.0.1", 80, id=f"v{version}-{number}", version=version)
        for version in versions
        for number in range(2)
    ]


def split(*shares: float, **fields: Any) -> list[Route]:
    """Split all calls among the versions."""
    return [
        Route(f"r{version}", to={"version": version}, share=share, **fields)
        for version, share in zip(VERSIONS, shares, strict=False)
    ]


def staged(*rules: Route, versions: str = "0123", **fields: Any) -> Stage:
    """Give a stage with two nodes of each version."""
    return Stage(*fleet(*versions), routing=Routing(rules=rules), **fields)


def went(stage: Stage, calls: int, **headers: str) -> Counter[str]:
    """Count calls by version."""
    counts: Counter[str] = Counter()
    for _ in range(calls):
        lease = stage.pick(ask=stage.ask(**headers))
        stage.clock.advance(0.01)
        counts[stage.end(lease)[1]] += 1
    return counts


@pytest.mark.parametrize("shares", [(0.99, 0.01), (0.5, 0.5), (0.1, 0.05, 0.02), (0.5, 0.3, 0.2)])
def test_each_share_of_the_same_calls_is_exact_to_one_call(shares: tuple[float, ...]) -> None:
    """99:1 never reached the second group elsewhere, nor did 1:1."""
    for seed in range(3):
        stage = staged(*split(*shares), seed=seed)
        counts: Counter[str] = Counter()
        for made in range(20, 401, 20):
            counts += went(stage, 20)
            for version, share in zip(VERSIONS, shares, strict=False):
                assert abs(counts[version] - made * share) <= 1 + 1e-6
        assert (counts["0"] == 0) == (sum(shares) == 1)


def test_each_share_is_measured_of_all_their_calls() -> None:
    """Not of those that the shares before it have left."""
    stage = staged(*split(0.5, 0.3, 0.2))
    went(stage, 1000)
    measured = [view.measured or 0.0 for view in stage.service.routes()]
    assert measured == pytest.approx([0.5, 0.3, 0.2], abs=0.002)


def test_a_route_between_shares_keeps_its_calls() -> None:
    """What comes first wins, though a share before it and one behind are of the same calls."""
    one, two = split(0.1, 0.4)
    between = Route("all", when={"header.x": "1"}, to={"version": "3"})
    stage = staged(one, between, two)
    assert went(stage, 100, x="1") == {"1": 10, "3": 90}
    counts = went(stage, 100)
    assert counts["1"] == pytest.approx(10, abs=1)
    assert counts["2"] == pytest.approx(40, abs=1)


def test_a_route_between_shares_leaves_the_rest_theirs() -> None:
    """Of calls that are for one of three each, though three of four are only for the first."""
    for seed in range(3):
        one, two, three = split(0.1, 0.1, 0.8)
        between = Route("all", when={"header.x": "1"}, to={"version": "0"})
        stage = staged(one, between, two, three, seed=seed)
        counts: Counter[str] = Counter()
        for _ in range(100):
            went(stage, 3, x="1")
            counts += went(stage, 1)
        assert counts == pytest.approx({"1": 10, "2": 10, "3": 80}, abs=2)


def test_shares_of_other_calls_are_of_what_is_left() -> None:
    """A share with other conditions takes its part of the calls that those before it leave."""
    first, second = split(0.5, 0.5)
    other = Route("r2", when={"header.x": "1"}, to=second.to, share=0.5)
    assert went(staged(first, other, versions="012"), 400, x="1") == {"1": 200, "2": 100, "0": 100}


def test_sticky_users_are_where_they_are_whatever_takes_turns_beside_them() -> None:
    """A share by turns before a sticky one moves none of its users, and gets its part."""
    users = [f"user-{number}" for number in range(200)]

    def kept(turns: float) -> set[str]:
        one, two = split(turns, 0.3)
        sticky = Route("r2", to=two.to, share=0.3, sticky="header.x-user-id")
        stage = staged(one, sticky)
        sides = {user: went(stage, 3, **{"x-user-id": user}) for user in users}
        assert sum(side["1"] for side in sides.values()) == pytest.approx(600 * turns, abs=12)
        assert all(side["2"] in (0, 3) for side in sides.values())
        return {user for user, side in sides.items() if side["2"]}

    assert kept(0.1) == kept(0.4)
    assert 40 <= len(kept(0.1)) <= 80


def test_users_whom_no_sticky_share_takes_go_to_base() -> None:
    """Each of them always, though there is another share beside it."""
    stage = staged(*split(0.2, 0.2, sticky="key"))
    sides: Counter[str] = Counter()
    for user in map(str, range(100)):
        for _ in range(3):
            lease = stage.pick(ask=stage.ask(key=user))
            assert lease.routed is not None
            sides[user, lease.routed.route] += 1
            stage.end(lease)
    assert set(sides.values()) == {3}
    assert sum(route is None for _, route in sides) == pytest.approx(60, abs=20)


@pytest.mark.parametrize("rest", [(0.7,), (0.5, 0.2)])
def test_a_user_whom_no_sticky_share_takes_is_never_on_its_nodes(rest: tuple[float, ...]) -> None:
    """Where shares divide all calls the others take theirs, whatever they have had before."""
    rules = split(0.3, *rest)
    rules[0] = Route("r1", to=rules[0].to, share=0.3, sticky="key")
    stage = staged(*rules)
    for user in map(str, range(20)):
        took: Counter[str | None] = Counter()
        for _ in range(100):
            lease = stage.pick(ask=stage.ask(key=user))
            assert lease.routed is not None
            took[lease.routed.route] += 1
            stage.end(lease)
        if took["r1"]:
            assert took["r1"] == 100
            continue
        for at, part in enumerate(rest, 2):
            assert took[f"r{at}"] == pytest.approx(100 * part / 0.7, abs=2)


def test_a_share_has_its_part_whatever_else_its_calls_match() -> None:
    """Calls match in more ways than are remembered; whose turn it is stays."""
    names = [f"x-{number}" for number in range(9)]
    rules = [
        Route(one, when={f"header.{one}": "*"}, to={"version": "2"}, share=0.0) for one in names
    ]
    stage, counts = staged(*split(0.5), *rules), Counter[str]()
    for bits in range(2 ** len(names)):
        counts += went(stage, 1, **{one: "1" for at, one in enumerate(names) if bits >> at & 1})
    assert (counts["1"], counts["2"]) == (256, 0)


def test_a_share_that_is_gone_is_not_counted() -> None:
    """A call that it had declined before goes on without it."""
    stage = staged(*split(0.0))
    ask = stage.ask()
    stage.end(stage.pick(ask=ask))
    stage.service.go_by([])
    lease = stage.pick(ask=ask)
    assert lease.routed is not None
    assert lease.routed.declined == ("r1",)
    assert stage.service.routes() == []


def test_a_share_that_sticky_users_kept_out_takes_no_revenge() -> None:
    """A thousand calls of one user of a sticky share are no debt to the one beside it."""
    sticky = Route("r1", to={"version": "1"}, share=0.9, sticky="key")
    stage = staged(sticky, *split(0.0, 0.1)[1:])
    inside = next(
        key
        for key in map(str, range(100))
        if stage.end(stage.pick(ask=stage.ask(key=key)))[1] == "1"
    )
    for _ in range(300):
        stage.end(stage.pick(ask=stage.ask(key=inside)))
    assert went(stage, 100)["2"] <= 21


def test_another_guard_leaves_a_share_its_turns() -> None:
    """Editing a guard is no reason to begin a share anew."""
    stage = staged(*split(0.5))
    counts = went(stage, 51)
    for number in range(20):
        guard = Guard(min_calls=50 + number)
        stage.service.go_by(split(0.5, guard=guard))
        counts += went(stage, 1)
    assert counts["1"] == pytest.approx(71 / 2, abs=1)
    assert stage.service.routes()[0].measured == pytest.approx(0.5, abs=0.02)


def test_calls_that_fell_back_are_not_made_up_for() -> None:
    """They were the turns of the share: a canary that comes back is not met by all that it lost."""
    stage = staged(*split(0.2, 0.1), versions="02")
    assert went(stage, 200).keys() == {"0", "2"}
    stage.list(*fleet(*"012"))
    stage.clock.advance(300.0)
    counts = went(stage, 100)
    assert counts["1"] == pytest.approx(20, abs=1)
    assert counts["2"] == pytest.approx(10, abs=1)


# Shares that are divided while they have no node


def test_a_divided_share_without_nodes_goes_to_the_others() -> None:
    """In their proportion, exact to one call, and not to nodes that none of them names."""
    rules = split(0.5, 0.3, 0.2, empty="divided")
    stage = staged(*rules, versions="023")
    counts = went(stage, 100)
    assert counts["0"] == counts["1"] == 0
    assert counts["2"] == pytest.approx(60, abs=1)
    parts = [view.effective_share for view in stage.service.routes()]
    assert parts == pytest.approx([0.0, 0.6, 0.4])
    stage.list(*fleet(*"0123"))
    stage.clock.advance(300.0)
    assert went(stage, 100)["1"] == pytest.approx(50, abs=3)


def test_a_kept_share_without_nodes_goes_where_the_route_says() -> None:
    """To nodes that no share names, as long as there are some."""
    counts = went(staged(*split(0.5, 0.3, 0.2), versions="023"), 100)
    assert counts == {"0": 50, "2": 30, "3": 20}


def test_divided_shares_of_which_none_has_nodes_stay_as_they_are() -> None:
    """Their calls go to base; a part of the calls that no share has is nobody's then either."""
    stage = staged(*split(0.5, 0.3, empty="divided"), versions="03")
    assert went(stage, 20).keys() == {"0", "3"}
    assert [view.effective_share for view in stage.service.routes()] == [0.5, 0.3]


def test_a_route_for_all_calls_is_divided_among_nobody() -> None:
    """A single destination of a weighted rule has all calls, with nodes or without."""
    for versions in ("01", "0"):
        stage = staged(*split(1.0, empty="divided"), versions=versions)
        assert [view.effective_share for view in stage.service.routes()] == [1.0]
        assert went(stage, 10) == {versions[-1]: 10}


def test_shares_of_nothing_stay_nothing() -> None:
    """Where the only shares that have nodes are such ones, nobody has the calls of the rest."""
    stage = staged(*split(0.5, 0.0, empty="divided"), versions="02")
    assert [view.effective_share for view in stage.service.routes()] == [0.0, 0.0]
    assert went(stage, 10) == {"0": 10}


def test_only_shares_that_say_so_are_divided() -> None:
    """One beside them keeps its part, and the rest is divided among the others."""
    kept, *divided = split(0.5, 0.3, 0.2, empty="divided")
    kept = Route(kept.name, to=kept.to, share=0.5)
    stage = staged(kept, *divided, versions="013")
    parts = [view.effective_share for view in stage.service.routes()]
    assert parts == pytest.approx([0.5, 0.0, 0.5])


@pytest.mark.parametrize("otherwise", ["base", "any", "fail"])
def test_a_divided_share_whose_nodes_are_out_goes_to_the_others(otherwise: str) -> None:
    """Before nodes that none of them names, and though it may fail."""
    stage = staged(*split(0.5, 0.3, 0.2, empty="divided", otherwise=otherwise))
    for number in range(2):
        stage.service.mark_offline(f"v1-{number}", 1000.0)
    counts = went(stage, 100)
    assert set(counts) == {"2", "3"}
    lease = stage.pick(ask=stage.ask())
    assert lease.routed is not None
    again = stage.service.pick_again((lease.live,), ask=stage.ask(), free=True)
    assert not isinstance(again, str)
    assert again.live.node.version in "23"


def test_a_divided_share_fails_where_none_of_them_has_a_node() -> None:
    """That is what it was told to do."""
    stage = staged(*split(0.5, 0.5, empty="divided", otherwise="fail"), versions="03")
    assert stage.service.pick(repeatable=True, ask=stage.ask()) is None


def test_divided_shares_are_divided_in_lanes_too() -> None:
    """A fleet all of whose nodes are in lanes, which keep no call out then."""
    nodes = [
        Node("10.0.0.1", 80, id=f"v{version}", version=version, metadata={"lane": "a"})
        for version in "02"
    ]
    routing = Routing(rules=split(0.5, 0.5, empty="divided"))
    assert went(Stage(*nodes, routing=routing), 20) == {"2": 20}


def test_an_interrupt_leaves_no_part_of_an_older_list() -> None:
    """Ctrl-C at any place where shares are divided anew: the next call divides them."""
    stale = []
    for nth in range(1000):
        stage = staged(*split(0.5, 0.5, empty="divided"), versions="12")
        went(stage, 4)
        stage.list(*fleet("1"))
        with (
            contextlib.suppress(KeyboardInterrupt),
            Interrupter(nth, {paths.__file__, takers.__file__}.__contains__) as walk,
        ):
            stage.pick(ask=stage.ask())
        if walk.where is None:
            break
        routed = [stage.pick(ask=stage.ask()).routed for _ in range(4)]
        if any(one is None or one.route != "r1" for one in routed):
            stale.append(walk.where)
    assert 20 < nth < 1000
    assert stale == []


def nested(kind: str, count: int) -> int:
    """Count the turns of loops that the first call needs which is of all these shares."""
    whens = {
        "paths": [
            {"path": "/v1/42"[: 1 + n % 6] + "*", f"header.a{n}": None} for n in range(count)
        ],
        "headers": [{f"header.x{n}": "*"} for n in range(count)],
    }
    rules = [
        Route(f"r{n}", when=when, share=0.5 / count, to={"version": "1"})
        for n, when in enumerate(whens[kind])
    ]
    stage, turns = staged(*rules), []
    headers = {f"x{n}": "1" for n in range(count)} if kind == "headers" else {}
    ours = {module.__file__ for module in (choices, facts, table, takers)}
    with Signals(lambda _: turns.append(1), ours.__contains__):
        ask = stage.ask(**headers)
        lease = stage.pick(ask=ask)
    assert ask is not None
    assert lease.routed is not None
    assert len(ask.matched) == len(lease.routed.declined) == count
    return len(turns)


@pytest.mark.parametrize("kind", ["paths", "headers"])
def test_a_call_of_many_routes_walks_them_once(kind: str) -> None:
    """Twice as many shares with other conditions each are no more than about twice the work."""
    assert nested(kind, 200) < 2.5 * nested(kind, 100)
