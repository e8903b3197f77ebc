"""The service itself: calls, retries, views, waiting, closing, and many threads at once."""

from __future__ import annotations

import json
import random
import sys
import threading
import tracemalloc
from collections import Counter

import pytest

from rpcguard import (
    Affinity,
    EjectionPolicy,
    Node,
    RetryPolicy,
    RoundRobin,
    Routing,
    SlowStart,
    Snapshot,
)
from rpcguard._core.balancing.least_requests import LESS, SOUND, TURN
from rpcguard._core.nodes.live import Lease
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.service.budget import RetryBudget
from rpcguard._core.service.draws import RETRY
from rpcguard._core.service.no_node import why_no_node
from rpcguard._core.service.picker import LEAST_BAD, TRIAL
from rpcguard._core.service.service import Service
from tests.support.stage import (
    GOOD,
    NOT_FOUND,
    REFUSED,
    SICK,
    Stage,
    cancelled,
    ids,
    leaving,
    nodes,
)


def again(stage: Stage, *tried: Lease, same_node: bool = False) -> Lease:
    """Pick another node; there must be one."""
    lease = stage.service.pick_again(tuple(one.live for one in tried), same_node=same_node)
    assert isinstance(lease, Lease), lease
    return lease


def test_no_list_no_node():
    """Before the first snapshot and with an empty one there is no node to pick."""
    stage = Stage()
    assert stage.service.pick(repeatable=True) is None
    assert not stage.service.ready
    assert not stage.service.known
    stage.list()
    assert stage.service.ready
    assert stage.service.pick(repeatable=True) is None


def test_why_there_is_no_node_is_said_of_the_first_ten():
    """And how many more there are."""
    stage = Stage(*(Node("10.0.0.1", 80, id=f"n{at}", status="down") for at in range(12)))
    said = why_no_node(stage.service, "the registry", "no list")
    assert said.count("down") >= 10
    assert said.endswith("; and 2 more")


def test_a_retry_goes_to_an_untried_node():
    """Every retry of a call finds another node, until none is left."""
    stage = Stage(*ids(3))
    tried: list[Lease] = [stage.pick()]
    while len(tried) < 3:
        tried.append(again(stage, *tried))
    assert {one.live.node.id for one in tried} == set(ids(3))
    assert stage.service.pick_again(tuple(one.live for one in tried)) == "no_other_node"


def test_a_retry_prefers_another_zone():
    """A node of another zone than the failed one is taken, where a few draws find one."""
    stage = Stage(*nodes(*ids(40, "a"), zone="a"), *nodes(*ids(40, "b"), zone="b"), seed=3)
    crossed = 0
    for _ in range(200):
        first = stage.pick()
        second = again(stage, first)
        crossed += first.live.node.zone != second.live.node.zone
        stage.end(first)
        stage.end(second)
        stage.clock.advance(0.2)
    assert crossed == 200


def test_a_retry_stays_in_the_zone_rather_than_fail_or_fall_to_a_later_priority():
    """The preference for another zone overrides neither the last node nor the priorities."""
    same = nodes("a", "b", zone="z")
    stage = Stage(*same, *nodes("far", zone="y", priority=1))
    first = stage.pick()
    assert again(stage, first).live.node.id in {"a", "b"} - {first.live.node.id}
    assert stage.service.explain()[-1].candidates[0][0] in {"a", "b"}


def test_a_retry_prefers_the_node_that_was_heard_of_last():
    """Of two draws it is the newer sign of life: a node that failed may not be alone in it."""
    newer = 0
    for seed in range(200):
        stage = Stage(*ids(20), slow_start=SlowStart(window=0.0), seed=seed)
        stage.clock.advance(60.0)
        failed = stage.pick()
        stage.list(*ids(20), *ids(20, "new"))
        newer += again(stage, failed).live.node.id.startswith("new")
    assert newer > 130


@pytest.mark.parametrize(("verdict", "heard"), [(GOOD, 5.0), (NOT_FOUND, 5.0), (SICK, 0.0)])
def test_any_answer_below_500_is_a_sign_of_life(verdict, heard):
    """One that says nothing of the node's health too; a failure is none."""
    stage = Stage("a")
    lease = stage.pick()
    began = lease.live.heard_at
    stage.clock.advance(5.0)
    stage.service.settle(lease, verdict)
    assert lease.live.heard_at - began == heard


def test_the_same_node_again_only_where_it_is_allowed_and_listed():
    """`same_node` gives the last node again when no other is left, if it has not left itself."""
    stage = Stage("a")
    lease = stage.pick()
    assert stage.service.pick_again((lease.live,)) == "no_other_node"
    assert again(stage, lease, same_node=True).live is lease.live
    stage.list(*nodes("a", generation=2))
    assert again(stage, lease, same_node=True).live is not lease.live
    stage.list(*nodes("a", generation=2, weight=0))
    assert stage.service.pick_again((lease.live,), same_node=True) == "no_other_node"


@pytest.mark.parametrize("bad", [{"n0"}, {"n0", "n1"}], ids=["one bad", "two bad"])
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 1), (4, 2, 1)], ids=str)
def test_retries_leave_round_robin_its_turns(weights, bad):
    """Nodes that fail and stay are picked first no more often than their weight says."""
    listed = [nodes(f"n{at}", weight=one)[0] for at, one in enumerate(weights)]
    calls = 20 * sum(weights)
    for seed in range(8):
        stage = Stage(
            *listed, ejection=EjectionPolicy(enforce=False), balancer=RoundRobin, seed=seed
        )
        firsts, retries = Counter[str](), Counter[str]()
        for _ in range(calls):
            stage.service.begin()
            first = stage.pick()
            stage.clock.advance(0.2)
            name = stage.end(first, SICK if first.live.node.id in bad else GOOD)
            firsts[name] += 1
            if name in bad:
                second = again(stage, first)
                stage.clock.advance(0.2)
                name = second.live.node.id
                retries[stage.end(second, SICK if name in bad else GOOD)] += 1
        for node in listed:
            assert firsts[node.id] == pytest.approx(20 * node.weight, abs=2)
        assert any(node.id not in bad and retries[node.id] for node in listed)


def test_retries_are_paid_from_a_budget():
    """20 % of the calls of ten seconds plus ten a second, and not one more."""
    stage = Stage("a", "b", retry=RetryPolicy(budget_floor=1.0))
    for _ in range(100):
        assert stage.service.begin()
    first = stage.pick()
    paid = 0
    while isinstance(stage.service.pick_again((first.live,)), Lease):
        paid += 1
    assert paid == 30
    assert stage.service.pick_again((first.live,)) == "budget"
    before = sum(view.in_flight for view in stage.service.nodes())
    assert stage.service.pick_again((first.live,)) == "budget"
    assert sum(view.in_flight for view in stage.service.nodes()) == before
    stage.clock.advance(11)
    assert isinstance(stage.service.pick_again((first.live,)), Lease)


def test_a_search_without_a_node_costs_no_budget():
    """Only a retry that is made is paid for."""
    stage = Stage("a", retry=RetryPolicy(budget_floor=0.1))
    lease = stage.pick()
    for _ in range(10):
        assert stage.service.pick_again((lease.live,)) == "no_other_node"
    stage.list("a", "b")
    assert isinstance(stage.service.pick_again((lease.live,)), Lease)


def test_a_retry_that_cannot_connect_is_paid_back():
    """While everything is down retries cost nothing, so that they are there when it is back."""
    stage = Stage("a", "b", retry=RetryPolicy(budget_floor=0.1, budget_ratio=0.0))
    for _ in range(100):
        first = stage.pick()
        stage.service.settle(first, REFUSED)
        stage.service.release(first)
        second = again(stage, first)
        stage.clock.advance(0.15)
        stage.service.settle(second, REFUSED)
        stage.service.release(second)
    first = stage.pick()
    second = again(stage, first)
    stage.service.settle(second, SICK)
    assert stage.service.pick_again((first.live,)) == "budget"


def test_a_refund_does_not_outlive_its_payment():
    """What is paid back late, after the window has left the payment behind, gives no credit."""
    budget = RetryBudget(RetryPolicy(budget_floor=0.1, budget_ratio=0.0), 0.0)
    budget.withdraw(0.0)
    assert not budget.allows(0.5)
    assert budget.allows(20.0)
    budget.refund(0.0)
    budget.withdraw(20.0)
    assert not budget.allows(20.0)
    budget.refund(20.0)
    assert budget.allows(20.0)


def test_amplification_is_bounded():
    """With every node failing, sent is at most 1.2 times asked, plus the floor."""
    budget, now, asked, sent = RetryBudget(RetryPolicy(), 0.0), 0.0, 0, 0
    for _ in range(20_000):
        now += 0.002
        budget.deposit(now)
        asked += 1
        sent += 1
        if budget.allows(now):
            budget.withdraw(now)
            sent += 1
    assert sent <= 1.2 * asked + 10 * now + 100


# What the user sees


def test_a_view_is_json():
    """`as_dict` of every state goes through `json.dumps` and names the node."""
    stage = Stage(*nodes(*ids(6), metadata={"rack": "b"}), *nodes("d", status="draining"))
    stage.list(*nodes(*ids(7), metadata={"rack": "b"}), *nodes("d", status="draining"))
    stage.on("n0", SICK, 5)
    stage.on("n1", REFUSED)
    stage.on("n2", leaving())
    stage.clock.advance(10)
    shown = {view["node"]["id"]: view for view in (v.as_dict() for v in stage.service.nodes())}
    json.dumps(shown)
    assert shown["n0"]["state"] == "ejected"
    assert shown["n0"]["until"] == 0
    assert shown["n1"]["until"] is None
    assert (shown["n2"]["state"], shown["n2"]["until"]) == ("offline", 20)
    assert shown["n3"]["state"] == "available"
    assert (shown["n6"]["state"], shown["n6"]["weight"]) == ("warming", 1.0)
    assert shown["n6"]["effective_weight"] == 0.1
    assert shown["d"] == {
        "node": {**shown["d"]["node"], "id": "d", "metadata": {}},
        "state": "draining",
        "reason": "drained by the registry",
        "until": None,
        "weight": 1.0,
        "effective_weight": 0.0,
        "in_flight": 0,
        "load": 0.001,
        "successes": 0,
        "failures": 0,
        "connections": None,
        "event": None,
        "event_age": None,
        "p50": None,
        "p99": None,
    }


def test_a_view_tells_the_latency_of_the_last_answers():
    """Median and 99th percentile of the last 128 answers, those that are no failure."""
    stage = Stage("a")
    assert (stage.view("a").p50, stage.view("a").p99) == (None, None)
    stage.call(seconds=3.0)
    assert (stage.view("a").p50, stage.view("a").p99) == (3.0, 3.0)
    for step in range(98):
        stage.call(NOT_FOUND if step % 2 else GOOD, seconds=0.01)
    stage.call(SICK, seconds=7.0)
    stage.call(seconds=2.0)
    view = stage.view("a")
    assert len(view.latencies) == 100
    assert view.p50 == pytest.approx(0.01, abs=1e-6)
    assert view.p99 == 3.0
    stage.calls(127, seconds=0.02)
    view = stage.view("a")
    assert len(view.latencies) == 128
    assert sorted(view.latencies) == pytest.approx([0.02] * 127 + [2.0], abs=1e-6)
    assert view.p50 == pytest.approx(0.02, abs=1e-6)


def test_a_view_tells_what_last_happened_to_the_node():
    """An ejection, its end, and what was only decided, each with its age."""
    stage = Stage("a", "b")
    assert stage.view("a").event is None
    stage.on("a", SICK, 5)
    stage.clock.advance(2)
    assert stage.view("a").event == "ejected: 5 failures in a row"
    assert stage.view("a").event_age == pytest.approx(2)
    stage.service.mark_online("a")
    assert stage.view("a").event == "restored: marked online"
    assert stage.view("b").event is None
    watched = Stage("a", "b", ejection=EjectionPolicy(enforce=False))
    watched.on("a", SICK, 5)
    assert watched.view("a").event == "ejected (not enforced): 5 failures in a row"


def test_explain_tells_of_the_last_picks():
    """Both candidates with their loads, what was tried, who was out and why, and panic."""
    stage = Stage("a", "b", "c")
    for _ in range(20):
        stage.call()
    stage.service.mark_offline("c", None)
    first = stage.pick()
    second = again(stage, first)
    *_, record, last = stage.service.explain()
    assert record.at == stage.clock()
    assert record.picked == first.live.node.id == record.candidates[0][0]
    assert {name for name, _ in record.candidates} == {"a", "b"}
    assert all(load > 0 for _, load in record.candidates)
    assert record.excluded == (("c", "marked by the caller"),)
    assert (record.tried, record.panic) == ((), False)
    assert record.why in {LESS, TURN, SOUND}
    assert (last.tried, last.why) == ((first.live.node.id,), RETRY)
    stage.end(second)
    for name in ("a", "b"):
        stage.service.mark_offline(name, None)
    stage.pick()
    assert stage.service.explain()[-1].panic
    assert stage.service.explain()[-1].why == LEAST_BAD
    for _ in range(100):
        stage.pick()
    assert len(stage.service.explain()) == 64


def test_a_trial_is_not_told_as_panic():
    """The one call of a half-open node is a pick like others in the record."""
    stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
    stage.on("n0", SICK, 5)
    stage.clock.advance(5)
    assert stage.call() == "n0"
    record = stage.service.explain()[-1]
    assert record.why == TRIAL
    assert not record.panic
    assert record.candidates[0][0] == "n0"


def test_what_happens_while_rules_are_taken_is_told_after_it():
    """A finalizer may end the last call of a node that is gone, at any place."""
    stage = Stage(*ids(3), routing=Routing())
    lease = stage.lease("n0")
    stage.list("n1", "n2")
    stage.service._alone(lambda: stage.service.release(lease))
    stage.service.go_by([])
    assert stage.retired == []
    stage.service.tell()
    assert [live.node.id for live in stage.retired] == ["n0"]


def test_the_events_name_what_happened():
    """A changed list is summed up, a doubted one counted, a node's event names the node."""
    stage = Stage("a", "b")
    stage.list("a", *nodes("b", weight=2.0), "c")
    stage.list()
    assert [(one.kind, one.node, one.reason) for one in stage.told] == [
        ("changed", None, "2 added; 2 nodes listed"),
        ("changed", None, "1 added, 1 updated; 3 nodes listed"),
        ("doubted", None, "the snapshot lacks 3 nodes at once"),
    ]


# Waiting and closing


def test_waiting_for_the_first_snapshot():
    """`wait_ready` returns with the list, in time or not at all, and at once when closed."""
    stage = Stage()
    assert stage.service.wait_ready(0.01) is False
    waiting = threading.Thread(target=lambda: results.append(stage.service.wait_ready(5.0)))
    results: list[bool] = []
    waiting.start()
    stage.list("a")
    waiting.join(20)
    assert results == [True]
    late = Stage()
    late.service.close()
    assert late.service.wait_ready(5.0) is True
    assert not late.service.ready


def test_closing_refuses_new_calls_and_waits_for_old_ones():
    """After `close` no call begins; `wait_idle` returns when the last one has ended."""
    stage = Stage("a")
    assert stage.service.begin()
    assert stage.service.begin()
    stage.service.close()
    assert not stage.service.begin()
    assert stage.service.wait_idle(0.01) is False
    results: list[bool] = []
    waiting = threading.Thread(target=lambda: results.append(stage.service.wait_idle(5.0)))
    waiting.start()
    stage.service.end()
    stage.service.end()
    waiting.join(20)
    assert results == [True]


def test_an_heir_has_the_list_and_nothing_else():
    """A forked child begins with the same nodes, no statistics, and takes no lock of the parent."""
    stage = Stage("a", "b", "c")
    stage.on("a", GOOD, 3)
    stage.service.mark_offline("b", None)
    with stage.service._lock:
        heir = stage.service.heir()
    assert heir.ready
    assert heir.known
    assert {view.node.id: view.state for view in heir.nodes()} == dict.fromkeys("abc", "available")
    assert sum(view.successes for view in heir.nodes()) == 0
    assert not Stage().service.heir().ready


def test_defaults_need_no_injection():
    """A service without an injected clock and chance uses the process's own."""
    service = Service("orders", policies=Policies(), effects=Stage())
    service.reconcile(Snapshot(nodes("a", "b")))
    lease = service.pick(repeatable=True)
    assert lease is not None
    service.settle(lease, GOOD)
    service.release(lease)
    assert sum(view.successes for view in service.nodes()) == 1


def test_a_cancelled_call_that_took_long_says_that_the_node_is_slow():
    """What a caller waited for in vain counts where it was longer than usual, and only there."""
    stage = Stage("a", "b")
    for seconds, verdict in [(0.1, GOOD)] * 40 + [(3.0, cancelled())]:
        lease = stage.lease("a")
        stage.clock.advance(seconds)
        stage.end(lease, verdict)
    slower = stage.view("a").load
    assert slower > 0.105
    for _ in range(20):
        stage.end(stage.lease("a"), cancelled())
    assert stage.view("a").load == slower


# Threads and size


def test_threads_that_call_while_the_list_changes():
    """Calls from many threads, reconciles, probes and marks at once leave everything in order."""
    stage = Stage(*ids(8), slow_start=SlowStart(window=1.0))
    errors: list[BaseException] = []
    stop = threading.Event()

    def calls(seed: int) -> None:
        rng = random.Random(seed)
        while not stop.is_set():
            service = stage.service
            service.begin()
            lease = service.pick(repeatable=rng.random() < 0.5)
            if lease is not None:
                end = rng.choice([GOOD, GOOD, GOOD, SICK, REFUSED, cancelled(), leaving(1)])
                service.settle(lease, end)
                service.fail_body(lease, rng.choice([GOOD, SICK]))
                service.release(lease)
            service.end()

    def guarded(task: object, *args: object) -> None:
        try:
            task(*args)  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(calls, seed)) for seed in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        rng = random.Random(9)
        for step in range(300):
            listed = rng.sample(ids(12), rng.randrange(13))
            stage.list(*nodes(*listed, generation=rng.choice([0, 0, 0, step])))
            stage.clock.advance(rng.random() * 4.0)
            for live in list(stage.probing)[-5:]:
                stage.service.probed(live, alive=rng.random() < 0.5)
            stage.service.nodes()
            stage.service.explain()
    finally:
        stop.set()
        for thread in threads:
            thread.join(10.0)
        sys.setswitchinterval(interval)
    assert errors == []
    assert stage.service.calls == 0
    assert all(view.in_flight == 0 for view in stage.service.nodes())
    gone = [live for live in stage.retired if not live.gone or live.in_flight]
    assert gone == []
    assert len(set(map(id, stage.retired))) == len(stage.retired)


def test_a_listed_node_that_is_never_used_is_small():
    """A node of the list costs at most 2 KiB, its registry entry included."""
    stage = Stage("a")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        listed = [Node(f"10.0.{n >> 8}.{n & 255}", 8000 + n % 100) for n in range(5000)]
        stage.service.reconcile(Snapshot(listed))
        del listed
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 5000 < 2048


def _again(bad: str, *others: str, times: int = 2) -> list[Node]:
    """List one process under several ids, as after a crash, others at addresses of their own."""
    twin = [Node("10.0.0.1", 80, id=f"{bad}{at}") for at in range(times)]
    return [*twin, *(Node(f"10.0.1.{at}", 80, id=one) for at, one in enumerate(others))]


@pytest.mark.parametrize("keyed", [False, True], ids=["balanced", "by a key"])
def test_a_retry_goes_to_another_address(keyed):
    """A node that is listed twice is one process: what has failed there fails there again."""
    for seed in range(30):
        stage = Stage(*_again("a", "b"), seed=seed, affinity=Affinity() if keyed else None)
        ask = stage.keyed(f"k{seed}") if keyed else None
        first = stage.pick(ask=ask)
        following = stage.service.pick_again((first.live,), ask=ask)
        assert isinstance(following, Lease)
        assert {first.live.node.address, following.live.node.address} > {"10.0.0.1:80"}


@pytest.mark.parametrize("times", [2, 30])
@pytest.mark.parametrize("keyed", [False, True], ids=["balanced", "by a key"])
def test_a_retry_stays_at_an_address_that_all_nodes_have(keyed, times):
    """As behind a gateway: another node is better than none, wherever it is said to be."""
    stage = Stage(*_again("a", times=times), affinity=Affinity() if keyed else None)
    ask = stage.keyed("k") if keyed else None
    first = stage.pick(ask=ask)
    following = stage.service.pick_again((first.live,), ask=ask)
    assert isinstance(following, Lease)
    assert first.live is not following.live


def test_a_mark_by_address_is_for_all_that_are_listed_there():
    """It is the process that is meant; by an id it is that one alone. Those that left are not."""
    stage = Stage(*_again("a", "b"), slow_start=SlowStart(window=0.0))
    stage.service.mark_offline("10.0.0.1:80", None)
    assert stage.states() == {"a0": "offline", "a1": "offline", "b": "available"}
    stage.service.mark_online("10.0.0.1:80")
    stage.service.mark_offline("a1", None)
    assert stage.states() == {"a0": "available", "a1": "offline", "b": "available"}
    stage.list(Node("10.0.1.0", 80, id="b"), Node("10.0.9.9", 80, id="a0"))
    stage.clock.advance(120.0)
    stage.list(Node("10.0.1.0", 80, id="b"), Node("10.0.9.9", 80, id="a0"))
    with pytest.raises(ValueError, match="has no node"):
        stage.service.mark_offline("10.0.0.1:80", None)
