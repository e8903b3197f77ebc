"""The balancers: evenness, weights, exclusion, and what happens as nodes come and go."""

from __future__ import annotations

import math
import random
from statistics import mean, pstdev

import pytest

from rpcguard import (
    Balancer,
    EjectionPolicy,
    LeastLoaded,
    LeastRequests,
    LiveNode,
    Node,
    Random,
    RoundRobin,
)
from rpcguard._core.balancing.least_requests import LESS, SOUND, TURN
from rpcguard._core.nodes.load import COLD_CALLS
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import FleetProvider, Simulation, exponential, steady

TWO_CHOICES = [LeastLoaded, LeastRequests]
MAKERS = [*TWO_CHOICES, RoundRobin, Random]


def make(maker: type, weights: list[float], seed: int = 1) -> tuple[Balancer, list[LiveNode]]:
    """Make a balancer and its nodes, of the given weights."""
    balancer = maker(rng=random.Random(seed))
    lives = [LiveNode(Node(f"n{at}", 80, weight=one), 0.0) for at, one in enumerate(weights)]
    for live in lives:
        balancer.add(live)
    return balancer, lives


def idle_picks(balancer: Balancer, picks: int, *, gap: float = 0.001) -> dict[LiveNode, int]:
    """Make calls one after the other, each answered at once in 40 to 60 ms; count them."""
    rng, now, went = random.Random(5), 0.0, {}
    for _ in range(picks):
        live = balancer.pick(now)
        lease = live.begin(now)
        live.answer(lease, now, heard=True)
        live.end(lease)
        live.succeed(0.04 + 0.02 * rng.random(), now)
        went[live] = went.get(live, 0) + 1
        now += gap
    return went


def unevenness(lives: list[LiveNode], went: dict[LiveNode, int]) -> float:
    """Give the coefficient of variation of the picks per weight."""
    per_weight = [went.get(live, 0) / live.weight for live in lives]
    return pstdev(per_weight) / mean(per_weight)


@pytest.mark.parametrize(("size", "limit"), [(2, 0.001), (10, 0.001), (100, 0.002), (1000, 0.015)])
def test_idle_traffic_is_as_even_as_round_robin(size, limit):
    """With nothing to tell nodes apart, 100,000 picks of LeastLoaded differ by hardly any."""
    balancer, lives = make(LeastLoaded, [1.0] * size)
    assert unevenness(lives, idle_picks(balancer, 100_000)) <= limit


@pytest.mark.parametrize("gap", [0.001, 7.0], ids=["busy", "a call each 7 s"])
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    "weights",
    [[1, 4], [1, 2, 3, 4] * 3, [1, 10] * 5, [100, 1, 1], [0.25, 0.5, 3.7, 100], [7.0] * 6],
    ids=str,
)
def test_picks_follow_the_weights(maker, weights, gap):
    """Every balancer gives each node its weight's share, whatever the weights and the rate are."""
    balancer, lives = make(maker, weights)
    picks = 20_000
    went = idle_picks(balancer, picks, gap=gap)
    for live in lives:
        share = live.weight / sum(weights)
        noise = 5.0 * (share * (1.0 - share) / picks) ** 0.5
        assert went.get(live, 0) / picks == pytest.approx(share, abs=noise, rel=0.02)


@pytest.mark.parametrize("maker", [RoundRobin, Random])
def test_a_ramp_thins_every_balancer(maker):
    """RoundRobin and Random give a warming node its ramp's share too."""
    balancer, lives = make(maker, [1.0] * 4)
    lives[0].ramp = 0.2
    went = idle_picks(balancer, 20_000)
    assert went[lives[0]] / 20_000 == pytest.approx(0.2 / 3.2, rel=0.15)


@pytest.mark.parametrize("maker", MAKERS)
def test_a_lone_warming_node_is_picked(maker):
    """A ramp is relative: where there is no other node, it gets everything."""
    balancer, lives = make(maker, [1.0])
    lives[0].ramp = 1e-9
    assert {balancer.pick(0.0) for _ in range(50)} == set(lives)
    assert balancer.considered[0][0] is lives[0]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("weights", [[1.0] * 5, [1000.0, 1.0, 1.0, 1.0, 1.0]], ids=["even", "odd"])
def test_an_excluded_node_is_never_picked(maker, weights):
    """Every node that is not excluded can still be picked, and none is when all are."""
    balancer, lives = make(maker, weights)
    left = set(lives)
    for out in range(len(lives) + 1):
        excluded = tuple(lives[:out])
        left = set(lives[out:])
        assert {balancer.pick(0.0, excluded) for _ in range(300)} <= (left or {None})
        for live in left:
            others = tuple(one for one in lives if one is not live)
            assert balancer.pick(0.0, others) is live
    assert balancer.considered == ()


@pytest.mark.parametrize("maker", MAKERS)
def test_nodes_come_and_go(maker):
    """After any additions and removals the pool picks exactly the nodes that are in it."""
    balancer, rng = maker(rng=random.Random(3)), random.Random(4)
    assert balancer.pick(0.0) is None
    inside: list[LiveNode] = []
    for step in range(2000):
        if inside and rng.random() < 0.5:
            balancer.remove(inside.pop(rng.randrange(len(inside))))
        else:
            weight = rng.choice([1, 1, 1, 2.5, 64, 0.01])
            inside.append(LiveNode(Node(f"n{step}", 80, weight=weight), 0.0))
            balancer.add(inside[-1])
        assert len(balancer) == len(inside)
        picked = balancer.pick(0.0)
        assert picked in inside if inside else picked is None
    for live in inside:
        balancer.remove(live)
    assert balancer.pick(0.0) is None


def test_weights_beyond_all_measure_do_no_harm():
    """The smallest and the largest float as weights neither hang nor break a pick."""
    for weights in ([1e308, 5e-324, 1.0], [5e-324, 1e308], [1e-300, 1e300, 1e300]):
        balancer, lives = make(LeastLoaded, weights)
        assert set(idle_picks(balancer, 500)) <= set(lives)


def test_round_robin_takes_turns_in_no_fixed_order():
    """Each node once a round, and two callers do not go round in step."""
    orders = []
    for seed in range(8):
        balancer, lives = make(RoundRobin, [1.0] * 6, seed)
        rounds = [[balancer.pick(0.0) for _ in lives] for _ in range(4)]
        assert all(set(one) == set(lives) for one in rounds)
        orders.append(tuple(lives.index(one) for one in rounds[0]))
    assert len(set(orders)) > 4


@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 2, 4], [3, 1, 1, 5]], ids=str)
def test_a_retry_takes_no_turn_of_round_robin(weights):
    """Draws for retries follow the weights and leave the order of the first picks as it is."""
    balancer, lives = make(RoundRobin, weights)
    untouched, twins = make(RoundRobin, weights)
    drawn = dict.fromkeys(lives, 0)
    for _ in range(6000):
        first = balancer.pick(0.0)
        assert lives.index(first) == twins.index(untouched.pick(0.0))
        if first is lives[0]:
            one = balancer.pick(0.0, (first,))
            balancer.pick(0.0, (first, one))
            drawn[one] += 1
    for live in lives[1:]:
        share = live.weight / sum(weights[1:])
        assert drawn[live] / sum(drawn.values()) == pytest.approx(share, abs=0.06)


def test_round_robin_forgets_the_places_of_nodes_that_left():
    """A node that leaves and comes back over and over leaves no trail in the queue."""
    balancer, lives = make(RoundRobin, [1.0] * 4)
    for _ in range(1000):
        balancer.remove(lives[0])
        balancer.add(lives[0])
    assert len(balancer._queue) <= 2 * len(lives) + 17
    assert set(idle_picks(balancer, 100)) == set(lives)


def lived(seconds: float, answers: int = 40) -> LiveNode:
    """Make a node whose answers took so long."""
    live = LiveNode(Node("a", 80), 0.0)
    for _ in range(answers):
        live.observe(seconds, 0.0)
    return live


def test_the_one_with_fewer_calls_in_flight_is_picked():
    """Calls in flight decide; what was compared, and why, is kept for `explain`."""
    for maker in TWO_CHOICES:
        balancer, (busy, idle) = make(maker, [1.0, 1.0])
        busy.in_flight = 2
        assert {balancer.pick(0.0) for _ in range(20)} == {idle}
        assert balancer.considered == ((idle, 1.0), (busy, 3.0))
        assert balancer.why == LESS


def test_calls_in_flight_are_counted_per_weight():
    """Of two machines of which one is three times as large, it bears three times as many."""
    balancer, (large, small) = make(LeastRequests, [3.0, 1.0])
    large.in_flight, small.in_flight = 3, 2
    assert balancer.pick(0.0) is large
    large.in_flight, small.in_flight = 6, 1
    assert balancer.pick(0.0) is small
    small.turns = large.turns + 1.0
    large.in_flight, small.in_flight = 5, 1
    assert balancer.pick(0.0) is large
    assert balancer.why == TURN


def test_a_new_node_is_neither_flooded_nor_shunned():
    """It starts level with the turns of the others, and gets its share from the first call on."""
    balancer, _ = make(LeastLoaded, [1.0] * 5)
    idle_picks(balancer, 1000)
    fresh = LiveNode(Node("fresh", 80), 1.0)
    balancer.add(fresh)
    assert fresh.turns == pytest.approx(200, abs=2)
    went = idle_picks(balancer, 600)
    assert went[fresh] == pytest.approx(100, abs=20)


def test_turns_missed_are_not_made_up_for():
    """A node that was out of the running for long gets its share from then on, not a flood."""
    balancer, lives = make(LeastLoaded, [1.0] * 3)
    lives[0].in_flight = 99
    assert lives[0] not in idle_picks(balancer, 3000)
    lives[0].in_flight = 0
    assert idle_picks(balancer, 300)[lives[0]] <= 110


def test_the_average_is_no_mean_of_a_few_long_calls():
    """One answer of 5 s among those of 50 ms counts no more than one of seven times the usual."""
    live = lived(0.05)
    assert live.latency == pytest.approx(0.05)
    live.observe(5.0, 0.0)
    assert 0.05 < live.latency < 0.056


def test_the_first_answer_of_a_node_is_not_its_latency():
    """It holds a connect and cold caches; of a new node beside warm ones 30 answers do."""
    live = lived(5.0, answers=1)
    assert live.latency == 0.0
    live.observe(0.05, 0.0)
    assert live.latency == 0.05
    live.cold = COLD_CALLS
    for _ in range(COLD_CALLS):
        live.observe(9.0, 0.0)
    assert live.latency == 0.05


def test_a_slow_answer_lets_turns_pass_and_a_good_one_ends_it():
    """4 times as many after another slow answer; a streak of them costs no more than 20."""
    balancer, lives = make(LeastLoaded, [1.0] * 3)
    idle_picks(balancer, 400)
    slow, waits = lives[0], []
    for seconds in (1.0, 1.0, 1.0, 1.0, 0.05):
        slow.observe(seconds, 0.0)
        waits.append(slow.stand_back)
    assert waits == [5.0, 20.0, 20.0, 20.0, 0.0]


def test_a_node_known_to_be_slow_lets_64_turns_pass():
    """Each slow answer makes it 64; a good one has it tried again soon, the third one ends it."""
    balancer, lives = make(LeastLoaded, [1.0] * 3)
    idle_picks(balancer, 400)
    slow, waits = lives[0], []
    slow.latency = 10 * lives[1].latency
    for seconds in (1.0, 0.12, 0.05, 0.05, 0.12, 0.05, 0.05, 0.05):
        slow.observe(seconds, 0.0)
        waits.append(slow.stand_back)
    assert waits == [64.0, 64.0, 2.0, 1.0, 64.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize(("times", "turns"), [(1.7, 0.1), (2.0, 1.0), (2.5, 11.4), (3.0, 64.0)])
def test_the_slower_a_node_is_the_more_turns_it_lets_pass(times, turns):
    """64 for three times as slow and more; twice is what a busy machine does to any node."""
    balancer, (slow, *_) = make(LeastLoaded, [1.0] * 3)
    idle_picks(balancer, 400)
    slow.latency = times * slow.peers.usual
    assert slow.turns_apart == pytest.approx(turns, rel=0.2)
    slow.observe(1.0, 0.0)
    assert slow.stand_back == slow.turns_apart


def test_where_all_become_slower_more_is_expected_of_all():
    """A node whose average is of now is not slow beside those whose averages are of the past."""
    balancer, (new, *others) = make(LeastLoaded, [1.0] * 5)
    idle_picks(balancer, 400)
    usual = new.peers.usual
    for _ in range(12):
        for live in others:
            live.observe(4 * usual, 0.0)
    assert others[0].latency < 2 * usual
    new.known, new.latency = 12, 2.5 * usual
    assert not new.stands_apart
    idle_picks(balancer, 600)
    assert new.peers.usual == pytest.approx(usual, rel=0.1)


@pytest.mark.parametrize(("spread", "seconds", "good"), [(0.1, 0.1, False), (1.0, 0.15, True)])
def test_what_is_a_good_answer_of_a_slow_node_hangs_on_what_calls_differ(spread, seconds, good):
    """Twice the usual is bad where all take as long, three times is good where they do not."""
    balancer, (slow, *_) = make(LeastLoaded, [1.0] * 3)
    idle_picks(balancer, 400)
    slow.peers.expect(0.05, spread)
    slow.latency, slow.stand_back = 0.5, 64.0
    slow.observe(seconds, 0.0)
    assert slow.stand_back == (2.0 if good else 64.0)


def test_what_is_known_of_a_slow_node_is_forgotten_when_it_is_back():
    """The third good answer in a row ends it: a late one after that is one of a new node."""
    balancer, lives = make(LeastLoaded, [1.0] * 3)
    idle_picks(balancer, 400)
    slow = lives[0]
    slow.latency, slow.stand_back = 10 * lives[1].latency, 64.0
    for _ in range(3):
        assert slow.stands_apart
        slow.observe(0.05, 0.0)
    assert (slow.known, slow.latency, slow.stands_apart) == (0, 0.0, False)
    slow.observe(0.09, 0.0)
    assert (slow.known, slow.stand_back) == (1, 0.0)
    assert slow.latency == pytest.approx(0.09)


def test_a_far_off_answer_is_no_more_for_being_the_first_that_counts():
    """It is seven times the usual at most, and does not make a node slow as such."""
    balancer, (live, *_) = make(LeastLoaded, [1.0] * 3)
    idle_picks(balancer, 400)
    live.known, live.latency, live.peers.spread = 0, 0.0, 1.0
    usual = live.peers.usual
    live.observe(100 * usual, 0.0)
    assert live.latency == pytest.approx(math.exp(2.0) * usual)
    for _ in range(10):
        live.observe(1.5 * usual, 0.0)
        assert not live.stands_apart


@pytest.mark.parametrize(("times", "answers"), [(20.0, 5), (4.5, 6), (1.4, None)])
def test_the_farther_apart_a_node_is_the_fewer_answers_tell(times, answers):
    """Five at the least, where the average is apart by 3.5 standard errors of so many."""
    balancer, lives = make(LeastLoaded, [1.0] * 3)
    idle_picks(balancer, 400)
    slow, usual = lives[0], lives[0].peers.usual
    slow.known, slow.latency = 0, 0.0
    found = None
    for answer in range(1, 33):
        slow.observe(times * usual, 0.0)
        if slow.stands_apart:
            found = answer
            break
    assert found == answers


@pytest.mark.parametrize(
    ("seconds", "turns"), [(0.05, 0.0), (0.135, 0.25), (0.5, 1.0), (20.0, 0.0)]
)
def test_a_late_answer_costs_turns(seconds, turns):
    """As many as it took too long, for the weight, but two at most; a slow one lets turns pass."""
    balancer, (large, _) = make(LeastLoaded, [2.0, 2.0])
    idle_picks(balancer, 400)
    large.peers.late, large.peers.slow = 0.09, 10.0
    before = large.turns
    large.succeed(seconds, 0.0)
    assert large.turns - before == pytest.approx(turns)


@pytest.mark.parametrize(
    ("gap", "failing", "passed"),
    [(0.001, False, 64), (0.03, False, 54), (4.0, False, 40), (4.0, True, 16)],
)
def test_a_node_that_stands_back_is_tried_after_its_turns_or_seconds(gap, failing, passed):
    """After 64 turns of the other, or so many that turns times seconds come to 88.

    A slow one waits for 20 equal turns at the least, which are 40 of one other: it is not to make
    the p99 of all. For a failing one turns times seconds come to 1024.
    """
    balancer, (one, other) = make(LeastLoaded, [1.0, 1.0])
    one.stand_back, one.turns, one.failing = 64.0, -0.5, failing
    assert turns_passed(balancer, other, gap) == pytest.approx(passed, abs=1)


def turns_passed(balancer: Balancer, other: LiveNode, gap: float) -> int:
    """Count the calls that another node gets until this one has its turn."""
    now, went = 0.0, 0
    while balancer.pick(now) is other:
        assert balancer.why == SOUND
        lease = other.begin(now)
        other.answer(lease, now, heard=True)
        other.end(lease)
        went += 1
        now += gap
    return went


@pytest.mark.parametrize(("apart", "passed"), [(True, 64), (False, 40)])
def test_a_slow_node_has_one_try_at_a_time(apart, passed):
    """While one that is slow as such owes the answer of a try, all of its turns have to pass."""
    balancer, (one, other) = make(LeastLoaded, [1.0, 1.0])
    idle_picks(balancer, 200)
    one.turns = other.turns - 0.5
    one.stand_back, one.unanswered, one.waiting_since, one.last_pick = 40.0, 1, 1e6, 0.0
    if apart:
        one.latency = 10 * other.latency
    assert turns_passed(balancer, other, 4.0) == pytest.approx(passed, abs=1)


def test_a_node_that_pauses_is_not_worse_than_a_slow_one():
    """Silent for less than a quarter of what the slow one takes it only has a queue."""
    balancer, (slow, busy) = make(LeastLoaded, [1.0, 1.0])
    idle_picks(balancer, 200)
    usual = slow.peers.usual
    slow.latency, slow.stand_back, slow.last_pick = 10 * usual, 64.0, 9.0
    busy.in_flight = busy.unanswered = 6
    busy.waiting_since = 9.0
    assert balancer.pick(9.0 + 2.4 * usual) is busy
    assert balancer.pick(9.0 + 2.6 * usual) is slow
    slow.stand_back = 0.0
    assert balancer.pick(9.0 + 2.4 * usual) is slow


def test_least_requests_does_not_look_at_latency():
    """A node ten times slower has its turns, as long as it has no more in flight."""
    balancer, lives = make(LeastRequests, [1.0, 1.0])
    for live, seconds in zip(lives, (0.05, 0.5), strict=True):
        for _ in range(50):
            live.observe(seconds, 0.0)
    went = idle_picks(balancer, 200)
    assert went[lives[0]] == went[lives[1]] == 100


def test_a_node_that_is_slow_as_such_counts_as_so_many_times_loaded():
    """Ten times slower by its average: idle it is as loaded as another with ten calls in flight."""
    balancer, lives = make(LeastLoaded, [1.0, 1.0])
    idle_picks(balancer, 200)
    slow, other = lives
    slow.stand_back, slow.latency, slow.last_pick = 64.0, 10 * other.latency, 1.0
    other.in_flight = 8
    assert balancer.pick(1.0) is other
    other.in_flight = 11
    assert balancer.pick(1.0) is slow


def test_a_node_that_owes_answers_without_a_word_is_silent():
    """Eight usual latencies of owed answers: one call of 0.5 s, or eight of 60 ms each."""
    balancer, lives = make(LeastRequests, [1.0, 1.0])
    idle_picks(balancer, 200)
    frozen, other = lives
    other.in_flight = 7
    frozen.in_flight = frozen.unanswered = 4
    frozen.waiting_since = 9.0
    assert balancer.pick(9.01) is frozen
    assert balancer.pick(9.3) is other
    frozen.waiting_since = 9.3
    assert balancer.pick(9.31) is frozen


def test_a_load_in_seconds_grows_with_silence():
    """What zones compare: latency times calls, and a silent node is as slow as it is silent."""
    live = lived(0.05)
    lease = live.begin(10.0)
    assert live.load(0.0, 10.0) == pytest.approx(0.1)
    assert live.load(0.0, 13.0) == pytest.approx(6.0)
    live.answer(lease, 13.0, heard=True)
    assert live.load(0.0, 99.0) == pytest.approx(0.1)
    assert LiveNode(Node("b", 80), 0.0).load(0.2, 1.0) == pytest.approx(0.2)


def test_a_failure_alone_costs_nothing_and_repeated_ones_most():
    """The second in a row; or three scattered ones in twenty."""
    live = lived(0.05)
    live.fail(0.002, 0.0, 10.0)
    assert (live.stand_back, live.failing) == (0.0, False)
    live.fail(0.002, 0.0, 10.0)
    assert (live.stand_back, live.failing) == (256.0, True)
    assert live.latency == pytest.approx(0.05)
    scattered = LiveNode(Node("b", 80), 0.0)
    for _ in range(3):
        for _ in range(6):
            scattered.succeed(0.05, 0.0)
        assert not scattered.failing
        scattered.fail(0.002, 0.0, 10.0)
    assert scattered.failing


def test_a_slow_failure_counts_as_a_slow_answer():
    """A call that times out tells as much as one that was answered as late."""
    balancer, lives = make(LeastLoaded, [1.0, 1.0])
    idle_picks(balancer, 200)
    lives[0].fail(2.0, 0.0, 10.0)
    assert (lives[0].stand_back, lives[0].failing) == (5.0, False)


def test_what_is_refused_at_once_leaves_its_load_behind():
    """For as long as a good answer would take; one that took as long as those leaves none."""
    live = lived(0.05)
    live.dismiss(0.0, 7.0)
    assert live.haunting(7.0) == 1.0
    assert live.haunting(7.1) == pytest.approx(0.368, abs=0.001)
    assert live.haunting(8.0) == 0.0
    live.dismiss(0.05, 9.0)
    assert live.haunting(9.0) == 0.0
    assert live.latency == pytest.approx(0.05)


def test_an_end_that_is_no_answer_cannot_lower_the_latency():
    """Quick refusals and cancelled calls leave it, slow ones raise it."""
    live = lived(0.05)
    for _ in range(50):
        live.dismiss(0.001, 0.0)
    assert live.latency == pytest.approx(0.05)
    live.dismiss(0.4, 0.0)
    assert live.latency > 0.052
    unknown = LiveNode(Node("b", 80), 0.0)
    unknown.dismiss(0.001, 0.0)
    assert unknown.latency == 0.0


@pytest.mark.parametrize(("answered", "left"), [(True, 0), (False, COLD_CALLS)])
def test_a_node_gets_warm_by_refusals_too(answered, left):
    """One that only refuses is new no longer after 30 answers; a cancelled call is none."""
    live = LiveNode(Node("a", 80), 0.0)
    live.begin_ramp()
    for _ in range(40):
        live.dismiss(0.05, 0.0, answered=answered)
    assert live.cold == left


def test_a_node_that_says_it_has_too_many_is_believed():
    """429 again and again is as bad as failing; one alone lets a few turns pass."""
    live = lived(0.05)
    waits = []
    for _ in range(5):
        live.dismiss(0.001, 0.0, throttled=True)
        waits.append((live.stand_back, live.failing))
    assert waits == [(5.0, False), (20.0, True), (80.0, True), (256.0, True), (256.0, True)]
    live.observe(0.05, 0.0)
    assert (live.stand_back, live.failing) == (32.0, False)


# By event simulation


@pytest.mark.parametrize("repeatable", [True, False], ids=["GET", "POST"])
@pytest.mark.parametrize(("size", "rate"), [(2, 20), (5, 100), (20, 200)])
def test_an_instantly_failing_node_attracts_nothing(size, rate, repeatable):
    """After five seconds a node that answers 500 at once gets less than 2 % of the attempts."""
    providers = {f"n{at}": FleetProvider(exponential(0.05), workers=50) for at in range(size)}
    providers["n0"].sick = lambda _: True
    run = Simulation(providers, repeatable=repeatable)
    run.list_nodes()
    run.arrive(rate, 40)
    run.run(41)
    assert run.share("n0", since=5) < 0.02
    if repeatable:
        assert all(call.good for call in run.calls)
    else:
        assert sum(not call.good for call in run.calls) < 10


@pytest.mark.parametrize("how", ["sick", "dead"])
def test_load_alone_shuns_a_failing_node(how):
    """The two-strike cost does it without the blacklist too, in the worst case of two nodes."""
    providers = {f"n{at}": FleetProvider(exponential(0.05), workers=50) for at in range(2)}
    setattr(providers["n0"], how, lambda _: True)
    run = Simulation(providers, policies=Policies(ejection=EjectionPolicy(enforce=False)))
    run.list_nodes()
    run.arrive(20, 40)
    run.run(41)
    assert run.share("n0", since=5) < 0.02


def _imbalance(error_rate: float) -> float:
    """Give the mean of busiest ÷ average over windows of ten seconds, 5 nodes at 200 calls/s."""
    worst = []
    for seed in (1, 2, 3):
        providers = {
            f"n{at}": FleetProvider(exponential(0.05), workers=99, error_rate=error_rate)
            for at in range(5)
        }
        run = Simulation(providers, seed=seed)
        run.list_nodes()
        run.arrive(200, 60)
        run.run(61)
        for begin in range(10, 60, 10):
            shares = [run.share(name, begin, begin + 10) for name in providers]
            worst.append(max(shares) * len(shares))
    return mean(worst)


def test_a_few_random_errors_do_not_upset_the_balance():
    """With 0.2 % errors everywhere the busiest node is less than 1.3 times what it was without."""
    without = _imbalance(0.0)
    assert without < 1.15
    assert _imbalance(0.002) / without < 1.3


@pytest.mark.parametrize(
    ("size", "callers", "service", "limit"),
    [(10, 1, steady, 1.7), (10, 10, steady, 2.1), (10, 10, exponential, 5.9)],
)
def test_a_slow_node_does_not_show_in_the_tail(size, callers, service, limit):
    """One node ten times slower: the p99 stays what it is without the node, in service times."""
    providers = {f"n{at}": FleetProvider(service(0.05)) for at in range(size)}
    providers["n0"].seconds = service(0.5)
    run = Simulation(providers, callers=callers)
    run.list_nodes()
    run.arrive(0.6 * 4 * size / 0.05, 30)
    run.run(40)
    assert run.percentile(0.99, since=8) / 0.05 < limit
    assert run.share("n0", since=8) < 0.1 / size


def test_a_frozen_node_is_shunned_before_its_first_call_times_out():
    """A node that goes silent gets a handful of calls, at one caller with 200 calls a second."""
    providers = {f"n{at}": FleetProvider(exponential(0.05), workers=99) for at in range(3)}
    providers["n0"].seconds = lambda now, rng: 20.0 if now > 1010 else rng.expovariate(20)
    run = Simulation(providers)
    run.list_nodes()
    run.arrive(200, 15)
    run.run(16)
    assert 0.3 < run.share("n0", 2, 9) < 0.38
    assert sum(call.nodes[0] == "n0" for call in run.span(10.1, 15)) <= 10


def test_traffic_comes_back_after_a_slow_spell():
    """Half a minute after a node is well again it has its full share, and no more."""
    providers = {f"n{at}": FleetProvider(exponential(0.05)) for at in range(10)}
    providers["n0"].seconds = lambda now, rng: rng.expovariate(1 / (0.5 if now < 1060 else 0.05))
    run = Simulation(providers, callers=4)
    run.list_nodes()
    run.arrive(200, 130)
    run.run(131)
    assert run.share("n0", since=30, until=60) < 0.02
    assert 0.08 < run.share("n0", since=90, until=130) < 0.12


@pytest.mark.parametrize("seed", range(8))
def test_silence_is_seen_of_either_of_the_two(seed):
    """Whichever of the two drawn nodes it is: what it owes counts once for each call."""
    balancer, lives = make(LeastRequests, [1.0, 1.0], seed)
    idle_picks(balancer, 200)
    frozen, other = lives
    other.in_flight = 7
    frozen.in_flight = frozen.unanswered = 4
    frozen.waiting_since = 9.0
    assert balancer.pick(9.3) is other


def test_what_was_mixed_is_even_again():
    """Nodes of one weight are drawn at once, as soon as those of other weights have left."""
    balancer, lives = make(Random, [1.25, 1.5])
    assert balancer._even is None
    for live in lives:
        balancer.remove(live)
    fresh = LiveNode(Node("fresh", 80, weight=1.25), 0.0)
    balancer.add(fresh)
    assert balancer._even == [fresh]


def test_a_draw_at_the_very_edge_is_of_a_node():
    """The least and the greatest random number draw a node by weight, mixed in a bin or not."""
    for edge in (0.0, math.nextafter(1.0, 0.0)):
        for weights in ([3.0, 0.1, 0.1, 0.1, 7.0], [3.0, 2.5, 2.5]):
            balancer, lives = make(Random, weights)
            balancer._random = lambda edge=edge: edge
            assert balancer.pick(0.0) in lives
