"""What goes over the wire and what comes back, in every flavour, against the library's own."""

from __future__ import annotations

import contextlib
import gc
import socket
import subprocess
import sys
import threading

import pytest

from tests.support.calls import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_kept_connection_serves_the_next_call(make_node, make_caller) -> None:
    """Two calls use one connection, which is idle between and after them."""
    node = make_node()
    caller = make_caller(node)
    for _ in range(2):
        response = await caller.call("/v1?a=b")
        assert (response.status_code, response.text) == (200, "ok")
        assert caller.books == (1, 0, 0)
    assert [number for number, _ in node.requests] == [1, 1]


async def test_the_request_is_the_callers_and_the_address_the_nodes(make_node, make_caller) -> None:
    """The request line and the headers go out as given: Host stays the logical name."""
    node = make_node()
    await make_caller(node).call("/v1/ö?q=1", headers={"X-Case": "Kept"})
    head = node.requests[0][1].split(b"\r\n")
    assert head[0] == b"GET /v1/%C3%B6?q=1 HTTP/1.1"
    assert head[1] == b"Host: orders"
    assert b"X-Case: Kept" in head


async def test_the_target_extension_replaces_the_request_line(make_node, make_caller) -> None:
    """A raw target is sent as it is."""
    node = make_node()
    await make_caller(node).call("/", method="OPTIONS", extensions={"target": b"*"})
    assert node.requests[0][1].startswith(b"OPTIONS * HTTP/1.1\r\n")


async def test_the_response_is_the_one_of_the_own_transport(
    make_node, make_caller, flavour
) -> None:
    """Status, headers with their case, extensions and body equal those of httpx's transport."""
    raw = b"HTTP/1.1 299 Fine\r\nX-One: 1\r\nx-ONE: 2\r\nContent-Length: 2\r\n\r\nok"
    node = make_node(lambda peer: peer.serve(raw))
    ours = await make_caller(node).call("/")
    theirs = await make_caller(own=True).call(f"http://127.0.0.1:{node.port}/")
    assert ours.status_code == theirs.status_code
    assert ours.headers.raw == theirs.headers.raw
    assert ours.content == theirs.content
    assert ours.extensions.keys() == theirs.extensions.keys()
    assert ours.http_version == theirs.http_version
    assert ours.reason_phrase == theirs.reason_phrase == "Fine"
    kind = flavour.core.NetworkStream if flavour.sync else flavour.core.AsyncNetworkStream
    stream = ours.extensions["network_stream"]
    assert isinstance(stream, kind)
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", node.port)


@pytest.mark.parametrize(
    ("method", "raw", "body"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
            b"ok",
        ),
    ],
    ids=["HEAD", "204", "304", "103", "chunked"],
)
async def test_a_complete_response_keeps_the_connection(
    make_node, make_caller, method, raw, body
) -> None:
    """Whatever frames the body, the second call finds the connection again."""
    node = make_node(lambda peer: peer.serve(raw))
    caller = make_caller(node)
    for _ in range(2):
        response = await caller.call("/", method=method)
        assert response.content == body
    assert caller.books == (1, 0, 0)
    assert len(node.peers) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ],
    ids=["close", "1.0"],
)
async def test_a_response_that_ends_the_connection(make_node, make_caller, raw) -> None:
    """After `Connection: close` or HTTP/1.0 the next call opens another connection."""
    node = make_node(lambda peer: peer.answer(raw))
    caller = make_caller(node)
    for _ in range(2):
        assert (await caller.call("/")).text == "ok"
        assert caller.books == (0, 0, 0)
    assert len(node.peers) == 2


async def test_an_early_answer_while_uploading(make_node, make_caller) -> None:
    """A node that refuses a body half-way and closes has its answer delivered."""

    def refuse(peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        peer.until_gone()

    caller = make_caller(make_node(refuse))
    response = await caller.call("/", method="POST", content=b"x" * 300_000)
    assert response.status_code == 413
    assert caller.books == (0, 0, 0)


async def test_a_body_that_is_not_read_costs_the_connection(make_node, make_caller, until) -> None:
    """Closing a response half-way closes its connection; closing twice is the same as once."""

    def endless(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\npart")
        peer.until_gone()

    node = make_node(endless)
    caller = make_caller(node)
    response = await caller.open("/")
    assert caller.books == (0, 1, 0)
    await caller.end(response)
    await caller.end(response)
    assert caller.books == (0, 0, 0)
    until(node.peers[0].gone.is_set, "the node still has its connection")


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # httpx's own leave them
async def test_an_abandoned_iteration_is_cleaned_up(make_node, make_caller, flavour, until) -> None:
    """Leaving the loop over a body and closing the response leaves nothing open."""

    def chunks(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        peer.until_gone()

    node = make_node(chunks)
    caller = make_caller(node)
    response = await caller.open("/")
    if flavour.sync:
        for part in response.iter_raw():
            assert part == b"a"
            break
    else:
        async with contextlib.aclosing(response.aiter_raw()) as parts:
            async for part in parts:
                assert part == b"a"
                break
    await caller.end(response)
    assert caller.books == (0, 0, 0)
    del response
    gc.collect()
    until(node.peers[0].gone.is_set, "the node still has its connection")


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
async def test_the_raw_stream_after_an_upgrade(make_node, make_caller, flavour, method) -> None:
    """After 101, or 2xx to CONNECT, both sides talk over `network_stream`; then it is closed."""
    status = b"101 Switching Protocols" if method == "GET" else b"200 OK"

    def echo(peer) -> None:
        peer.answer(b"HTTP/1.1 " + status + b"\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhi")
        while data := peer.recv():
            peer.send(data.upper())
        peer.gone.set()

    node = make_node(echo)
    caller = make_caller(node)
    upgrade = {"Connection": "upgrade", "Upgrade": "echo"} if method == "GET" else {}
    # The deadline of a call ends with its handshake.
    timeout = Shrinking({"read": PATIENCE}, left=PATIENCE)
    response = await caller.open(
        "/", method=method, headers=upgrade, extensions={"timeout": timeout}
    )
    timeout.left = 0.0
    stream = response.extensions["network_stream"]
    if flavour.sync:
        assert stream.read(10) == b"hi"
        stream.write(b"hello")
        assert stream.read(10) == b"HELLO"
    else:
        assert await stream.read(10) == b"hi"
        await stream.write(b"hello")
        assert await stream.read(10) == b"HELLO"
    assert caller.books == (0, 1, 0)
    await caller.end(response)
    assert caller.books == (0, 0, 0)
    assert node.peers[0].gone.wait(20)


class Shrinking(dict):
    """Timeouts with a deadline: each step gets at most what is left."""

    def __init__(self, timeouts, *, left: float) -> None:
        super().__init__(timeouts)
        self.left = left

    def clamp(self, timeout: float | None) -> float | None:
        return self.left if timeout is None else min(timeout, self.left)


async def test_the_steps_are_traced_as_by_the_own_transport(
    make_node, make_caller, flavour
) -> None:
    """The trace callback sees the same events with the same keys, fresh and reused."""
    node = make_node()
    seen: dict[str, list] = {}
    for name, caller in (("ours", make_caller(node)), ("theirs", make_caller(own=True))):
        events = seen[name] = []

        def note(event, info, events=events) -> None:
            events.append((event, sorted(info)))

        async def anote(event, info, note=note) -> None:
            note(event, info)

        for _ in range(2):
            await caller.call(
                f"http://127.0.0.1:{node.port}/",
                extensions={"trace": note if flavour.sync else anote},
            )
    assert seen["ours"] == seen["theirs"]
    assert ("connection.connect_tcp.complete", ["return_value"]) in seen["ours"]


async def test_a_failed_connect_is_traced(make_caller, flavour, make_node) -> None:
    """A refused connection ends in `connect_tcp.failed` with the exception."""
    node = make_node()
    node.close()
    events = []

    def note(event, info) -> None:
        events.append((event, type(info.get("exception"))))

    async def anote(event, info) -> None:
        note(event, info)

    caller = make_caller(node)
    with pytest.raises(flavour.http.ConnectError):
        await caller.call("/", extensions={"trace": note if flavour.sync else anote})
    assert events[-1] == ("connection.connect_tcp.failed", flavour.core.ConnectError)


async def test_unix_sockets_addresses_and_options(make_node, make_caller, tmp_path) -> None:
    """`uds`, `local_address` and `socket_options` reach the socket."""
    path = str(tmp_path / "node.sock")
    make_node(uds=path)
    assert (await make_caller(uds=path).call("/")).text == "ok"

    node = make_node()
    caller = make_caller(
        node,
        local_address="127.0.0.2",
        socket_options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)],
    )
    stream = (await caller.call("/")).extensions["network_stream"]
    assert stream.get_extra_info("client_addr")[0] == "127.0.0.2"
    sock = stream.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_large_bodies_both_ways(make_node, make_caller, certified, trusting, tls) -> None:
    """Megabytes go up to a slow reader and come down in one piece, and the connection is kept."""
    size = 3_000_000
    pattern = bytes(range(256)) * (size // 256 + 1)

    def mirror(peer) -> None:
        while head := peer.head():
            body = head.partition(b"\r\n\r\n")[2]
            while len(body) < size:
                body += peer.recv()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            peer.send(body)

    node = make_node(mirror, tls=certified("orders") if tls else None)
    caller = make_caller(
        node, scheme="https" if tls else "http", ssl_context=trusting, timeout=10.0
    )
    for _ in range(2):
        response = await caller.call("/", method="POST", content=pattern[:size])
        assert response.content == pattern[:size]
    assert len(node.peers) == 1


async def test_a_slow_reader_holds_the_node_back(make_node, make_caller, flavour, reached) -> None:
    """What the caller does not read stays with the node: memory does not grow with the body."""
    sent = []

    def flood(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        peer.sock.settimeout(0.3)
        try:
            for _ in range(1000):
                peer.sock.sendall(bytes(100_000))
                sent.append(100_000)
        except OSError:
            sent.append(0)

    caller = make_caller(make_node(flood))
    response = await caller.open("/")
    await reached(lambda: sent and sent[-1] == 0)
    assert sum(sent) < 20_000_000
    await caller.end(response)
    assert caller.books == (0, 0, 0)


async def test_tls_inside_a_tunnel(make_node, make_caller, flavour, certified, trusting) -> None:
    """`network_stream` can start TLS, after CONNECT or as an upgrade."""
    context = certified("orders")

    def tunnel(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        with context.wrap_socket(peer.sock, server_side=True) as secure:
            secure.sendall(secure.recv(100).upper())

    caller = make_caller(make_node(tunnel))
    response = await caller.open("/", method="CONNECT")
    stream = response.extensions["network_stream"]
    if flavour.sync:
        secure = stream.start_tls(trusting, "orders", 2.0)
        secure.write(b"hello")
        assert secure.read(10) == b"HELLO"
        secure.close()
    else:
        secure = await stream.start_tls(trusting, "orders", 2.0)
        await secure.write(b"hello")
        assert await secure.read(10) == b"HELLO"
        await secure.aclose()
    await caller.end(response)
    assert caller.books == (0, 0, 0)


async def test_a_node_may_have_a_name(make_node, make_caller) -> None:
    """A node's host is resolved when it is a name, whatever addresses it has besides."""
    caller = make_caller(make_node(), host="localhost")
    assert (await caller.call("/")).text == "ok"


async def test_a_small_read_leaves_the_rest(make_node, make_caller, flavour) -> None:
    """A raw read takes no more than it asks for; what is left comes with the next."""

    def talk(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.recv()
        peer.send(b"abcdef")

    caller = make_caller(make_node(talk))
    response = await caller.open("/", method="CONNECT")
    stream = response.extensions["network_stream"]
    parts = b""
    if flavour.sync:
        stream.write(b"go")
        while part := stream.read(4):
            assert len(part) <= 4
            parts += part
    else:
        await stream.write(b"go")
        while part := await stream.read(4):
            assert len(part) <= 4
            parts += part
    assert parts == b"abcdef"
    await caller.end(response)


async def test_the_default_context_checks_certificates(
    make_node, make_caller, certified, flavour
) -> None:
    """Without a context of its own a stack trusts the system's authorities only."""
    caller = make_caller(make_node(tls=certified("orders")), scheme="https")
    with pytest.raises(flavour.http.ConnectError):
        await caller.call("/")
    assert caller.books == (0, 0, 0)


def test_what_is_not_used_is_not_imported() -> None:
    """Whoever uses httpx does not load httpx2, nor httpcore before the first stack is made."""
    check = (
        "import sys, rpcguard._connections.aio, rpcguard._connections.sync;"
        "sys.exit('httpx2' in sys.modules or 'httpcore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


async def open_buffered(caller, most=99, **extensions):
    """Call as a transport does whose answers are read before they are handed out."""
    stack, timeout = caller.stack, caller.flavour.http.Timeout(10.0).as_dict()
    request = caller.flavour.http.Request(
        "GET", "http://orders/", extensions={"timeout": timeout, **extensions}
    )
    request.buffered = most
    if caller.flavour.sync:
        return stack.handle_request(request)
    return await stack.handle_async_request(request)


async def test_a_connection_is_free_once_the_answer_has_come(make_node, make_caller) -> None:
    """Where all of it came with its head there is no body that keeps the connection."""
    node = make_node()
    caller = make_caller(node)
    response = await open_buffered(caller)
    assert caller.books == (1, 0, 0)
    assert await caller.read(response) == b"ok"
    assert caller.books == (1, 0, 0)


@pytest.mark.parametrize(
    ("raw", "most"),
    [(OK, 1), (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 99)],
)
async def test_a_body_that_is_no_short_document_is_read_by_its_caller(
    raw, most, make_node, make_caller
) -> None:
    """One that is longer than wanted, or whose length its head does not tell."""
    caller = make_caller(make_node(lambda peer: peer.serve(raw)))
    response = await open_buffered(caller, most)
    assert caller.books == (0, 1, 0)
    await caller.read(response)
    await caller.end(response)
    assert caller.books == (1, 0, 0)


@pytest.mark.parametrize("split", [False, True])
async def test_a_body_that_is_still_to_come_keeps_the_connection(
    make_node, make_caller, split
) -> None:
    """So does one that a trace hook is to hear of."""
    heard, go = [], threading.Event()

    def answer(peer) -> None:
        peer.head()
        peer.send(OK[:-1])
        assert go.wait(10)
        peer.send(OK[-1:])
        peer.until_gone()

    async def hear(event, info) -> None:
        heard.append(event)

    caller = make_caller(make_node(answer if split else lambda peer: peer.serve()))
    hook = (lambda event, _: heard.append(event)) if caller.flavour.sync else hear
    response = await open_buffered(caller, **({} if split else {"trace": hook}))
    assert caller.books == (0, 1, 0)
    go.set()
    assert await caller.read(response) == b"ok"
    await caller.end(response)
    assert caller.books == (1, 0, 0)
    assert ("http11.response_closed.complete" in heard) is not split


async def test_a_closed_connection_tells_which_node_it_was_to(make_node, make_caller) -> None:
    """The answer that closes it may name its node by address, and is judged after that.

    Its own end is told as well: whoever streams an answer asks for both before reading it.
    """
    node = make_node(
        lambda peer: peer.answer(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
    )
    caller = make_caller(node)
    response = await open_buffered(caller)
    assert caller.books == (0, 0, 0)
    stream = response.extensions["network_stream"]
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", node.port)
    assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
    assert await caller.read(response) == b"ok"
