"""Server-sent events: bodies without an end."""

from __future__ import annotations

import threading
import time

import anyio
import pytest

from tests.support.calls import FLAVOURS, Caller, each, eventually, settle, soon, unhurried
from tests.support.library import http

pytestmark = [
    each(FLAVOURS),
    # trio minds that httpx and httpcore do not close the iterators below one that is left early.
    pytest.mark.filterwarnings(
        "ignore:.*(aiter_|__aiter__|_receive_response_body):pytest.PytestUnraisableExceptionWarning"
    ),
]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def next_event(caller: Caller, lines) -> str:
    """Read the next event of a stream."""
    while True:
        line = next(lines) if caller.flavour.sync else await anext(lines)
        if line:
            return line


def lines_of(caller: Caller, response):
    return response.iter_lines() if caller.flavour.sync else response.aiter_lines()


async def leave(lines) -> None:
    """End an iterator that is not read to its end."""
    await settle(lines.aclose() if hasattr(lines, "aclose") else lines.close())


async def test_events_are_handed_out_as_they_come(make_provider, make_caller):
    """Nothing is read ahead, the node is busy meanwhile, and leaving early ends the stream."""
    provider = make_provider()
    caller = make_caller(provider)
    response = await caller.open("/events")
    assert response.headers["content-type"] == "text/event-stream"
    lines = lines_of(caller, response)
    told = [await next_event(caller, lines) for _ in range(20)]
    assert told == [f"data: {number}" for number in range(20)]
    assert caller.view(provider).in_flight == 1
    await leave(lines)
    await caller.end(response)
    await soon(provider.gone.is_set, "the provider sees the caller leave")
    view = caller.view(provider)
    assert (view.in_flight, view.successes, view.failures) == (0, 1, 0)


async def test_a_stream_that_breaks_off_is_not_sent_again(make_node, make_caller):
    """Once the caller has the answer there is no retry: it gets an error, the node the blame."""

    def break_off(peer) -> None:
        peer.answer(HEAD + b"9\r\ndata: 0\n\n\r\n")

    broken, other = make_node(break_off), make_node()
    caller = make_caller(broken, other)
    response = await caller.open("/events")
    lines = lines_of(caller, response)
    assert await next_event(caller, lines) == "data: 0"
    with pytest.raises(http.RemoteProtocolError):
        await next_event(caller, lines)
    await caller.end(response)
    assert (len(broken.seen), other.seen) == (1, [])
    view = caller.view(broken)
    assert (view.in_flight, view.failures) == (0, 1)


async def test_a_node_that_fails_before_its_answer_is_replaced(
    make_provider, make_caller, make_node
):
    """Until there is an answer a stream is a call like any other."""
    silent, provider = make_node(lambda peer: peer.request()), make_provider()
    caller = make_caller(silent, provider)
    response = await caller.open("/events")
    lines = lines_of(caller, response)
    assert await next_event(caller, lines) == "data: 0"
    assert len(response.extensions["rpcguard"].attempts) == 2
    await leave(lines)
    await caller.end(response)


async def test_close_lets_a_stream_go_on_and_then_cuts_it(make_provider, make_caller):
    """Events come until `drain_timeout` is over; then the reader gets an error, not silence."""
    provider = make_provider()

    async def scenario(seconds: float) -> bool:
        caller = make_caller(provider, drain_timeout=seconds)
        response = await caller.open("/events")
        lines = lines_of(caller, response)
        begun = time.monotonic()
        told, took = [], 0.0

        async def read() -> None:
            nonlocal took
            with pytest.raises(http.TransportError):  # noqa: PT012
                while True:
                    told.append(await next_event(caller, lines))
            took = time.monotonic() - begun

        if caller.flavour.sync:
            closing = threading.Thread(target=caller.transport.close)
            closing.start()
            await read()
            closing.join()
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(caller.transport.aclose)
                await read()
        await caller.end(response)
        assert took > 0.8 * seconds
        return len(told) > 5

    await unhurried(scenario, 0.5)


async def test_close_waits_for_a_stream_no_longer_than_it_lasts(make_provider, make_caller):
    """A reader that ends by itself lets `close` return at once."""
    caller = make_caller(make_provider(), drain_timeout=600.0)
    response = await caller.open("/events")
    lines = lines_of(caller, response)
    closing = None
    if caller.flavour.sync:
        closing = threading.Thread(target=caller.transport.close)
        closing.start()
        eventually(lambda: caller.transport._closed, "it closes")
        await next_event(caller, lines)
        await leave(lines)
        await caller.end(response)
        closing.join(30)
        assert not closing.is_alive()
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(caller.transport.aclose)
            await soon(lambda: caller.transport._closed, "it closes")
            await next_event(caller, lines)
            await leave(lines)
            await caller.end(response)
