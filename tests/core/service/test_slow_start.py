"""Slow start: the shape of the ramp, when it applies, and what it does to the traffic."""

from __future__ import annotations

import pytest

from rpcguard import SlowStart
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import FleetProvider, Simulation, exponential
from tests.support.stage import EPOCH, GOOD, REFUSED, SICK, Stage, ids, leaving, nodes


def test_two_hundred_good_calls_end_the_ramp_early():
    """The ramp is done after `calls` good calls, however young the node is."""
    assert SlowStart().ramp(1, 199) == 0.1
    assert SlowStart().ramp(1, 200) == 1.0
    stage = Stage(*ids(4), slow_start=SlowStart(calls=20))
    stage.list(*ids(5))
    while stage.view("n4").successes < 20:
        assert stage.view("n4").state == "warming"
        stage.call()
    stage.clock.advance(0.25)
    assert stage.view("n4").state == "available"
    assert stage.clock() < 1020


def test_the_first_snapshot_is_not_warmed():
    """When a caller starts every node carries its full weight; one that comes later does not."""
    stage = Stage(*ids(4))
    assert set(stage.states().values()) == {"available"}
    stage.list(*ids(5))
    view = stage.view("n4")
    assert (view.state, view.reason) == ("warming", "slow start")
    assert view.until == 120
    assert view.effective_weight == 0.1
    stage.clock.advance(60)
    assert stage.view("n4").effective_weight == pytest.approx(0.25, abs=0.01)
    stage.clock.advance(60)
    view = stage.view("n4")
    assert (view.state, view.effective_weight, view.until) == ("available", 1.0, None)


@pytest.mark.parametrize("how", ["probe", "trial", "mark"])
def test_it_applies_again_after_ejection_and_offline(how):
    """A node that comes back begins at the floor, whatever kept it out."""
    stage = Stage(*ids(4))
    if how == "probe":
        stage.on("n0", REFUSED)
        stage.probed("n0", alive=True, answered=True)
    elif how == "trial":
        stage.on("n0", SICK, 5)
        stage.clock.advance(6)
        assert stage.call() == "n0"
    else:
        stage.on("n0", leaving())
        stage.probed("n0", alive=False)
        stage.probed("n0", alive=True, answered=True)
    assert stage.view("n0").effective_weight == 0.1
    stage.clock.advance(120)
    assert stage.view("n0").state == "available"


@pytest.mark.parametrize(("new", "suspended"), [(1, False), (3, False), (4, True), (6, True)])
def test_it_is_suspended_while_half_of_the_weight_is_warming(new, suspended):
    """When half or more of the weight is new, holding the new nodes back would drown the old."""
    stage = Stage(*ids(4))
    stage.list(*ids(4), *ids(new, "new"))
    weights = {stage.view(name).effective_weight for name in ids(new, "new")}
    assert weights == ({1.0} if suspended else {0.1})
    assert ("suspended" in (stage.view("new0").reason or "")) is suspended


def test_it_counts_weight_and_not_nodes():
    """One heavy new node is half of the weight although it is one of three."""
    stage = Stage("a", "b")
    stage.list("a", "b", *nodes("heavy", weight=2.0))
    assert stage.view("heavy").effective_weight == 2.0


def test_it_goes_on_when_the_others_are_warm():
    """A suspended ramp continues where it would have been."""
    stage = Stage("a")
    stage.list("a", "b")
    assert stage.view("b").effective_weight == 1.0
    stage.clock.advance(60)
    stage.list("a", "b", "c", "d")
    stage.clock.advance(60)
    assert stage.view("b").state == "available"
    assert stage.view("c").effective_weight == 1.0
    stage.clock.advance(60)
    stage.list("a", "b", "c", "d", "e")
    assert stage.view("e").effective_weight == 0.1


@pytest.mark.parametrize(("served", "ramp"), [(19, 0.9025), (10, 0.25), (3, 0.1)])
def test_it_goes_on_from_what_was_served_meanwhile(served, ramp):
    """Nodes that lacked a few of their calls fell from a whole share to a tenth of it."""
    stage = Stage(*ids(3), slow_start=SlowStart(calls=20))
    new = ids(7, "new")
    stage.list(*ids(3), *new)
    for name in new:
        stage.on(name, GOOD, served)
    stage.clock.advance(1)
    assert {stage.view(name).effective_weight for name in new} == {1.0}
    for name in new[:4]:
        stage.on(name, GOOD, 20 - served)
    stage.clock.advance(0.25)
    for name in new[4:]:
        assert stage.view(name).effective_weight == pytest.approx(ramp, abs=0.01)


def test_a_single_node_is_not_held_back():
    """Where the new node is the only one, there is nothing to protect it with."""
    stage = Stage("a")
    stage.list(*nodes("a", status="draining"), "b")
    assert stage.view("b").effective_weight == 1.0


def test_no_window_no_slow_start():
    """`window=0` turns it off."""
    stage = Stage(*ids(4), slow_start=SlowStart(window=0))
    stage.list(*ids(5))
    assert stage.view("n4").state == "available"


@pytest.mark.parametrize(
    ("started", "ramp"),
    [
        (None, 0.1),
        (-60, 0.25),
        (-119, 0.98),
        (-3600, 0.1),
        (3600, 0.1),
        (-121, 0.1),
        (0, 0.1),
    ],
    ids=["unknown", "1 min", "2 min", "1 h slow", "1 h fast", "beyond the window", "now"],
)
def test_a_start_time_shortens_the_ramp_and_a_wrong_clock_does_no_harm(started, ramp):
    """A start within the window is credited; one hour wrong either way leaves the whole ramp."""
    stage = Stage(*ids(4))
    at = None if started is None else EPOCH + stage.clock() + started
    stage.list(*ids(4), *nodes("new", started_at=at))
    assert stage.view("new").effective_weight == pytest.approx(ramp, abs=0.01)
    stage.clock.advance(120)
    assert stage.view("new").state == "available"


def test_at_one_call_a_minute_a_new_node_still_sees_traffic():
    """A ramp of a tenth is a tenth of a share, not nothing, however rare the calls are."""
    stage = Stage(*ids(3), slow_start=SlowStart(window=86_400))
    stage.calls(50, seconds=0.05)
    stage.list(*ids(4))
    went: dict[str, int] = {}
    for _ in range(400):
        node = stage.call(seconds=0.05)
        went[node] = went.get(node, 0) + 1
        stage.clock.advance(60)
    assert stage.view("n3").effective_weight < 0.2
    assert 0.7 < went["n3"] / (400 * 0.1 / 3.1) < 2.0


def test_an_ejection_during_the_ramp_keeps_the_sum_right():
    """Warming nodes that are out do not count as warming weight."""
    stage = Stage(*ids(4))
    stage.list(*ids(7))
    assert stage.view("n6").effective_weight == 0.1
    for name in ("n0", "n1", "n2"):
        stage.on(name, REFUSED)
    assert stage.view("n6").effective_weight == 1.0
    stage.on("n4", SICK, 5)
    for name in ("n0", "n1", "n2"):
        stage.service.mark_online(name)
    assert stage.view("n4").effective_weight in (0.0, 1.0)


@pytest.mark.parametrize("in_flight", [1, 10, 100])
@pytest.mark.parametrize("size", [3, 10, 50])
def test_the_share_of_a_new_node_follows_its_ramp(size, in_flight):
    """The share stays within 0.7 and 2.0 times of ramp ÷ (others + ramp) at any concurrency."""
    age, spans = 40.0, {1: 60.0, 10: 30.0, 100: 5.0}
    wanted = got = 0.0
    for seed in range(5) if in_flight == 1 else (1,):
        providers = {f"n{at}": FleetProvider(exponential(0.05), workers=999) for at in range(size)}
        run = Simulation(providers, policies=Policies(slow_start=SlowStart(calls=10**9)), seed=seed)
        run.list_nodes(list(providers)[1:])
        run.keep_in_flight(in_flight, 5)
        run.run(6)
        run.list_nodes()
        run.run(age)
        begin = run.elapsed
        run.keep_in_flight(in_flight, spans[in_flight])
        run.run(spans[in_flight])
        for call in run.span(begin):
            ramp = max(0.1, ((call.at - 1000.0 - 6.0) / 120.0) ** 2)
            wanted += ramp / (size - 1 + ramp)
            got += call.nodes[0] == "n0"
    assert wanted > 15
    assert 0.7 < got / wanted < 2.0


def test_the_ramp_of_a_node_that_is_out_is_not_suspended():
    """Where none can be picked, none is half of them, whatever it serves as the last resort."""
    stage = Stage()
    stage.list()
    stage.list(*nodes("a", status="down"))
    (live,) = stage.service._roster.nodes.values()
    since = live.warm_since
    stage.on("a", GOOD, 50)
    stage.clock.advance(1)
    stage.view("a")
    assert (live.ramp, live.warm_since) == (0.1, since)
