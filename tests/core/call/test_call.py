"""The life of a call, driven by hand: no I/O and no waiting, on a clock that the test moves."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from rpcguard import Node, RetryPolicy, Snapshot
from rpcguard._connections.exchange import StaleConnection
from rpcguard._core.call.call import Call
from rpcguard._core.call.plan import CallPlan, read_options
from rpcguard._core.call.steps import Discard, Handout, Read, Send, Sleep
from rpcguard._core.call.timeouts import Timeouts
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.policies.routing import Route, Routing
from rpcguard._core.routing.facts import Facts
from rpcguard._core.service.service import Service
from tests.support.calls import Clock, InOrder
from tests.support.library import http


class Silence:
    """Do nothing of what a service asks for."""

    def __init__(self) -> None:
        self.events = []

    def emit(self, event) -> None:
        self.events.append(event)

    def probe(self, service, live) -> None:
        pass

    def retire(self, live) -> None:
        pass


class Desk:
    """Drive calls of one service by hand."""

    def __init__(self, *nodes, budget=True, calls=1000, **policy) -> None:
        self.clock = Clock()
        if not budget:
            policy |= {"budget_ratio": 0.0, "budget_floor": 0.0}
        policies = Policies(retry=RetryPolicy(**policy), balancer=InOrder, probes=False)
        self.service = Service(
            "orders",
            policies=policies,
            effects=Silence(),
            clock=self.clock,
            rng=random.Random(1),
        )
        self.nodes = nodes or tuple(place(number) for number in range(1, 4))
        self.service.reconcile(Snapshot(self.nodes))
        for _ in range(calls):
            assert self.service.begin()
            self.service.end()
        self.denials: list[str] = []
        self.retries: list[tuple[object, ...]] = []

    def plan(self, method="GET", *, options=None, **fields) -> CallPlan:
        given = read_options(options, self.clock.now, self.service.policies.retry)
        return CallPlan(method=method, **(given | fields))

    def call(self, method="GET", **fields) -> Call:
        return Call(
            self.service,
            self.plan(method, **fields),
            no_node=lambda *_: LookupError("no node"),
            on_denied=lambda _, reason: self.denials.append(reason),
            on_retry=lambda _, *told: self.retries.append(told),
        )

    def spending(self, kind, seconds):
        """Let time pass with each step of a kind."""

        def spend(step):
            self.clock.now += seconds if isinstance(step, kind) else 0.0

        return spend

    @property
    def in_flight(self) -> list[int]:
        return [view.in_flight for view in self.service.nodes()]

    def view(self, number):
        return self.service.nodes()[number - 1]


def place(number: int, **fields) -> Node:
    return Node(f"10.0.0.{number}", 80, id=f"n{number}", metadata={"place": str(number)}, **fields)


def reply(status=200, **headers) -> http.Response:
    pairs = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return http.Response(status, headers={"content-length": "2"} | pairs)


def whole(status=200, **headers) -> http.Response:
    """Give an answer all of which came with its head."""
    made = reply(status, **headers)
    made.stream = SimpleNamespace(whole=True)
    return made


class Hand:
    """Take the steps of one call, feeding each with what the script says, and hand it out."""

    def __init__(self, call: Call, spend=lambda _step: None) -> None:
        self.call = call
        self.steps = call.run()
        self.taken: list[object] = []
        self.spend = spend

    def play(self, *results) -> Handout:
        """Give the results in turn; what is not a `Send` is done by itself."""
        waiting = list(results)
        step = next(self.steps)
        while True:
            self.taken.append(step)
            self.spend(step)
            result = waiting.pop(0) if isinstance(step, Send) else isinstance(step, Read)
            try:
                if isinstance(result, BaseException):
                    step = self.steps.throw(result)
                else:
                    step = self.steps.send(result)
            except StopIteration as end:
                assert not waiting, "fewer attempts than the script has"
                if end.value.complete:
                    self.call.finish(end.value.lease)
                return end.value

    def sends(self) -> list[Send]:
        return [step for step in self.taken if isinstance(step, Send)]

    def nodes(self) -> list[str]:
        return [send.lease.live.node.id for send in self.sends()]


def refused() -> http.ConnectError:
    return http.ConnectError("refused")


def broken() -> http.ReadError:
    return http.ReadError("reset")


def stale() -> http.ReadError:
    error = http.ReadError("gone")
    error.__cause__ = StaleConnection("gone")
    return error


def test_a_good_answer_takes_one_attempt():
    """A short idempotent answer is read, its lease released, and the call tells how it went."""
    desk = Desk()
    call = desk.call()
    hand = Hand(call)
    answer = hand.play(reply())
    assert [type(step) for step in hand.taken] == [Send, Read]
    assert answer.complete
    assert desk.in_flight == [0, 0, 0]
    info = call.info
    assert (info.service, info.node.id) == ("orders", "n1")
    assert [(a.node.id, a.outcome, a.duration) for a in info.attempts] == [("n1", "200", 0.0)]


@pytest.mark.parametrize(
    ("method", "fields", "policy", "headers", "read"),
    [
        ("GET", {}, {}, {}, True),
        ("PUT", {}, {}, {}, True),
        ("QUERY", {}, {}, {}, True),
        ("POST", {}, {}, {}, False),
        ("POST", {"keyed": True}, {}, {}, True),
        ("POST", {"options": {"idempotent": True}}, {}, {}, True),
        ("GET", {"options": {"idempotent": False}}, {}, {}, False),
        ("GET", {"options": {"attempts": 1}}, {}, {}, False),
        ("GET", {}, {"prefetch": 0}, {}, False),
        ("GET", {}, {"prefetch": 1}, {}, False),
        ("GET", {}, {}, {"content-length": "65536"}, True),
        ("GET", {}, {}, {"content-length": "65537"}, False),
        ("GET", {}, {}, {"content-length": "9" * 5000}, False),
        ("GET", {}, {}, {"content-length": "-1"}, False),
        ("GET", {}, {}, {"content-length": "two"}, False),
        ("GET", {}, {}, {"content-length": ""}, False),
    ],
)
def test_what_is_read_ahead(method, fields, policy, headers, read):
    """Only a short known body of a call that could be repeated is read before it is handed out."""
    desk = Desk(**policy)
    answer = Hand(desk.call(method, **fields)).play(reply(**headers))
    assert answer.complete is read
    assert desk.in_flight == [0 if read else 1, 0, 0]


@pytest.mark.parametrize("unknown", [False, True])
def test_an_upgrade_is_never_read_ahead(unknown):
    """What follows a 101 is another protocol's, though the call could be repeated."""
    desk = Desk(prefetch_unknown=unknown)
    hand = Hand(desk.call())
    answer = hand.play(reply(101))
    assert [type(step) for step in hand.taken] == [Send]
    assert not answer.complete


@pytest.mark.parametrize("status", [500, 503])
def test_a_failure_is_not_worth_reading(status):
    """The last attempt's failure is handed out as it comes."""
    desk = Desk()
    hand = Hand(desk.call())
    answer = hand.play(reply(status), reply(status))
    assert Read not in map(type, hand.taken)
    assert not answer.complete


def endless(kind: str = "text/plain") -> http.Response:
    return http.Response(200, headers={"content-type": kind})


@pytest.mark.parametrize(
    ("policy", "options", "kind", "read"),
    [
        ({}, {}, "text/plain", False),
        ({"prefetch_unknown": True}, {}, "text/plain", True),
        ({}, {"prefetch_unknown": True}, "application/json; charset=utf-8", True),
        ({"prefetch_unknown": True}, {"prefetch_unknown": False}, "text/plain", False),
        ({"prefetch_unknown": True, "prefetch": 0}, {}, "text/plain", False),
        ({"prefetch_unknown": True}, {}, "text/event-stream", False),
        ({"prefetch_unknown": True}, {}, "Application/X-NDJSON; charset=utf-8", False),
        ({"prefetch_unknown": True}, {}, "application/jsonl", False),
        ({"prefetch_unknown": True}, {}, "multipart/x-mixed-replace; boundary=x", False),
        ({"prefetch_unknown": True}, {}, "application/grpc-web+proto", False),
    ],
)
def test_answers_of_unknown_length(policy, options, kind, read):
    """They are read ahead only where the user asks for it, and never rows of messages."""
    desk = Desk(**policy)
    hand = Hand(desk.call(options=options))
    answer = hand.play(endless(kind))
    assert (Read in map(type, hand.taken)) is read
    assert answer.complete is read


def test_an_answer_longer_than_the_limit_stays_a_stream():
    """What was read of it is handed out with the rest to come, and its node is still held."""
    desk = Desk(prefetch_unknown=True, prefetch=100)
    steps = desk.call().run()
    next(steps)
    read = steps.send(endless())
    assert (type(read), read.limit) == (Read, 100)
    with pytest.raises(StopIteration) as end:
        steps.send(False)
    assert not end.value.value.complete
    assert desk.in_flight == [1, 0, 0]


UNREPEATABLE = {"replayable": lambda: False}


@pytest.mark.parametrize(
    ("method", "fields", "first", "again"),
    [
        ("GET", {}, refused, True),
        ("POST", {}, refused, True),
        ("POST", {}, lambda: http.ConnectTimeout("slow"), True),
        ("POST", {}, lambda: http.PoolTimeout("full"), True),
        ("GET", {}, lambda: reply(429), False),
        ("POST", {"options": {"idempotent": False}}, refused, True),
        ("POST", UNREPEATABLE, refused, False),
        ("GET", {}, broken, True),
        ("HEAD", {}, broken, True),
        ("OPTIONS", {}, broken, True),
        ("PUT", {}, broken, True),
        ("DELETE", {}, broken, True),
        ("TRACE", {}, broken, True),
        ("QUERY", {}, broken, True),
        ("POST", {}, broken, False),
        ("PATCH", {}, broken, False),
        ("get", {}, broken, False),
        ("POST", {"keyed": True}, broken, True),
        ("POST", {"keyed": True, "options": {"idempotent": False}}, broken, False),
        ("POST", {"options": {"idempotent": True}}, broken, True),
        ("GET", {"options": {"idempotent": False}}, broken, False),
        ("GET", UNREPEATABLE, broken, False),
        ("GET", {}, lambda: http.ReadTimeout("silence"), True),
        ("POST", {}, lambda: http.ReadTimeout("silence"), False),
        ("GET", {}, lambda: http.LocalProtocolError("ours"), False),
        ("GET", {}, lambda: http.UnsupportedProtocol("ours"), False),
        ("GET", {}, lambda: RuntimeError("the caller's"), False),
        ("GET", {}, lambda: reply(500), True),
        ("GET", {}, lambda: reply(502), True),
        ("GET", {}, lambda: reply(503), True),
        ("GET", {}, lambda: reply(504), True),
        ("POST", {}, lambda: reply(503), False),
        ("GET", {}, lambda: reply(501), False),
        ("GET", {}, lambda: reply(505), False),
        ("GET", {}, lambda: reply(404), False),
        ("GET", {}, lambda: reply(429, retry_after=1), False),
        ("POST", {}, lambda: reply(503, finagle_http_nack="true"), True),
        ("POST", {}, lambda: reply(503, x_bd_error_code=2003), True),
        ("POST", UNREPEATABLE, lambda: reply(503, x_bd_error_code=2003), False),
        ("POST", {}, lambda: reply(503, retry_after=1), False),
    ],
)
def test_what_is_sent_again(method, fields, first, again):
    """The safety table: what was provably not done by anybody, the rest only if idempotent."""
    desk = Desk()
    hand = Hand(desk.call(method, **fields))
    failure = first()
    if again:
        answer = hand.play(failure, reply())
        assert hand.nodes() == ["n1", "n2"]
        assert answer.lease.live.node.id == "n2"
        assert [send.number for send in hand.sends()] == [1, 2]
        outcome = "503" if isinstance(failure, http.Response) else type(failure).__name__
        if not isinstance(failure, http.Response):
            assert hand.sends()[1].resent_because == outcome
    elif isinstance(failure, BaseException):
        with pytest.raises(type(failure)) as caught:
            hand.play(failure)
        assert caught.value is failure
        assert caught.value.__notes__ == [
            f"rpcguard: service orders: attempt 1 on n1: {type(failure).__name__} after 0.000 s"
        ]
        assert desk.in_flight == [0, 0, 0]
    else:
        assert hand.play(failure).reply is failure


def test_each_retry_is_told_by_both_nodes():
    """Who failed, who is next, and how it failed: once for each retry, not for the first try."""
    desk = Desk()
    run = desk.call().run()
    next(run)
    run.throw(http.ReadError("cut"))
    ((failed, following, why),) = desk.retries
    assert [failed.node, following.node] == [place(1), place(2)]
    assert why == "ReadError"
    run.close()


def test_statuses_of_the_policy_are_the_only_ones_retried():
    """`statuses` decides which answers are worth another attempt."""
    desk = Desk(statuses=frozenset({502}))
    assert Hand(desk.call()).play(reply(503)).reply.status_code == 503
    assert Hand(desk.call()).play(reply(502), reply()).reply.status_code == 200


def test_methods_of_the_policy_are_the_only_ones_repeated():
    """`methods` decides what may run twice."""
    desk = Desk(methods=frozenset({"post"}))
    Hand(desk.call("POST")).play(broken(), reply())
    with pytest.raises(http.ReadError):
        Hand(desk.call("GET")).play(broken())


@pytest.mark.parametrize(
    ("status", "length", "drain"),
    [(503, "100", True), (503, "65536", True), (503, "65537", False), (503, "", False)],
)
def test_an_answer_that_is_thrown_away(status, length, drain):
    """Short answers are drained, others closed, and the node is given back before the next try."""
    desk = Desk()
    hand = Hand(desk.call())
    hand.play(reply(status, content_length=length), reply())
    (discard,) = (step for step in hand.taken if isinstance(step, Discard))
    assert discard.drain is drain
    assert discard.reply.status_code == status
    assert desk.in_flight == [0, 0, 0]


@pytest.mark.parametrize("options", [{}, {"deadline": 9.0}, {"attempt_timeout": 9.0}])
def test_draining_may_not_take_long(options):
    """An answer that is thrown away has a tenth of a second, whatever the timeouts say."""
    desk = Desk()
    given = {"read": 5.0}
    steps = desk.call(options=options, timeouts=given).run()
    send = next(steps)
    assert send.timeouts["read"] == 5.0
    assert isinstance(steps.send(reply(503)), Discard)
    assert send.timeouts["read"] == pytest.approx(0.1)
    assert given == {"read": 5.0}
    steps.close()


def test_attempts_is_the_limit_and_the_last_answer_is_handed_out():
    """After the last attempt the user gets what the last node said."""
    desk = Desk(attempts=3)
    hand = Hand(desk.call())
    answer = hand.play(reply(500), reply(502), reply(503))
    assert answer.reply.status_code == 503
    assert hand.nodes() == ["n1", "n2", "n3"]
    assert not answer.complete
    assert desk.in_flight == [0, 0, 1]


def test_attempts_per_call():
    """`attempts` in the extensions overrides the policy both ways."""
    desk = Desk(attempts=3)
    with pytest.raises(http.ReadError):
        Hand(desk.call(options={"attempts": 1})).play(broken())
    desk = Desk(attempts=1)
    Hand(desk.call(options={"attempts": 2})).play(broken(), reply())


def test_the_last_error_is_raised_and_lists_all_attempts():
    """The user gets the last node's own exception, with one note for the whole call."""
    desk = Desk(attempts=3)
    hand = Hand(desk.call())
    first, second, last = refused(), http.ReadTimeout("silence"), broken()
    with pytest.raises(http.ReadError) as caught:
        hand.play(first, second, last)
    assert caught.value is last
    (note,) = last.__notes__
    assert note == (
        "rpcguard: service orders: attempt 1 on n1: ConnectError after 0.000 s; "
        "attempt 2 on n2: ReadTimeout after 0.000 s; attempt 3 on n3: ReadError after 0.000 s"
    )
    assert not hasattr(first, "__notes__")


def test_no_second_node():
    """A failure is final when nobody else is there; the reason is told."""
    desk = Desk(place(1))
    with pytest.raises(http.ReadError):
        Hand(desk.call()).play(broken())
    assert desk.denials == ["no_other_node"]


def test_no_node_at_all():
    """An empty list fails at once, without an attempt."""
    desk = Desk()
    empty = Service("empty", policies=desk.service.policies, effects=Silence())
    empty.reconcile(Snapshot([]))
    call = Call(
        empty,
        desk.plan(),
        no_node=lambda *_: LookupError("no node"),
        on_denied=lambda _, reason: desk.denials.append(reason),
        on_retry=lambda *_: None,
    )
    with pytest.raises(LookupError):
        next(call.run())
    assert call.attempts == []


def test_a_stale_connection_may_go_to_the_same_node():
    """With one node only, a kept connection that ended is tried once more on it."""
    desk = Desk(place(1))
    hand = Hand(desk.call())
    hand.play(stale(), reply())
    assert hand.nodes() == ["n1", "n1"]
    assert desk.view(1).failures == 1
    assert desk.view(1).state == "available"


def went_away() -> http.RemoteProtocolError:
    error = http.RemoteProtocolError("the node ended the connection")
    error.__cause__ = ValueError(SimpleNamespace(last_stream_id=9, error_code=1))
    return error


def test_a_goaway_that_leaves_open_what_ran_is_about_the_connection():
    """Where the other node is out, the same one is asked once more, on another connection."""
    desk = Desk(place(1), place(2))
    desk.service.mark_offline("n2", None)
    hand = Hand(desk.call())
    hand.play(went_away(), reply())
    assert hand.nodes() == ["n1", "n1"]
    desk.service.mark_online("n2")
    hand = Hand(desk.call())
    hand.play(went_away(), reply())
    assert len(set(hand.nodes())) == 2  # another that is well comes first


def test_a_stale_connection_prefers_another_node():
    """With two nodes the retry goes to the other one."""
    desk = Desk()
    hand = Hand(desk.call())
    hand.play(stale(), reply())
    assert hand.nodes() == ["n1", "n2"]


def test_a_stale_connection_does_not_repeat_a_post():
    """The request may have been read before the connection ended."""
    desk = Desk(place(1))
    with pytest.raises(http.ReadError):
        Hand(desk.call("POST")).play(stale())
    assert desk.denials == ["not_idempotent"]


def test_another_zone_is_preferred():
    """A retry leaves the zone of the node that failed, if it can."""
    desk = Desk(place(1, zone="a"), place(2, zone="a"), place(3, zone="b"))
    hand = Hand(desk.call())
    hand.play(broken(), reply())
    assert hand.nodes() == ["n1", "n3"]


@pytest.mark.parametrize(
    ("fields", "failure", "denial"),
    [
        ({"method": "POST"}, broken, "not_idempotent"),
        ({"replayable": lambda: False}, broken, "not_replayable"),
    ],
)
def test_denials_are_told(fields, failure, denial):
    """Each reason for which a retry is not made reaches whoever counts."""
    desk = Desk()
    with pytest.raises(http.ReadError):
        Hand(desk.call(**fields)).play(failure())
    assert desk.denials == [denial]


def test_the_budget_ends_retries():
    """Without budget there is no second attempt, and the answer that is there is kept."""
    desk = Desk(budget=False)
    hand = Hand(desk.call())
    assert hand.play(reply(503)).reply.status_code == 503
    assert desk.denials == ["budget"]
    assert desk.in_flight == [1, 0, 0]


def test_a_long_outage_stays_within_the_budget():
    """Over 1,000 failing calls, sent / asked is at most 1.2 plus the floor."""
    desk = Desk(calls=0, budget_floor=1.0)
    sent = 0
    for _ in range(1000):
        assert desk.service.begin()
        hand = Hand(desk.call())
        steps = hand.steps
        step, result = next(steps), reply(503)
        while True:
            sent += isinstance(step, Send)
            try:
                step = steps.send(result if isinstance(step, Send) else None)
            except StopIteration as end:
                desk.service.release(end.value.lease)
                break
        desk.service.end()
        desk.clock.now += 0.005
    assert 1000 < sent <= 1200 + 1.0 * 10


def test_backoff_has_full_jitter():
    """The first retry waits for nothing, each later one up to twice the one before."""
    seen: list[list[float]] = [[], [], []]
    for seed in range(300):
        desk = Desk(*[place(number) for number in range(1, 6)], attempts=5, calls=100)
        desk.service.rng = random.Random(seed)
        hand = Hand(desk.call())
        hand.play(reply(500), reply(500), reply(500), reply(500), reply())
        pauses = [step.seconds for step in hand.taken if isinstance(step, Sleep)]
        assert len(pauses) == 3
        for retry, pause in enumerate(pauses):
            seen[retry].append(pause)
    for retry, pauses in enumerate(seen):
        longest = 0.025 * 2 ** (retry + 1)
        assert 0 <= min(pauses) < 0.05 * longest
        assert 0.95 * longest < max(pauses) <= longest


def test_backoff_is_capped():
    """However many retries, no pause is longer than `backoff_max`."""
    policy = RetryPolicy(backoff_max=0.1)
    rng = random.Random(3)
    assert all(policy.delay(retry, rng) <= 0.1 for retry in range(1, 60))
    assert policy.delay(1, rng) == 0.0


def test_a_pause_never_outlasts_the_deadline():
    """A retry whose pause would end after the deadline is not begun."""
    desk = Desk(attempts=3, backoff=100.0, backoff_max=100.0)
    hand = Hand(desk.call(options={"deadline": 1.0}))
    assert hand.play(reply(500), reply(500)).reply.status_code == 500
    assert desk.denials == ["deadline"]


def test_deadline_cuts_every_timeout():
    """Each timeout shrinks to what is left of the call, and never to nothing."""
    desk = Desk()
    given = {"connect": 5.0, "read": 0.5, "write": None, "pool": 5.0}
    steps = desk.call(options={"deadline": 2.0}, timeouts=given).run()
    send = next(steps)
    assert dict(send.timeouts) == {"connect": 2.0, "read": 0.5, "write": 2.0, "pool": 2.0}
    desk.clock.now += 1.8
    assert send.timeouts["read"] == pytest.approx(0.2)
    assert send.timeouts.get("write") == pytest.approx(0.2)
    desk.clock.now += 5.0
    assert send.timeouts["read"] == pytest.approx(0.001)
    assert given["read"] == 0.5
    steps.close()


def test_deadline_counts_over_all_attempts():
    """The second attempt has what the first one left, and none follows after the end."""
    desk = Desk(attempts=3)
    steps = desk.call(options={"deadline": 2.0}, timeouts={"read": 5.0}).run()
    next(steps)
    desk.clock.now += 1.5
    send = steps.throw(broken())
    assert send.timeouts["read"] == pytest.approx(0.5)
    desk.clock.now += 0.5
    with pytest.raises(http.ReadError):
        steps.throw(broken())
    assert desk.denials == ["deadline"]


def test_attempt_timeout_counts_for_each_attempt():
    """Each attempt has the whole of it, and within it the timeouts of the user."""
    desk = Desk()
    steps = desk.call(options={"attempt_timeout": 2.0}, timeouts={"read": 5.0}).run()
    send = next(steps)
    assert send.timeouts["read"] == 2.0
    desk.clock.now += 2.0
    assert steps.throw(http.ReadTimeout("silence")).timeouts["read"] == 2.0
    steps.close()


class Routed(Desk):
    """A desk whose calls are all taken by one route with limits."""

    def __init__(self, **limits):
        super().__init__(budget=True, attempts=3)
        routing = Routing(rules=[Route("all", to={"version": "1"}, **limits)])
        policies = replace(self.service.policies, routing=routing)
        effects = Silence()
        self.service = Service("orders", policies=policies, effects=effects, clock=self.clock)
        self.service.reconcile(Snapshot([place(number, version="1") for number in (1, 2, 3, 4)]))

    def plan(self, method="GET", **fields):
        request = http.Request(method, "http://orders/")
        facts = Facts(request, mark=None, baggage=lambda _: None, options={})
        return super().plan(method, ask=self.service.router.ask(facts), **fields)


@pytest.mark.parametrize(
    ("own", "left"), [({}, 2.0), ({"deadline": 1.0}, 1.0), ({"deadline": 9.0}, 2.0)]
)
def test_a_route_brings_the_deadline_nearer(own, left):
    """Over all attempts, and never puts it off."""
    desk = Routed(timeout=2.0)
    steps = desk.call(options=own, timeouts={"read": 30.0}).run()
    assert next(steps).timeouts["read"] == left
    desk.clock.now += 0.75
    assert steps.throw(broken()).timeouts["read"] == left - 0.75
    desk.clock.now += left
    with pytest.raises(http.ReadError):
        steps.throw(broken())
    assert desk.denials == ["deadline"]


@pytest.mark.parametrize(
    ("own", "left"), [({}, 2.0), ({"attempt_timeout": 1.0}, 1.0), ({"attempt_timeout": 9.0}, 2.0)]
)
def test_a_route_shortens_attempts(own, left):
    """Each of them, and the shorter of two counts."""
    desk = Routed(attempt_timeout=2.0)
    steps = desk.call(options=own, timeouts={"read": 30.0}).run()
    assert next(steps).timeouts["read"] == left
    desk.clock.now += 5.0
    assert steps.throw(broken()).timeouts["read"] == left
    steps.close()


@pytest.mark.parametrize(("attempts", "sent"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_a_route_takes_attempts_away(attempts, sent):
    """The policy has three; a route adds none."""
    hand = Hand(Routed(attempts=attempts).call())
    with pytest.raises(http.ReadError):
        hand.play(*[broken()] * sent)


def test_a_route_makes_no_call_repeatable():
    """A POST that may have been processed is sent once, whatever a route allows."""
    desk = Routed(attempts=3)
    with pytest.raises(http.ReadError):
        Hand(desk.call("POST")).play(broken())
    assert desk.denials == ["not_idempotent"]


def test_a_body_that_is_handed_out_has_only_the_deadline():
    """Once the user has the answer, `attempt_timeout` is over, and the deadline is not."""
    desk = Desk()
    long = {"content_length": 100_000}
    for options, left in (({"attempt_timeout": 1.0}, 5.0), ({"deadline": 3.0}, 2.0)):
        hand = Hand(desk.call(options=options, timeouts={"read": 5.0}))
        hand.play(reply(**long))
        desk.clock.now += 1.0
        assert hand.sends()[0].timeouts["read"] == pytest.approx(left)


def test_without_a_deadline_timeouts_are_as_given():
    """The timeouts of a call reach the child unchanged, and the user's mapping is not shared."""
    desk = Desk()
    given = {"connect": 1.0, "read": None}
    steps = desk.call(timeouts=given).run()
    send = next(steps)
    assert send.timeouts == given
    assert send.timeouts is not given
    steps.close()


def test_timeouts_that_were_looked_up_are_cut_too():
    """`clamp` bounds a timeout that the child holds since the attempt began."""
    clock = Clock()
    timeouts = Timeouts({"read": 5.0}, clock.now + 2.0, clock)
    assert timeouts.clamp(5.0) == 2.0
    clock.now += 1.5
    assert timeouts.clamp(5.0) == 0.5
    assert timeouts.clamp(None) == 0.5
    timeouts.until = math.inf
    assert timeouts.clamp(5.0) == 5.0
    assert timeouts["connect"] is None


def test_a_body_that_breaks_while_it_is_read_ahead():
    """An idempotent answer that ends in mid-body counts against its node and is asked elsewhere."""
    desk = Desk()
    call = desk.call()
    steps = call.run()
    next(steps)
    assert isinstance(steps.send(reply()), Read)
    send = steps.throw(http.RemoteProtocolError("half a body"))
    assert send.lease.live.node.id == "n2"
    assert send.resent_because == "RemoteProtocolError"
    assert desk.in_flight == [0, 1, 0]
    assert desk.view(1).failures == 1
    assert [attempt.outcome for attempt in call.attempts] == ["RemoteProtocolError"]
    steps.close()


def test_blame_and_success_reach_the_node():
    """Each attempt is counted where it was made."""
    desk = Desk()
    Hand(desk.call()).play(broken(), reply())
    assert (desk.view(1).failures, desk.view(1).successes) == (1, 0)
    assert (desk.view(2).failures, desk.view(2).successes) == (0, 1)


def test_durations_are_measured_from_the_pick():
    """Each attempt tells how long it took, by the clock of the service."""
    desk = Desk()
    call = desk.call()
    steps = call.run()
    next(steps)
    desk.clock.now += 1.5
    steps.throw(broken())
    desk.clock.now += 0.25
    steps.send(reply())
    with pytest.raises(StopIteration):
        steps.send(None)
    assert [attempt.duration for attempt in call.info.attempts] == pytest.approx([1.5, 0.25])


CANCELLATIONS = [KeyboardInterrupt(), GeneratorExit(), type("Cancelled", (BaseException,), {})()]


@pytest.mark.parametrize("interrupt", CANCELLATIONS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", range(8))
def test_cancellation_at_every_step_gives_all_nodes_back(interrupt, step):
    """Wherever a call is cancelled, no node stays busy and none is blamed for it."""
    desk = Desk(attempts=3, backoff=0.5)
    script = iter([reply(503), None, reply(503), None, None, reply(), None])
    steps = desk.call().run()
    current = next(steps)
    passed = 0
    seen = [type(current)]
    while passed < step:
        try:
            current = steps.send(next(script))
        except StopIteration:
            break
        seen.append(type(current))
        passed += 1
    else:
        failures = [view.failures for view in desk.service.nodes()]
        with pytest.raises(type(interrupt)):
            steps.throw(interrupt)
        assert [view.failures for view in desk.service.nodes()] == failures
    assert desk.in_flight == [0, 0, 0]
    if step == 7:
        assert seen == [Send, Discard, Send, Discard, Sleep, Send, Read]


def test_an_error_while_an_answer_is_thrown_away_gives_all_nodes_back():
    """A child that fails in closing ends the call, and both leases with it."""
    desk = Desk()
    steps = desk.call().run()
    next(steps)
    assert isinstance(steps.send(reply(503)), Discard)
    assert desk.in_flight == [1, 1, 0]
    with pytest.raises(RuntimeError):
        steps.throw(RuntimeError("cannot close"))
    assert desk.in_flight == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"retries": 3}, "rpcguard option must be one of idempotent, .*attempts.*not 'retries'"),
        ({"Deadline": 3}, "not 'Deadline'"),
        ({"idempotent": "yes"}, "rpcguard option idempotent must be True or False, not 'yes'"),
        ({"idempotent": None}, "idempotent"),
        ({"attempts": 0}, "rpcguard option attempts must be .*, not 0"),
        ({"attempts": True}, "attempts"),
        ({"attempts": 1.5}, "attempts"),
        ({"deadline": 0}, "rpcguard option deadline must be seconds above 0, not 0"),
        ({"deadline": math.inf}, "deadline"),
        ({"deadline": math.nan}, "deadline"),
        ({"deadline": "1"}, "deadline"),
        ({"attempt_timeout": -1}, "attempt_timeout"),
        ({1: 2}, "not 1"),
        ("fast", "must be a mapping, not 'fast'"),
        (True, "must be a mapping"),
    ],
)
def test_wrong_options(options, complaint):
    """An unknown key or a wrong value is refused, naming both."""
    with pytest.raises(ValueError, match=complaint):
        read_options(options, 0.0, RetryPolicy())


def test_options_are_read():
    """All options reach the plan."""
    given = {
        "idempotent": True,
        "attempts": 4,
        "deadline": 3,
        "attempt_timeout": 0.5,
        "prefetch_unknown": True,
        "hedge": False,
    }
    assert read_options(given, 100.0, RetryPolicy()) == {
        "idempotent": True,
        "attempts": 4,
        "until": 103.0,
        "attempt_timeout": 0.5,
        "prefetch_unknown": True,
        "hedge": False,
    }


def test_a_failure_under_the_user_is_noted():
    """A body that breaks off in the user's hands counts, and its error lists the attempts."""
    desk = Desk()
    call = desk.call("POST")
    answer = Hand(call).play(reply())
    desk.clock.now += 2.0
    error = broken()
    call.break_off(answer.lease, error)
    assert error.__notes__ == ["rpcguard: service orders: attempt 1 on n1: ReadError after 2.000 s"]
    assert desk.view(1).failures == 1


# What never left this process, and what is retried by the user's word


def test_what_never_left_costs_neither_attempt_nor_budget():
    """Nodes that cannot be connected to are passed by, also by a POST of one attempt."""
    desk = Desk(*map(place, range(1, 8)), budget=False, calls=0, attempts=1)
    hand = Hand(desk.call("POST"))
    hand.play(*[refused()] * 6, reply())
    assert len(set(hand.nodes())) == 7
    assert Sleep not in map(type, hand.taken)
    assert desk.denials == []


@pytest.mark.parametrize(("first", "seen"), [(refused(), False), (broken(), True)])
def test_a_node_is_told_only_of_attempts_that_may_have_arrived(first, seen):
    """A try that never left this process is nothing to any node."""
    hand = Hand(Desk().call())
    hand.play(first, reply())
    assert [send.again for send in hand.sends()] == [False, seen]


def test_what_the_callers_body_raises_is_no_failure_of_a_node():
    """Whatever its class: a body that another call answers may fail to connect."""
    desk = Desk()
    hand = Hand(desk.call("GET", has_raised=lambda error: error.args == ("source",)))
    with pytest.raises(http.ConnectError):
        hand.play(http.ConnectError("source"))
    assert [view.failures for view in desk.service.nodes()] == [0, 0, 0]


def test_tries_that_never_left_are_twenty_at_most():
    """The twenty-first counts as an attempt, and so does the next."""
    desk = Desk(*map(place, range(1, 41)), attempts=2)
    hand = Hand(desk.call())
    with pytest.raises(http.ConnectError):
        hand.play(*[refused()] * 22)
    assert len(hand.sends()) == 22


def test_tries_that_never_left_take_one_connect_timeout():
    """A node that answers nothing takes the whole of it: the next one is another attempt."""
    desk = Desk(*map(place, range(1, 9)), attempts=2)
    hand = Hand(desk.call(timeouts={"connect": 5.0}), desk.spending(Send, 2.0))
    with pytest.raises(http.ConnectTimeout):
        hand.play(*[http.ConnectTimeout("silent")] * 4)
    assert len(hand.sends()) == 4  # 2 s and 4 s are free, 6 s and 8 s are not


def test_a_retry_after_a_real_attempt_is_paid_once():
    """A node that cannot be connected to on the way gives back what its retry had cost."""
    desk = Desk(*map(place, range(1, 6)), calls=0, budget_ratio=0.0, budget_floor=0.1)
    hand = Hand(desk.call())
    hand.play(reply(503), refused(), refused(), reply())
    assert len(hand.sends()) == 4
    assert Hand(desk.call()).play(reply(503)).reply.status_code == 503
    assert desk.denials == ["budget"]


def test_what_a_node_refused_costs_an_attempt():
    """Any method may go again, once: a fleet that refuses everything gets no more than two."""
    desk = Desk()
    error = http.RemoteProtocolError("refused")
    error.__cause__ = Exception(SimpleNamespace(error_code=7, stream_id=1))
    hand = Hand(desk.call("POST"))
    with pytest.raises(http.RemoteProtocolError):
        hand.play(error, error)
    assert len(hand.sends()) == 2
    assert desk.view(1).failures == 1


@pytest.mark.parametrize("status", [404, 409, 429, 501])
def test_any_status_that_is_given_is_retried(status):
    """For calls that may be repeated, and at once after 429, whatever it asks for."""
    desk = Desk(statuses={status}, attempts=3)
    hand = Hand(desk.call())
    hand.play(reply(status, retry_after="9"), reply(status), reply())
    assert hand.nodes() == ["n1", "n2", "n3"]
    waits = [step for step in hand.taken if isinstance(step, Sleep)]
    assert bool(waits) is (status != 429)
    assert Hand(desk.call("POST")).play(reply(status)).reply.status_code == status


@pytest.mark.parametrize("statuses", [{200}, {302}, {503, 399}])
def test_statuses_below_400_are_refused(statuses):
    """An answer below 400 is none that another node would better."""
    with pytest.raises(ValueError, match=r"statuses must be .*400"):
        RetryPolicy(statuses=statuses)


def test_a_judge_may_call_an_answer_a_failure():
    """It counts against the node, and calls that may be repeated go to another one."""
    desk = Desk(judge=lambda answer: answer.headers.get("x-state") == "broken")
    hand = Hand(desk.call())
    hand.play(reply(x_state="broken"), reply())
    assert hand.nodes() == ["n1", "n2"]
    assert desk.view(1).failures == 1
    assert Hand(desk.call("POST")).play(reply(x_state="broken")).reply.status_code == 200
    assert desk.denials == ["not_idempotent"]


def test_a_judge_that_raises_costs_nothing(caplog):
    """The answer is handed out as it is."""
    desk = Desk(judge=lambda answer: answer.nothing)
    answer = Hand(desk.call()).play(reply())
    assert answer.reply.status_code == 200
    assert desk.view(1).failures == 0
    assert "judge of the RetryPolicy failed" in caplog.text


def test_the_clock_of_a_retry_starts_after_its_pause():
    """What a node is charged with is its own time, not the time that the call slept."""
    desk = Desk(attempts=3)
    hand = Hand(desk.call(), desk.spending(Sleep, 7.0))
    hand.play(reply(503), reply(503), reply())
    assert [view.p99 or 0.0 for view in desk.service.nodes()] == [0.0] * 3


def test_quick_cancellations_do_not_lower_a_latency():
    """A caller that gives up at once says nothing of how fast the node is."""
    desk = Desk(place(1))
    for _ in range(2):  # the first answer is not a node's latency
        Hand(desk.call("POST"), desk.spending(Send, 2.0)).play(reply())
    before = desk.service._roster.nodes["n1"].latency
    for _ in range(20):
        steps = desk.call().run()
        next(steps)
        desk.clock.now += 0.001
        with pytest.raises(KeyboardInterrupt):
            steps.throw(KeyboardInterrupt())
    assert desk.service._roster.nodes["n1"].latency == before == 2.0


def test_a_foreign_transport_is_not_believed():
    """Its error of connecting counts as an attempt, and ends a call that may not be repeated."""
    for method, sent in (("GET", 2), ("POST", 1)):
        desk = Desk(*map(place, range(1, 6)))
        object.__setattr__(desk.service.policies, "exact", False)
        hand = Hand(desk.call(method))
        with pytest.raises(http.ConnectError):
            hand.play(*[refused()] * sent)
        assert len(hand.sends()) == sent


def test_an_answer_that_is_whole_ends_its_call():
    """There is nothing to read: node and call are free before it is handed out."""
    desk = Desk(calls=0)
    call = desk.call()
    assert call.begin()
    hand = Hand(call)
    assert hand.play(whole()).complete
    assert [type(step) for step in hand.taken] == [Send]
    assert not call.counted
    assert (desk.view(1).in_flight, desk.view(1).successes, desk.service.calls) == (0, 1, 0)


def test_a_failure_that_is_whole_is_tried_again():
    """Its node is free at once; the call goes on, and is counted until it ends."""
    desk = Desk(calls=0)
    call = desk.call()
    assert call.begin()
    seen = []
    hand = Hand(call, lambda step: seen.append((desk.view(1).in_flight, desk.service.calls)))
    assert hand.play(whole(503), whole()).reply.status_code == 200
    assert seen[0] == (1, 1)
    assert set(seen[1:]) == {(0, 1)}
    assert (desk.view(1).failures, desk.view(2).successes, desk.service.calls) == (1, 1, 0)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({}, 65536), ({"prefetch": 9}, 9), ({"attempts": 1}, 0), ({"methods": ()}, 0)],
)
def test_what_may_be_read_before_it_is_handed_out(options, wanted):
    """The connections are told: calls that are not tried again get their answers as they come."""
    desk = Desk(**options)
    step = next(desk.call(attempts=options.get("attempts", 2)).run())
    assert step.buffered == wanted
