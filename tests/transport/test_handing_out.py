"""When an answer is handed out, a name called directly, and a close over: no later than it may."""

from __future__ import annotations

import threading

import pytest

from rpcguard import Node, RetryPolicy
from rpcguard.testing import ScriptedRegistry
from tests.support.calls import FLAVOURS, PATIENCE, Peer, each, settle
from tests.support.library import NoAvailableNode, http

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"


def events(kind: bytes, taken: threading.Event):
    """Send one small event, and the second only when the first has been taken."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD % kind + b"5\r\nfirst\r\n")
        taken.wait(PATIENCE)
        peer.send(b"6\r\nsecond\r\n0\r\n\r\n")

    return script


async def _parts(caller, response):
    if caller.flavour.sync:
        for part in response.iter_bytes():
            yield part
    else:
        async for part in response.aiter_bytes():
            yield part


@each(FLAVOURS)
@pytest.mark.parametrize("kind", [b"text/plain", b"text/event-stream"])
@pytest.mark.parametrize("ahead", [False, True])
async def test_a_stream_of_events_is_handed_out_before_its_second_event(
    kind, ahead, make_node, make_caller
):
    """A GET of unknown length is not read ahead by default, and events never are."""
    taken = threading.Event()
    if ahead and kind == b"text/plain":
        taken.set()  # this is what the user has asked for
    node = make_node(events(kind, taken))
    caller = make_caller(node, retry=RetryPolicy(prefetch_unknown=ahead))
    response = await caller.open()
    got = b""
    async for part in _parts(caller, response):
        got += part
        taken.set()
    assert got == b"firstsecond"
    await caller.end(response)


@each(FLAVOURS)
async def test_what_is_longer_than_the_limit_stays_a_stream(make_node, make_caller):
    """Read ahead by the user's wish, an endless answer is handed out at the limit."""
    taken = threading.Event()
    node = make_node(events(b"text/plain", taken))
    caller = make_caller(node, retry=RetryPolicy(prefetch=3, prefetch_unknown=True))
    response = await caller.open()
    assert caller.in_flight == 1
    got = b""
    async for part in _parts(caller, response):
        got += part
        taken.set()
    assert got == b"firstsecond"
    await caller.end(response)
    assert caller.in_flight == 0


@each(FLAVOURS)
async def test_a_name_that_the_registry_knew_is_never_called_directly(flavour, make_node):
    """Under `direct` a service that is gone is an error, and no call to a host of its name."""
    node, registry = make_node(), ScriptedRegistry()
    registry.set("localhost", [Node("127.0.0.1", node.port)])
    transport = flavour.transport(registry, unknown_service="direct")
    client = flavour.client(transport=transport, trust_env=False)
    assert (await settle(client.get("http://localhost/"))).text == "ok"
    registry.set("localhost", [Node("127.0.0.1", node.port, weight=0)])
    registry.set("localhost", [])
    registry.forget("localhost")
    with pytest.raises(NoAvailableNode):
        await settle(client.get(f"http://localhost:{node.port}/"))
    assert node.asked == 1
    await settle(client.close() if flavour.sync else client.aclose())


@each(FLAVOURS[:1])
def test_close_waits_for_calls_and_not_for_its_whole_time(flavour, make_node):
    """A sync close is over when the last call is, however long it might wait."""
    asked, answer = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        answer.wait(PATIENCE)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    node = make_node(script)
    transport = flavour.transport(f"static://127.0.0.1:{node.port}", drain_timeout=3600.0)
    client = http.Client(transport=transport, base_url="http://orders", trust_env=False)
    call = threading.Thread(target=client.get, args=("/",), daemon=True)
    call.start()
    assert asked.wait(PATIENCE)
    closing = threading.Thread(target=client.close, daemon=True)
    closing.start()
    answer.set()
    call.join(PATIENCE)
    closing.join(PATIENCE)
    assert not closing.is_alive()
