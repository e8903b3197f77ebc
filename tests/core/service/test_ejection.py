"""The failure blacklist: what trips it, for how long, how much of a list, and the way back."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from rpcguard import EjectionPolicy, SlowStart
from rpcguard._core.nodes.peers import LEAST_LATENCY
from rpcguard._core.outcomes.verdict import Safety, Verdict
from tests.support.stage import (
    GOOD,
    NO_TLS,
    NOT_FOUND,
    REFUSED,
    REFUSED_STREAM,
    SICK,
    STALE,
    Stage,
    cancelled,
    ids,
    leaving,
    nodes,
)

HANDSHAKE = Verdict("ConnectError", failed=True, safety=Safety.UNSENT, blame="handshake")
LOCAL = Verdict("ConnectError", failed=True, safety=Safety.UNSENT, blame="none")


# What trips it


def test_a_connect_failure_ejects_at_once():
    """One refused connection is proof enough, and the node is probed from then on."""
    stage = Stage(*ids(3))
    stage.on("n0", REFUSED)
    assert stage.view("n0").state == "ejected"
    assert stage.view("n0").reason == "cannot connect"
    assert stage.view("n0").until is None
    assert [live.node.id for live in stage.probing] == ["n0"]
    assert stage.picked() == {"n1", "n2"}


def test_a_failed_handshake_ejects_for_a_while():
    """TLS that fails says nothing to a TCP probe: the ejection ends by time and a trial."""
    stage = Stage(*ids(3))
    stage.on("n0", HANDSHAKE)
    assert stage.view("n0").reason == "TLS handshake failed"
    assert 4.0 <= (stage.view("n0").until or 0.0) <= 6.0
    assert stage.probing == []


def test_five_failures_in_a_row_eject():
    """Four blamed failures do nothing, a good answer between starts the count anew, five eject."""
    stage = Stage(*ids(3))
    stage.on("n0", SICK, 4)
    stage.on("n0", GOOD)
    stage.on("n0", SICK, 4)
    assert stage.view("n0").state == "available"
    stage.on("n0", SICK)
    assert stage.view("n0").state == "ejected"
    assert stage.view("n0").reason == "5 failures in a row"
    assert stage.probing == []


def test_half_of_ten_calls_within_ten_seconds_ejects():
    """A failure rate of 50 % trips with the tenth call of the window, whatever the order."""
    stage = Stage(*ids(3))
    for verdict in (SICK, GOOD, SICK, GOOD, SICK, GOOD, GOOD, SICK, SICK):
        stage.on("n0", verdict)
        stage.clock.advance(0.1)
    assert stage.view("n0").state == "available"
    stage.on("n0", SICK)
    assert stage.view("n0").state == "ejected"
    assert stage.view("n0").reason == "60% of 10 calls failed"


def test_failures_older_than_the_window_do_not_count():
    """The same failures spread over more than ten seconds trip nothing."""
    stage = Stage(*ids(3))
    for _ in range(20):
        stage.on("n0", SICK)
        stage.on("n0", GOOD)
        stage.clock.advance(3.0)
    assert stage.view("n0").state == "available"


@pytest.mark.parametrize("verdict", [cancelled(), NOT_FOUND, LOCAL], ids=lambda v: v.outcome)
def test_what_is_not_the_nodes_fault_trips_nothing(verdict):
    """Cancellations, 4xx and local errors neither count as failures nor break a row of them."""
    stage = Stage(*ids(3))
    stage.on("n0", verdict, 50)
    assert stage.view("n0").state == "available"
    assert stage.view("n0").failures == 0
    stage.on("n0", SICK, 4)
    for _ in range(3):
        stage.on("n0", verdict)
    stage.on("n0", SICK)
    assert stage.view("n0").state == "ejected"


def test_ten_thousand_cancelled_calls_eject_nothing():
    """A storm of cancellations leaves every node eligible and nothing in flight."""
    stage = Stage(*ids(5))
    rng = random.Random(7)
    held = []
    for _ in range(10_000):
        held.append(stage.pick())
        stage.clock.advance(0.001)
        if len(held) > 50:
            stage.end(held.pop(rng.randrange(len(held))), cancelled())
    for lease in held:
        stage.end(lease, cancelled())
    assert set(stage.states().values()) == {"available"}
    assert all(view.in_flight == 0 for view in stage.service.nodes())


def test_a_failure_in_the_body_counts():
    """Errors while bodies are read trip like failed calls; neutral ones do not."""
    stage = Stage(*ids(3))
    for verdict, state in ((cancelled(), "available"), (SICK, "ejected")):
        for _ in range(5):
            lease = stage.lease("n0")
            stage.service.settle(lease, NOT_FOUND)
            stage.service.fail_body(lease, verdict)
            stage.service.release(lease)
        assert stage.view("n0").state == state


# For how long


def test_the_length_doubles_with_jitter_up_to_the_cap():
    """5 s doubles with each ejection, spread by 20 %, and is never above 300 s."""
    policy, rng = EjectionPolicy(), random.Random(1)
    for level in range(40):
        spans = [policy.length(level, rng) for _ in range(200)]
        wanted = 5.0 * 2.0**level
        assert max(spans) <= min(1.2 * wanted, 300.0)
        assert min(spans) >= min(0.8 * wanted, 300.0)
        if level < 5:
            assert max(spans) - min(spans) > 0.35 * wanted
    assert EjectionPolicy(jitter=0).length(3, rng) == 40.0


def _eject_again(stage: Stage) -> float:
    """Let the trial call of n0 fail; give how long it is out now."""
    stage.clock.advance(stage.view("n0").until or 0.0)
    assert stage.call(SICK, seconds=0.0) == "n0"
    return stage.view("n0").until or 0.0


def test_each_failed_trial_doubles_the_time():
    """5, 10, 20, ... seconds while the trial calls go on failing, 300 s in the end."""
    stage = Stage(*ids(3), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", SICK, 5)
    spans = [stage.view("n0").until, *(_eject_again(stage) for _ in range(8))]
    assert spans == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300])


def test_only_proven_health_forgives():
    """Time forgives nothing; each twenty good calls in a row take one doubling back."""
    stage = Stage(*ids(3), ejection=EjectionPolicy(jitter=0), slow_start=SlowStart(window=0))
    stage.on("n0", SICK, 5)
    assert _eject_again(stage) == 10
    assert _eject_again(stage) == 20
    stage.clock.advance(20)
    assert stage.call() == "n0"
    stage.clock.advance(10_000)
    stage.on("n0", SICK, 5)
    assert stage.view("n0").until == 40
    stage.clock.advance(40)
    assert stage.call() == "n0"
    stage.on("n0", GOOD, 39)
    stage.on("n0", SICK, 5)
    assert stage.view("n0").until == 20
    stage.clock.advance(20)
    assert stage.call() == "n0"
    stage.on("n0", GOOD, 19)
    stage.on("n0", SICK)
    stage.on("n0", GOOD, 19)
    stage.on("n0", SICK, 5)
    assert stage.view("n0").until == 20


# The way back


def test_an_ejection_that_has_run_out_gives_one_trial_call():
    """Half-open: exactly one live call at a time; a success restores with slow start."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", SICK, 5)
    stage.clock.advance(4.9)
    assert "n0" not in stage.picked()
    stage.clock.advance(0.1)
    trial = stage.pick()
    assert trial.live.node.id == "n0"
    assert "trial pending" in (stage.view("n0").reason or "")
    assert "n0" not in stage.picked()
    stage.end(trial, GOOD)
    view = stage.view("n0")
    assert (view.state, view.effective_weight) == ("warming", 0.1)
    assert stage.kinds("n0") == ["ejected", "restored"]


def test_a_trial_that_says_nothing_is_followed_by_another():
    """A cancelled trial call neither restores nor condemns: the next call is the trial."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", SICK, 5)
    stage.clock.advance(5)
    for verdict in (cancelled(), NOT_FOUND, LOCAL):
        lease = stage.pick()
        assert lease.live.node.id == "n0"
        stage.end(lease, verdict)
        assert stage.view("n0").state == "ejected"
    assert stage.call() == "n0"
    assert stage.view("n0").state == "warming"


def test_repeatable_calls_are_preferred_for_the_trial():
    """A call that cannot be repeated is the trial only when none else came for five seconds."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", SICK, 5)
    stage.clock.advance(9.9)
    assert "n0" not in stage.picked()
    stage.clock.advance(0.2)
    assert stage.call(repeatable=False) == "n0"


def test_calls_that_were_in_flight_do_not_end_an_ejection():
    """Twenty late successes forgive, and a late failure prolongs nothing; the trial decides."""
    stage = Stage(*ids(3), ejection=EjectionPolicy(jitter=0))
    held = [stage.lease("n0") for _ in range(30)]
    stage.on("n0", SICK, 5)
    for lease in held[:25]:
        stage.end(lease, GOOD)
    for lease in held[25:]:
        stage.end(lease, SICK)
    assert stage.view("n0").state == "ejected"
    assert stage.view("n0").until == 5
    stage.clock.advance(5)
    assert stage.call() == "n0"
    assert stage.view("n0").state == "warming"


@pytest.mark.parametrize("how", ["draining", "down", "offline"])
def test_no_trial_for_a_node_that_something_else_keeps_out(how):
    """A half-open node that is drained, down or marked gets no call before that has ended."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0), probes=False)
    stage.on("n0", SICK, 5)
    if how == "offline":
        stage.service.mark_offline("n0", 20)
    else:
        stage.list(*nodes("n0", status=how), "n1", "n2", "n3")
    stage.clock.advance(10)
    assert {stage.call() for _ in range(100)} == {"n1", "n2", "n3"}
    stage.list(*ids(4))
    stage.clock.advance(10)
    assert stage.call() == "n0"


def test_a_probe_restores_what_could_not_be_connected_to():
    """No user call is spent: probes go on while they fail and end the ejection when one works."""
    stage = Stage(*ids(3))
    stage.on("n0", REFUSED)
    for _ in range(5):
        assert stage.probed("n0", alive=False) == math.inf
        stage.clock.advance(60)
        assert "n0" not in stage.picked()
    assert stage.probed("n0", alive=True, answered=True) is None
    assert stage.view("n0").state == "warming"
    assert stage.kinds("n0") == ["ejected", "restored"]
    stage.on("n0", GOOD)
    stage.on("n0", REFUSED)
    assert len(stage.probing) == 2


def test_a_node_that_fails_at_once_after_a_probe_is_out_by_length():
    """What a probe calls well and a call does not is left out for a time, doubling each time."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", REFUSED)
    assert stage.view("n0").until is None
    assert stage.probed("n0", alive=True) is None
    stage.on("n0", REFUSED)
    assert stage.view("n0").until == pytest.approx(10)
    assert len(stage.probing) == 1
    stage.clock.advance(10)
    stage.on("n0", REFUSED)
    assert stage.view("n0").until == pytest.approx(20)


def test_what_failed_after_tcp_stood_is_not_proven_well_by_a_probe():
    """A TLS handshake that failed takes a node out by length; a TCP connect tells nothing of it."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", NO_TLS)
    assert stage.view("n0").until == pytest.approx(5)
    assert stage.probing == []


def test_a_lost_probe_is_found_and_made_again():
    """A node that is out and of which no probe tells any more is probed anew, by a pick."""
    stage = Stage(*ids(4))
    stage.on("n0", REFUSED)
    stage.clock.advance(65)
    stage.picked()
    assert len(stage.probing) == 1
    stage.clock.advance(6)
    stage.picked()
    assert [live.node.id for live in stage.probing] == ["n0", "n0"]


def test_a_lost_probe_is_found_while_others_come_and_go():
    """What goes on with other nodes puts the look for lost probes off by nothing."""
    stage = Stage(*ids(4))
    stage.on("n0", REFUSED)
    for _ in range(8):
        stage.clock.advance(9)
        stage.service.mark_offline("n1", None)
        stage.service.mark_online("n1")
    stage.picked()
    assert [live.node.id for live in stage.probing].count("n0") == 2


def test_a_look_for_lost_probes_is_taken_now_and_then(monkeypatch):
    """Thousands of probes a minute do not each have all the nodes looked at that are out."""
    stage = Stage(*ids(10))
    for node in ids(5):
        stage.on(node, REFUSED)
    blacklist, looks = stage.service._roster.blacklist, []
    nodes_of = type(blacklist).nodes

    def nodes(self):
        looks.append(1)
        return nodes_of(self)

    monkeypatch.setattr(type(blacklist), "nodes", nodes)
    for _ in range(100):
        stage.clock.advance(0.1)
        for node in ids(5):
            stage.probed(node, alive=False)
    assert 1 <= len(looks) <= 3


def test_an_ejection_that_waits_for_a_probe_has_a_latest_end():
    """Where no probe tells anything, for five minutes, a live call finds out."""
    stage = Stage(*ids(4))
    stage.on("n0", REFUSED)
    stage.clock.advance(299)
    assert "n0" not in stage.picked()
    stage.clock.advance(2)
    stage.on("n0", GOOD)
    assert stage.view("n0").state == "warming"


def test_a_probe_that_cannot_find_out_keeps_the_prober_going():
    """It says nothing of the node, and that somebody probes it."""
    stage = Stage(*ids(4))
    stage.on("n0", REFUSED)
    for _ in range(4):
        stage.clock.advance(60)
        assert stage.probed("n0", alive=None) == math.inf
    stage.picked()
    assert len(stage.probing) == 1


def test_levels_end_where_they_lengthen_nothing_more():
    """Years of failing cost a node no more proofs of health than minutes do."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0, max_duration=20))
    live = stage.service._roster.nodes["n0"]
    for _ in range(10):
        stage.on("n0", NO_TLS)
        stage.clock.advance(20)
    assert live.level == 2


def test_half_is_the_rate_at_which_a_node_trips():
    """Five failures of ten calls trip a node, five of eleven do not."""
    for good, state in ((5, "ejected"), (6, "available")):
        stage = Stage(*ids(4))
        stage.on("n0", SICK)
        for _ in range(good):
            stage.on("n0", GOOD)
        stage.on("n0", SICK, 4)
        assert stage.states()["n0"] == state


def test_kept_connections_that_die_over_calls_are_blamed_by_their_rate():
    """A node that dies over every second call of a connection is left out; a few are nothing."""
    stage = Stage(*ids(4))
    stage.on("n0", STALE, 9)
    assert stage.states()["n0"] == "available"
    stage.clock.advance(11)
    for _ in range(5):
        stage.on("n0", GOOD)
        stage.on("n0", STALE)
    assert stage.states()["n0"] == "ejected"


def test_what_a_node_refuses_is_its_failure():
    """A node that takes no stream is left out like one that answers 500."""
    stage = Stage(*ids(4))
    stage.on("n0", REFUSED_STREAM, 5)
    assert stage.states()["n0"] == "ejected"


def test_one_probe_at_a_time():
    """Further failures of a node that is being probed start no second probe."""
    stage = Stage(*ids(4))
    held = [stage.lease("n0") for _ in range(5)]
    for lease in held:
        stage.end(lease, REFUSED)
    stage.service.mark_offline("n0", None)
    assert len(stage.probing) == 1


def test_without_probes_a_connect_failure_ends_by_time_and_trial():
    """Where TCP cannot be probed, the duration and a live call take the place of the probe."""
    stage = Stage(*ids(3), probes=False, ejection=EjectionPolicy(jitter=0))
    stage.on("n0", REFUSED)
    assert stage.view("n0").until == 5
    assert stage.probing == []
    stage.clock.advance(5)
    assert stage.call() == "n0"


def test_the_user_may_restore():
    """`mark_online` ends an ejection, and the node goes through slow start."""
    stage = Stage(*ids(3))
    stage.on("n0", SICK, 5)
    stage.service.mark_online("10.0.0.1:80")
    assert stage.view("n0").state == "warming"


# How much of a list


@pytest.mark.parametrize(
    ("size", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (9, 4), (10, 5)]
)
def test_at_most_half_of_the_list_is_ejected_on_judgement(size, most):
    """Half of the list, one of two, none of one; what could not be ejected stays in use."""
    stage = Stage(*ids(size), ejection=EjectionPolicy(jitter=0))
    for name in ids(size)[:most]:
        stage.on(name, SICK, 5)
    assert list(stage.states().values()).count("ejected") == most
    stage.on(ids(size)[most], HANDSHAKE)
    assert list(stage.states().values()).count("ejected") <= most
    assert stage.view(ids(size)[most]).state in ("available", "warming")
    assert [event.enforced for event in stage.told if event.kind == "ejected"][-1] is False


def test_the_proven_dead_do_not_count():
    """Nodes whose probe fails too are out whatever the cap, and the cap is half of the others."""
    stage = Stage(*ids(10))
    for name in ids(8):
        stage.on(name, REFUSED)
    assert list(stage.states().values()).count("ejected") == 5
    for name in ids(8):
        stage.probed(name, alive=False)
    assert list(stage.states().values()).count("ejected") == 8
    assert stage.picked() == {"n8", "n9"}
    stage.on("n8", SICK, 5)
    assert stage.picked() == {"n9"}


def test_a_node_that_is_held_back_is_probed_too():
    """A connect failure beyond the cap ejects nothing by itself; the probe then decides."""
    stage = Stage("a", "b")
    stage.on("a", REFUSED)
    stage.on("b", REFUSED)
    assert stage.states() == {"a": "ejected", "b": "available"}
    assert stage.probed("b", alive=True) is None
    assert stage.states()["b"] == "available"
    stage.on("b", REFUSED)
    stage.probed("a", alive=False)
    stage.probed("b", alive=False)
    assert stage.states() == {"a": "ejected", "b": "ejected"}


def test_a_dead_node_is_tried_where_the_one_in_use_refuses():
    """One that only the cap keeps in use is no hope: the other may be back since its last probe."""
    stage = Stage("a", "b")
    stage.on("a", REFUSED)
    stage.probed("a", alive=False)
    lease = stage.service.pick(repeatable=True)
    assert lease is not None
    assert lease.live.node.id == "b"
    assert stage.service.pick_again((lease.live,)) == "no_other_node"  # it may be well
    stage.service.settle(lease, REFUSED)
    assert stage.states() == {"a": "ejected", "b": "available"}
    again = stage.service.pick_again((lease.live,), free=True)
    assert not isinstance(again, str)
    assert again.live.node.id == "a"


def test_a_dead_node_is_tried_where_tls_fails_on_the_one_in_use():
    """A process that dies resets the handshake of whoever has just connected: it is no hope too."""
    stage = Stage("a", "b")
    stage.on("a", REFUSED)
    stage.probed("a", alive=False)
    lease = stage.lease("b")
    stage.service.settle(lease, HANDSHAKE)
    assert stage.states() == {"a": "ejected", "b": "available"}
    again = stage.service.pick_again((lease.live,), free=True)
    assert not isinstance(again, str)
    assert again.live.node.id == "a"


@pytest.mark.parametrize("refusal", [REFUSED, HANDSHAKE])
def test_a_node_that_has_answered_since_it_refused_is_hope(refusal):
    """Its answer is the user's, be it 503: a dead node would make an error of connecting of it."""
    stage = Stage("a", "b")
    stage.on("a", REFUSED)
    stage.probed("a", alive=False)
    stage.on("b", refusal)
    lease = stage.lease("b")
    stage.service.settle(lease, SICK)
    assert stage.service.pick_again((lease.live,)) == "no_other_node"


def test_a_dead_node_is_probed_often_where_the_one_in_use_refuses():
    """Probes grow rare only while another node could be connected to."""
    stage = Stage("a", "b")
    stage.on("a", REFUSED)
    assert stage.probed("a", alive=False) == math.inf
    stage.on("b", REFUSED)
    assert stage.probed("a", alive=False) == EjectionPolicy().probe_interval


def test_a_cap_on_nodes_the_registry_keeps_out_leaves_some_in():
    """Nodes that are down or drained are no part of the list of which half may be ejected."""
    stage = Stage(*ids(4), *nodes("x", "y", "z", status="down"), *nodes("w", status="draining"))
    for name in ids(4)[:2]:
        stage.on(name, SICK, 5)
    stage.on("n2", HANDSHAKE)
    assert stage.picked() - {"n0", "n1"} == {"n2", "n3"}


@pytest.mark.parametrize("word", [{"status": "down"}, {"status": "draining"}, {"weight": 0.0}])
@pytest.mark.parametrize("end", ["judged", "dead"])
def test_what_the_registry_keeps_out_too_takes_no_room(word, end):
    """It calls down what fails here as well: the next that fails is ejected all the same.

    They counted as ejected, and as no part of the list any more of which half may be.
    """
    stage, failing = Stage(*ids(10)), ids(4 if end == "judged" else 5)
    for name in failing:
        if end == "judged":
            stage.on(name, SICK, 5)
        else:
            stage.on(name, REFUSED)
            stage.probed(name, alive=False)
    stage.list(*nodes(*failing, **word), *ids(10)[len(failing) :])
    stage.on("n9", SICK, 5)
    assert stage.states()["n9"] == "ejected"
    assert "frozen" not in stage.kinds()


def test_when_most_fail_together_ejection_freezes():
    """One failing node more than the cap lifts what was ejected on judgement, for ten seconds."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", SICK, 5)
    stage.on("n1", SICK, 5)
    assert list(stage.states().values()).count("ejected") == 2
    stage.on("n2", SICK, 5)
    assert set(stage.states().values()) == {"available"}
    assert stage.kinds().count("frozen") == 1
    assert stage.view("n0").effective_weight == 1.0
    stage.clock.advance(9.9)
    stage.on("n3", SICK, 5)
    assert stage.view("n3").state == "available"
    stage.clock.advance(0.1)
    stage.on("n3", SICK)
    assert stage.view("n3").state == "ejected"


def test_a_freeze_is_not_prolonged_by_one_node_that_stays_sick():
    """The one that goes on failing after the others have recovered is ejected after the freeze."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    for name in ("n0", "n1", "n2"):
        stage.on(name, SICK, 5)
    for _ in range(10):
        stage.on("n2", SICK)
        stage.clock.advance(1.0)
    stage.on("n2", SICK)
    assert stage.states() == {
        "n0": "available",
        "n1": "available",
        "n2": "ejected",
        "n3": "available",
    }


def test_a_freeze_does_not_hold_back_a_connect_failure():
    """A node that cannot be connected to is ejected during a freeze as ever."""
    stage = Stage(*ids(4))
    for name in ("n0", "n1", "n2"):
        stage.on(name, SICK, 5)
    stage.on("n3", REFUSED)
    assert stage.view("n3").state == "ejected"


def test_few_failing_nodes_beyond_a_small_cap_freeze_nothing():
    """With a cap of a tenth, two failing nodes of ten are not most: one stays ejected."""
    stage = Stage(*ids(10), ejection=EjectionPolicy(max_share=0.1, jitter=0))
    stage.on("n0", SICK, 5)
    stage.on("n1", SICK, 5)
    assert stage.view("n0").state == "ejected"
    assert stage.view("n1").state == "available"
    assert "frozen" not in stage.kinds()


# Panic


def _panic_stage() -> Stage:
    """Have one node offline, one judged, one not connected to, two dead: nothing is eligible."""
    stage = Stage("bad", "worse", "leaves", "dead", "gone", ejection=EjectionPolicy(jitter=0))
    for name in ("dead", "gone"):
        stage.on(name, REFUSED)
        stage.probed(name, alive=False)
    stage.on("bad", SICK, 5)
    stage.service.mark_offline("leaves", None)
    stage.service.mark_offline("worse", None)
    stage.service.probed(stage.service._roster.nodes["worse"], alive=False)
    return stage


def test_panic_uses_what_leaves_before_what_fails_before_what_is_dead():
    """Nothing eligible: an offline node that still serves, then the least bad, then the dead."""
    stage = _panic_stage()
    assert "available" not in stage.states().values()
    assert stage.picked() == {"leaves"}
    assert stage.kinds().count("panic") == 1
    stage.list(*nodes("leaves", status="draining"), "bad", "worse", "dead", "gone")
    assert stage.picked() == {"bad"}
    stage.list(*nodes("leaves", "bad", status="draining"), "worse", "dead", "gone")
    assert {stage.call(cancelled()) for _ in range(4)} == {"leaves", "bad"}
    stage.list(*nodes("leaves", "bad", weight=0), "worse", "dead", "gone")
    assert {stage.call(cancelled()) for _ in range(4)} == {"worse", "dead", "gone"}


def test_panic_prefers_the_judged_to_the_unconnected_and_the_lower_level():
    """Of the ejected ones the least bad is used: fewer ejections first, refused ones later."""
    stage = Stage(*ids(6), ejection=EjectionPolicy(jitter=0, max_share=1.0))
    stage.on("n0", SICK, 5)
    _eject_again(stage)
    stage.on("n1", SICK, 5)
    stage.on("n2", REFUSED)
    for name in ("n3", "n4", "n5"):
        stage.on(name, REFUSED)
        stage.probed(name, alive=False)
    assert stage.picked(10) == {"n1"}


def test_a_success_in_panic_restores_at_once():
    """The first good answer of an ejected node brings it back, through slow start."""
    stage = Stage("a", "b")
    stage.on("a", REFUSED)
    stage.on("b", REFUSED)
    for name in ("a", "b"):
        stage.probed(name, alive=False)
    stage.call(REFUSED)
    turns = [stage.call(REFUSED) for _ in range(6)]
    assert turns.count("a") == turns.count("b") == 3
    back = stage.call(GOOD)
    assert stage.view(back).state == "warming"
    assert stage.picked() == {back}
    assert stage.kinds().count("panic") == 1


def test_each_panic_is_told_once():
    """A warning for each time that nothing is eligible, not for each call."""
    stage = Stage("a")
    for _ in range(3):
        stage.on("a", REFUSED)
        stage.probed("a", alive=False)
        for _ in range(5):
            stage.end(stage.pick(), cancelled())
        stage.probed("a", alive=True)
        stage.call()
    assert stage.kinds().count("panic") == 3


def test_failures_in_panic_do_not_prolong_an_ejection():
    """An ejected node that is used for want of a better one is not punished for it."""
    stage = Stage(*ids(2), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", REFUSED)
    stage.probed("n0", alive=False)
    stage.list(*nodes("n0"), "n1", "n2")
    stage.on("n1", SICK, 5)
    stage.list(*nodes("n2", status="draining"), "n0", "n1")
    assert stage.call(SICK, seconds=1.0) == "n1"
    assert stage.call(SICK, seconds=1.0) == "n1"
    assert stage.view("n1").until == 3


def test_a_panic_is_over_at_the_first_probe():
    """In panic the next probe is due within a second; a node that is back is used at once."""
    stage = Stage("a", "b")
    for name in ("a", "b"):
        stage.on(name, REFUSED)
    for name in ("a", "b"):
        stage.probed(name, alive=False)
    assert stage.probed("a", alive=False) == 1.0
    assert stage.probed("b", alive=True, answered=True) is None
    assert stage.picked() == {"b"}
    assert stage.probed("a", alive=False) == math.inf


def test_a_retry_uses_an_ejected_node_before_none_but_never_a_dead_one():
    """With the only eligible node tried, one that is ejected on judgement is the next best."""
    stage = Stage("a", "b", "c")
    stage.on("c", REFUSED)
    stage.probed("c", alive=False)
    stage.on("b", SICK, 5)
    lease = stage.pick()
    assert stage.end(lease, SICK) == "a"
    again = stage.service.pick_again((lease.live,))
    assert not isinstance(again, str)
    assert stage.end(again) == "b"
    assert stage.view("b").state == "warming"
    assert "panic" not in stage.kinds()
    assert stage.service.pick_again((lease.live, again.live)) == "no_other_node"


# Shadow mode and the policy


def test_shadow_mode_counts_and_ejects_nothing():
    """`enforce=False` tells every decision and carries out none."""
    stage = Stage(*ids(3), ejection=EjectionPolicy(enforce=False))
    stage.on("n0", SICK, 10)
    stage.on("n1", REFUSED)
    assert set(stage.states().values()) == {"available"}
    told = [(event.node, event.enforced) for event in stage.told if event.kind == "ejected"]
    assert told == [("n0", False), ("n0", False), ("n1", False)]
    assert stage.probing == []


def test_late_news_of_a_node_that_has_left_is_dropped():
    """Failures, successes, notices and probes of a node that is no longer listed do nothing."""
    stage = Stage(*ids(4))
    held = [stage.lease("n0") for _ in range(9)]
    stage.on("n0", REFUSED)
    live = held[0].live
    stage.list("n1", "n2", "n3")
    for lease in held[:5]:
        stage.end(lease, replace(SICK, notice=leaving().notice))
    for lease in held[5:]:
        stage.end(lease, GOOD)
    assert stage.service.probed(live, alive=True) is None
    assert stage.listed() == {"n1", "n2", "n3"}
    assert [one.node.id for one in stage.retired] == ["n0"]
    assert "offline" not in stage.kinds("n0")


@pytest.mark.parametrize(("listed", "frozen"), [(3, True), (4, False), (5, False)])
def test_judging_stops_when_more_than_half_fail(listed, frozen):
    """At exactly half the fault may still be the nodes' own; beyond it, it is what they share."""
    stage = Stage(*ids(listed), ejection=EjectionPolicy(max_share=0.25))
    stage.on("n0", SICK, 5)
    stage.on("n1", SICK, 5)
    assert ("frozen" in stage.kinds()) is frozen
    assert (stage.states()["n0"] == "ejected") is not frozen


def test_a_trial_is_told_with_the_load_of_a_node_without_history():
    """It has never answered, so that nothing is known of it but that it is idle."""
    stage = Stage(*ids(4), probes=False)
    stage.on("n0", REFUSED)
    stage.clock.advance(30)
    lease = stage.lease("n0")
    assert lease.on_trial
    ((name, load),) = stage.service.explain()[-1].candidates
    assert name == "n0"
    assert load == LEAST_LATENCY


def test_a_dead_kept_connection_ends_a_run_of_good_calls():
    """The calls that undo a doubling are counted from there anew, all of them."""
    stage = Stage("a", ejection=EjectionPolicy(forgive_after=3, jitter=0))
    (live,) = stage.service._roster.nodes.values()
    stage.on("a", GOOD, 5)
    assert live.clean == 5
    stage.on("a", STALE)
    assert live.clean == 0
