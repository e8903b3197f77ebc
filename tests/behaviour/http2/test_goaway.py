"""What becomes of calls when a node says GOAWAY, one frame at a time."""

from __future__ import annotations

import functools
import socket
import threading

import anyio
import h2.events
import pytest
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

import rpcguard
from rpcguard._connections.http2.connection import Http2Connection
from tests.support.calls import FLAVOURS, Flavour, each, soon
from tests.support.http2_node import H2
from tests.support.library import http

ALL = 2**31 - 1
CONCURRENT = [Flavour("asyncio"), Flavour("trio")]
NEVER = 600.0
"""Seconds: longer than a test may take."""


def say_goaway(node: H2, last: int, error: int = 0) -> None:
    """Send a GOAWAY and go on, which the h2 package does not know how to do."""
    node.flush()
    node.peer.send(GoAwayFrame(0, last_stream_id=last, error_code=error).serialize())


def drain(node: H2, stream: int) -> None:
    """Leave as Envoy does: GOAWAY for all streams, the answer, then GOAWAY for the last one."""
    say_goaway(node, ALL)
    node.answer(stream, body=b"x" * 30_000)
    node.flush()
    say_goaway(node, stream)


@each(FLAVOURS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_graceful_goaway_breaks_no_call(method, make_h2, make_h2_caller, monkeypatch):
    """The call that it comes with is answered, and the next one goes elsewhere."""
    monkeypatch.setattr("rpcguard._core.nodes.live.LEAST_PATIENCE", NEVER)  # with a busy node
    leaving, good = make_h2(drain), make_h2()
    caller = make_h2_caller(leaving, good)
    response = await caller.call(method=method, content=b"pay")
    assert len(response.content) == 30_000
    assert (await caller.call(method=method, content=b"pay")).text == "ok"
    assert (len(leaving.calls), len(good.calls)) == (1, 1)
    view = caller.view(leaving)
    assert (view.state, view.reason, view.failures) == ("offline", "GOAWAY", 0)


@each(FLAVOURS)
async def test_a_connection_that_is_only_old_is_replaced(make_h2, make_h2_caller):
    """Its node stays in use, with another connection."""

    def rotate(node: H2, stream: int) -> None:
        if stream == 15:
            say_goaway(node, stream)
        node.answer(stream)

    node, other = make_h2(rotate), make_h2()
    caller = make_h2_caller(node, other)
    for _ in range(12):
        assert (await caller.call(method="POST", content=b"pay")).text == "ok"
    assert len(node.peers) == 2
    assert caller.view(node).state == "available"
    assert other.calls == []
    await soon(lambda: node.open == 1, "the old connection is closed")


@each(CONCURRENT)
async def test_what_is_in_flight_goes_on_and_what_was_not_taken_goes_elsewhere(
    make_h2, make_h2_caller
):
    """Of two POSTs on one connection the node takes one; both are answered, each runs once."""

    def take_the_first(node: H2, stream: int) -> None:
        if stream == 1:
            node.answer(1)
        if stream == 5:
            say_goaway(node, 3)
            node.answer(3)

    leaving, good = make_h2(take_the_first), make_h2()
    caller = make_h2_caller(leaving, good)
    await caller.call()
    answers = []

    async def pay(name: str) -> None:
        answers.append(await caller.call(f"/{name}", method="POST", content=b"pay"))

    async with anyio.create_task_group() as group:
        group.start_soon(pay, "a")
        await soon(lambda: len(leaving.calls) == 2, "the first is there")
        group.start_soon(pay, "b")
    assert [answer.text for answer in answers] == ["ok", "ok"]
    attempts = sorted(len(answer.extensions["rpcguard"].attempts) for answer in answers)
    assert attempts == [1, 2]
    assert (len(leaving.calls), len(good.calls)) == (3, 1)
    assert caller.view(leaving).failures == 1  # it refused one


@each(CONCURRENT)
@pytest.mark.parametrize("few", [1, 3])
async def test_a_node_that_takes_few_calls_on_each_connection_serves_many_at_once(
    few, make_h2, make_h2_caller
):
    """As nginx with `keepalive_timeout 0`: thirty POSTs at once, of which each runs once.

    All went to a few connections, which refused all but the first of them again and again. Of the
    very first ones none was sent again, since the node seemed to leave, and there was no other.
    """

    def take_few(node: H2, stream: int) -> None:
        if stream == 2 * few - 1:
            say_goaway(node, stream)
        if stream < 2 * few:
            ran.append(stream)
            node.answer(stream)

    node, ran, answers = make_h2(take_few), [], []
    caller = make_h2_caller(node)

    async def pay() -> None:
        answers.append(await caller.call(method="POST", content=b"pay"))

    for times in (1, 2):
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(pay)
        assert [answer.text for answer in answers] == ["ok"] * 30 * times
        assert len(ran) == 30 * times


@each(CONCURRENT)
async def test_what_an_old_connection_refuses_goes_to_a_fresh_one(make_h2, make_h2_caller):
    """It costs no attempt: the node is well, and is asked again at once."""

    def rotate(node: H2, stream: int) -> None:
        if stream < 19 or node.peer.number > 1:
            node.answer(stream)
        elif stream == 21:
            say_goaway(node, 19)
            node.answer(19)

    node, other = make_h2(rotate), make_h2()
    caller = make_h2_caller(node, other)
    for _ in range(9):
        await caller.call()
    answers = []

    async def pay(body) -> None:
        answers.append(await caller.call(method="POST", content=body))

    async with anyio.create_task_group() as group:
        group.start_soon(pay, b"pay")
        await soon(lambda: len(node.calls) == 10, "the first is there")
        group.start_soon(pay, b"y" * 40_000)
    assert [len(answer.extensions["rpcguard"].attempts) for answer in answers] == [1, 1]
    assert (len(node.peers), other.calls) == (2, [])
    assert caller.view(node).state == "available"


@each([Flavour("asyncio")])  # trio minds that httpx leaves the iterator of such a body
async def test_a_body_that_is_refused_on_its_way_is_no_error_of_ours(make_h2, make_h2_caller):
    """REFUSED_STREAM in the middle of a POST is told as what it is; it cannot be sent again."""

    class Refusing(H2):
        def take(self, event) -> None:
            super().take(event)
            if isinstance(event, h2.events.DataReceived) and event.stream_id == 5:
                self.refuse(5)
                self.answer(3)

    node = make_h2()
    node.scripts = (lambda peer: Refusing(peer, answer_the_first).run(),)
    caller = make_h2_caller(node)
    await caller.call()
    answered = anyio.Event()

    async def get() -> None:
        assert (await caller.call()).text == "ok"
        answered.set()

    async def body():
        yield b"first"
        await answered.wait()
        yield b"second"

    async with anyio.create_task_group() as group:
        group.start_soon(get)
        await soon(lambda: len(node.calls) == 2, "the GET is there")
        with pytest.raises(http.RemoteProtocolError, match="error_code=7"):
            await caller.call(method="POST", content=body())
    assert (len(node.calls), caller.view(node).failures) == (3, 1)


def answer_the_first(node: H2, stream: int) -> None:
    if stream == 1:
        node.answer(stream)


@each(FLAVOURS)
async def test_a_node_that_breaks_its_word_fails_the_call(make_h2, make_h2_caller):
    """A connection that ends before the answer: a GET goes elsewhere, a POST is not repeated."""

    def vanish(node: H2, stream: int) -> None:
        say_goaway(node, stream)
        node.peer.sock.shutdown(socket.SHUT_WR)  # a reset might overtake the GOAWAY

    leaving, good = make_h2(vanish), make_h2()
    caller = make_h2_caller(leaving, good)
    with pytest.raises(http.TransportError):
        await caller.call(method="POST", content=b"pay")
    assert (len(leaving.calls), good.calls) == (1, [])
    assert caller.view(leaving).state == "offline"


@each(FLAVOURS)
async def test_a_goaway_with_an_error_is_no_farewell(make_h2, make_h2_caller):
    """ENHANCE_YOUR_CALM names the call: a GET goes elsewhere."""
    broken, good = make_h2(lambda node, stream: say_goaway(node, stream, 11)), make_h2()
    caller = make_h2_caller(broken, good)
    assert (await caller.call()).text == "ok"
    assert (len(broken.calls), len(good.calls)) == (1, 1)


@each(FLAVOURS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_stream_goes_elsewhere_and_the_connection_stays(
    method, make_h2, make_h2_caller
):
    """REFUSED_STREAM is about one call alone: any method goes again, the next one may come back."""

    def refuse_the_first(node: H2, stream: int) -> None:
        (node.refuse if stream == 1 else node.answer)(stream)

    busy, free = make_h2(refuse_the_first), make_h2()
    caller = make_h2_caller(busy, free)
    for _ in range(2):
        assert (await caller.call(method=method, content=b"pay")).text == "ok"
    assert (len(busy.calls), len(free.calls), len(busy.peers)) == (2, 1, 1)
    assert (caller.view(busy).state, caller.view(busy).failures) == ("available", 1)


@each(CONCURRENT)
async def test_a_limit_that_falls_to_nothing_breaks_no_call(make_h2, make_h2_caller):
    """So hypercorn says that it leaves: the next POST goes on a fresh connection, unharmed."""
    lowered, asked_again = threading.Event(), threading.Event()

    class Lowering(H2):
        def take(self, event) -> None:
            super().take(event)
            if isinstance(event, h2.events.SettingsAcknowledged) and 3 in self.bodies:
                lowered.set()
                assert asked_again.wait(20)
                self.answer(3)

    def lower(node: H2, stream: int) -> None:
        if node.peer.number > 1:
            asked_again.set()
        if stream == 1:
            node.answer(stream)
        else:
            node.wire.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0})

    node = make_h2()
    node.scripts = (lambda peer: Lowering(peer, lower).run(),)
    caller = make_h2_caller(node)
    await caller.call()
    answers = []

    async def pay() -> None:
        answers.append(await caller.call(method="POST", content=b"pay"))

    async with anyio.create_task_group() as group:
        group.start_soon(pay)
        await soon(lowered.is_set, "the limit has fallen")
        group.start_soon(pay)
    assert [len(answer.extensions["rpcguard"].attempts) for answer in answers] == [1, 1]
    assert (len(node.calls), len(node.peers)) == (3, 2)
    assert (caller.view(node).state, caller.view(node).failures) == ("available", 0)


@each(CONCURRENT)
async def test_what_a_goaway_promised_and_never_came_is_left_by_those_who_may_repeat(
    make_h2, make_h2_caller, monkeypatch
):
    """A GET goes elsewhere; a POST waits, is answered late, and runs once."""
    monkeypatch.setattr("rpcguard._core.nodes.live.LEAST_PATIENCE", 0.1)

    def promise(node: H2, stream: int) -> None:
        if stream == 5:
            say_goaway(node, stream)
        elif stream == 1:
            node.answer(stream)

    leaving, good = make_h2(promise), make_h2()
    caller = make_h2_caller(leaving, good)
    await caller.call()
    answers = {}

    async def call(method: str) -> None:
        answers[method] = await caller.call(f"/{method}", method=method, content=b"pay", timeout=20)

    async with anyio.create_task_group() as group:
        group.start_soon(call, "POST")
        await soon(lambda: "/POST" in leaving.asked_for, "the POST is there")
        group.start_soon(call, "GET")
        await soon(lambda: "GET" in answers, "the GET is answered elsewhere")
        assert "POST" not in answers
        speaker, stream = leaving.asked_for["/POST"]
        speaker.say(speaker.answer, stream)
    assert [one.node.port for one in answers["GET"].extensions["rpcguard"].attempts] == [
        leaving.port,
        good.port,
    ]
    assert [one.node.port for one in answers["POST"].extensions["rpcguard"].attempts] == [
        leaving.port
    ]
    assert caller.view(leaving).reason == "GOAWAY"  # the connection had just begun


@each(CONCURRENT)
async def test_a_second_try_goes_to_no_connection_that_may_be_as_old(
    make_h2, make_h2_caller, monkeypatch
):
    """Two nodes that count alike end their connections together, and drop what they owe."""
    monkeypatch.setattr("rpcguard._core.nodes.live.LEAST_PATIENCE", 0.1)

    def refuse_then_forsake(node: H2, stream: int) -> None:
        node.refuse(stream) if stream == 1 else say_goaway(node, stream)

    def hold_then_forsake(node: H2, stream: int) -> None:
        if node.peer.number > 1:
            node.answer(stream)
        elif stream > 1:
            say_goaway(node, stream)

    first, second = make_h2(refuse_then_forsake), make_h2(hold_then_forsake)
    caller = make_h2_caller(first, second)
    held = []

    async def hold() -> None:
        held.append(await caller.call("/held", timeout=20))

    async with anyio.create_task_group() as group:
        group.start_soon(hold)
        await soon(lambda: "/held" in second.asked_for, "it is held")
        response = await caller.call(timeout=20)
        speaker, stream = second.asked_for["/held"]
        speaker.say(speaker.answer, stream)
    assert [answer.text for answer in (response, *held)] == ["ok", "ok"]
    ports = [one.node.port for one in response.extensions["rpcguard"].attempts]
    assert ports == [first.port, second.port]
    assert len(second.peers) == 2


@each(FLAVOURS)
@pytest.mark.parametrize("prefetch", [65536, 0])
async def test_a_body_that_a_goaway_promised_and_never_came_is_left_as_well(
    prefetch, make_h2, make_h2_caller, monkeypatch
):
    """Its head had come; a call that is handed out with it waits, and is answered late."""
    monkeypatch.setattr("rpcguard._core.nodes.live.LEAST_PATIENCE", 0.1)

    def halve(node: H2, stream: int) -> None:
        node.wire.send_headers(stream, [(":status", "200"), ("content-length", "2")])
        say_goaway(node, stream)
        if not prefetch:
            end = functools.partial(node.wire.send_data, stream, b"ok", end_stream=True)
            threading.Timer(0.5, node.say, [end]).start()

    leaving, good = make_h2(halve), make_h2()
    caller = make_h2_caller(leaving, good, retry=rpcguard.RetryPolicy(prefetch=prefetch))
    response = await caller.call(timeout=20)
    assert response.text == "ok"
    outcomes = [one.outcome for one in response.extensions["rpcguard"].attempts]
    assert outcomes == (["RemoteProtocolError", "200"] if prefetch else ["200"])


@each(FLAVOURS)
async def test_a_node_that_leaves_before_it_is_asked_is_out_by_more_than_tcp(
    make_h2, make_h2_caller, monkeypatch
):
    """Its connection stands, and takes no call: a POST goes elsewhere, at no cost of an attempt."""
    leaving, good = make_h2(), make_h2()
    leaving.scripts = (lambda peer: goodbye(peer, H2.answer),)
    begin = Http2Connection._start

    def start(connection: Http2Connection) -> None:
        begin(connection)
        if connection.channel.stream.get_extra_info("server_addr")[1] == leaving.port:
            while connection.usable:  # as where its first frames come at once
                connection.channel.take_in()

    monkeypatch.setattr(Http2Connection, "_start", start)
    caller = make_h2_caller(leaving, good, retry=rpcguard.RetryPolicy(attempts=1))
    assert (await caller.call(method="POST", content=b"pay")).text == "ok"
    assert (leaving.calls, len(good.calls)) == ([], 1)
    assert caller.view(leaving).reason == "TLS handshake failed"


def goodbye(peer, act) -> None:
    """Say GOAWAY before anything else."""
    node = H2(peer, act)
    node.wire.initiate_connection()
    say_goaway(node, 0)
    peer.until_gone()
