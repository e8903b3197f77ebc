"""What is given back by code that interrupted the holder of a service's lock, or by nobody."""

from __future__ import annotations

import contextlib
import threading

import pytest

from rpcguard import Routing, Snapshot
from rpcguard._core.call.call import Call
from rpcguard._core.service import service as service_module
from rpcguard._core.service import turns
from tests.support.calls import eventually
from tests.support.interleavings import interleavings
from tests.support.interrupts import Interrupter, Signals
from tests.support.stage import GOOD, SICK, Stage, nodes

JOIN = 10.0
"""Seconds after which a thread is taken to hang."""


def amid(stage: Stage, job) -> None:
    """Run a job as a signal handler or a finalizer does: in a thread that holds the lock."""
    done = []

    def hold() -> None:
        stage.service._alone(lambda: done.append(job()))

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    thread.join(JOIN)
    assert done, "it waits for its own thread"


def test_a_lease_that_is_dropped_is_given_back():
    """Without a word of its end the node is not busy, and owes no answer."""
    stage = Stage("a")
    lease = stage.pick()
    live = lease.live
    assert (live.in_flight, live.unanswered) == (1, 1)
    del lease
    assert stage.view("a").in_flight == 0
    assert live.unanswered == 0


def test_a_trial_that_is_dropped_leaves_the_node_another():
    """The one call of a half-open node that is lost does not keep the node out for good."""
    stage = Stage("a", "b")
    stage.on("a", SICK, times=5)
    stage.clock.advance(30)
    lease = stage.lease("a")
    assert lease.on_trial
    del lease
    assert stage.lease("a").on_trial


def test_giving_back_twice_counts_once():
    """Whoever is not sure that it was given back may do it again."""
    stage = Stage("a")
    first, second = stage.pick(), stage.pick()
    for _ in range(2):
        stage.service.settle(first, GOOD)
        stage.service.release(first)
    assert stage.view("a").in_flight == 1
    stage.end(second)
    assert stage.view("a").in_flight == 0


def test_an_answer_that_is_whole_ends_in_one_turn():
    """It is settled, its node given back and its call counted out, once, before the lock is."""
    stage = Stage("a")
    service, call, other = stage.service, turns.OneCall(counted=False), stage.pick()
    assert service.begin(call)
    lease = stage.pick()
    service.conclude(lease, GOOD, call)
    assert (stage.view("a").in_flight, stage.view("a").successes) == (1, 1)
    assert (service._calls, call.counted) == (0, False)
    service.conclude(lease, GOOD, call)
    assert (stage.view("a").in_flight, service._calls) == (1, 0)
    stage.end(other)


@pytest.mark.parametrize(
    "what", ["release", "settle", "conclude", "mark_offline", "mark_online", "close", "end"]
)
def test_nothing_waits_for_its_own_thread(what):
    """Each of these, amid the lock's own holder, comes back, and takes effect after it."""
    stage = Stage("a", "b")
    lease, service = stage.pick(), stage.service
    assert service.begin()
    jobs = {
        "release": lambda: service.release(lease),
        "settle": lambda: service.settle(lease, GOOD),
        "conclude": lambda: service.conclude(lease, GOOD),
        "mark_offline": lambda: service.mark_offline("a", None),
        "mark_online": lambda: service.mark_online("a"),
        "close": lambda: (service.close(), service.wait_idle(0.0)),
        "end": service.end,
    }
    amid(stage, jobs[what])
    if what == "release":
        assert stage.view(lease.live.node.id).in_flight == 0
    if what == "conclude":
        assert stage.view(lease.live.node.id).in_flight == 0
    if what in ("settle", "conclude"):
        assert stage.view(lease.live.node.id).successes == 1
    if what == "mark_offline":
        assert stage.states()["a"] == "offline"
    assert service.closed == (what == "close")
    assert service.calls == (0 if what == "end" else 1)


def test_a_whole_call_amid_the_lock():
    """A signal handler may make a call of its own; it is counted like any other."""
    stage = Stage("a", "b")

    def call() -> None:
        assert stage.service.begin()
        lease = stage.service.pick(repeatable=True)
        again = stage.service.pick_again((lease.live,))
        assert again.live is not lease.live
        stage.service.nodes()
        stage.service.explain()
        for one in (lease, again):
            stage.end(one)
        stage.service.end()

    amid(stage, call)
    views = stage.service.nodes()
    assert [view.in_flight for view in views] == [0, 0]
    assert [view.successes for view in views] == [1, 1]
    assert stage.service.calls == 0


def test_whoever_holds_the_lock_does_what_others_left():
    """A node given back while another thread holds the lock is free when that is done."""
    stage = Stage("a")
    lease, service = stage.pick(), stage.service
    with service._lock:
        thread = threading.Thread(target=service.release, args=(lease,), daemon=True)
        thread.start()
        thread.join(JOIN)
        assert not thread.is_alive(), "it waits for a lock that may never be free"
        assert lease.live.in_flight == 1
    stage.pick()
    assert lease.live.in_flight == 1


def test_waiting_ends_with_the_last_call():
    """A close that waits for calls wakes up when the last one ends, by whatever hand."""
    stage = Stage("a")
    assert stage.service.begin()
    stage.service.close()
    ended = []
    thread = threading.Thread(target=lambda: ended.append(stage.service.wait_idle(JOIN)))
    thread.start()
    eventually(lambda: stage.service._sleepers, "nobody waits")
    stage.service.end()
    thread.join(JOIN)
    assert ended == [True]
    assert not stage.service._sleepers


def test_a_lock_that_nobody_has_signed_for_is_no_threads_own():
    """Between taking it and signing, and after signing off, its last holder waits as others do."""
    service = Stage().service
    for _ in range(2):  # before anybody has held it, and after this thread has
        with service._lock:
            assert not service._is_nested()
        service._alone(lambda: None)
    service._left.append(lambda: None)
    service._catch_up()
    with service._lock:
        assert not service._is_nested()


def test_whoever_is_interrupted_signs_off():
    """Ctrl-C in any section of the lock leaves nobody who is taken for the next holder."""
    signed = []
    for nth in range(1000):
        stage = Stage("a", "b")
        service = stage.service
        with (
            contextlib.suppress(KeyboardInterrupt),
            Interrupter(nth, {turns.__file__, service_module.__file__}.__contains__) as walk,
        ):
            service.begin()
            service.wake_with(lambda: None)
            lease = service.pick(repeatable=True)
            service.settle(lease, SICK)
            again = service.pick_again((lease.live,))
            service.conclude(again, GOOD)
            service.release(lease)
            service.end()
        if walk.where is None:
            break
        if service._holder:
            signed.append(walk.where)
    assert 50 < nth < 1000
    assert signed == []


def test_amid_the_lock_a_call_stays_in_its_lane():
    """A marked call goes to the least busy node of its lane, any other to one of no lane."""
    listed = [*nodes("a", "b"), *nodes("x", metadata={"lane": "x"})]
    stage = Stage(*listed, routing=Routing())
    went, leases = {}, []
    for mark in ("x", None, "y"):
        ask = stage.ask(mark=mark)
        amid(stage, lambda ask=ask: leases.append(stage.service.pick(repeatable=True, ask=ask)))
        went[mark] = [view.node.id for view in stage.service.nodes() if view.in_flight]
    assert went["x"] == ["x"]
    assert went[None] == ["a", "x"]
    assert went["y"] == ["a", "b", "x"]


def test_what_ends_amid_the_lock_has_taken_its_time():
    """Its seconds are known at once, though the list takes it in later."""
    stage, settled = Stage("a"), []
    lease = stage.pick()
    stage.clock.advance(0.5)
    amid(stage, lambda: settled.append(stage.service.settle(lease, GOOD)))
    assert [(one.seconds, one.change, one.reason) for one in settled] == [(0.5, None, None)]


def test_who_waits_for_the_last_call_is_woken_whoever_ended_it(monkeypatch):
    """Amid the lock it is only left; whoever gives that back wakes."""
    stage, woken = Stage("a"), []
    service, call = stage.service, turns.OneCall(counted=False)
    assert service.begin(call)
    lease = stage.pick()
    service.wake_with(lambda: woken.append(True))
    service.closed = True
    settled = service._reactions.settled
    monkeypatch.setattr(
        service._reactions, "settled", lambda *one: (service.end(call), settled(*one))
    )
    service.settle(lease, GOOD)
    assert woken
    assert service.calls == 0


def test_who_waits_for_the_last_call_is_woken_though_it_ended_while_others_looked(monkeypatch):
    """Another thread looks at the books as a call ends, and counts it out before it goes on."""
    stage, woken = Stage("a"), []
    service, call = stage.service, turns.OneCall(counted=False)
    assert service.begin(call)
    service.close()
    service.wake_with(lambda: woken.append(True))
    budget = type(service._budget)
    spent = budget.spent

    def slowly(self, now):
        ending = threading.Thread(target=service.end, args=(call,))
        ending.start()
        ending.join(JOIN)
        return spent(self, now)

    monkeypatch.setattr(budget, "spent", slowly)
    service.retries()
    assert woken
    assert not call.counted


def test_a_signal_handler_always_knows_that_it_interrupted_the_holder():
    """Wherever it comes, the lock is free or signed: else it would wait for its own thread.

    Who has given the lock back has signed off, and is not taken for who has it next.
    """
    stage, unsigned, seen = Stage("a", "b"), [], []
    service = stage.service

    def signalled(frame) -> None:
        held = service._lock.locked()
        seen.append(held)
        if held is not service._is_nested() or (not held and service._holder):
            unsigned.append(frame.f_code.co_qualname)

    with Signals(signalled, {turns.__file__, service_module.__file__}.__contains__):
        assert service.begin()
        service.admit()
        lease = service.pick(repeatable=True)
        service.settle(lease, SICK)
        again = service.pick_again((lease.live,))
        for one in (lease, again):
            service.settle(one, GOOD)
            service.release(one)
        service.nodes()
        service.end()
    assert True in seen
    assert unsigned == []


def of_service(filename: str) -> bool:
    return "/rpcguard/_core/service/" in filename


def test_two_may_wake_the_same_sleeper():
    """A list comes, and the transport is closed, in the same moment."""
    sleeper = threading.Lock()
    wake = turns._waker(sleeper)

    def scene():
        if not sleeper.locked():
            sleeper.acquire()
        return wake, wake

    for where, raised in interleavings(scene, of_service):
        assert not raised, where


def test_a_call_that_begins_as_the_service_closes_is_refused_or_waited_for():
    """Whoever closes has seen that no call is under way: none is from then on."""
    seen: dict[str, object] = {}

    def scene():
        stage, call = Stage("a"), turns.OneCall(counted=False)
        service = stage.service
        seen.clear()

        def close() -> None:
            service.close()
            seen["idle"] = service.calls == 0

        return lambda: seen.update(begun=service.begin(call)), close

    for where, raised in interleavings(scene, of_service):
        assert not raised, where
        assert not (seen["begun"] and seen["idle"]), where


def test_whoever_waits_for_calls_to_end_hears_that_one_is_refused():
    """It was counted for a moment, in which whoever has closed may have looked."""
    seen: dict[str, object] = {}

    def scene():
        service, call = Stage("a").service, turns.OneCall(counted=False)
        seen.clear()

        def close() -> None:
            service.close()
            service.wake_with(lambda: seen.update(woken=True))
            seen["busy"] = service.calls > 0

        return lambda: seen.update(begun=service.begin(call)), close

    for where, raised in interleavings(scene, of_service):
        assert not raised, where
        assert seen["begun"] or not seen["busy"] or seen.get("woken"), where


def test_a_call_that_is_dropped_tells_nothing_outside():
    """A finalizer runs amid anything: whoever looks next tells what there is."""
    stage = Stage("a")
    service, call = stage.service, Call.__new__(Call)
    call._service, call.counted = service, False
    service.begin(call)
    service._standing.say("baseless", "of whatever was left", True)
    told = stage.kinds()
    del call
    assert (service.calls, stage.kinds()) == (0, told)
    service.explain()
    assert stage.kinds() == [*told, "baseless"]


@pytest.mark.parametrize(
    "other", ["begin", "end", "explain", "census", "retries", "pressure", "_deliver"]
)
def test_what_follows_from_what_others_left_is_done_outside_too(other):
    """The node of a call that ends has left; another thread that has the lock takes that in."""
    stages = []

    def scene():
        stage = Stage("a", "b")
        stages[:] = [stage]
        lease, call = stage.pick(), turns.OneCall(counted=False)
        stage.service.begin(call)
        left = lease.live.node.id
        stage.service.reconcile(Snapshot(nodes("ab".replace(left, ""))), gone=[left])
        looks = getattr(stage.service, other)
        ends = (lambda: looks(call)) if other == "end" else looks
        return ends, lambda: stage.service.release(lease)

    for where, raised in interleavings(scene, of_service):
        assert not raised, where
        assert len(stages[0].retired) == 1, where
