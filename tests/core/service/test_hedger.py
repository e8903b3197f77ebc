"""When a late call may have a second attempt beside its first: by time, cap, budget and trouble."""

from __future__ import annotations

import pytest

from rpcguard import EjectionPolicy, Hedge, OverloadPolicy, RetryPolicy, Throttle
from rpcguard._core.nodes.live import Lease
from tests.support.stage import GOOD, SICK, Stage, cancelled, ids

USUAL = 0.1


def taught(*listed: str, hedge: Hedge | None = None, **policies) -> Stage:
    """Give a stage that knows its usual: a minute of answers, one in ten of them slow."""
    stage = Stage(*(listed or ids(4)), hedge=hedge or Hedge(), **policies)
    answer(stage, 600)
    return stage


def answer(stage: Stage, count: int, factor: float = 1.0) -> None:
    for at in range(count):
        seconds = USUAL * factor * (10.0 if at % 10 == 9 else 1.0)
        lease = stage.pick()
        lease.started -= seconds
        stage.end(lease, GOOD)
        stage.clock.advance(USUAL)


def hedge(stage: Stage) -> Lease | str:
    return stage.service.hedge(stage.pick())


def test_the_quantile_of_the_last_answers_is_late():
    """Nine in ten take 100 ms and one takes a second: 0.98 lies in the slow tenth, 0.8 below it."""
    assert taught().service.hedger.delay == pytest.approx(1.0)
    assert taught(hedge=Hedge(after=0.8)).service.hedger.delay == pytest.approx(0.1)
    assert taught(hedge=Hedge(after=0.8, least=0.3)).service.hedger.delay == 0.3
    assert taught(hedge=Hedge(delay=0.25)).service.hedger.delay == 0.25


def test_nothing_is_hedged_before_the_usual_is_known():
    """Ten seconds of answers tell what is late, and what is a brown-out."""
    stage = Stage(*ids(4), hedge=Hedge(delay=0.25))
    answer(stage, 90)
    assert stage.service.hedger.delay is None
    assert hedge(stage) == "slow"
    answer(stage, 30)
    assert stage.service.hedger.delay == 0.25


def test_a_slow_service_stops_it_and_a_well_one_starts_it_again():
    """Half above the usual median, within some answers; a slow node alone moves no median."""
    stage = taught()
    answer(stage, 80, factor=1.4)
    assert stage.service.hedger.delay is not None
    answer(stage, 80, factor=1.6)
    assert hedge(stage) == "slow"
    answer(stage, 80)
    assert stage.service.hedger.delay is not None


def test_another_node_is_picked_and_paid_for():
    """From the retry budget, and it is given back as every lease is."""
    stage = taught()
    first = stage.pick()
    second = stage.service.hedge(first)
    assert second.live is not first.live
    assert stage.service.retries()[0] == 1
    for lease in (first, second):
        stage.end(lease, GOOD)
    assert {view.in_flight for view in stage.service.nodes()} == {0}


def test_the_cap_has_no_floor():
    """One hedge in twenty answers of ten seconds, and none before."""
    stage = taught(hedge=Hedge(cap=0.05))
    got = [hedge(stage) for _ in range(20)]
    assert sum(isinstance(one, Lease) for one in got) == 4  # of 90 answers and some
    assert got[-1] == "cap"
    assert hedge(taught(hedge=Hedge(cap=0.0))) == "cap"


def test_it_is_paid_from_the_retry_budget():
    """Where that is spent, nothing is hedged."""
    stage = taught(retry=RetryPolicy(budget_ratio=0.0, budget_floor=0.0))
    assert hedge(stage) == "budget"


def test_it_stops_under_throttle():
    """Hedges are throttled before calls are."""
    stage = taught(overload=OverloadPolicy(throttle=Throttle(floor=1)))
    for _ in range(300):
        stage.end(stage.pick(), SICK)
    assert hedge(stage) == "throttled"


def test_it_stops_in_a_freeze_and_in_panic():
    """Where most nodes fail together, a second attempt is load and no help."""
    frozen = taught(*ids(4), ejection=EjectionPolicy(jitter=0))
    for name in ("n0", "n1", "n2"):
        frozen.on(name, SICK, 5)
    assert "frozen" in frozen.kinds()
    assert hedge(frozen) == "frozen"
    panic = taught("a", "b")
    for name in ("a", "b"):
        panic.service.mark_offline(name, 60)
    assert hedge(panic) == "panic"


def test_the_least_bad_node_is_no_better_than_a_late_one():
    """With one eligible node there is none to send a second attempt to, and none is charged."""
    stage = taught("a", "b")
    stage.service.mark_offline("b", 60)
    assert hedge(stage) == "no_other_node"
    assert stage.view("b").in_flight == 0
    assert hedge(taught("a")) == "no_other_node"


def test_a_node_that_is_to_prove_itself_gets_no_second_attempt():
    """It may be the only other one, and is left as it was."""
    stage = taught("a", "b", ejection=EjectionPolicy(jitter=0), probes=False)
    late = stage.lease("a")
    stage.on("b", SICK, 5)
    stage.clock.advance(6.0)
    assert stage.service.hedge(late) == "no_other_node"
    assert stage.view("b").in_flight == 0
    assert stage.call() == "b"


def test_an_attempt_that_is_given_up_teaches_nothing():
    """Only an answer, and an attempt that was outrun, tell how long calls take."""
    stage = taught()
    before = list(stage.service.hedger._times)
    stage.end(stage.pick(), cancelled())
    assert list(stage.service.hedger._times) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("after", value) for value in (0, 1, 95, "0.95")],
        *[("delay", value) for value in (0, -1, "1")],
        *[("cap", value) for value in (-0.1, 1.5, None)],
        *[("least", value) for value in (-1, None)],
        *[("stop", value) for value in (1, 0, None)],
    ],
)
def test_a_wrong_policy_is_refused_by_name(field, value):
    """It is told where it is made, not at the first call."""
    with pytest.raises(ValueError, match=field):
        Hedge(**{field: value})


def test_explain_says_which_pick_was_a_hedge():
    """And the counts say what came of late calls: won, lost, or why there was no hedge."""
    stage = taught(hedge=Hedge(cap=1.0))
    assert isinstance(hedge(stage), Lease)
    first, second = stage.service.explain()[-2:]
    assert second.tried == (first.picked,)
    assert second.why.startswith("a second attempt beside a late one: ")
    assert not first.why.startswith("a second")
    for result in ("won", "won", "lost"):
        stage.service.hedged(result)
    answer(stage, 80, factor=2.0)
    assert hedge(stage) == "slow"
    shown = stage.service.pressure()
    assert (shown.hedges, shown.hedge_delay) == ({"won": 2, "lost": 1, "slow": 1}, None)


def test_a_service_shows_what_it_holds_back():
    """Its limit, and the share that its throttle refuses; nothing of hedges where none are made."""
    stage = Stage("a", overload=OverloadPolicy(max_in_flight=7, throttle=Throttle()))
    assert stage.service.pressure() == (7, 0.0, None, None)
    for _ in range(10):
        stage.end(stage.pick(), SICK)
    assert stage.service.pressure().throttled == 0.9
    stage.service.hedged("won")
    assert Stage("a").service.pressure() == (None, 0.0, None, None)
