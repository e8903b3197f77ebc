"""A hedged call, driven by hand: which attempt counts, and what becomes of the other one."""

from __future__ import annotations

import pytest

from rpcguard import Hedge
from rpcguard._context.hops import Hop
from rpcguard._core.call.call import Call
from rpcguard._core.call.plan import CallPlan, read_options
from rpcguard._core.call.race import HedgedSend, may_hedge
from rpcguard._core.call.steps import Handout, Read
from tests.support.library import http
from tests.support.stage import GOOD, Stage, ids

LATE = 0.25


class Race:
    """A call of a service that knows its usual, at the wish for an attempt that may be hedged."""

    def __init__(self, *listed: str) -> None:
        self.stage = Stage(*(listed or ids(3)), hedge=Hedge(delay=LATE, cap=1.0))
        for _ in range(200):
            self.stage.end(self.stage.pick(), GOOD)
            self.stage.clock.advance(0.1)
        self.told: list[tuple[str, str]] = []
        service = self.stage.service
        given = read_options(None, self.stage.clock(), service.policies.retry)
        self.call = Call(
            service,
            CallPlan(method="GET", **given),
            no_node=lambda *_: LookupError("no node"),
            on_denied=lambda *_: None,
            on_retry=lambda *_: None,
            on_hedge=lambda _, *told: self.told.append(told),
        )
        self.steps = self.call.run()
        self.sent: HedgedSend = next(self.steps)
        assert isinstance(self.sent, HedgedSend)
        assert self.sent.after == LATE

    def end(self, won) -> Handout:
        """Let one attempt count, and the call end with it."""
        assert isinstance(self.steps.send(self.sent.finish(won)), Read)
        with pytest.raises(StopIteration) as end:
            self.steps.send(True)
        return end.value.value

    def in_flight(self) -> dict[str, int]:
        return {view.node.id: view.in_flight for view in self.stage.service.nodes()}


def answer(status: int = 200) -> http.Response:
    return http.Response(status, headers={"content-length": "0"}, content=b"")


def test_a_second_attempt_goes_to_another_node():
    """It is the second of its call, and says so to the node."""
    race = Race()
    first = race.sent.runs[0].send
    second = race.sent.begin_second().send
    assert race.sent.runs[1].send is second
    assert second.lease.live is not first.lease.live
    assert (first.number, first.hedge, first.again) == (1, False, False)
    assert (second.number, second.hedge, second.again) == (2, True, True)


@pytest.mark.parametrize(("winner", "told"), [(0, "lost"), (1, "won")])
def test_the_one_that_counts_is_handed_out(winner, told):
    """The other one is over, its node is given back, and both stand in the list of attempts."""
    race = Race()
    race.sent.begin_second()
    runs = race.sent.runs
    won = runs[winner]
    won.reply = answer()
    assert race.sent.wins(won)
    handout = race.end(won)
    assert handout.reply is won.reply
    live = runs[1 - winner].send.lease.live
    assert race.in_flight()[live.node.id] == 0
    outcomes = [(one.node, one.outcome) for one in race.call.attempts]
    assert outcomes == [(live.node, "outrun"), (won.send.lease.live.node, "200")]
    assert race.told == [(told, "")]


def test_where_both_fail_the_error_of_the_last_goes_on():
    """A failure wins nothing, and with two attempts the call has had its own."""
    race = Race()
    race.sent.begin_second()
    first, second = race.sent.runs
    first.reply, second.error = answer(503), http.ReadError("reset")
    assert not race.sent.wins(first)
    assert not race.sent.wins(second)
    with pytest.raises(http.ReadError) as failed:
        race.sent.finish(second)
    with pytest.raises(http.ReadError):
        race.steps.throw(failed.value)
    assert [one.outcome for one in race.call.attempts] == ["503", "ReadError"]
    assert set(race.in_flight().values()) == {0}


def test_a_hedge_that_is_denied_leaves_the_first_alone():
    """With one node there is no other; the reason is told."""
    race = Race("a")
    assert race.sent.begin_second() is None
    assert race.told == [("denied", "no_other_node")]
    only = race.sent.runs[0]
    only.reply = answer()
    race.end(only)
    assert [one.outcome for one in race.call.attempts] == ["200"]


@pytest.mark.parametrize(
    ("fields", "hedged"),
    [
        ({}, True),
        ({"idempotent": True}, True),
        ({"idempotent": False}, False),
        ({"hedge": True, "idempotent": False}, True),
        ({"hedge": False}, False),
        ({"method": "PUT"}, False),
        ({"method": "PUT", "hedge": True}, True),
        ({"attempts": 1}, False),
        ({"in_memory": False}, False),
        ({"hop": Hop(retried=True)}, False),
    ],
)
def test_which_calls_may_run_twice_at_once(fields, hedged):
    """Those that only read, or of which the caller says so, as long as they can be sent twice."""
    assert may_hedge(CallPlan(**{"method": "GET", "attempts": 2} | fields)) is hedged


def test_a_call_that_is_given_up_gives_both_nodes_back():
    """By cancellation: the second by the race, the first by the call."""
    race = Race()
    race.sent.begin_second()
    race.sent.abandon()
    with pytest.raises(KeyboardInterrupt):
        race.steps.throw(KeyboardInterrupt())
    assert [one.outcome for one in race.call.attempts] == ["cancelled", "cancelled"]
    assert set(race.in_flight().values()) == {0}
