"""Hedges: a late call goes to a second node as well, and the first good answer counts."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rpcguard import Event, Hedge
from tests.support.calls import OK, Flavour, Peer, each, soon
from tests.support.library import AsyncTransport, Transport, http

TASKS = [Flavour("asyncio"), Flavour("trio")]
LATE = Hedge(delay=0.05, cap=1.0)
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Held:
    """A node's script that answers once it is let go, whether its caller is there or not."""

    def __init__(self, answer: bytes = OK, *, goes: bool = False) -> None:
        self.go = threading.Event()
        self.answer = answer
        if goes:
            self.go.set()

    def __call__(self, peer: Peer) -> None:
        while peer.request() is not None:
            self.go.wait(20)
            peer.send(self.answer)


async def ready(caller, *, hedge: Hedge = LATE) -> None:
    """Let the service know what is usual, as after some seconds of calls."""
    await caller.settle_list()
    service = caller.transport._service("orders")
    service.hedger.delay = hedge.delay
    service.hedger._counts.add(service.clock(), 1000, 0)


def rewrite(path, text: str) -> None:
    """Replace a file that is watched at once: it is never seen half written."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def nodes_of(response) -> list[int]:
    return [one.node.port for one in response.extensions["rpcguard"].attempts]


def outcomes(response) -> list[str]:
    return [one.outcome for one in response.extensions["rpcguard"].attempts]


@each(TASKS)
async def test_the_first_good_answer_counts_and_the_other_is_called_off(make_node, make_caller):
    """The late node is neither blamed nor left with a call, and its connection is closed."""
    held = Held()
    late, quick = make_node(held), make_node()
    caller = make_caller(late, quick, hedge=LATE)
    await ready(caller)
    response = await caller.call()
    assert (response.text, outcomes(response)) == ("ok", ["outrun", "200"])
    assert nodes_of(response) == [late.port, quick.port]
    assert caller.in_flight == 0
    assert caller.view(late).failures == 0
    assert caller.transport._service("orders").calls == 0
    (service,) = caller.transport.services()
    assert service.hedges == {"won": 1}
    held.go.set()
    await soon(lambda: not late.open, "the connection of the loser is closed")


@each(TASKS)
async def test_the_first_attempt_may_win_after_all(make_node, make_caller):
    """Then the second is the one that is called off."""
    first, second = Held(), Held()
    late, later = make_node(first), make_node(second)
    caller = make_caller(late, later, hedge=LATE)
    await ready(caller)
    async with anyio.create_task_group() as tasks:

        async def answer() -> None:
            await soon(lambda: later.seen, "the hedge is sent")
            first.go.set()

        tasks.start_soon(answer)
        response = await caller.call()
    assert (nodes_of(response), outcomes(response)) == ([later.port, late.port], ["outrun", "200"])
    assert caller.in_flight == 0
    assert caller.transport.services()[0].hedges == {"lost": 1}
    second.go.set()


@each(TASKS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "QUERY", "PUT", "DELETE", "POST"])
async def test_only_calls_that_change_nothing_are_hedged(make_node, make_caller, method):
    """Others are where the call itself says so."""
    safe = method in ("GET", "HEAD", "OPTIONS", "QUERY")
    for wanted in (None, True, False):
        held = Held(b"HTTP/1.1 204 No Content\r\n\r\n")
        late, quick = make_node(held), make_node(Held(held.answer, goes=True))
        caller = make_caller(late, quick, hedge=LATE)
        await ready(caller)
        hedged = safe if wanted is None else wanted
        if not hedged:
            held.go.set()
        options = {} if wanted is None else {"hedge": wanted}
        response = await caller.call(method=method, extensions={"rpcguard": options})
        assert (len(nodes_of(response)), len(quick.seen)) == (1 + hedged, int(hedged))
        held.go.set()


@each(TASKS)
async def test_a_put_that_is_late_is_never_sent_twice(make_node, make_caller):
    """PUT v1 is slow, PUT v2 follows: a second v1 could come after it and overwrite it."""
    stored: list[bytes] = []
    held = Held()

    def store(peer: Peer) -> None:
        while (seen := peer.request()) is not None:
            stored.append(seen.body)
            if seen.body == b"v1":
                held.go.wait(20)
            peer.send(OK)

    caller = make_caller(make_node(store), make_node(store), hedge=LATE)
    await ready(caller)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(put := put_of(caller), b"v1")
        await soon(lambda: stored == [b"v1"], "the first is on its way")
        await anyio.sleep(4 * LATE.delay)
        await put(b"v2")
        held.go.set()
    assert stored == [b"v1", b"v2"]


def put_of(caller):
    async def put(body: bytes) -> None:
        assert (await caller.call(method="PUT", content=body)).status_code == 200

    return put


@each(TASKS)
async def test_a_failure_does_not_win(make_node, make_caller):
    """While one attempt fails the other is waited for; where both fail the call has failed."""
    held = Held()
    late, bad = make_node(held), make_node(lambda peer: peer.serve(BAD))
    caller = make_caller(late, bad, hedge=LATE)
    await ready(caller)
    async with anyio.create_task_group() as tasks:

        async def answer() -> None:
            await soon(lambda: bad.seen, "the hedge is sent")
            await soon(lambda: caller.view(bad).connections.idle, "its failure has come")
            held.go.set()

        tasks.start_soon(answer)
        response = await caller.call()
    assert (response.status_code, outcomes(response)) == (200, ["500", "200"])
    assert caller.view(bad).failures == 1
    assert caller.in_flight == 0


@each(TASKS)
async def test_attempts_stay_the_limit(make_node, make_caller):
    """A hedge is the second attempt: where both fail, no third node is asked."""
    bad = Held(BAD)
    first, second, third = make_node(bad), make_node(bad), make_node()
    caller = make_caller(first, second, third, hedge=LATE)
    await ready(caller)
    async with anyio.create_task_group() as tasks:

        async def answer() -> None:
            await soon(lambda: second.seen, "the hedge is sent")
            bad.go.set()

        tasks.start_soon(answer)
        response = await caller.call()
    assert (response.status_code, outcomes(response)) == (500, ["500", "500"])
    assert third.seen == []
    assert caller.in_flight == 0


@each(TASKS)
async def test_a_caller_that_gives_up_leaves_nothing_behind(make_node, make_caller):
    """Both attempts are called off: no call is counted, no node is charged, nothing is open."""
    held = Held()
    first, second = make_node(held), make_node(held)
    caller = make_caller(first, second, hedge=LATE)
    await ready(caller)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller.call)
        await soon(lambda: second.seen, "the hedge is sent")
        tasks.cancel_scope.cancel()
    assert caller.in_flight == 0
    assert caller.transport._service("orders").calls == 0
    held.go.set()
    await soon(lambda: not first.open + second.open, "both connections are closed")


@each(TASKS)
async def test_a_body_that_can_be_read_once_is_sent_once(make_node, make_caller):
    """Both attempts would read it."""
    held = Held()
    late, quick = make_node(held), make_node()
    caller = make_caller(late, quick, hedge=LATE)
    await ready(caller)
    async with anyio.create_task_group() as tasks:

        async def answer() -> None:
            await soon(lambda: late.seen, "the call is sent")
            await anyio.sleep(4 * LATE.delay)
            held.go.set()

        tasks.start_soon(answer)
        extensions = {"rpcguard": {"hedge": True}}
        response = await caller.call(
            method="POST", content=caller.body(b"a", b"b"), extensions=extensions
        )
    assert (outcomes(response), quick.seen) == (["200"], [])


@each(TASKS)
@pytest.mark.parametrize("wins", ["second", "first"])
async def test_each_attempt_has_its_span_and_the_hedge_is_counted(make_node, make_caller, wins):
    """The one that does not count is over and no error; the call's duration is told once."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    first, second = Held(), Held(goes=wins == "second")
    late, other = make_node(first), make_node(second)
    caller = make_caller(
        late,
        other,
        hedge=LATE,
        tracer_provider=tracing,
        meter_provider=MeterProvider(metric_readers=[reader]),
    )
    await ready(caller)
    async with anyio.create_task_group() as tasks:

        async def answer() -> None:
            await soon(lambda: other.seen, "the hedge is sent")
            if wins == "first":
                first.go.set()

        tasks.start_soon(answer)
        await caller.call()
    told = {one.attributes["network.peer.port"]: one for one in spans.get_finished_spans()}
    assert set(told) == {late.port, other.port}
    winner, loser = (late, other) if wins == "first" else (other, late)
    assert told[winner.port].attributes["http.response.status_code"] == 200
    assert "error.type" not in told[loser.port].attributes
    assert told[other.port].attributes["rpcguard.hedge"] is True
    assert "rpcguard.hedge" not in told[late.port].attributes
    (points,) = (
        metric.data.data_points
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "rpcguard.hedges"
    )
    result = "won" if wins == "second" else "lost"
    assert [(one.attributes["rpcguard.hedge.result"], one.value) for one in points] == [(result, 1)]
    first.go.set()
    second.go.set()


def test_in_threads_the_option_is_an_error_that_says_why():
    """A thread that waits for an answer cannot be called off."""
    with pytest.raises(ValueError, match="hedge is for AsyncTransport: what a thread waits for"):
        Transport("static://10.0.0.1:80", hedge=Hedge())
    with (
        Transport("static://10.0.0.1:80") as transport,
        http.Client(transport=transport) as client,
        pytest.raises(ValueError, match="option hedge wants an AsyncTransport"),
    ):
        client.get("http://orders", extensions={"rpcguard": {"hedge": True}})


@each(TASKS)
async def test_an_incident_switches_hedges_off_through_the_file(
    make_node, make_caller, tmp_path, monkeypatch
):
    """A running transport hedges until the file says not to, and again when the file is as before.

    Also a call that asks for a hedge itself is sent once: the switch wins over code.
    """
    monkeypatch.setattr("rpcguard._discovery.rule_sources._LOOK_EVERY", 0.01)
    path, told = tmp_path / "rpcguard.toml", list[Event]()
    path.write_text("")
    held = Held()
    late, quick = make_node(held), make_node()
    caller = make_caller(late, quick, hedge=LATE, config=path, on_event=told.append)
    await ready(caller)
    assert outcomes(await caller.call()) == ["outrun", "200"]
    rewrite(path, '[incident]\nhedge = false\nwhy = "the fleet is full"\n')
    await soon(lambda: not caller.transport._service("orders").switches.hedge, "it is switched")
    held.go.set()
    for options in ({}, {"hedge": True}):
        held.go.clear()
        async with anyio.create_task_group() as tasks:
            answered = list[http.Response]()

            async def call(options=options, answered=answered) -> None:
                answered.append(await caller.call(extensions={"rpcguard": options}))

            tasks.start_soon(call)
            await soon(lambda: caller.in_flight, "a call is under way")
            await anyio.sleep(4 * LATE.delay)
            assert caller.in_flight == 1
            held.go.set()
        assert outcomes(*answered) == ["200"]
    held.go.clear()
    rewrite(path, "# the fleet has room again\n")
    await soon(lambda: caller.transport._service("orders").switches.hedge, "it is as before")
    codes = ["switched", "ended"]
    await soon(lambda: [one.code for one in told if one.kind == "config"] == codes, "both are told")


class Answers:
    """A transport of a user's own: the first call is answered late by 503, the next one later."""

    def __init__(self, close) -> None:
        self.sent = 0
        self.closed: list[int] = []
        self.close = close

    def __call__(self, *_, **__):
        answers = self

        class Stream(http.AsyncByteStream):
            def __init__(self, number: int) -> None:
                self.number = number

            async def __aiter__(self):
                yield b"ok"

            async def aclose(self) -> None:
                answers.closed.append(self.number)
                if self.number == 1:
                    await answers.close()

        class Own(http.AsyncBaseTransport):
            async def handle_async_request(self, request):
                answers.sent += 1
                number = answers.sent
                await anyio.sleep(0.1)
                return http.Response(503 if number == 1 else 200, stream=Stream(number))

        return Own()


async def race(answers: Answers):
    """Give a transport whose next call is hedged, and a client of it."""
    transport = AsyncTransport(
        "static:///orders=127.0.0.1:1,127.0.0.1:2", hedge=LATE, node_transport=answers
    )
    await transport.wait_ready("orders", timeout=20)
    service = transport._service("orders")
    service.hedger.delay = LATE.delay
    service.hedger._counts.add(service.clock(), 1000, 0)
    return transport, http.AsyncClient(transport=transport, base_url="http://orders")


def in_flight(transport) -> int:
    return sum(view.in_flight for view in transport.nodes("orders"))


@each(TASKS)
async def test_a_loser_that_cannot_be_closed_does_not_spoil_the_winner():
    """What the close of an answer raises that does not count is no failure of the call."""

    async def fail() -> None:
        raise OSError("it was gone")

    answers = Answers(fail)
    transport, client = await race(answers)
    async with client:
        assert (await client.get("/")).status_code == 200
        assert in_flight(transport) == 0


@each([Flavour("asyncio")])
async def test_a_caller_that_leaves_while_the_loser_is_closed_leaves_nothing_behind():
    """A task that asyncio cancels is cancelled in a shielded scope as well."""
    closing, never = anyio.Event(), anyio.Event()

    async def hang() -> None:
        if not closing.is_set():
            closing.set()
            await never.wait()

    answers = Answers(hang)
    transport, client = await race(answers)
    async with client:
        call = asyncio.ensure_future(client.get("/"))
        await closing.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert set(answers.closed) == {1, 2}
        assert in_flight(transport) == 0
        assert transport._service("orders").calls == 0
