"""What several nodes say or do alike, and the one that does not."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from rpcguard import EjectionPolicy, OfflinePolicy
from tests.support.stage import GOOD, NOT_FOUND, REFUSED, SICK, Stage, ids, leaving


@pytest.mark.parametrize("source", ["signal", "retry-after"])
def test_what_one_node_says_counts_for_it(source):
    """A signal without a name, or a pause that is asked for, is believed of a single node."""
    stage = Stage(*ids(4))
    stage.on("n0", leaving(20, source, named=False))
    assert stage.states()["n0"] == "offline"


@pytest.mark.parametrize("source", ["signal", "retry-after"])
def test_what_several_nodes_say_is_about_none_of_them(source):
    """The second one within its time lifts the mark of the first, without a slow start."""
    stage = Stage(*ids(4))
    stage.on("n0", leaving(20, source, named=False))
    stage.clock.advance(19)
    stage.on("n1", leaving(20, source, named=False))
    assert set(stage.states().values()) == {"available"}
    stage.on("n0", leaving(20, source, named=False))
    assert set(stage.states().values()) == {"available"}
    told = [event for event in stage.told if event.kind == "signal"]
    assert [event.enforced for event in told] == [True, False, False]


def test_what_is_said_later_is_another_thing():
    """Once the first has been silent for its time, a second node is believed again."""
    stage = Stage(*ids(4), probes=False)
    stage.on("n0", leaving(5, named=False))
    stage.clock.advance(6)
    stage.on("n1", leaving(5, named=False))
    assert stage.states() == {
        "n0": "warming",
        "n1": "offline",
        "n2": "available",
        "n3": "available",
    }


def test_a_node_that_went_down_meant_itself():
    """A release that takes one node after the other is not taken for a gateway's word."""
    stage = Stage(*ids(4))
    stage.on("n0", leaving(named=False))
    stage.probed("n0", alive=False)
    stage.on("n1", leaving(named=False))
    assert [stage.states()[name] for name in ("n0", "n1")] == ["offline", "offline"]


def test_by_name_several_may_leave():
    """Named signals are each about its node, however many there are."""
    stage = Stage(*ids(4))
    stage.on("n0", leaving())
    stage.on("n1", leaving())
    assert [stage.states()[name] for name in ("n0", "n1")] == ["offline", "offline"]


def test_at_the_cap_the_oldest_mark_whose_node_answers_gives_way():
    """In a fast rolling restart at fixed addresses each node is off the list in its turn."""
    stage = Stage("a", "b", offline=OfflinePolicy())
    stage.on("a", leaving())
    stage.clock.advance(5)
    stage.probed("a", alive=True)
    stage.on("b", leaving())
    assert stage.states() == {"a": "warming", "b": "offline"}
    assert stage.kinds("a")[-1] == "restored"


def test_a_mark_that_was_just_put_does_not_give_way():
    """A node that has just said that it leaves still answers, and one that is down does not."""
    stage = Stage("a", "b")
    stage.on("a", leaving())
    stage.probed("a", alive=True)
    stage.on("b", leaving())
    assert stage.states() == {"a": "offline", "b": "available"}
    stage.clock.advance(5)
    stage.probed("a", alive=False)
    stage.on("b", leaving())
    assert stage.states() == {"a": "offline", "b": "available"}


def test_short_marks_do_not_forget_failures():
    """A node that asks for a pause with each failure is left out for its failures in the end."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    for _ in range(5):
        stage.on("n0", leaving(1, "retry-after", verdict=SICK))
        stage.clock.advance(1.1)
    assert stage.states()["n0"] == "ejected"


def test_the_odd_one_out_is_left_out():
    """A wrong application under a listed address: nothing but 404, where the others answer."""
    stage = Stage(*ids(4))
    for name in ids(4)[1:]:
        stage.on(name, GOOD, 5)
    went = 0
    while stage.states()["n3"] == "available" and went < 50:
        stage.on("n3", NOT_FOUND)
        went += 1
    assert stage.states()["n3"] == "ejected"
    assert 10 <= went <= 20
    assert "do not give" in stage.view("n3").reason


def test_the_trial_of_the_odd_one_is_passed_by_an_answer_below_400():
    """Another 404 leaves it out for longer; a good answer brings it back."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    for name in ids(4)[1:]:
        stage.on(name, GOOD, 5)
    for _ in range(20):
        if stage.states()["n3"] == "available":
            stage.on("n3", NOT_FOUND)
    stage.clock.advance(6)
    stage.on("n3", NOT_FOUND)
    assert stage.view("n3").until == pytest.approx(10)
    stage.clock.advance(10)
    stage.on("n3", GOOD)
    assert stage.states()["n3"] == "warming"


@pytest.mark.parametrize("case", ["one good", "the others too", "by key", "off", "too slow"])
def test_what_is_not_odd(case):
    """One good answer, others that do the same, keyed calls and few answers eject nobody."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(odd_one_out=case != "off"))
    for name in ids(4)[1:]:
        stage.on(name, NOT_FOUND if case == "the others too" else GOOD, 5)
    for number in range(40):
        lease = stage.lease("n3")
        lease.keyed = case == "by key"
        good = case == "one good" and number % 9 == 8
        stage.end(lease, GOOD if good else NOT_FOUND)
        if case == "too slow":
            stage.clock.advance(2)
            stage.on("n1", GOOD)
    assert stage.states()["n3"] == "available"


@pytest.mark.parametrize("status", [401, 403, 408, 409, 412, 422, 429])
def test_answers_of_a_right_application_are_not_odd(status):
    """What the call says or may do is no sign of a wrong application."""
    stage = Stage(*ids(4))
    for name in ids(4)[1:]:
        stage.on(name, GOOD, 5)
    stage.on("n3", replace(NOT_FOUND, outcome=str(status), odd=False), 40)
    assert stage.states()["n3"] == "available"


def test_ordinary_404s_and_an_abusive_session_eject_nobody():
    """A day of four ordinary 404 in ten, and a client that asks a thousand times in a row."""
    stage, rng = Stage(*ids(4), seed=3), random.Random(5)
    for number in range(60_000):
        abused = 30_000 < number < 31_000
        verdict = NOT_FOUND if abused or rng.random() < 0.4 else GOOD
        stage.call(verdict, seconds=1.44)
    assert stage.kinds().count("ejected") == 0


def test_a_cold_start_where_nearly_all_addresses_are_dead():
    """190 of 200 refuse: few calls meet twenty of them before the list is known to be dead."""
    stage = Stage(*ids(200), seed=7)
    dead, lost = set(ids(190)), 0
    for _ in range(400):
        lease = stage.pick()
        tried = [lease.live]
        while stage.end(lease, REFUSED if lease.live.node.id in dead else GOOD) in dead:
            again = stage.service.pick_again(tuple(tried), free=True)
            if isinstance(again, str) or len(tried) == 20:
                lost += 1
                break
            lease = again
            tried.append(lease.live)
        for live in stage.probing:
            if live.probing and not live.gone:
                stage.service.probed(live, alive=live.node.id not in dead)
        stage.clock.advance(0.01)
    assert lost <= 5


def test_few_answers_of_the_others_prove_nothing():
    """Two odd ones of five are too many for ten in a row to be beyond chance."""
    stage = Stage("a", "b")
    stage.on("a", NOT_FOUND, 2)
    stage.on("a", GOOD, 3)
    stage.on("b", NOT_FOUND, 20)
    assert stage.states()["b"] == "available"
