"""Calls that share an HTTP/2 connection: what befalls one is no matter of the others."""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import ClassVar

import anyio
import anyio.lowlevel
import pytest
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from tests.support.calls import FLAVOURS, Caller, Dead, Flavour, each, soon, unhurried
from tests.support.http2_node import H2
from tests.support.library import http

CONCURRENT = [Flavour("asyncio"), Flavour("trio")]


def only(*paths: str):
    """Answer these paths, and nothing else until the test says so."""

    def act(node: H2, stream: int) -> None:
        if any(node.peer.node.asked_for.get(path) == (node, stream) for path in paths):
            node.answer(stream)

    return act


async def asked(node, path: str) -> tuple[H2, int]:
    """Wait until a node has been asked for a path."""
    await soon(lambda: path in node.asked_for, f"asked for {path}")
    return node.asked_for[path]


@each(CONCURRENT)
@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_a_call_whose_time_is_up_ends_alone(limit, make_h2, make_h2_caller):
    """The POST beside it, for whom it may have read, is answered on the same connection."""
    node = make_h2(only("/"))
    caller = make_h2_caller(node)
    await caller.call()
    answers = []

    async def pay() -> None:
        answers.append(await caller.call("/pay", method="POST", content=b"pay"))

    options = (
        {"timeout": 0.1, "extensions": {"rpcguard": {"attempts": 1}}}
        if limit == "timeout"
        else {"extensions": {"rpcguard": {"deadline": 0.1}}}
    )
    async with anyio.create_task_group() as group:
        group.start_soon(pay)
        with pytest.raises(http.ReadTimeout):
            await caller.call("/late", **options)
        speaker, stream = await asked(node, "/pay")
        speaker.say(speaker.answer, stream)
    assert [answer.text for answer in answers] == ["ok"]
    assert len(node.peers) == 1
    late = node.asked_for["/late"][1]
    await soon(lambda: (late, 8) in node.resets, "the node is told that nobody waits")


@each(CONCURRENT)
async def test_a_deadline_counts_while_another_call_reads(make_h2, make_h2_caller):
    """A stream without a timeout is silent, and reads for all."""
    node = make_h2(only("/"))
    caller = make_h2_caller(node)
    await caller.call()

    async def listen() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await caller.call("/events", timeout=None)

    scopes: list[anyio.CancelScope] = []
    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        await asked(node, "/events")
        with pytest.raises(http.ReadTimeout):
            await caller.call("/late", extensions={"rpcguard": {"deadline": 0.1}})
        scopes[0].cancel()
    assert len(node.peers) == 1


@each(CONCURRENT)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_reading_is_handed_on_when_the_reader_is_cancelled(
    method, make_h2, make_h2_caller
):
    """Three wait; the first two leave, one after the other, and the third is answered."""
    node = make_h2(only("/"))
    caller = make_h2_caller(node)
    await caller.call()
    scopes, answers = [], []

    async def call(path: str) -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            answers.append(await caller.call(path, method=method))

    async with anyio.create_task_group() as group:
        for path in ("/1", "/2", "/3"):
            group.start_soon(call, path)
            speaker, stream = await asked(node, path)
        scopes[0].cancel()
        await soon(lambda: len(node.resets) == 1, "the first has left")
        scopes[1].cancel()
        await soon(lambda: len(node.resets) == 2, "the second has left")
        speaker.say(speaker.answer, stream)
    assert [answer.text for answer in answers] == ["ok"]
    assert (await caller.call()).text == "ok"
    assert len(node.peers) == 1


@each(FLAVOURS)
async def test_answers_that_are_left_early_do_not_use_the_connection_up(make_h2, make_h2_caller):
    """Thirty of 1 MiB each, over one connection, and a POST after each of them."""

    def act(node: H2, stream: int) -> None:
        if node.peer.node.asked_for.get("/big") == (node, stream):
            send_what_fits(node, stream)
        else:
            node.answer(stream)

    node = make_h2(act)
    caller = make_h2_caller(node)
    for _ in range(30):
        response = await caller.open("/big")
        await caller.end(response)
        assert (await caller.call("/pay", method="POST", content=b"pay")).text == "ok"
    assert len(node.peers) == 1


def send_what_fits(node: H2, stream: int) -> None:
    node.wire.send_headers(stream, [(":status", "200")])
    for _ in range(64):
        if node.wire.local_flow_control_window(stream) < 16384:
            return
        node.wire.send_data(stream, bytes(16384))


@each(CONCURRENT)
@pytest.mark.parametrize(
    "event",
    [
        "connection.connect_tcp.started",
        "connection.connect_tcp.complete",
        "http2.send_connection_init.started",
        "http2.send_connection_init.complete",
        "http2.send_request_headers.started",
        "http2.send_request_headers.complete",
        "http2.receive_response_headers.started",
    ],
)
async def test_a_set_up_that_is_cancelled_anywhere_harms_nobody(event, make_h2, make_h2_caller):
    """A POST that waits for the same connection goes out, once, and no socket is left behind."""
    node = make_h2()
    caller = make_h2_caller(node)
    await caller.settle_list()
    answers, waiting = [], anyio.Event()

    async def first() -> None:
        with anyio.CancelScope() as scope:

            async def trace(name, _info) -> None:
                if name == event:
                    waiting.set()
                    await anyio.sleep(0.02)
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()

            await caller.call("/first", extensions={"trace": trace})

    async def second() -> None:
        await waiting.wait()
        answers.append(await caller.call("/pay", method="POST", content=b"pay"))

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        group.start_soon(second)
    assert [answer.text for answer in answers] == ["ok"]
    assert len(answers[0].extensions["rpcguard"].attempts) == 1
    assert sum(method == "POST" for method, _ in node.calls) == 1
    await soon(lambda: node.open == 1, "what was given up is closed")


@each(CONCURRENT)
async def test_a_pool_recovers_from_calls_that_are_cancelled_as_they_connect(
    make_h2, make_h2_caller
):
    """Two hundred of them with two connections at most, and then every call works."""

    def act(node: H2, stream: int) -> None:
        with contextlib.suppress(ProtocolError):  # the caller has left
            node.answer(stream)

    node = make_h2(act)
    limits = http.Limits(max_connections=2)
    caller = make_h2_caller(node, limits=limits)
    await caller.settle_list()

    async def hasty(pause: float) -> None:
        with anyio.move_on_after(pause):
            await caller.call()

    for round_ in range(10):
        async with anyio.create_task_group() as group:
            for place in range(20):
                group.start_soon(hasty, (round_ * 20 + place) * 1e-5)
    for _ in range(3):
        assert (await caller.call()).text == "ok"
    assert caller.in_flight == 0


@each(FLAVOURS)
@pytest.mark.parametrize("what", ["drops", "pings", "informational"])
async def test_a_read_timeout_counts_whole_pieces(what, make_h2, make_h2_caller):
    """Neither bytes of a frame that never ends, nor frames of no call, put it off."""
    over = threading.Event()

    def act(node: H2, stream: int) -> None:
        if what == "drops":
            node.begin(stream)
            node.flush()
            node.peer.send(b"\0\x10\0\0\0" + stream.to_bytes(4, "big"))
        while not over.wait(0.02):
            if what == "pings":
                node.wire.ping(b"12345678")
            elif what == "informational":
                node.wire.send_headers(stream, [(":status", "103")])
            else:
                node.peer.send(b"x")
            node.flush()

    caller = make_h2_caller(make_h2(act))
    extensions = {"rpcguard": {"attempts": 1}}
    with pytest.raises(http.ReadTimeout):
        await caller.call(timeout=http.Timeout(20, read=0.3), extensions=extensions)
    over.set()


@each(FLAVOURS)
async def test_each_piece_gives_new_time(make_h2, make_h2_caller):
    """A body of six pieces may take longer than the timeout for one."""

    async def scenario(seconds: float) -> bool:
        never = threading.Event()

        def act(node: H2, stream: int) -> None:
            node.begin(stream)
            for _ in range(6):
                node.flush()
                assert not never.wait(seconds / 4)
                node.wire.send_data(stream, b"x")
            node.wire.end_stream(stream)

        caller = make_h2_caller(make_h2(act))
        try:
            response = await caller.open(timeout=seconds)
            return await caller.read(response) == b"xxxxxx"
        except http.TimeoutException:
            return False

    await unhurried(scenario, 0.4)


@each(FLAVOURS)
async def test_an_answer_that_comes_while_we_send_is_handed_out(make_h2, make_h2_caller):
    """The node takes no more of the body and says 413: the upload stops, the next call works."""

    class Refusing(H2):
        def take(self, event) -> None:
            super().take(event)
            if type(event).__name__ == "DataReceived" and not self.answered:
                self.answered = True
                self.wire.send_headers(event.stream_id, [(":status", "413")], end_stream=True)

        answered = False

    node = make_h2()
    node.scripts = (lambda peer: Refusing(peer, H2.answer).run(),)
    caller = make_h2_caller(node)
    response = await caller.call("/up", method="POST", content=b"y" * 10_000_000)
    assert response.status_code == 413
    assert caller.view(node).failures == 0
    assert (await caller.call()).text == "ok"
    assert len(node.peers) == 1


@each(CONCURRENT)
async def test_an_upload_that_is_cancelled_leaves_its_neighbours_whole(make_h2, make_h2_caller):
    """The node opened its windows wide and reads nothing, so that the socket is full."""
    stopped = threading.Event()

    class Slow(H2):
        settings: ClassVar[dict[int, int]] = {SettingCodes.INITIAL_WINDOW_SIZE: 2**30}

        def take(self, event) -> None:
            super().take(event)
            if type(event).__name__ == "DataReceived" and event.data[:1] == b"y":
                stopped.wait(20)

    node = make_h2()
    node.scripts = (lambda peer: Slow(peer, wide).run(),)

    def wide(speaker: H2, stream: int) -> None:
        speaker.wire.increment_flow_control_window(2**30)
        speaker.answer(stream)

    caller = make_h2_caller(node)
    await caller.call()
    answers = []

    async def upload(scope: anyio.CancelScope) -> None:
        with scope:
            await caller.call("/up", method="POST", content=b"y" * 50_000_000, timeout=None)

    async def pay() -> None:
        answers.append(await caller.call("/pay", method="POST", content=b"pay", timeout=20))

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        group.start_soon(upload, scope)
        await asked(node, "/up")
        await anyio.sleep(0.1)
        group.start_soon(pay)
        await anyio.sleep(0.05)
        scope.cancel()
        await anyio.sleep(0.05)
        stopped.set()
    assert [answer.text for answer in answers] == ["ok"]
    assert len(node.peers) == 1


@each(CONCURRENT)
async def test_a_request_that_may_not_be_sent_leaves_the_connection_in_step(
    make_h2, make_h2_caller
):
    """Half of its headers in one end's compression table would break every later call."""
    node = make_h2()
    caller = make_h2_caller(node)
    await caller.call(headers={"x-one": "1"})
    for bad in ({"x-two": "2", "x three": "3"}, {"x-four": "4", "x-five": "a\r\nb"}):
        with pytest.raises(http.LocalProtocolError):
            await caller.call(headers=bad)
    for _ in range(2):
        assert (await caller.call(headers={"x-one": "1", "x-six": "6"})).text == "ok"
    assert len(node.peers) == 1


@each(CONCURRENT)
@pytest.mark.parametrize("parts", [(b"12", b"34"), (b"1",)], ids=["longer", "shorter"])
async def test_a_body_that_belies_its_length_is_our_fault(parts, make_h2, make_h2_caller):
    """The stream is cancelled, so that the node does not take it for whole."""
    node = make_h2()
    caller = make_h2_caller(node)
    with pytest.raises(http.LocalProtocolError):
        await caller.call(
            method="POST", content=caller.body(*parts), headers={"content-length": "3"}
        )
    assert (await caller.call()).text == "ok"
    assert len(node.peers) == 1
    await soon(lambda: node.resets == [(1, 8)], "the node knows")


@each(FLAVOURS)
@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff" * 100,
        b"\0\0\1\0\0\0\0\0\0x",
        b"\0\0\4\1\4\0\0\0\1\xff\xff\xff\xff",
        b"\0\0\0\5\4\0\0\0\1" + bytes(20),
        b"",
    ],
)
async def test_what_a_node_says_wrong_is_an_error_of_the_library(garbage, make_h2, make_h2_caller):
    """Never one of h2: a POST fails with it, a GET goes elsewhere."""

    def act(node: H2, stream: int) -> None:
        node.peer.send(garbage)
        node.peer.sock.shutdown(2)

    bad, good = make_h2(act), make_h2()
    caller = make_h2_caller(bad, good)
    with pytest.raises(http.TransportError):
        await caller.call(method="POST", content=b"pay")
    assert good.calls == []
    assert (await caller.call()).text == "ok"


@each(FLAVOURS)
async def test_a_kept_connection_that_has_ended_is_not_used(make_h2, make_h2_caller):
    """The node closes it while nobody looks: the next POST goes on a fresh one, unharmed."""
    node = make_h2()
    caller = make_h2_caller(node)
    await caller.call()
    node.speakers[0].peer.sock.shutdown(2)
    await soon(node.peers[0].gone.is_set, "it is closed")
    answer = await caller.call(method="POST", content=b"pay")
    assert (answer.text, len(answer.extensions["rpcguard"].attempts)) == ("ok", 1)
    assert len(node.peers) == 2


@each(FLAVOURS)
async def test_a_kept_connection_that_ends_under_a_call_was_stale(make_h2, make_h2_caller):
    """Nothing came for it: a GET goes again to the same node, which stays in use; a POST fails."""

    def once(node: H2, stream: int) -> None:
        if stream == 1:
            node.answer(stream)
        else:
            node.peer.sock.shutdown(2)

    node = make_h2(once)
    caller = make_h2_caller(node)
    await caller.call()
    answer = await caller.call()
    assert (answer.text, len(answer.extensions["rpcguard"].attempts)) == ("ok", 2)
    with pytest.raises(http.RemoteProtocolError):
        await caller.call(method="POST", content=b"pay")
    assert caller.view(node).state == "available"
    assert [method for method, _ in node.calls] == ["GET", "GET", "GET", "POST"]


@each(FLAVOURS)
async def test_past_the_deadline_the_next_read_raises_however_fast_they_come(
    make_h2, make_h2_caller
):
    """A body without end that is always there: the call ends at its deadline."""

    async def scenario(seconds: float) -> bool:
        over = threading.Event()

        def endless(node: H2, stream: int) -> None:
            node.begin(stream)
            node.flush()
            frame = b"\0\x10\0\0\0" + stream.to_bytes(4, "big") + bytes(4096)
            while not node.peer.gone.is_set() and not over.is_set():
                node.peer.sock.sendall(frame)

        caller = make_h2_caller(make_h2(endless))
        await caller.settle_list()
        extensions = {"rpcguard": {"deadline": seconds}}
        try:
            response = await caller.open(extensions=extensions, timeout=20)
        except http.TimeoutException:
            return False
        else:
            with pytest.raises(http.ReadTimeout):
                await read_and_drop(caller, response)
            return True
        finally:
            over.set()

    await unhurried(scenario, 0.3)


async def read_and_drop(caller: Caller, response: http.Response) -> None:
    """Read a body, and keep nothing of it."""
    if caller.flavour.sync:
        for _ in response.iter_raw():
            pass
    else:
        async for _ in response.aiter_raw():
            pass


@each(CONCURRENT)
async def test_a_full_connection_is_joined_by_another_up_to_the_limit(make_h2, make_h2_caller):
    """The node takes one call at a time: two connections carry two, the third waits its turn."""

    class Narrow(H2):
        settings: ClassVar[dict[int, int]] = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}

    node = make_h2()
    node.scripts = (lambda peer: Narrow(peer, only("/")).run(),)
    caller = make_h2_caller(node, limits=http.Limits(max_connections=2))
    await caller.call()
    answers = []

    async def call(path: str) -> None:
        answers.append(await caller.call(path, timeout=20))

    async with anyio.create_task_group() as group:
        for path in ("/1", "/2"):
            group.start_soon(call, path)
            await asked(node, path)
        with pytest.raises(http.PoolTimeout):
            await caller.call("/3", timeout=http.Timeout(20, pool=0.05))
        group.start_soon(call, "/4")
        for path in ("/1", "/2", "/4"):
            speaker, stream = await asked(node, path)
            speaker.say(speaker.answer, stream)
    assert len(answers) == 3
    assert len(node.peers) == 2
    assert "/3" not in node.asked_for


@each(CONCURRENT)
async def test_all_who_wait_for_a_connection_that_cannot_be_made_fail_alike(make_h2_caller):
    """A refused connect is told to each of them, and costs one connect, not one for each."""
    caller = make_h2_caller(Dead())
    await caller.settle_list()
    failures = []

    async def call() -> None:
        with pytest.raises(http.ConnectError) as info:
            await caller.call(extensions={"rpcguard": {"attempts": 1}})
        failures.append(info.value)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(call)
    assert len(set(map(id, failures))) == 5


@each(CONCURRENT)
async def test_who_waits_for_a_connection_connects_when_the_other_gives_up(
    make_h2, make_h2_caller, certified, trusting, make_node
):
    """The first one's time to connect is up; the second has more, and uses it."""
    released, count = threading.Event(), itertools.count()
    context = certified("orders")

    def late(_sock, _name, _context) -> None:
        if next(count) == 0:
            released.wait(20)

    node = make_h2()
    context.set_alpn_protocols(["h2"])
    node.tls = context
    context.sni_callback = late
    caller = make_h2_caller(
        node, http1=True, verify=trusting, client={"base_url": "https://orders"}
    )
    await caller.settle_list()
    answers = []

    async def patient() -> None:
        answers.append(await caller.call(method="POST", content=b"pay", timeout=20))

    async with anyio.create_task_group() as group:

        async def hasty() -> None:
            with pytest.raises(http.ConnectTimeout):
                await caller.call(
                    timeout=http.Timeout(20, connect=0.2), extensions={"rpcguard": {"attempts": 1}}
                )
            released.set()

        group.start_soon(hasty)
        await anyio.sleep(0.05)
        group.start_soon(patient)
    assert [answer.text for answer in answers] == ["ok"]


@each(CONCURRENT)
async def test_a_node_that_accepts_and_then_is_silent_failed_after_tcp(make_h2, make_h2_caller):
    """Who waits for its settings sent nothing, and no TCP probe can tell when it is well again."""
    over, sent = threading.Event(), anyio.Event()
    node = make_h2()
    node.scripts = (lambda peer: over.wait(20),)
    caller = make_h2_caller(node)
    await caller.settle_list()
    options = {"rpcguard": {"attempts": 1}}

    async def trace(name, _info) -> None:
        if name == "http2.send_request_headers.complete":
            sent.set()

    async def first() -> None:
        # It has no timeout: were its time up first, the other would have its place.
        with pytest.raises(http.TransportError):
            await caller.call("/first", timeout=None, extensions={**options, "trace": trace})

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await sent.wait()
        patience = http.Timeout(None, connect=0.2)
        with pytest.raises(http.ConnectTimeout) as late:
            await caller.call("/second", timeout=patience, extensions=options)
        over.set()
    assert type(late.value.__cause__.__cause__).__name__ == "HandshakeFailed"
