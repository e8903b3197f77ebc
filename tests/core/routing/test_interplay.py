"""Lanes and routes beside what else keeps nodes out: it counts by service, and spares no group."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rpcguard import EjectionPolicy, Node
from rpcguard._core.policies.routing import Route, Routing
from tests.support.stage import REFUSED, SICK, Stage, leaving

if TYPE_CHECKING:
    from rpcguard._core.nodes.live import LiveNode


def fleet(base: int, lane: int) -> list[Node]:
    """List nodes of base and of the lane `c2`, by turns in two zones."""
    return [
        *(Node("10.0.0.1", 80, id=f"base-{n}", zone="ab"[n % 2]) for n in range(base)),
        *(
            Node("10.0.0.2", 80, id=f"lane-{n}", zone="ab"[n % 2], metadata={"lane": "c2"})
            for n in range(lane)
        ),
    ]


def reached(stage: Stage, mark: str | None, count: int = 40) -> set[str]:
    """Give the kinds of nodes that calls reach."""
    leases = (stage.pick(ask=stage.ask(mark=mark)) for _ in range(count))
    return {stage.end(lease).partition("-")[0] for lease in leases}


@pytest.mark.parametrize(("sick", "frozen"), [("lane", False), ("base", True)])
def test_a_bad_canary_freezes_nothing_and_a_bad_base_does(sick: str, frozen: bool) -> None:
    """What fails together is counted over the whole service: a tenth of it is no common cause."""
    stage = Stage(*fleet(9, 1), routing=Routing(), ejection=EjectionPolicy(jitter=0))
    for node in [name for name in stage.states() if name.startswith(sick)][:6]:
        stage.on(node, SICK, 5)
    assert ("frozen" in stage.kinds()) is frozen
    assert stage.states()["lane-0"] == ("available" if frozen else "ejected")


def test_the_last_node_of_a_lane_may_leave() -> None:
    """Its calls have base; of base itself, half stay however many say that they leave."""
    stage = Stage(*fleet(4, 1), routing=Routing())
    stage.on("lane-0", leaving())
    assert stage.states()["lane-0"] == "offline"
    assert reached(stage, "c2") == {"base"}
    for number in range(4):
        stage.on(f"base-{number}", leaving())
    assert list(stage.states().values()).count("offline") == 2


def test_a_lane_that_the_registry_drops_is_gone_at_once() -> None:
    """It is no half of the list, so nobody doubts it."""
    stage = Stage(*fleet(4, 3), routing=Routing())
    stage.list(*fleet(4, 0))
    assert not [name for name in stage.listed() if name.startswith("lane")]
    assert reached(stage, "c2") == {"base"}


def test_a_retry_prefers_another_zone_of_its_lane() -> None:
    """Not of base, which has as many nodes there."""
    for seed in range(10):
        stage = Stage(*fleet(8, 8), routing=Routing(), seed=seed)
        ask = stage.ask(mark="c2")
        first = stage.pick(ask=ask)
        stage.service.settle(first, REFUSED)
        again = stage.service.pick_again((first.live,), ask=ask)
        assert not isinstance(again, str)
        assert again.live.node.id.startswith("lane")
        assert again.live.node.zone != first.live.node.zone


def test_a_share_of_all_services_is_of_what_that_of_the_service_leaves() -> None:
    """Where both together are more than all of the same calls."""
    one = Route("orders", service="orders", share=0.6, to={"id": "base-0"})
    every = Route("all", share=0.5, to={"id": "base-1"})
    stage = Stage(*fleet(4, 0), routing=Routing(rules=[one, every]))
    went = Counter(stage.end(stage.pick(ask=stage.ask())) for _ in range(500))
    assert (went["base-0"], went["base-1"]) == (300, 100)
    stage.service.go_by([every])
    went = Counter(stage.end(stage.pick(ask=stage.ask())) for _ in range(100))
    assert went["base-1"] == pytest.approx(50, abs=1)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_share_of_all_services_takes_no_split_of_one_apart(place: int) -> None:
    """Wherever it stands: the parts of the split stay as they are to each other."""
    split = [
        Route(f"v{n}", service="orders", share=0.5, to={"id": f"base-{n}"}, empty="divided")
        for n in (0, 1)
    ]
    every = Route("all", share=0.2, to={"id": "base-2"})
    rules = [*split[:place], every, *split[place:]]
    stage = Stage(*fleet(4, 0), routing=Routing(rules=rules))
    went = Counter(stage.end(stage.pick(ask=stage.ask())) for _ in range(500))
    taken = 100 if place == 0 else 0
    assert went["base-2"] == taken
    assert went["base-0"] == went["base-1"] == (500 - taken) / 2


class Amid(Stage):
    """A stage that makes a call whenever a node is retired, amid the list that has dropped it."""

    shares: list[float]

    def retire(self, live: LiveNode) -> None:
        super().retire(live)
        self.end(self.pick(ask=self.ask()))
        self.shares.append(self.service.routes()[0].effective_share)


@pytest.mark.parametrize("left", [0, 1])
def test_a_call_amid_a_list_that_takes_a_warming_canary_back(left: int) -> None:
    """Nodes are drained in one part of the change, others are dropped in the next: it is no fault.

    What the drained ones lacked of their ramp was divided by the weight of those that are left.
    """
    old, new = fleet(10, 0), [Node("10.0.1.1", 80, id=f"new{n}", version="2") for n in range(3)]
    canary = Route("canary", share=0.3, to={"version": "2"})
    stage = Amid(*old, routing=Routing(rules=[canary]))
    stage.shares = []
    stage.list(*old, *new)
    drained = [replace(node, status="draining") for node in new[left:]]
    stage.list(*old[1:], *new[:left], *drained)
    assert stage.shares == [0.0]


@pytest.mark.parametrize("weights", [(0.7, 0.2, 0.1), (0.1, 0.2, 0.3), (0.1,) * 9])
def test_a_group_is_whole_again_when_its_nodes_are(weights: tuple[float, ...]) -> None:
    """With `least=1.0` the last bit of a sum decides: 0.7 + 0.2 + 0.1 - 0.2 + 0.2 was less."""
    nodes = [
        Node("10.0.0.1", 80, id=f"n{at}", version="2", weight=weight)
        for at, weight in enumerate(weights)
    ]
    route = Route("all", to={"version": "2"}, least=1.0)
    stage = Stage(*fleet(1, 0), *nodes, routing=Routing(rules=[route]))
    for node in (*nodes, *nodes[::-1]):
        for fallback in ("base", None):
            if fallback:
                stage.service.mark_offline(node.id, 100.0)
            else:
                stage.service.mark_online(node.id)
            lease = stage.pick(ask=stage.ask())
            assert lease.routed is not None
            assert lease.routed.fallback == fallback
            stage.end(lease)


@pytest.mark.parametrize("percent", [7, 55, 57])
def test_a_group_of_just_as_much_as_it_needs_serves(percent: int) -> None:
    """0.55 of a hundred nodes came to a little more than 55 of them, and 0.57 to less than 57."""
    route = Route("all", to={"version": "2"}, least=percent / 100)
    for few in (0, 1):
        words = ["up"] * (percent - few) + ["down"] * (100 - percent + few)
        nodes = [
            Node("10.0.0.1", 80, id=f"n{at}", version="2", status=word)  # type: ignore[arg-type]
            for at, word in enumerate(words)
        ]
        stage = Stage(*fleet(1, 0), *nodes, routing=Routing(rules=[route]))
        routed = stage.pick(ask=stage.ask()).routed
        assert routed is not None
        assert routed.fallback == (None, "base")[few]


def test_light_nodes_are_not_lost_beside_a_heavy_one() -> None:
    """What was left of their weight when it had gone was nothing, and was divided by."""
    light = [Node("10.0.0.1", 80, id=f"n{at}", version="2", weight=1e-9) for at in range(3)]
    heavy = Node("10.0.0.1", 80, id="heavy", version="2", weight=1e9)
    canary = Route("canary", to={"version": "2"}, share=0.5)
    stage = Stage(*fleet(1, 0), heavy, *light[:2], routing=Routing(rules=[canary]))
    stage.list(*fleet(1, 0), heavy, *light)
    stage.list(*fleet(1, 0), *light)
    assert stage.service.routes()[0].effective_share == pytest.approx(0.5 * 2.1 / 3)
