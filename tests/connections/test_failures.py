"""A node that breaks in every way there is: the httpx error, the stale mark, no slot lost."""

from __future__ import annotations

import select
import threading
import time

import pytest

from rpcguard._connections.exchange import StaleConnection
from tests.support.calls import PATIENCE, unused_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def reset_at_once(peer) -> None:
    peer.reset()


def close_at_once(peer) -> None:
    pass


def reset_after_request(peer) -> None:
    peer.head()
    peer.reset()


def close_after_request(peer) -> None:
    peer.head()


def close_mid_head(peer) -> None:
    peer.answer(b"HTTP/1.1 200 OK\r\nContent-Le")


def close_after_hint(peer) -> None:
    peer.answer(b"HTTP/1.1 103 Early Hints\r\n\r\n")


def garbage(peer) -> None:
    peer.answer(b"SSH-2.0-OpenSSH\r\n\r\n")


def close_mid_body(peer) -> None:
    peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


def close_mid_chunk(peer) -> None:
    peer.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal")


def silence(peer) -> None:
    peer.head()
    peer.until_gone()


def silence_mid_body(peer) -> None:
    peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    peer.until_gone()


BROKEN = [
    (reset_at_once, None),  # a race of the reset with our first steps: the error is one of three
    (close_at_once, None),
    (reset_after_request, "ReadError"),
    (close_after_request, "RemoteProtocolError"),
    (close_mid_head, "RemoteProtocolError"),
    (close_after_hint, "RemoteProtocolError"),
    (garbage, "RemoteProtocolError"),
    (close_mid_body, "RemoteProtocolError"),
    (close_mid_chunk, "RemoteProtocolError"),
    (silence, "ReadTimeout"),
    (silence_mid_body, "ReadTimeout"),
]


@pytest.fixture
def failing(flavour):
    async def fail(caller, url="/", **options):
        with pytest.raises(flavour.http.TransportError) as caught:
            await caller.call(url, **options)
        return caught.value

    return fail


def assert_same_words(flavour, ours, theirs) -> None:
    vague = ("All connection attempts failed", "all attempts to connect", "socket connection")
    if not str(theirs) or (not flavour.sync and str(theirs).startswith(vague)):
        assert str(ours)  # where anyio and trio say little, ours say what the system said
    else:
        assert str(ours) == str(theirs)


@pytest.mark.parametrize(("script", "kind"), BROKEN, ids=lambda v: getattr(v, "__name__", ""))
async def test_a_break_raises_what_the_own_transport_raises(
    make_node, make_caller, flavour, failing, script, kind
) -> None:
    """Class, message and cause equal those of httpx's own; a fresh connection is not stale."""
    node = make_node(script)
    # What a node does is waited for, also by a busy machine; what it does not do need not be.
    read = 0.2 if kind == "ReadTimeout" else PATIENCE
    timeout = flavour.http.Timeout(PATIENCE, read=read)
    caller = make_caller(node, timeout=timeout)
    ours = await failing(caller)
    own = make_caller(own=True, timeout=timeout)
    theirs = await failing(own, f"http://127.0.0.1:{node.port}/")
    if kind is None:
        assert type(ours).__name__ in ("ConnectError", "ReadError", "RemoteProtocolError")
    else:
        assert type(ours) is type(theirs) is getattr(flavour.http, kind)
        assert type(ours.__cause__) is type(theirs.__cause__)
        assert_same_words(flavour, ours, theirs)
    assert type(ours.__cause__).__module__ == flavour.core.__name__
    assert ours.request.url == "http://orders/"
    assert caller.books == (0, 0, 0)


async def test_a_refused_connection(make_caller, flavour, failing) -> None:
    """A closed port is a `ConnectError` with the message of httpx's transport."""
    port = unused_port()
    caller = make_caller(port=port)
    ours = await failing(caller)
    theirs = await failing(make_caller(own=True), f"http://127.0.0.1:{port}/")
    assert type(ours) is type(theirs) is flavour.http.ConnectError
    assert_same_words(flavour, ours, theirs)
    assert caller.books == (0, 0, 0)


async def test_a_body_error_is_raised_while_it_is_read(make_node, make_caller, flavour) -> None:
    """A streamed response fails where it breaks, not before, and gives up its connection."""
    caller = make_caller(make_node(close_mid_body))
    response = await caller.open("/")
    assert caller.books == (0, 1, 0)
    with pytest.raises(flavour.http.RemoteProtocolError):
        await caller.read(response)
    assert caller.books == (0, 0, 0)


async def test_an_error_of_the_callers_own_body_passes(make_node, make_caller, flavour) -> None:
    """What the request's body raises arrives as it is, and the connection is closed."""

    def sync():
        yield b"some"
        raise KeyError("mine")

    async def asynchronous():
        yield b"some"
        raise KeyError("mine")

    caller = make_caller(make_node(silence))
    with pytest.raises(KeyError, match="mine"):
        await caller.call("/", method="POST", content=sync() if flavour.sync else asynchronous())
    assert caller.books == (0, 0, 0)


def second(script):
    """Answer one request well, then break on the same connection."""

    def run(peer) -> None:
        peer.answer()
        script(peer)

    return run


@pytest.mark.parametrize("script", [reset_after_request, close_after_request])
async def test_a_kept_connection_that_ends_is_stale(
    make_node, make_caller, flavour, failing, script
) -> None:
    """The second call on a connection that breaks without an answer has `StaleConnection`."""
    node = make_node(second(script), lambda peer: peer.serve())
    caller = make_caller(node)
    await caller.call("/")
    error = await failing(caller)
    assert isinstance(error, flavour.http.ReadError | flavour.http.RemoteProtocolError)
    assert type(error.__cause__) is StaleConnection
    assert type(error.__cause__.__cause__).__module__ == flavour.core.__name__
    assert caller.books == (0, 0, 0)
    assert (await caller.call("/")).text == "ok"


@pytest.mark.parametrize(
    "script",
    [close_mid_head, close_after_hint, garbage, close_mid_body, close_mid_chunk, silence],
)
async def test_a_kept_connection_that_answered_is_not_stale(
    make_node, make_caller, failing, script
) -> None:
    """Once a byte of the response came, or the time ran out, it is a failure like any other."""
    caller = make_caller(make_node(second(script)))
    await caller.call("/")
    error = await failing(caller, timeout=0.2 if script is silence else PATIENCE)
    assert not isinstance(error.__cause__, StaleConnection)
    assert caller.books == (0, 0, 0)


@pytest.mark.parametrize("way", ["poll", "select"])
async def test_an_idle_connection_that_the_node_closed_is_not_used(
    make_node, make_caller, flavour, until, monkeypatch, way
) -> None:
    """A readable idle connection is dead: the next call opens another and does not fail."""
    if way == "select" and flavour.kind == "trio":
        pytest.skip("trio itself asks by poll")
    if way == "select":
        monkeypatch.delattr(select, "poll")  # not every system has it
    node = make_node(lambda peer: peer.answer(), lambda peer: peer.serve())
    caller = make_caller(node)
    stream = (await caller.call("/")).extensions["network_stream"]
    until(lambda: stream.get_extra_info("is_readable"), "the node did not close")
    assert (await caller.call("/")).text == "ok"
    assert [number for number, _ in node.requests] == [1, 2]
    assert caller.books == (1, 0, 0)


async def test_a_connection_whose_socket_was_closed_is_not_used(make_node, make_caller) -> None:
    """Whoever has the stream of an upgrade may close it: an idle connection has ended then."""
    node = make_node()
    caller = make_caller(node)
    stream = (await caller.call("/")).extensions["network_stream"]
    if caller.flavour.sync:
        stream.close()
    else:
        await stream.aclose()
    assert (await caller.call("/")).text == "ok"
    assert caller.books == (1, 0, 0)


STAGES = ("connect", "read", "write", "pool")


class Deadline(dict):
    """Timeouts that end together, the way a call with a deadline passes them."""

    def __init__(self, seconds: float) -> None:
        super().__init__(dict.fromkeys(STAGES, PATIENCE))
        self.end = time.monotonic() + seconds

    def clamp(self, timeout: float | None) -> float | None:
        left = self.end - time.monotonic()
        return left if timeout is None else min(timeout, left)

    def get(self, key, default=None):
        return self.clamp(super().get(key, default))


def trickle(peer) -> None:
    """Send a body of 1000 bytes, one every 20 ms."""
    peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        time.sleep(0.02)
        peer.sock.sendall(b".")


async def test_a_deadline_holds_while_bytes_trickle(make_node, make_caller, flavour) -> None:
    """Each read gets only what is left, so the sum of many short reads ends in time."""
    caller = make_caller(make_node(trickle))
    deadline = Deadline(PATIENCE)
    response = await caller.open("/", extensions={"timeout": deadline})
    started = time.monotonic()
    deadline.end = started + 0.3
    with pytest.raises(flavour.http.ReadTimeout):
        await caller.read(response)
    assert time.monotonic() - started > 0.2
    assert caller.books == (0, 0, 0)


async def test_a_deadline_does_not_stay_on_the_connection(make_node, make_caller) -> None:
    """The next call on a kept connection has timeouts of its own."""
    node = make_node()
    caller = make_caller(node)
    deadline = Deadline(PATIENCE)
    await caller.call("/", extensions={"timeout": deadline})
    deadline.end = 0.0
    await caller.call("/")
    assert len(node.peers) == 1


@pytest.mark.parametrize("stage", ["connect", "write", "read"])
async def test_no_time_left_is_a_timeout_at_every_stage(
    make_node, make_caller, flavour, failing, stage
) -> None:
    """Zero or less is the timeout of the stage, never a socket error or a wait without end."""

    class Spent(dict):
        def clamp(self, timeout):
            return timeout

    timeout = Spent(dict.fromkeys(STAGES, PATIENCE))
    timeout[stage] = -0.5
    error = await failing(make_caller(make_node(silence)), extensions={"timeout": timeout})
    assert type(error) is getattr(flavour.http, f"{stage.title()}Timeout")


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # httpcore leaves the body
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_node_that_does_not_read(
    make_node, make_caller, flavour, failing, certified, trusting, tls
) -> None:
    """An upload that nobody takes ends in `WriteTimeout`."""
    done = threading.Event()
    node = make_node(lambda _peer: done.wait(20), tls=certified("orders") if tls else None)
    timeout = flavour.http.Timeout(PATIENCE, write=0.3)
    scheme = "https" if tls else "http"
    caller = make_caller(node, scheme=scheme, ssl_context=trusting, timeout=timeout)
    error = await failing(caller, method="POST", content=bytes(20_000_000))
    done.set()
    assert type(error) is flavour.http.WriteTimeout
    assert caller.books == (0, 0, 0)
