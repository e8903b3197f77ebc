"""Where an answer ends: nothing that follows it, or came before, is another call's answer."""

from __future__ import annotations

import socket
import ssl
import struct
import threading

import pytest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"


EXCESS = {
    "excess": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more"),
    "an answer": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + EVIL),
    "an answer behind chunks": (
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + EVIL,
    ),
    "a body of HEAD": ("HEAD", b"HTTP/1.1 400 Bad\r\nContent-Length: 7\r\n\r\nunknown"),
    "an answer in a body of HEAD": (
        "HEAD",
        b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n" + EVIL,
    ),
    "a body of 204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n{}"),
    "a body of 304": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nEVIL"),
}


@pytest.mark.parametrize(("method", "first"), EXCESS.values(), ids=EXCESS)
async def test_bytes_behind_an_answer_end_its_connection(
    make_node, make_caller, method, first
) -> None:
    """The next call goes over another connection and gets its own answer, a POST too."""
    node = make_node(
        lambda peer: (peer.answer(first), peer.until_gone()), lambda peer: peer.serve(OK)
    )
    caller = make_caller(node)
    await caller.call("/", method=method)
    assert caller.books == (0, 0, 0)
    assert (await caller.call("/", method="POST", content=b"x")).text == "right"
    assert [number for number, _ in node.requests] == [1, 2]


async def test_bytes_behind_an_answer_that_come_later(make_node, make_caller, until) -> None:
    """What a node says between two calls is no answer to the second."""
    go = threading.Event()

    def talkative(peer) -> None:
        peer.answer(OK)
        go.wait(20)
        peer.send(EVIL)
        peer.serve(EVIL)

    node = make_node(talkative, lambda peer: peer.serve(OK))
    caller = make_caller(node)
    stream = (await caller.call("/")).extensions["network_stream"]
    go.set()
    until(lambda: stream.get_extra_info("is_readable"), "nothing came")
    assert (await caller.call("/", method="POST")).text == "right"
    assert [number for number, _ in node.requests] == [1, 2]


async def test_a_node_that_speaks_first(make_node, make_caller, flavour, until) -> None:
    """Bytes that are there before the first one of a request refuse the connection: unsent."""

    def eager(peer) -> None:
        peer.send(EVIL)
        peer.until_gone()

    node = make_node(eager)
    caller = make_caller(node)

    def wait(event, _info) -> None:
        if event == "http11.send_request_headers.started":
            until(lambda: node.peers, "nobody came")
            sock = caller.stack._stack.in_use
            (slot,) = sock
            until(lambda: slot.connection.stream.ended(), "nothing came")

    async def await_(event, info) -> None:
        wait(event, info)

    trace = wait if flavour.sync else await_
    with pytest.raises(flavour.http.ConnectError):
        await caller.call("/", extensions={"trace": trace})
    assert node.requests == []


UNCLEAR = {
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two lengths in a list": b"Content-Length: 1, 2\r\n\r\nab",
    "no number": b"Content-Length: 0x2\r\n\r\nab",
    "a sign": b"Content-Length: +2\r\n\r\nab",
    "another coding": b"Transfer-Encoding: gzip\r\n\r\nab",
    "another coding behind chunked": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a signed size": b"Transfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
    "a size with a prefix": b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
    "a size that overflows": b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff0\r\nx",
    "a size that overflows a sign": b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    "a bare LF behind a size": b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    "a bare LF in an extension": b"Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\n",
    "a longer chunk than it says": b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
    "a bare CR": b"X: a\rb\r\nContent-Length: 2\r\n\r\nab",
    "a space before a colon": b"Content-Length : 2\r\n\r\nab",
    "a NUL": b"X: a\0b\r\nContent-Length: 2\r\n\r\nab",
    "101 unasked": b"",
}


@pytest.mark.parametrize("rest", UNCLEAR.values(), ids=UNCLEAR)
async def test_an_answer_whose_end_is_not_clear(make_node, make_caller, flavour, rest) -> None:
    """It is refused, and its connection is closed."""
    start = b"HTTP/1.1 200 OK\r\n" if rest else b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"
    caller = make_caller(make_node(lambda peer: peer.answer(start + rest)))
    with pytest.raises(flavour.http.RemoteProtocolError):
        await caller.call("/")
    assert caller.books == (0, 0, 0)


ODD = {
    "chunked beside a length": (
        b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    "a length twice": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "a length twice in a list": b"Content-Length: 2, 2\r\n\r\nok",
    "a folded line": b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "bare LFs": b"X: a b\nContent-Length: 2\n\nok",
}


@pytest.mark.parametrize("rest", ODD.values(), ids=ODD)
async def test_an_odd_answer_ends_its_connection(make_node, make_caller, rest) -> None:
    """What has one meaning only, but strays from the grammar, is served once and not kept."""
    caller = make_caller(make_node(lambda peer: peer.answer(b"HTTP/1.1 200 OK\r\n" + rest)))
    response = await caller.call("/")
    assert response.text == "ok"
    assert response.headers.get("x", "a b") == "a b"
    assert caller.books == (0, 0, 0)


async def test_bytes_before_the_tls_handshake(
    make_node, make_caller, flavour, trusting, certified
) -> None:
    """What somebody on the way says in plain is not an answer over https."""

    def injected(peer) -> None:
        peer.send(EVIL)
        with certified("orders").wrap_socket(peer.sock, server_side=True) as secure:
            secure.recv(1000)
            secure.sendall(OK)

    caller = make_caller(make_node(injected), scheme="https", ssl_context=trusting)
    with pytest.raises(flavour.http.ConnectError):
        await caller.call("/")
    assert caller.books == (0, 0, 0)


@pytest.mark.parametrize("said", [True, False], ids=["close_notify", "cut"])
async def test_a_body_that_ends_with_tls(
    make_node, make_caller, flavour, trusting, certified, said
) -> None:
    """A body without a length is whole only where TLS says so: anybody can send a FIN."""
    # The default of every context before Python 3.11.4; of no system with OpenSSL 1.1.
    trusting.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)

    def ends(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\n\r\npart")
        if said:
            peer.sock.unwrap()
        else:
            socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)

    node = make_node(ends, tls=certified("orders"))
    caller = make_caller(node, scheme="https", ssl_context=trusting)
    if said:
        assert (await caller.call("/")).text == "part"
    else:
        with pytest.raises(flavour.http.RemoteProtocolError, match="close_notify"):
            await caller.call("/")


@pytest.mark.parametrize("said", [True, False], ids=["close_notify", "cut"])
@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 9\r\n\r\npart",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
    ],
    ids=["length", "chunks", "last chunk without its end"],
)
async def test_a_body_that_is_cut_short_within_tls(
    make_node, make_caller, flavour, trusting, certified, body, said
) -> None:
    """A body that says how long it is has to be that long, however TLS ends."""

    def ends(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\n" + body)
        if said:
            peer.sock.unwrap()
        else:
            socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)

    node = make_node(ends, tls=certified("orders"))
    caller = make_caller(node, scheme="https", ssl_context=trusting)
    with pytest.raises(flavour.http.RemoteProtocolError):
        await caller.call("/")
    assert caller.books == (0, 0, 0)


def refuse_and_linger(peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nless")
    socket.socket.shutdown(peer.sock, socket.SHUT_WR)
    peer.gone.wait(0.3)


def refuse_and_reset(peer) -> None:
    # Else the system holds the answer back behind the tickets of TLS, and drops it at the reset.
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.head()
    peer.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nless")


@pytest.mark.parametrize(
    ("script", "tls"),
    [
        (refuse_and_linger, False),
        (refuse_and_reset, False),
        (refuse_and_linger, True),
        (refuse_and_reset, True),
    ],
    ids=["linger", "reset", "linger-tls", "reset-tls"],
)
async def test_an_answer_while_the_body_goes_out(
    make_node, make_caller, trusting, certified, script, tls
) -> None:
    """It is delivered, the upload stops, and the connection is not kept."""
    node = make_node(script, tls=certified("orders") if tls else None)
    caller = make_caller(node, scheme="https" if tls else "http", ssl_context=trusting)
    response = await caller.call("/", method="PUT", content=b"x" * 20_000_000)
    assert (response.status_code, response.text) == (413, "less")
    assert caller.books == (0, 0, 0)
    assert len(node.peers) == 1


async def test_a_hint_while_the_body_goes_out(make_node, make_caller) -> None:
    """103 is no answer: the upload goes on to its end."""
    size = 3_000_000

    def hint(peer) -> None:
        body = peer.head().partition(b"\r\n\r\n")[2]
        peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        while len(body) < size:
            body += peer.recv()
        peer.send(OK)
        peer.until_gone()

    caller = make_caller(make_node(hint))
    response = await caller.call("/", method="PUT", content=bytes(size))
    assert response.text == "right"
    assert caller.books == (1, 0, 0)


async def test_a_connection_that_ends_as_its_request_begins(
    make_node, make_caller, flavour, until
) -> None:
    """An end that can be seen before the first byte costs nothing: another connection is used."""
    node = make_node(lambda peer: peer.serve(OK))
    caller = make_caller(node)
    stream = (await caller.call("/")).extensions["network_stream"]

    ended = []

    def end(event, _info) -> None:
        if event == "http11.send_request_headers.started" and not ended:
            ended.append(event)
            node.peers[0].sock.shutdown(socket.SHUT_RDWR)
            until(lambda: stream.get_extra_info("is_readable"), "it did not end")

    async def aend(event, info) -> None:
        end(event, info)

    trace = {"trace": end if flavour.sync else aend}
    response = await caller.call("/", method="POST", content=b"x", extensions=trace)
    assert response.text == "right"
    assert [number for number, _ in node.requests] == [1, 2]


async def test_more_hints_than_anybody_needs(make_node, make_caller) -> None:
    """A node that says 102 each second of a long call is well, also after minutes."""

    def work(peer) -> None:
        peer.head()
        peer.sock.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)
        peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    assert (await make_caller(make_node(work)).call("/")).content == b"ok"


async def test_hints_without_end(make_node, make_caller, flavour) -> None:
    """A node that says 103 for ever is neither silent nor done: it is broken."""

    def hint(peer) -> None:
        peer.head()
        while peer.sock.fileno() >= 0 and not peer.gone.is_set():
            try:
                peer.sock.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10)
            except OSError:
                return

    caller = make_caller(make_node(hint))
    with pytest.raises(flavour.http.RemoteProtocolError, match="1xx"):
        await caller.call("/")


async def test_a_request_that_closes(make_node, make_caller) -> None:
    """After `Connection: close` in the request its connection is not kept."""
    caller = make_caller(make_node())
    await caller.call("/", headers={"Connection": "close"})
    assert caller.books == (0, 0, 0)


async def test_a_dropped_answer_gives_its_connection_up(make_node, make_caller, until) -> None:
    """A response that nobody closed is in use no longer once it is collected."""
    import gc

    caller = make_caller(make_node(lambda peer: peer.answer(b"HTTP/1.1 200 OK\r\n\r\npart")))
    await caller.open("/")
    gc.collect()
    assert caller.books == (0, 0, 0)


def test_ssl_alerts_are_no_answer(make_node, flavours) -> None:
    """A node that speaks TLS on a plain connection is refused by its first byte."""
    from rpcguard._wire.parsers import head_parser
    from rpcguard._wire.response import ResponseReader
    from rpcguard._wire.violations import RemoteViolation

    reader = ResponseReader(head_parser(), b"GET", upgrades=False)
    with pytest.raises(RemoteViolation):
        reader.feed(struct.pack("!BHH", 21, 0x303, 2))
    assert ssl.HAS_TLSv1_3
