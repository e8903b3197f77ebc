"""SDKs that are given a client with rpcguard's transport: answers, streams, retries and errors."""

from __future__ import annotations

import threading

import pytest

import rpcguard
from tests.behaviour.frameworks.sdks import END, SDKS, STREAM, answer, chunk, parts
from tests.support.calls import FLAVOURS, Dead, Peer, each, settle, soon, unhurried
from tests.support.library import http
from tests.support.scripts import hang

pytestmark = pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.client)
callers = each(FLAVOURS)
streamers = each(FLAVOURS[:2])  # on trio the SDKs leave their generators to the garbage collector
AGAIN = "retry-after-ms: 1"  # the SDKs' own word, so that they do not wait long


@callers
async def test_an_answer(sdk, make_node, make_caller):
    """A dead node costs the SDK nothing: it sees one call, which was sent once."""
    node = make_node(lambda peer: peer.serve(sdk.whole))
    caller = make_caller(Dead(), node)
    told = await sdk.ask(sdk.make(caller))
    assert sdk.text(told) == "one two three"
    assert node.methods == ["POST"]
    assert node.seen[0].headers["host"] == "orders"
    assert node.seen[0].headers["x-stainless-retry-count"] == "0"
    assert caller.in_flight == 0


@streamers
async def test_a_stream(sdk, make_node, make_caller):
    """Events arrive as the node sends them, and the node is in use until the last one."""
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        first, *rest = map(chunk, sdk.events)
        peer.answer(STREAM + first)
        go_on.wait(20)
        peer.send(b"".join(rest) + END)
        peer.until_gone()

    node = make_node(script)
    caller = make_caller(Dead(), node)
    words: list[str] = []
    async for part in parts(await sdk.ask(sdk.make(caller), stream=True)):
        words.append(sdk.text(part))
        assert go_on.is_set() or (words, caller.in_flight) == (["one "], 1)
        go_on.set()
    assert "".join(words) == "one two three"
    assert caller.in_flight == 0


@streamers
async def test_a_stream_that_is_left_early(sdk, make_node, make_caller):
    """Closing the SDK's stream gives the node back, and its connection is not used again."""

    def script(peer: Peer) -> None:
        peer.answer(STREAM + chunk(sdk.events[0]))
        peer.until_gone()

    node = make_node(script, lambda peer: peer.serve(sdk.whole))
    caller = make_caller(node)
    client = sdk.make(caller)
    stream = await sdk.ask(client, stream=True)
    async for part in parts(stream):
        assert sdk.text(part) == "one "
        break
    await settle(stream.close())
    assert caller.in_flight == 0
    assert sdk.text(await sdk.ask(client)) == "one two three"
    await soon(node.peers[0].gone.is_set, "the connection was left open")


@streamers
async def test_a_stream_that_breaks(sdk, make_node, make_caller):
    """A node that dies in mid-stream fails the call, counts against it, and nothing is resent."""

    def script(peer: Peer) -> None:
        peer.answer(STREAM + chunk(sdk.events[0]))

    bad, good = make_node(script), make_node(lambda peer: peer.serve(sdk.whole))
    caller = make_caller(bad, good)
    stream = await sdk.ask(sdk.make(caller, max_retries=2), stream=True)
    words: list[str] = []

    async def read() -> None:
        async for part in parts(stream):
            words.append(sdk.text(part))  # noqa: PERF401 (those before the failure are kept)

    with pytest.raises(sdk.broken):
        await read()
    assert words == ["one "]
    assert good.seen == []
    assert (caller.view(bad).failures, caller.in_flight) == (1, 0)


@callers
async def test_no_node(sdk, make_caller):
    """Without a node the SDK raises its own error, at once, and rpcguard's is the cause."""
    client = sdk.make(make_caller())
    with pytest.raises(sdk.module.APIConnectionError) as caught:
        await sdk.ask(client)
    assert isinstance(caught.value.__cause__, rpcguard.NoAvailableNode)
    assert "lists no node" in str(caught.value.__cause__)


@callers
async def test_a_failed_call(sdk, make_node, make_caller):
    """A POST that may have run is not sent again, and the cause tells of the attempt."""
    bad, good = make_node(Peer.request), make_node()
    client = sdk.make(make_caller(bad, good))
    with pytest.raises(sdk.module.APIConnectionError) as caught:
        await sdk.ask(client)
    assert isinstance(caught.value.__cause__, http.RemoteProtocolError)
    assert f"127.0.0.1:{bad.port}" in "".join(caught.value.__cause__.__notes__)
    assert good.seen == []


@each(FLAVOURS[:1])  # it takes the SDK half a second
async def test_retries_of_the_sdk(sdk, make_node, make_caller):
    """What the SDK repeats on its own is a new call to rpcguard, with one attempt more."""
    node = make_node(Peer.request, lambda peer: peer.serve(sdk.whole))
    caller = make_caller(node)
    told = await sdk.ask(sdk.make(caller, max_retries=2))
    assert sdk.text(told) == "one two three"
    counted = [seen.headers["x-stainless-retry-count"] for seen in node.seen]
    assert (node.methods, counted) == (["POST", "POST"], ["0", "1"])
    assert (caller.view(node).failures, caller.view(node).successes) == (1, 1)


@pytest.mark.parametrize(("max_retries", "attempts"), [(0, 2), (2, 6)])
@callers
async def test_retries_multiply(sdk, max_retries, attempts, make_node, make_caller):
    """Each repetition of the SDK is a call of its own: with the default of 2 a GET is sent 6 times.

    A POST that is answered with 503 is repeated by the SDK alone.
    """
    busy = answer({"error": {"message": "busy"}}, 503, AGAIN)
    nodes = [make_node(lambda peer: peer.serve(busy)) for _ in range(2)]
    client = sdk.make(make_caller(*nodes), max_retries=max_retries)
    with pytest.raises(sdk.module.InternalServerError):
        await settle(client.models.list())
    assert sum(node.asked for node in nodes) == attempts
    with pytest.raises(sdk.module.InternalServerError):
        await sdk.ask(client)
    assert sum(node.asked for node in nodes) == attempts + 1 + max_retries


@callers
async def test_timeouts(sdk, make_node, make_caller):
    """The SDK's timeout is each attempt's: a GET gets a second one, a POST its error."""
    empty = answer({"object": "list", "data": [], "has_more": False})

    async def scenario(seconds: float) -> bool:
        silent, good = make_node(hang), make_node(lambda peer: peer.serve(empty))
        client = sdk.make(make_caller(silent, good), timeout=seconds)
        try:
            assert (await settle(client.models.list())).data == []
        except sdk.module.APITimeoutError:
            return False
        assert (silent.asked, good.asked) == (1, 1)
        with pytest.raises(sdk.module.APITimeoutError) as caught:
            await sdk.ask(client)
        assert isinstance(caught.value.__cause__, http.ReadTimeout)
        assert good.asked == 1
        return True

    await unhurried(scenario, 0.2)


@callers
async def test_a_deadline_by_an_event_hook(sdk, make_node, make_caller, flavour):
    """What an SDK has no parameter for is said by a hook of the client."""

    def hurry(request) -> None:
        request.extensions["rpcguard"] = {"deadline": 0.2}

    async def ahurry(request) -> None:
        hurry(request)

    hooks = {"event_hooks": {"request": [hurry if flavour.sync else ahurry]}}
    caller = make_caller(make_node(hang), client=hooks)
    await caller.settle_list()
    with pytest.raises(sdk.module.APITimeoutError):
        await sdk.ask(sdk.make(caller, timeout=20))


@callers
async def test_closing_the_sdk(sdk, make_node, make_caller):
    """The SDK's `close` closes the client and the transport."""
    node = make_node(lambda peer: peer.serve(sdk.whole))
    caller = make_caller(node)
    client = sdk.make(caller)
    await sdk.ask(client)
    await settle(client.close())
    await soon(lambda: node.open == 0, "a connection was left open")
    request = http.Request("GET", "http://orders/")
    transport = caller.transport
    handle = transport.handle_request if caller.flavour.sync else transport.handle_async_request
    with pytest.raises(rpcguard.TransportClosed):
        await settle(handle(request))
