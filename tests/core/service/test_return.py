"""A node that a probe has found: what a connect proves, what an answer proves, and who tries it."""

from __future__ import annotations

import pytest

from rpcguard import EjectionPolicy, MembershipPolicy
from rpcguard._core.outcomes.verdict import Safety, Verdict
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import START, FleetProvider, Simulation, steady
from tests.support.stage import GOOD, NO_TLS, REFUSED, SICK, STALE, Stage, cancelled, ids, leaving

SILENT = Verdict("ReadTimeout", failed=True, safety=Safety.MAYBE, blame="failure")


def listening(*listed: str) -> Stage:
    """Give a stage of which the first node was killed and takes connections again."""
    stage = Stage(*(listed or ids(4)), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", REFUSED)
    stage.probed("n0", alive=False)
    assert stage.probed("n0", alive=True) is None
    return stage


def test_a_node_that_only_listens_gets_one_trial_at_a_time():
    """While its first call is out no other goes there; its answer brings the node back."""
    stage = listening()
    assert "a call is to show" in stage.view("n0").reason
    trial = stage.pick()
    assert trial.live.node.id == "n0"
    assert "n0" not in {stage.end(stage.pick(), cancelled()) for _ in range(100)}
    stage.end(trial, GOOD)
    assert stage.view("n0").state == "warming"
    assert stage.kinds("n0") == ["ejected", "restored"]


def test_a_trial_that_is_given_up_is_followed_by_another():
    """A caller that cancels has told nothing of the node."""
    stage = listening()
    for _ in range(3):
        trial = stage.pick()
        assert trial.live.node.id == "n0"
        stage.end(trial, cancelled())


def test_no_call_that_cannot_be_repeated_is_risked_for_five_seconds():
    """A POST to an application that is still imported would be lost."""
    stage = listening()
    assert "n0" not in stage.picked()
    stage.clock.advance(4.9)
    assert "n0" not in stage.picked()
    stage.clock.advance(0.2)
    assert stage.pick(repeatable=False).live.node.id == "n0"


def test_where_nothing_else_is_eligible_any_call_is_the_trial():
    """A chance is better than none."""
    stage = listening("n0", "n1")
    stage.on("n1", REFUSED)
    stage.probed("n1", alive=False)
    assert stage.picked() == {"n0"}


def test_a_trial_that_fails_puts_the_node_out_by_length():
    """An application that is imported for long costs one call, and then one in five seconds."""
    stage = listening()
    stage.end(stage.pick(), SILENT)
    assert stage.view("n0").state == "ejected"
    assert stage.view("n0").until == pytest.approx(10)
    assert "n0" not in {stage.end(stage.pick(), cancelled()) for _ in range(100)}
    stage.clock.advance(10)
    assert stage.call() == "n0"


def test_after_an_answer_over_http_no_trial_is_needed():
    """The node is back with the probe, and any call may go there."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(probe_path="/healthz"))
    stage.on("n0", REFUSED)
    assert stage.probed("n0", alive=True, answered=True) is None
    assert stage.view("n0").state == "warming"
    assert "n0" in stage.picked(1000)


def test_a_node_that_has_said_that_it_leaves_is_tried_out_as_well():
    """Whether it was seen down or not, what listens after its time may be a new process."""
    for seen_down in (True, False):
        stage = Stage(*ids(4))
        stage.on("n0", leaving(10))
        if seen_down:
            stage.probed("n0", alive=False)
        else:
            stage.clock.advance(10)
        assert stage.probed("n0", alive=True) is None
        back = stage.view("n0")
        assert (back.state, back.effective_weight) == ("warming", 0.0)
        assert "trial pending" in (back.reason or "")
        assert "n0" not in stage.picked()
        assert stage.call() == "n0"
        assert stage.view("n0").reason == "slow start"


def test_a_policy_that_is_not_enforced_asks_for_no_trial():
    """It ejects nothing, not even until a trial: a marked node is back with the probe."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(enforce=False))
    stage.on("n0", leaving(10))
    stage.probed("n0", alive=False)
    stage.probed("n0", alive=True)
    assert stage.view("n0").state == "warming"


def test_a_node_of_which_tls_fails_is_probed_where_probes_speak_tls():
    """A connect tells nothing of it, a GET over TLS does."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(probe_path="/healthz"))
    stage.on("n0", NO_TLS)
    assert stage.probed("n0", alive=None) is not None
    assert stage.view("n0").state == "ejected"
    stage.probed("n0", alive=True, answered=True)
    assert stage.view("n0").state == "warming"


def test_nodes_that_wait_for_their_trial_do_not_make_most_fail_together():
    """A restart of half of a fleet is no reason to stop judging, nor to skip the trials."""
    stage = Stage(*ids(4))
    stage.on("n0", REFUSED)
    stage.on("n1", REFUSED)
    for name in ("n0", "n1"):
        stage.probed(name, alive=True)
    stage.on("n2", SILENT, 5)
    assert "frozen" not in stage.kinds()
    assert all("trial pending" in (stage.view(name).reason or "") for name in ("n0", "n1"))


@pytest.mark.parametrize("away", [0.5, 2.0, 4.0])
def test_posts_alone_bring_each_node_of_a_rolling_restart_back(away):
    """Three nodes restart one by one under calls that cannot be repeated: each is back in 10 s."""
    providers = {f"n{at}": FleetProvider(steady(0.01)) for at in range(3)}
    run = Simulation(providers, policies=Policies(), callers=2, repeatable=False)
    for at, provider in enumerate(providers.values()):
        since = START + 5.0 + 20.0 * at
        provider.dead = lambda now, since=since: since <= now < since + away
    run.list_nodes()
    run.arrive(40.0, 70.0)
    for at in range(3):
        run.run(5.0 + 20.0 * at + away + 10.0 - run.elapsed)
        for service in run.services:
            assert service._roster.nodes[f"n{at}"].in_pool
    assert all(call.good for call in run.calls if call.ended)


@pytest.mark.parametrize("others", [0, 1])
def test_a_node_that_has_left_meanwhile_is_not_gone_to_again(others):
    """A retry whose own look at the clock takes the doubted node out goes elsewhere, or nowhere."""
    stage = Stage(*ids(3), membership=MembershipPolicy(empty_hold=60.0))
    stage.on("n0", SICK)  # a node that is well goes before it
    first = stage.lease("n2")
    stage.end(first, STALE)
    stage.list(*ids(others))
    assert stage.listed() == set(ids(3)), "doubted for a minute"
    stage.clock.advance(61.0)
    again = stage.service.pick_again((first.live,), same_node=True, free=True)
    assert isinstance(again, str) == (not others)
    assert stage.retired.count(first.live) == 1
    assert not first.live.in_flight
