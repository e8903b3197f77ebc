"""What a call makes of broken nodes, on real sockets: facts/httpx.md 3.4 and 3.5, row by row."""

from __future__ import annotations

import contextlib
import io
import threading
import time

import pytest

from rpcguard import EjectionPolicy, NoAvailableNode, RetryPolicy
from rpcguard.testing import ManualClock
from tests.support.calls import (
    BOTH_CHILDREN,
    OK,
    PATIENCE,
    Dead,
    Node,
    Peer,
    each,
    eventually,
    soon,
    unhurried,
)
from tests.support.library import http

pytestmark = [
    each(BOTH_CHILDREN),
    # A time that is over amid an answer: httpx's own pool leaves that to the collector on trio.
    pytest.mark.filterwarnings("ignore:Async generator 'httpcore:ResourceWarning"),
]


def reset_on_accept(peer: Peer) -> None:
    peer.reset()


def close_on_accept(peer: Peer) -> None:
    pass


def reset_after_request(peer: Peer) -> None:
    peer.request()
    peer.reset()


def close_after_request(peer: Peer) -> None:
    peer.request()


def close_in_headers(peer: Peer) -> None:
    peer.answer(b"HTTP/1.1 200 OK\r\nContent-Le")


def garbage(peer: Peer) -> None:
    peer.answer(b"SMTP ready\r\n\r\n")


def close_in_known_body(peer: Peer) -> None:
    peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def close_in_chunked_body(peer: Peer) -> None:
    peer.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n20\r\nhalf")


def silent(peer: Peer) -> None:
    peer.request()
    peer.until_gone()


def silent_in_known_body(peer: Peer) -> None:
    peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    peer.until_gone()


def trickle(start: bytes, drops: list[bytes] | None = None):
    """Send a drop every 10 ms until the caller has gone, and note them."""

    def script(peer: Peer) -> None:
        peer.answer(start)
        peer.sock.settimeout(0.01)
        while True:
            peer.sock.sendall(b"x")
            if drops is not None:
                drops.append(b"x")
            with contextlib.suppress(TimeoutError):
                if not peer.sock.recv(1):
                    return

    return script


def status(code: int, body: bytes = b"sorry", *headers: str):
    lines = [f"HTTP/1.1 {code} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return lambda peer: peer.serve("\r\n".join(lines).encode() + body)


NEVER = 600.0
"""Seconds: longer than a test may take."""

EARLY = 0.02
"""Seconds that the clocks of a loop and of a test may differ by."""


async def lasting(seconds: float, scenario) -> None:
    """Make a call that ends by a timeout: never early; late is what hangs, which pytest ends."""

    async def timed(given: float) -> bool:
        start = time.monotonic()
        done: bool = await scenario(given)
        assert time.monotonic() - start > given - EARLY
        return done

    await unhurried(timed, seconds)


BEFORE_THE_ANSWER = [
    reset_on_accept,
    close_on_accept,
    reset_after_request,
    close_after_request,
    close_in_headers,
    garbage,
    close_in_known_body,
    status(500),
    status(502),
    status(503),
    status(504),
]
NAMES = [
    *(script.__name__ for script in BEFORE_THE_ANSWER[:7]),
    *("status500", "status502", "status503", "status504"),
]


@pytest.mark.parametrize("script", BEFORE_THE_ANSWER, ids=NAMES)
async def test_a_get_survives(script, make_node, make_caller):
    """Whatever one node does before its answer is whole, a GET is answered by the other."""
    bad, good = make_node(script), make_node()
    caller = make_caller(bad, good)
    response = await caller.call()
    assert response.text == "ok"
    first, second = response.extensions["rpcguard"].attempts
    assert (first.node.port, second.node.port) == (bad.port, good.port)
    assert second.outcome == "200"
    assert caller.view(bad).failures == 1
    assert caller.in_flight == 0


@pytest.mark.parametrize("script", BEFORE_THE_ANSWER[2:], ids=NAMES[2:])
async def test_a_post_whose_bytes_left_is_sent_once(script, make_node, make_caller):
    """A POST that may have been processed is never run twice: the user gets the failure."""
    bad, good = make_node(script), make_node()
    caller = make_caller(bad, good)
    outcome = await failure_or_status(caller.call(method="POST", content=b"pay 100"))
    if isinstance(outcome, http.TransportError):
        assert f"attempt 1 on 127.0.0.1:{bad.port}" in "".join(outcome.__notes__)
    else:
        assert outcome >= 500
    assert bad.asked == 1
    assert good.seen == []
    assert caller.view(bad).failures == 1
    assert caller.in_flight == 0


async def failure_or_status(call) -> http.TransportError | int:
    try:
        return (await call).status_code
    except http.TransportError as error:
        return error


# On trio httpcore leaves the body of a request that breaks off to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator", "ignore:Exception ignored in")
async def test_a_connection_that_breaks_at_once_may_have_taken_a_post(make_node, make_caller):
    """A reset before a byte was read looks like one after it: no second POST.

    Unless the connection did not come about at all, which the race may bring as well.
    """
    bad, good = make_node(reset_on_accept), make_node()
    caller = make_caller(bad, good)
    try:
        response = await caller.call(method="POST", content=b"pay 100")
    except http.TransportError:
        assert good.seen == []
    else:
        assert response.extensions["rpcguard"].attempts[0].outcome == "ConnectError"


@pytest.mark.parametrize("kind", ["bytes", "generator", "file", "multipart"])
async def test_a_post_that_was_not_sent_goes_to_another_node(kind, make_node, make_caller):
    """A refused POST goes to the next node whole, with a body that can be read only once too."""
    dead, good = Dead(), make_node()
    caller = make_caller(dead, good, retry=RetryPolicy(exact=True))
    if kind == "generator":
        given = {"content": caller.body(b"pay ", b"100")}
    elif kind == "file":
        content = io.BytesIO(b"pay 100") if caller.flavour.sync else b"pay 100"
        given = {"content": content}
    elif kind == "multipart":
        given = {"files": {"bill": io.BytesIO(b"pay 100")}}
    else:
        given = {"content": b"pay 100"}
    response = await caller.call(method="POST", **given)
    assert response.text == "ok"
    (seen,) = good.seen
    assert seen.whole
    assert b"pay 100" in seen.body
    assert len(response.extensions["rpcguard"].attempts) == 2
    assert caller.view(dead).state == "ejected"


@pytest.mark.parametrize("kind", ["generator", "file", "multipart"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_body_that_was_begun_is_never_sent_again(kind, method, make_node, make_caller):
    """A one-shot body that was read, even of an idempotent call, is sent once and never cut."""
    bad, good = make_node(close_after_request), make_node()
    caller = make_caller(bad, good)
    if kind == "generator":
        given = {"content": caller.body(b"x" * 1000, b"y" * 1000)}
    elif kind == "file":
        if not caller.flavour.sync:
            pytest.skip("httpx takes no file as the content of an async call")
        given = {"content": io.BytesIO(b"x" * 2000), "headers": {"Content-Length": "2000"}}
    else:
        given = {"files": {"bill": io.BytesIO(b"x" * 2000)}}
    with pytest.raises(http.TransportError):
        await caller.call(method=method, **given)
    assert bad.asked == 1
    assert good.seen == []


async def test_bytes_of_an_idempotent_call_are_sent_again(make_node, make_caller):
    """A PUT of bytes that may have been processed is repeated, with the same body."""
    bad, good = make_node(close_after_request), make_node()
    caller = make_caller(bad, good)
    response = await caller.call(method="PUT", content=b"x" * 100_000)
    assert response.text == "ok"
    assert bad.seen[0].body == good.seen[0].body == b"x" * 100_000


@pytest.mark.parametrize("way", ["header", "extension"])
async def test_a_post_may_be_declared_idempotent(way, make_node, make_caller):
    """`Idempotency-Key` or `idempotent=True` lets a POST go again."""
    bad, good = make_node(close_after_request), make_node()
    caller = make_caller(bad, good)
    if way == "header":
        given = {"headers": {"Idempotency-Key": "4711"}}
    else:
        given = {"extensions": {"rpcguard": {"idempotent": True}}}
    response = await caller.call(method="POST", content=b"pay", **given)
    assert response.text == "ok"
    assert bad.asked == good.asked == 1


async def test_a_get_may_be_declared_unsafe(make_node, make_caller):
    """`idempotent=False` forbids a second run for any method."""
    bad, good = make_node(close_after_request), make_node()
    caller = make_caller(bad, good)
    with pytest.raises(http.TransportError):
        await caller.call(extensions={"rpcguard": {"idempotent": False}})
    assert good.seen == []


@pytest.mark.parametrize("header", ["finagle-http-nack: true", "x-bd-error-code: 2003"])
async def test_a_post_that_was_refused_goes_to_another_node(header, make_node, make_caller):
    """A 503 that proves that nothing was done is safe for any method."""
    bad, good = make_node(status(503, b"no", header)), make_node()
    caller = make_caller(bad, good)
    response = await caller.call(method="POST", content=b"pay 100")
    assert response.text == "ok"
    assert caller.view(bad).state == "offline"


@pytest.mark.parametrize("script", [close_in_known_body, close_in_chunked_body])
async def test_without_prefetch_a_body_breaks_under_the_user(script, make_node, make_caller):
    """With `prefetch=0` the answer is handed out at once: its error is the user's, with a note."""
    bad, good = make_node(script), make_node()
    caller = make_caller(bad, good, retry=RetryPolicy(prefetch=0))
    with pytest.raises(http.RemoteProtocolError) as caught:
        await caller.call()
    assert f"attempt 1 on 127.0.0.1:{bad.port}: RemoteProto" in "".join(caught.value.__notes__)
    assert good.seen == []
    assert caller.view(bad).failures == 1
    assert caller.in_flight == 0


async def test_a_stream_of_unknown_length_stays_a_stream(make_node, make_caller):
    """A chunked body is not read ahead; its failure counts, and gives the node back by itself."""
    bad, good = make_node(close_in_chunked_body), make_node()
    caller = make_caller(bad, good)
    response = await caller.open()
    assert response.status_code == 200
    assert caller.in_flight == 1
    with pytest.raises(http.RemoteProtocolError):
        await caller.read(response)
    assert caller.view(bad).failures == 1
    assert caller.in_flight == 0
    await caller.end(response)
    assert caller.in_flight == 0


async def test_a_long_body_is_not_read_ahead(make_node, make_caller):
    """A known length above `prefetch` is handed out as it comes."""
    go_on = threading.Event()

    def slow(peer: Peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 1000)
        go_on.wait(20)
        peer.send(b"x" * 69000)

    caller = make_caller(make_node(slow))
    response = await caller.open()
    go_on.set()
    assert len(await caller.read(response)) == 70000


async def test_a_node_that_hangs_in_its_body_is_retried(make_node, make_caller):
    """A short body that stops coming is given up after the read timeout, and asked elsewhere."""

    async def scenario(seconds: float) -> bool:
        caller = make_caller(make_node(silent_in_known_body), make_node())
        response = await answer_of(caller, timeout=seconds)
        if response is None or response.extensions["rpcguard"].attempts[0].outcome != "ReadTimeout":
            return False
        assert response.text == "ok"
        return True

    await lasting(0.15, scenario)


async def answer_of(caller, **options) -> http.Response | None:
    """Give the answer of the good node; None where it did not come in time either."""
    try:
        return await caller.call(**options)
    except http.TimeoutException:
        return None


async def test_silence_ends_with_the_read_timeout(make_node, make_caller):
    """A silent node costs a GET the read timeout, then the other node answers."""

    async def scenario(seconds: float) -> bool:
        response = await answer_of(make_caller(make_node(silent), make_node()), timeout=seconds)
        return response is not None and response.text == "ok"

    await lasting(0.15, scenario)


async def test_silence_fails_a_post(make_node, make_caller):
    """A silent node may have run the POST: it fails after the read timeout, without a second."""

    async def scenario(seconds: float) -> bool:
        bad, good = make_node(silent), make_node()
        caller = make_caller(bad, good)
        timeout = http.Timeout(PATIENCE, read=seconds)  # what cannot connect goes to the other
        with pytest.raises(http.ReadTimeout):
            await caller.call(method="POST", content=b"pay", timeout=timeout)
        assert good.seen == []
        assert caller.view(bad).failures == 1
        await soon(lambda: bad.asked == 1, "it was not sent")
        return True

    await lasting(0.15, scenario)


async def test_attempt_timeout_leaves_time_for_a_retry(make_node, make_caller):
    """A silent node is given up after `attempt_timeout`, long before the read timeout."""

    async def scenario(seconds: float) -> bool:
        caller = make_caller(make_node(silent), make_node())
        options = {"attempt_timeout": seconds}
        response = await answer_of(caller, extensions={"rpcguard": options}, timeout=NEVER)
        if response is None or response.extensions["rpcguard"].attempts[0].outcome != "ReadTimeout":
            return False
        assert response.text == "ok"
        return True

    await lasting(0.15, scenario)


async def test_deadline_ends_the_whole_call(make_node, make_caller):
    """All attempts together last as long as `deadline` says; the last error is the user's."""

    async def scenario(seconds: float) -> bool:
        nodes = [make_node(silent) for _ in range(3)]
        caller = make_caller(*nodes)
        await caller.settle_list()
        options = {"deadline": seconds, "attempt_timeout": seconds * 2 / 3, "attempts": 3}
        with pytest.raises(http.TimeoutException) as caught:
            await caller.call(extensions={"rpcguard": options}, timeout=NEVER)
        (note,) = caught.value.__notes__
        assert "attempt 3 on" not in note
        assert nodes[2].seen == []
        return isinstance(caught.value, http.ReadTimeout) and "attempt 2 on" in note

    await lasting(0.3, scenario)


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"]
)
@pytest.mark.parametrize("idempotent", [True, False])
async def test_deadline_holds_against_a_trickle(start, idempotent, flavour, make_node, make_caller):
    """Headers or a body that come drop by drop end with the deadline, read ahead or not."""
    if flavour.child == "pool" and not start.endswith(b"\r\n\r\n"):
        pytest.skip("httpcore's pool asks for its timeout once per head")
    if flavour.child == "pool" and flavour.kind == "trio":
        pytest.skip("httpcore leaves a generator to the garbage collector, which trio reports")

    async def scenario(seconds: float) -> bool:
        caller = make_caller(make_node(trickle(start)))
        await caller.settle_list()
        options = {"deadline": seconds, "idempotent": idempotent}
        with pytest.raises(http.TimeoutException) as caught:
            await caller.call(extensions={"rpcguard": options}, timeout=NEVER)
        return isinstance(caught.value, http.ReadTimeout)

    await lasting(0.3, scenario)


async def test_deadline_includes_the_pause_before_a_retry(make_node, make_caller):
    """A pause that would outlast the deadline is not begun."""
    nodes = [make_node(status(503)) for _ in range(5)]
    caller = make_caller(*nodes, retry=RetryPolicy(attempts=5, backoff=1e9, backoff_max=1e9))
    await caller.settle_list()
    response = await caller.call(extensions={"rpcguard": {"deadline": NEVER}})
    assert response.status_code == 503
    assert len(response.extensions["rpcguard"].attempts) == 2  # the second went out at once


async def test_an_unwanted_answer_does_not_hold_up_the_retry(make_node, make_caller):
    """A 503 whose body never comes delays the next attempt by a tenth of a second at most."""

    def stuck(peer: Peer) -> None:
        peer.answer(b"HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\nhalf")
        peer.until_gone()

    caller = make_caller(make_node(stuck), make_node())
    response = await caller.call(timeout=NEVER)
    assert response.text == "ok"


# On trio httpx leaves the inner generators of its own body to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator", "ignore:Exception ignored in")
async def test_an_unwanted_answer_that_trickles_does_not_hold_up_the_retry(make_node, make_caller):
    """A 503 whose body comes drop by drop is left alone after a tenth of a second."""
    drops: list[bytes] = []
    bad = make_node(trickle(b"HTTP/1.1 503 No\r\nContent-Length: 999\r\n\r\n", drops))
    caller = make_caller(bad, make_node())
    assert (await caller.call(timeout=NEVER)).text == "ok"
    assert len(drops) < 500  # most of the body was still to come


async def test_an_unwanted_short_answer_keeps_its_connection(make_node, make_caller, monkeypatch):
    """A short 503 is read to its end, so that the connection serves the next call."""
    for room in ("_core.call.call", "_transport.sync", "_transport.aio"):
        monkeypatch.setattr(f"rpcguard.{room}.DRAIN_TIME", PATIENCE)  # it is there, but who reads?
    bad, good = make_node(status(503)), make_node()
    caller = make_caller(bad, good)
    for _ in range(3):
        assert (await caller.call()).text == "ok"
    assert len(bad.peers) == 1
    assert bad.asked == 3


async def test_an_unwanted_long_answer_is_cut_off(make_node, make_caller):
    """A long 503 is not downloaded only to be thrown away."""
    bad, good = make_node(status(503, b"x" * 70_000)), make_node()
    caller = make_caller(bad, good)
    assert (await caller.call()).text == "ok"
    assert (await caller.call()).text == "ok"
    assert len(bad.peers) == 2


async def test_the_word_of_a_foreign_transport_ends_a_post(flavour, make_node, make_caller):
    """Without `exact` its error of connecting may be one of a call that was made; a GET goes on."""
    dead, good = Dead(), make_node()
    caller = make_caller(dead, good, ejection=EjectionPolicy(enforce=False))
    assert (await caller.call()).text == "ok"
    if flavour.child == "pool":
        with pytest.raises(http.ConnectError):
            await caller.call(method="POST", content=b"pay 100")
        return
    response = await caller.call(method="POST", content=b"pay 100")
    assert response.text == "ok"


async def test_a_stale_connection_of_the_only_node(flavour, make_node, make_caller):
    """A kept connection that ended under a GET is replaced on the same node, which stays."""
    stale = threading.Event()

    def once(peer: Peer) -> None:
        peer.answer()
        peer.request()
        stale.set()

    node = make_node(once, Peer.serve)
    caller = make_caller(node)
    assert (await caller.call()).text == "ok"
    if flavour.child == "pool":
        with pytest.raises(http.TransportError):
            await caller.call()
        return  # httpx's own pool does not tell a stale connection from a new one
    response = await caller.call()
    assert stale.is_set()
    assert response.text == "ok"
    assert len(response.extensions["rpcguard"].attempts) == 2
    assert caller.view(node).state == "available"


async def test_a_post_on_a_stale_connection_is_not_repeated(make_node, make_caller):
    """A kept connection that ends under a POST may have carried it: the user gets the error."""

    def once(peer: Peer) -> None:
        peer.answer()
        peer.request()

    node, other = make_node(once, Peer.serve), make_node()
    caller = make_caller(node, other)
    assert (await caller.call(method="POST")).text == "ok"
    with pytest.raises(http.TransportError):
        await caller.call(method="POST")
    assert node.asked == 2
    assert other.seen == []


async def test_a_connection_that_ended_while_idle_costs_nothing(make_node, make_caller):
    """An idle connection that the node closed is seen before a POST is sent on it."""
    node = make_node(Peer.answer, Peer.serve)
    caller = make_caller(node)
    assert (await caller.call(method="POST")).text == "ok"
    eventually(node.peers[0].gone.is_set, "the node did not close")
    response = await caller.call(method="POST")
    assert len(response.extensions["rpcguard"].attempts) == 1


async def test_all_nodes_refuse(make_caller):
    """When nobody listens the connect error comes at once, with every attempt in its note."""
    nodes = [Dead(), Dead()]
    caller = make_caller(*nodes)
    with pytest.raises(http.ConnectError) as caught:
        await caller.call(timeout=NEVER)
    assert not isinstance(caught.value, NoAvailableNode)
    (note,) = caught.value.__notes__
    assert note.startswith("rpcguard: service orders: attempt 1 on 127.0.0.1:")
    assert all(f"on 127.0.0.1:{node.port}: ConnectError" in note for node in nodes)
    assert caught.value.request.url == "http://orders/"


async def test_retries_are_bounded_when_every_node_fails(make_node, make_caller):
    """With all nodes failing, sent / asked stays within 1.2 plus the floor of the budget."""
    nodes = [make_node(status(503)) for _ in range(3)]
    policy = RetryPolicy(budget_floor=2.0)
    caller = make_caller(*nodes, retry=policy)
    await caller.settle_list()
    clock = ManualClock(time.monotonic())  # a slow machine would have the floor of several windows
    caller.transport._service("orders").clock = clock
    for _ in range(200):
        assert (await caller.call()).status_code == 503
    sent = sum(node.asked for node in nodes)
    assert 200 * 1.15 <= sent <= 200 * 1.2 + policy.budget_floor * policy.budget_window


@pytest.mark.parametrize("kind", [RuntimeError, http.ConnectError, http.ReadError])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_failing_body_of_the_caller_blames_nobody(kind, begun, make_node, make_caller):
    """An error of the caller's own iterator reaches him as it is, and no node is blamed.

    Nor where the body is the answer of another call, which breaks by an error of the library.
    """
    caller = make_caller(node := make_node(), make_node())

    def broken():
        if begun:
            yield b"some"
        raise kind("no more paper")

    async def abroken():
        for part in broken():
            yield part

    with pytest.raises(kind, match="no more paper"):
        await caller.call(method="PUT", content=broken() if caller.flavour.sync else abroken())
    assert (caller.view(node).state, caller.view(node).failures) == ("available", 0)
    assert caller.in_flight == 0


async def test_a_refusal_of_a_large_upload_reaches_the_user(make_node, make_caller):
    """A node that answers and closes in the middle of an upload is heard."""

    def too_large(peer: Peer) -> None:
        peer.recv()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        peer.until_gone()

    caller = make_caller(make_node(too_large))
    response = await caller.call(method="POST", content=b"x" * 3_000_000)
    assert response.status_code == 413


async def test_a_dead_node_comes_back_by_a_probe(flavour, make_node, make_caller):
    """A refused node is found again in the background, without a user's call."""
    if flavour.child == "pool":
        pytest.skip("probes are off with node_transport")
    dead, good = Dead(), make_node()
    caller = make_caller(dead, good)
    assert (await caller.call()).text == "ok"
    assert caller.view(dead).state == "ejected"
    back = Node(port=dead.port)
    try:
        eventually(lambda: caller.view(dead).state != "ejected", "not restored")
        assert back.seen == []
        assert (await caller.call()).content == OK[-2:]
        assert back.asked == 1
    finally:
        back.close()
