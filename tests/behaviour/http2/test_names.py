"""For whom a connection that may speak HTTP/2 is used: names, direct hosts, older nodes."""

from __future__ import annotations

import gc
import itertools
import threading

import anyio
import pytest

from rpcguard._connections.http2.aio import AsyncHttp2Exchange
from rpcguard._connections.http2.sync import SyncHttp2Exchange
from rpcguard.registries.static import StaticRegistry
from tests.support.calls import (
    FLAVOURS,
    OK,
    Flavour,
    Peer,
    each,
    eventually,
    listed,
    registry,
    soon,
)
from tests.support.http2_node import H2, as_h2_node
from tests.support.interleavings import interleavings
from tests.support.library import Transport, http

CONCURRENT = [Flavour("asyncio"), Flavour("trio")]
LONG = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
JOIN = 20.0
"""Seconds after which a thread is taken to hang."""


@pytest.fixture
def make_secure(make_node, certified):
    """Make nodes that speak HTTP/2 over TLS, certified for some names."""

    def make(*names, act=H2.answer, protocols=("h2", "http/1.1")):
        context = certified(*names)
        context.set_alpn_protocols(list(protocols))
        node = make_node(tls=context)
        return as_h2_node(node, act) if "h2" in protocols else node

    return make


@pytest.fixture
def make_secure_caller(make_caller, trusting):
    """Make callers that offer both protocols."""
    return lambda *nodes, **options: make_caller(
        *nodes,
        **{"verify": trusting, "http2": True, "client": {"base_url": "https://orders"}} | options,
    )


@each(FLAVOURS)
async def test_a_connection_serves_only_the_name_that_it_was_verified_for(
    make_secure, make_secure_caller
):
    """A name that the certificate does not have is refused, one that it has gets its own."""
    node = make_secure("orders", "billing")
    caller = make_secure_caller(node)
    await caller.call()
    extensions = {"sni_hostname": "evil", "rpcguard": {"attempts": 1}}
    with pytest.raises(http.ConnectError):
        await caller.call(extensions=extensions)
    for _ in range(2):
        assert (await caller.call(extensions={"sni_hostname": "billing"})).text == "ok"
    assert (await caller.call()).text == "ok"
    assert node.names == ["orders", "evil", "billing"]


@each(FLAVOURS)
async def test_a_direct_host_has_connections_of_the_same_kind(
    make_secure, make_secure_caller, make_node
):
    """HTTP/2 where it is agreed on, one connection for each name, HTTP/1.1 without TLS."""
    node, plain = make_secure("localhost", "127.0.0.1"), make_node()
    caller = make_secure_caller(listing=StaticRegistry({}), unknown_service="direct")
    for host in ("localhost", "127.0.0.1", "localhost"):
        answer = await caller.call(f"https://{host}:{node.port}/")
        assert (answer.http_version, answer.text) == ("HTTP/2", "ok")
    assert len(node.peers) == 2
    assert {authority for _, authority in node.calls} == {
        f"localhost:{node.port}",
        f"127.0.0.1:{node.port}",
    }
    answer = await caller.call(f"http://127.0.0.1:{plain.port}/")
    assert (answer.http_version, answer.text) == ("HTTP/1.1", "ok")


@each(FLAVOURS)
async def test_a_node_that_agrees_on_http1_is_spoken_to_on_that_connection(
    make_secure, make_secure_caller
):
    """Nothing is dialled in vain, and the next calls use it too."""
    node = make_secure("orders", protocols=("http/1.1",))
    caller = make_secure_caller(node)
    for method in ("POST", "GET", "POST"):
        answer = await caller.call(method=method, content=b"pay")
        assert (answer.http_version, answer.text) == ("HTTP/1.1", "ok")
    assert len(node.peers) == 1
    (view,) = caller.transport.nodes("orders")
    assert (view.connections.idle, view.connections.in_use) == (1, 0)


@each(CONCURRENT)
async def test_calls_that_wait_for_a_node_of_http1_connect_for_themselves(
    make_secure, make_secure_caller
):
    """Five at once: those who waited for the first one's handshake do not wait for its answer."""
    node = make_secure("orders", protocols=("http/1.1",))
    caller = make_secure_caller(node)
    await caller.settle_list()
    answers = []

    async def call() -> None:
        answers.append(await caller.call(method="POST", content=b"pay"))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(call)
    assert [answer.http_version for answer in answers] == ["HTTP/1.1"] * 5


@each(FLAVOURS)
async def test_http2_alone_is_spoken_by_prior_knowledge(make_secure, make_secure_caller):
    """With `http1=False` no more than HTTP/2 is offered, and a node without ALPN gets it too."""
    node = make_secure("orders", protocols=("h2",))
    caller = make_secure_caller(node, http1=False)
    assert (await caller.call()).http_version == "HTTP/2"


@each(FLAVOURS)
async def test_an_answer_that_is_dropped_gives_its_place_back(make_h2, make_h2_caller):
    """Nobody closed it: with one connection of one call at most, the next call works."""
    node = make_h2()
    caller = make_h2_caller(node, limits=http.Limits(max_connections=1))
    response = await caller.open()
    del response
    gc.collect()
    assert (await caller.call()).text == "ok"
    assert caller.in_flight == 0


@each(FLAVOURS)
async def test_the_network_stream_tells_who_answered(make_h2, make_h2_caller):
    """As for HTTP/1.1: the addresses of both ends and the socket."""
    node = make_h2()
    caller = make_h2_caller(node)
    answer = await caller.call()
    stream = answer.extensions["network_stream"]
    assert stream.get_extra_info("server_addr")[1] == node.port
    assert stream.get_extra_info("socket").fileno() >= 0


@each(FLAVOURS)
async def test_hooks_hear_each_step(make_h2, make_h2_caller):
    """Under the names that httpcore gave them."""
    heard = []

    def trace(name, _info):
        heard.append(name)

    async def atrace(name, _info):
        heard.append(name)

    caller = make_h2_caller(make_h2())
    hook = trace if caller.flavour.sync else atrace
    await caller.call(method="POST", content=b"pay", extensions={"trace": hook})
    steps = [
        "connection.connect_tcp",
        "http2.send_connection_init",
        "http2.send_request_headers",
        "http2.send_request_body",
        "http2.receive_response_headers",
        "http2.receive_response_body",
        "http2.response_closed",
    ]
    assert heard == [f"{step}.{end}" for step in steps for end in ("started", "complete")]


@each(FLAVOURS)
async def test_closing_cuts_what_is_under_way(make_h2, make_h2_caller):
    """After the time to drain a call gets an error of the library, and no socket stays open."""
    node = make_h2(lambda *_: None)
    caller = make_h2_caller(node, drain_timeout=0.1)
    failures = []

    async def call() -> None:
        try:
            if caller.flavour.sync:
                await anyio.to_thread.run_sync(lambda: caller.client.get("/late"))
            else:
                await caller.call("/late")
        except http.TransportError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await soon(lambda: "/late" in node.asked_for, "it is under way")
        if caller.flavour.sync:
            await anyio.to_thread.run_sync(caller.transport.close)
        else:
            await caller.transport.aclose()
    assert len(failures) == 1
    await soon(lambda: node.open == 0, "the connection is closed")


@each(FLAVOURS)
async def test_an_idle_connection_is_closed_without_further_calls(
    make_h2, make_h2_caller, swept_often
):
    """At its expiry, by the sweep of its transport."""
    node = make_h2()
    limits = http.Limits(max_connections=5, keepalive_expiry=0.05)
    caller = make_h2_caller(node, limits=limits)
    await caller.call()
    await soon(lambda: node.open == 0, "it is closed")
    (view,) = caller.transport.nodes("orders")
    assert view.connections.idle == 0


@each(FLAVOURS)
async def test_a_node_that_pings_an_idle_connection_is_answered(
    make_h2, make_h2_caller, swept_often
):
    """Nobody reads on trio and in threads but the sweep."""
    answered = threading.Event()

    class Pinging(H2):
        def take(self, event) -> None:
            super().take(event)
            if type(event).__name__ == "PingAckReceived":
                answered.set()

    node = make_h2()
    node.scripts = (lambda peer: Pinging(peer, H2.answer).run(),)
    caller = make_h2_caller(node, limits=http.Limits(max_connections=5, keepalive_expiry=60))
    await caller.call()
    speaker = node.speakers[0]
    speaker.say(speaker.wire.ping, b"12345678")
    await soon(answered.is_set, "it is answered")
    assert node.open == 1


def test_threads_that_wait_for_a_node_of_http1_keep_to_its_limit(make_node, certified, trusting):
    """They wait for the handshake of the first one, and then for its connection."""
    goes_on, answers = threading.Event(), []

    def slow(peer: Peer) -> None:
        while peer.request():
            goes_on.wait(JOIN)
            peer.send(OK)

    context = certified("orders")
    context.set_alpn_protocols(["http/1.1"])
    node = make_node(slow, tls=context)
    limits = http.Limits(max_connections=1)
    with Transport(registry(node), verify=trusting, http2=True, limits=limits) as transport:
        client = http.Client(transport=transport, base_url="https://orders", timeout=JOIN)
        threads = [
            threading.Thread(target=lambda: answers.append(client.get("/")), daemon=True)
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        nodes = lambda: [view.connections for view in transport.nodes("orders")]  # noqa: E731
        eventually(lambda: [at.waiting for at in nodes() if at] == [2], "they do not wait")
        goes_on.set()
        for thread in threads:
            thread.join(JOIN)
    assert [answer.http_version for answer in answers] == ["HTTP/1.1"] * 3
    assert len(node.peers) == 1


@each(CONCURRENT)
async def test_a_connection_that_is_one_too_many_is_closed_at_once(
    make_secure, make_secure_caller, monkeypatch
):
    """It was made to learn that the node speaks HTTP/1.1, while another name has the only one."""
    monkeypatch.setattr(AsyncHttp2Exchange, "sweep", lambda _: None)
    goes_on = threading.Event()

    def halved(peer: Peer) -> None:
        while peer.request():
            peer.send(LONG)
            goes_on.wait(JOIN)
            peer.send(b"0\r\n\r\n")

    node = make_secure("orders", "billing", protocols=("http/1.1",))
    node.scripts = (halved,)
    caller = make_secure_caller(node, limits=http.Limits(max_connections=1))
    first = await caller.open()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: caller.call(extensions={"sni_hostname": "billing"}))
        await soon(lambda: len(node.peers) == 2, "it is not made")
        await soon(lambda: node.open == 1, "it stays open")
        goes_on.set()
        await caller.end(first)


@each(FLAVOURS)
async def test_an_idle_connection_of_another_name_goes_before_one_is_opened(
    make_secure, make_secure_caller, monkeypatch
):
    """There is place for one, and a call that goes on holds it: none is left for the sweep."""
    for kind in (AsyncHttp2Exchange, SyncHttp2Exchange):
        monkeypatch.setattr(kind, "sweep", lambda _: None)
    node = make_secure("orders", "billing")
    caller = make_secure_caller(node, limits=http.Limits(max_connections=1))
    await caller.call()
    response = await caller.open(method="POST", extensions={"sni_hostname": "billing"})
    await soon(lambda: node.open == 1, "it stays open")
    await caller.end(response)
    assert node.names == ["orders", "billing"]


def as_agreed(peer: Peer) -> None:
    if peer.sock.selected_alpn_protocol() == "h2":
        H2(peer, H2.answer).run()
    else:
        peer.serve()


def test_what_one_connection_offers_is_not_changed_by_another(make_secure, trusting):
    """Two threads connect to an old node and a new one by one TLS context, in the same moment."""
    old, new = make_secure("billing", protocols=("http/1.1",)), make_secure("orders")
    new.scripts = (as_agreed,)
    services = StaticRegistry({"billing": listed([old]), "orders": listed([new])})
    limits, answers = http.Limits(max_keepalive_connections=0), []
    files = "/_connections/exchange.py", "/_wire/tls.py"
    with Transport(services, verify=trusting, http2=True, limits=limits) as transport:
        client = http.Client(transport=transport, trust_env=False)

        def call_new() -> None:
            answers.append(client.get("https://orders/").http_version)

        def call_old() -> None:
            assert client.get("https://billing/").http_version == "HTTP/1.1"

        call_old()
        amid = interleavings(lambda: (call_new, call_old), lambda name: name.endswith(files))
        for where, raised in itertools.islice(amid, 40):  # up to the middle of the handshake
            assert not raised, where
            assert answers.pop() == "HTTP/2", where
