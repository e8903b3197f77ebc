"""What any httpx client does keeps working through the transport."""

from __future__ import annotations

import base64
import gzip
import hashlib
import math
import re
import threading
import time
import tracemalloc

import anyio
import pytest

from rpcguard import CallInfo, NoAvailableNode, TransportClosed
from rpcguard.testing import ManualClock
from tests.support.calls import (
    FLAVOURS,
    OK,
    PATIENCE,
    Dead,
    Peer,
    each,
    eventually,
    listed,
    registry,
    settle,
    unhurried,
)
from tests.support.library import http

pytestmark = each(FLAVOURS)


def answer(status=200, body=b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def by_path(answers: dict[str, bytes]):
    """Answer each path with its bytes."""

    def script(peer: Peer) -> None:
        while (seen := peer.request()) is not None:
            peer.send(answers[seen.line.split(" ")[1]])

    return script


async def test_base_url(make_node, make_caller):
    """The path of `base_url` is kept, and the port in it is not used to find the service."""
    node = make_node()
    caller = make_caller(node, client={"base_url": "http://orders:9999/api/v1/"})
    assert (await caller.call("items?x=1")).text == "ok"
    assert node.seen[0].line == "GET /api/v1/items?x=1 HTTP/1.1"
    assert node.seen[0].headers["host"] == "orders:9999"


async def test_mounts(flavour, make_node, make_caller):
    """Mounted for one service, the transport leaves every other URL alone."""
    node, plain = make_node(), make_node(lambda peer: peer.serve(answer(200, b"plain")))
    transport = make_caller(node).transport
    client = flavour.client(mounts={"all://orders": transport}, trust_env=False)
    try:
        assert (await settle(client.get("http://orders/"))).text == "ok"
        assert (await settle(client.get(f"http://127.0.0.1:{plain.port}/"))).text == "plain"
    finally:
        await settle(client.close() if flavour.sync else client.aclose())


async def test_upper_case_host(make_node, make_caller):
    """A service is found whatever the case of its name, in the URL and in the methods."""
    node = make_node()
    caller = make_caller(node)
    assert (await caller.call("http://OrDeRs/")).text == "ok"
    assert len(caller.transport.nodes("ORDERS")) == 1


@pytest.mark.parametrize("location", ["/new", "new", "http://orders/new", "//orders/new"])
async def test_redirects_to_the_service(location, make_node, make_caller):
    """Relative and absolute redirects to the service are calls of their own."""
    script = by_path(
        {"/old": answer(302, b"", f"Location: {location}"), "/new": answer(200, b"here")}
    )
    node = make_node(script)
    caller = make_caller(node)
    response = await caller.call("/old", follow_redirects=True)
    assert response.text == "here"
    assert str(response.url) == "http://orders/new"
    assert [str(hop.url) for hop in response.history] == ["http://orders/old"]
    assert [seen.headers["host"] for seen in node.seen] == ["orders", "orders"]


async def test_redirect_to_a_node_address_is_refused(make_node, make_caller):
    """A redirect that leaves the service is an error that says so."""
    node = make_node()
    away = f"http://127.0.0.1:{node.port}/new"
    caller = make_caller(make_node(by_path({"/old": answer(302, b"", f"Location: {away}")})))
    with pytest.raises(http.ConnectError, match=r"'127\.0\.0\.1'.*does not know this service"):
        await caller.call("/old", follow_redirects=True)
    assert node.seen == []


async def test_redirect_to_a_node_address_with_direct(make_node, make_caller):
    """With `unknown_service="direct"` such a redirect is followed like any URL."""
    node = make_node()
    away = f"http://127.0.0.1:{node.port}/new"
    script = by_path({"/old": answer(302, b"", f"Location: {away}")})
    caller = make_caller(make_node(script), unknown_service="direct")
    response = await caller.call("/old", follow_redirects=True)
    assert response.text == "ok"
    assert node.seen[0].headers["host"] == f"127.0.0.1:{node.port}"


async def test_direct_fails_as_httpx_does(make_caller, make_node):
    """An unknown host that cannot be reached is a connect error, and so is one without address."""
    caller = make_caller(make_node(), unknown_service="direct")
    with pytest.raises(http.ConnectError):
        await caller.call(f"http://127.0.0.1:{Dead().port}/")
    with pytest.raises(http.ConnectError, match=r"'nobody\.invalid:80'.*does not know"):
        await caller.call("http://nobody.invalid/")


def closing(*last: bytes):
    """Answer once on each connection, and end it as the next request comes."""

    def script(peer: Peer) -> None:
        peer.answer()
        if peer.sock.recv(1):
            for said in last:
                peer.send(said)

    return script


@pytest.mark.parametrize(
    "last",
    [(), (answer(408, b"", "Connection: close"),)],
    ids=["closed", "408"],
)
async def test_direct_goes_again_where_its_connection_had_ended(last, make_caller, make_node):
    """A GET is sent once more, over a new connection; a POST is not, it may have run."""
    node = make_node(closing(*last))
    caller = make_caller(make_node(), unknown_service="direct")
    url = f"http://127.0.0.1:{node.port}/"
    for _ in range(4):
        assert (await caller.call(url)).text == "ok"
    assert len(node.seen) == 4
    try:
        assert (await caller.call(url, method="POST")).status_code == 408
    except http.TransportError:
        assert last == ()
    assert len(node.seen) == 4


@pytest.mark.parametrize("option", ["deadline", "attempt_timeout"])
async def test_direct_keeps_to_the_time_of_the_call(option, make_caller, make_node):
    """A host that does not answer is given up when the call says so, not when the client does."""
    silent = make_node(lambda peer: (peer.request(), peer.until_gone()))
    caller = make_caller(make_node(), unknown_service="direct")

    async def is_given_up(seconds: float) -> bool:
        """Tell whether that no service has this name was found, and it was called, in time."""
        options = {"timeout": 60.0, "extensions": {"rpcguard": {option: seconds}}}
        with pytest.raises((http.TimeoutException, NoAvailableNode)) as caught:
            await caller.call(f"http://127.0.0.1:{silent.port}/", **options)
        return isinstance(caught.value, http.ReadTimeout)

    with anyio.fail_after(PATIENCE):
        await unhurried(is_given_up, 0.05)


@pytest.mark.parametrize(
    ("options", "before", "after"),
    [
        ({"attempt_timeout": 2.0, "deadline": 5.0}, 0.5, 3.5),
        ({"attempt_timeout": 2.0}, 0.5, 60.0),
        ({"deadline": 5.0}, 3.5, 3.5),
        ({}, 60.0, 60.0),
    ],
)
async def test_direct_and_what_is_left(options, before, after, make_caller, make_node):
    """Until the answer is there each try counts, and for its body only the deadline."""
    clock = ManualClock(math.ceil(time.monotonic()))  # its list may come before the clock is set
    # A mock's answer is closed from the start, so nobody ends the call.
    caller = make_caller(make_node(), unknown_service="direct", drain_timeout=0)
    given = []

    class Responding:
        def handle_request(self, request):
            clock.advance(1.5)
            given.append(request.extensions["timeout"])
            assert given[0]["read"] == before
            return http.Response(200)

        async def handle_async_request(self, request):
            return self.handle_request(request)

        def close(self) -> None:
            """Nothing is open."""

        async def aclose(self) -> None:
            """Nothing is open."""

    caller.transport._make.child = lambda *_: Responding()
    for table, name in enumerate(("127.0.0.1", "127.0.0.1:80")):
        caller.transport._service(name, table).clock = clock
    extensions = {"rpcguard": options}
    response = await caller.call("http://127.0.0.1/", timeout=60.0, extensions=extensions)
    assert response.status_code == 200
    assert given[0]["read"] == after


async def test_direct_checks_the_options(make_caller, make_node):
    """Wrong options are refused for an unknown host, too."""
    caller = make_caller(make_node(), unknown_service="direct")
    with pytest.raises(ValueError, match="not 'retry'"):
        await caller.call("http://127.0.0.1:1/", extensions={"rpcguard": {"retry": 1}})


async def test_cookies_by_logical_host(make_node, make_caller):
    """A cookie that one node sets is sent to the others of the service, and to no other."""
    one = make_node(lambda peer: peer.serve(answer(200, b"", "Set-Cookie: sid=7; Path=/")))
    two, bill = make_node(), make_node()
    listing = registry(one, two, billing=listed([bill]))
    caller = make_caller(listing=listing)
    await caller.call()
    assert caller.client.cookies.get("sid", domain="orders") == "7" or (
        caller.client.cookies["sid"] == "7"
    )
    caller.transport.mark_offline("orders", f"127.0.0.1:{one.port}")
    await caller.call()
    await caller.call("http://billing/")
    assert two.seen[0].headers["cookie"] == "sid=7"
    assert "cookie" not in bill.seen[0].headers


async def test_basic_auth(make_node, make_caller):
    """Credentials reach the node."""
    node = make_node()
    await make_caller(node).call(auth=("ann", "secret"))
    token = base64.b64encode(b"ann:secret").decode()
    assert node.seen[0].headers["authorization"] == f"Basic {token}"


async def test_digest_auth_over_two_nodes(make_node, make_caller):
    """A digest challenge is answered, whichever node asks and whichever is called next."""

    def guard(peer: Peer) -> None:
        challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
        while (seen := peer.request()) is not None:
            given = seen.headers.get("authorization", "")
            if not given:
                peer.send(answer(401, b"who?", challenge))
                continue
            fields = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
            ha1 = hashlib.md5(b"ann:r:secret").hexdigest()
            ha2 = hashlib.md5(b"GET:/safe").hexdigest()
            right = f"{ha1}:n:{fields['nc']}:{fields['cnonce']}:auth:{ha2}"
            good = hashlib.md5(right.encode()).hexdigest() == fields["response"]
            peer.send(OK if good else answer(403))

    caller = make_caller(make_node(guard), make_node(guard))
    response = await caller.call("/safe", auth=http.DigestAuth("ann", "secret"))
    assert response.status_code == 200


async def test_event_hooks_run_once_per_call(flavour, make_node, make_caller):
    """Hooks see the call with its logical URL, not its attempts."""
    told: list[str] = []

    def note(what) -> None:
        told.append(str(what.url))

    async def anote(what) -> None:
        note(what)

    hook = note if flavour.sync else anote
    hooks = {"event_hooks": {"request": [hook], "response": [hook]}}
    caller = make_caller(Dead(), good := make_node(), client=hooks)
    assert (await caller.call("/x")).text == "ok"
    assert told == ["http://orders/x", "http://orders/x"]
    assert good.asked == 1


async def test_streaming_down(flavour, make_node, make_caller):
    """Chunks arrive as the node sends them."""
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        go_on.wait(20)
        peer.send(b"4\r\nlast\r\n0\r\n\r\n")
        peer.until_gone()

    response = await make_caller(make_node(script)).open()
    if flavour.sync:
        chunks = response.iter_raw()
        assert next(chunks) == b"first"
        go_on.set()
        assert list(chunks) == [b"last"]
    else:
        achunks = response.aiter_raw()
        assert await anext(achunks) == b"first"
        go_on.set()
        assert [chunk async for chunk in achunks] == [b"last"]


async def test_a_large_upload_is_not_buffered(flavour, make_node, make_caller):
    """50 MB from a generator pass through without being held in memory."""
    count = 0

    def swallow(peer: Peer) -> None:
        nonlocal count
        end = b""
        while not end.endswith(b"\r\n0\r\n\r\n"):
            data = peer.recv()
            count += len(data)
            end = (end + data)[-20:]
        peer.send(OK)
        peer.until_gone()

    part = b"x" * 65536

    def parts():
        for _ in range(800):
            yield part

    async def aparts():
        for _ in range(800):
            yield part

    caller = make_caller(make_node(swallow), client={"timeout": 30.0})
    tracemalloc.start()
    try:
        response = await caller.call(method="PUT", content=parts() if flavour.sync else aparts())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.text == "ok"
    assert count > 800 * 65536
    assert peak < 8_000_000


async def test_elapsed(make_node, make_caller):
    """The client's stopwatch works, for answers that are read ahead and for streams."""
    caller = make_caller(make_node())
    assert (await caller.call()).elapsed.total_seconds() > 0
    assert (await caller.call(method="POST")).elapsed.total_seconds() > 0


async def test_extensions_pass_through(flavour, make_node, make_caller):
    """`trace`, `target` and unknown extensions reach the child; `rpcguard` stays here."""
    events: list[str] = []
    given: list[dict] = []

    def trace(event, _info) -> None:
        events.append(event)

    async def atrace(event, _info) -> None:
        events.append(event)

    class Spy(http.HTTPTransport if flavour.sync else http.AsyncHTTPTransport):
        def handle_request(self, request):
            given.append(request.extensions)
            return super().handle_request(request)

        async def handle_async_request(self, request):
            given.append(request.extensions)
            return await super().handle_async_request(request)

    node = make_node()
    extensions = {
        "trace": trace if flavour.sync else atrace,
        "target": b"/raw%20target",
        "mine": 42,
        "rpcguard": {"attempts": 1},
    }
    await make_caller(node).call(extensions=extensions)
    assert node.seen[0].line == "GET /raw%20target HTTP/1.1"
    assert "http11.send_request_headers.started" in events
    await make_caller(node, node_transport=lambda _: Spy()).call(extensions=extensions)
    assert given[0]["mine"] == 42
    assert "rpcguard" not in given[0]


async def test_response_extensions(make_node, make_caller):
    """What httpx says of an answer is there, and what rpcguard says of the call."""
    node = make_node()
    response = await make_caller(node).call()
    assert response.http_version == "HTTP/1.1"
    assert response.reason_phrase == "OK"
    stream = response.extensions["network_stream"]
    assert stream.get_extra_info("server_addr")[:2] == ("127.0.0.1", node.port)
    info = response.extensions["rpcguard"]
    assert isinstance(info, CallInfo)
    assert (info.service, info.node.port, len(info.attempts)) == ("orders", node.port, 1)


async def test_request_is_never_changed(flavour, make_node, make_caller):
    """Whatever happens to a call, the caller's request is as it was."""
    bad, good = make_node(lambda peer: peer.request()), make_node()
    caller = make_caller(bad, Dead(), good)
    options = {"deadline": 5.0, "attempts": 3, "idempotent": True}
    request = caller.client.build_request(
        "POST", "/x?y=1", json={"a": [1]}, extensions={"rpcguard": options, "mine": {"k": [1]}}
    )
    before = picture(request)
    stream, url, headers = request.stream, request.url, request.headers
    send = caller.client.send(request)
    response = await settle(send)
    assert response.text == "ok"
    assert response.request is request
    assert picture(request) == before
    assert (request.stream, request.url, request.headers) == (stream, url, headers)
    assert len(response.extensions["rpcguard"].attempts) == 3


def picture(request: http.Request) -> str:
    """Draw a request to the last detail, its dictionaries in depth."""
    return repr(
        (
            request.method,
            str(request.url),
            request.headers.raw,
            request.content,
            id(request.stream),
            sorted(request.extensions.items()),
            sorted(vars(request)),
        )
    )


@pytest.mark.parametrize(
    ("method", "status", "headers", "body"),
    [
        ("HEAD", 200, ("Content-Length: 1000",), b""),
        ("GET", 204, (), b""),
        ("GET", 304, ("Content-Length: 1000", 'ETag: "x"'), b""),
        ("QUERY", 200, ("Content-Length: 2",), b"ok"),
        ("PURGE", 200, ("Content-Length: 2",), b"ok"),
        ("OPTIONS", 200, ("Content-Length: 0",), b""),
        ("GET", 200, ("Connection: close",), b"until the end"),
    ],
)
async def test_odd_answers(method, status, headers, body, make_node, make_caller):
    """Answers without a body, without a length, and to unusual methods arrive as they are."""
    raw = "\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", ""]).encode() + body

    def script(peer: Peer) -> None:
        while peer.answer(raw):
            if "Connection: close" in headers:
                return

    node = make_node(script)
    caller = make_caller(node)
    for _ in range(2):
        response = await caller.call(method=method)
        assert (response.status_code, response.content) == (status, body)
    assert caller.in_flight == 0
    assert node.methods == [method, method]


async def test_gzip_is_unpacked(make_node, make_caller):
    """A packed body is unpacked by the client, whether or not it was read ahead."""
    packed = answer(200, gzip.compress(b"much text"), "Content-Encoding: gzip")
    caller = make_caller(make_node(lambda peer: peer.serve(packed)))
    assert (await caller.call()).text == "much text"
    assert (await caller.call(method="POST")).text == "much text"


async def test_headers_beyond_ascii(make_node, make_caller):
    """Bytes above ASCII pass in both directions."""
    node = make_node(lambda peer: peer.serve(answer(200, b"", "X-Name: caf\xe9")))
    response = await make_caller(node).call(headers={"X-Who": "Zoë".encode()})
    assert response.headers["x-name"] == "café"
    assert "Zoë".encode() in node.seen[0].head


async def test_repeated_headers(make_node, make_caller):
    """Pairs keep their order and number."""
    node = make_node(lambda peer: peer.serve(answer(200, b"", "X-A: 1", "X-A: 2")))
    response = await make_caller(node).call(headers=[("X-B", "1"), ("X-B", "2")])
    assert response.headers.get_list("x-a") == ["1", "2"]
    assert node.seen[0].headers.get_list("x-b") == ["1", "2"]


async def test_upgrade(flavour, make_node, make_caller):
    """After 101 the caller speaks on the connection itself; the node is busy until it closes."""

    def script(peer: Peer) -> None:
        peer.answer(b"HTTP/1.1 101 Switching\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
        peer.send(peer.recv().upper())
        peer.until_gone()

    caller = make_caller(make_node(script))
    headers = {"Upgrade": "echo", "Connection": "upgrade"}
    response = await caller.open(headers=headers, extensions={"rpcguard": {"deadline": 5.0}})
    assert response.status_code == 101
    assert caller.in_flight == 1
    stream = response.extensions["network_stream"]
    await settle(stream.write(b"hello"))
    assert await settle(stream.read(100, 5.0)) == b"HELLO"
    await caller.end(response)
    assert caller.in_flight == 0


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_web_socket_urls(scheme, make_node, make_caller, certified, trusting):
    """`ws://` and `wss://` go over the connections of `http` and `https`."""
    tls = certified("orders") if scheme == "wss" else None
    node = make_node(tls=tls)
    caller = make_caller(node, verify=trusting)
    assert (await caller.call(f"{scheme}://orders/chat")).text == "ok"
    assert node.seen[0].line == "GET /chat HTTP/1.1"


@pytest.mark.parametrize("url", ["ftp://orders/", "/no/base", "orders", "http:///path"])
async def test_urls_that_are_none(url, flavour, make_caller, make_node):
    """A URL without scheme or service is refused as httpx refuses it, before anything is sent."""
    node = make_node()
    caller = make_caller(node)
    request = http.Request("GET", url)
    handle = "handle_request" if flavour.sync else "handle_async_request"
    with pytest.raises(http.UnsupportedProtocol):
        await settle(getattr(caller.transport, handle)(request))
    assert node.peers == []


async def test_ipv6_node(flavour, make_node, make_caller):
    """A node may have an IPv6 address, for rpcguard's own children and for others."""
    node = make_node(host="::1")
    assert (await make_caller(node).call()).text == "ok"
    kind = http.HTTPTransport if flavour.sync else http.AsyncHTTPTransport
    assert (await make_caller(node, node_transport=lambda _: kind()).call()).text == "ok"
    assert [seen.headers["host"] for seen in node.seen] == ["orders", "orders"]


async def test_timeouts_of_the_client(make_node, make_caller):
    """The client's timeouts hold, and so does a timeout of one call, and none at all."""
    brief = http.Timeout(PATIENCE, read=0.05)
    caller = make_caller(make_node(Peer.until_gone), client={"timeout": brief})
    with pytest.raises(http.ReadTimeout):
        await caller.call(method="POST")
    quick = make_caller(make_node(), client={"timeout": None})
    assert (await quick.call()).text == "ok"
    assert (await quick.call(timeout=http.Timeout(1.0, pool=None))).text == "ok"


async def test_a_child_that_copies_its_timeouts_keeps_the_deadline(flavour, make_caller, make_node):
    """Whoever copies the timeouts at the start of an attempt gets what is left then."""
    copies = []

    def handler(request: http.Request) -> http.Response:
        copies.append(dict(request.extensions["timeout"]))
        return http.Response(200)

    caller = make_caller(make_node(), node_transport=lambda _: http.MockTransport(handler))
    await caller.settle_list()
    caller.transport._service("orders").clock = ManualClock(math.ceil(time.monotonic()))
    await caller.call(extensions={"rpcguard": {"deadline": 0.5}})
    assert copies[0] == dict.fromkeys(["connect", "pool", "read", "write"], 0.5)


async def test_mock_children(make_node, make_caller):
    """A child may be any transport, one that answers by itself included."""

    def handler(request: http.Request) -> http.Response:
        return http.Response(200, json={"url": str(request.url), "host": request.headers["host"]})

    node = make_node()
    caller = make_caller(node, node_transport=lambda _: http.MockTransport(handler))
    for method in ("GET", "POST"):
        told = (await caller.call("/x", method=method)).json()
        assert told == {"url": f"http://127.0.0.1:{node.port}/x", "host": "orders"}
    assert caller.in_flight == 0


async def test_a_node_transport_that_fails(make_node, make_caller):
    """An error of the user's own factory reaches the user, and no node stays busy."""

    def factory(node):
        raise RuntimeError(f"no transport for {node.id}")

    caller = make_caller(make_node(), node_transport=factory)
    with pytest.raises(RuntimeError, match="no transport for 127"):
        await caller.call()
    assert caller.in_flight == 0


async def test_a_closed_client_and_a_new_one(make_node, make_caller):
    """Closing ends one client; another one with a new transport takes over."""
    node = make_node()
    first = make_caller(node)
    await first.call()
    await first.close()
    with pytest.raises(RuntimeError, match="closed"):
        await first.call()
    second = make_caller(node)
    assert (await second.call()).text == "ok"
    await second.close()
    eventually(lambda: node.open == 0, "a connection was left open")


async def test_a_closed_transport(flavour, make_node, make_caller):
    """A call on a closed transport is refused at once, for known and new services alike."""
    caller = make_caller(make_node())
    await caller.call()
    await settle(caller.transport.close() if flavour.sync else caller.transport.aclose())
    for url in ("http://orders/", "http://other/"):
        with pytest.raises(TransportClosed, match="closed") as caught:
            await caller.call(url)
        assert isinstance(caught.value, http.TransportError)


async def test_uploads_of_many_kinds(flavour, make_node, make_caller):
    """Every kind of body arrives whole, and truly with the length that it announces."""
    node = make_node()
    caller = make_caller(node)
    await caller.call(method="POST", json={"a": 1})
    await caller.call(method="POST", data={"a": "1"})
    await caller.call(method="POST", content="text")
    await caller.call(method="POST", content=caller.body(b"in ", b"parts"))
    await caller.call(method="POST", files={"f": ("f.txt", b"file")}, data={"a": "1"})
    assert [seen.whole for seen in node.seen] == [True] * 5
    assert [seen.body for seen in node.seen[:4]] == [b'{"a":1}', b"a=1", b"text", b"in parts"]
    assert b"file" in node.seen[4].body
