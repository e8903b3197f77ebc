"""How long idle connections are kept, and which calls may use one that is old."""

from __future__ import annotations

import inspect
import math
import ssl
import threading

import httpx
import pytest
import trustme

from rpcguard._clock import lasting
from rpcguard._connections.contexts import TlsContext
from rpcguard._connections.exchange import Exchange
from rpcguard._connections.idle_age import MARGIN, IdleAge

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Once:
    """A request that may not be sent twice, as a transport makes it."""

    repeatable = False

    def __init__(self, request) -> None:
        self.method, self.url, self.headers = request.method, request.url, request.headers
        self.stream, self.extensions = request.stream, request.extensions


def test_the_shortest_age_counts() -> None:
    """What was told or seen last counts where it is shorter; a longer one when that is old."""
    now = [0.0]
    age = IdleAge(lambda: now[0])
    assert age.limit == math.inf
    for seconds, limit in ((5.0, 5.0), (2.0, 2.0), (15.0, 2.0)):
        age.learn(seconds)
        assert age.limit == pytest.approx(limit * MARGIN)
    now[0] = 601.0
    age.learn(15.0)
    assert age.limit == pytest.approx(15.0 * MARGIN)


def test_a_node_that_stops_teaches_nothing() -> None:
    """A connection that was closed at once says nothing of how long others are kept."""
    age = IdleAge()
    age.learn(0.1)
    assert age.limit == math.inf


async def test_a_call_that_may_not_be_repeated_takes_no_old_connection(
    make_node, make_caller, flavour
) -> None:
    """`Keep-Alive: timeout=5` is 4.5 s for a POST, and means nothing to a GET."""
    now = [100.0]
    told = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=9\r\nContent-Length: 2\r\n\r\nok"
    node = make_node(lambda peer: peer.serve(told))
    limits = flavour.http.Limits(keepalive_expiry=60.0)
    caller = make_caller(node, clock=lambda: now[0], limits=limits)

    async def send(kind):
        request = kind(caller.client.build_request("POST", "/"))
        if flavour.sync:
            response = caller.stack.handle_request(request)
            response.read()
        else:
            response = await caller.stack.handle_async_request(request)
            await response.aread()

    for kind, pause, used in (
        (Once, 0.0, 1),
        (Once, 4.4, 1),
        (lambda request: request, 4.6, 1),
        (Once, 4.6, 2),
    ):
        now[0] += pause
        await send(kind)
        assert node.requests[-1][0] == used


async def test_a_close_that_is_seen_is_learned(make_node, make_caller, flavour, until) -> None:
    """An idle connection that the node closed after 3 s teaches what others may be."""
    now = [100.0]
    node = make_node(lambda peer: peer.answer(), lambda peer: peer.serve())
    age = IdleAge(lambda: now[0])
    caller = make_caller(node, clock=lambda: now[0], idle_age=age)
    stream = (await caller.call("/")).extensions["network_stream"]
    now[0] += 3.0
    until(lambda: stream.get_extra_info("is_readable"), "the node did not close")
    await caller.call("/")
    assert age.limit == pytest.approx(3.0 * MARGIN)


async def test_a_sweep_closes_what_is_over(make_node, make_caller, flavour, until) -> None:
    """Expired connections and those that their node has closed go without any call."""
    now = [100.0]
    node = make_node(lambda peer: peer.answer(), lambda peer: peer.serve())
    caller = make_caller(node, clock=lambda: now[0])
    responses = [await caller.open("/") for _ in range(2)]
    streams = [response.extensions["network_stream"] for response in responses]
    for response in responses:
        await caller.read(response)
    until(lambda: streams[0].get_extra_info("is_readable"), "the node did not close")
    caller.stack.sweep()
    assert caller.books == (1, 0, 0)
    now[0] += 6.0
    caller.stack.sweep()
    assert caller.books == (0, 0, 0)
    until(lambda: node.peers[1].sock.fileno() < 0, "still open")


@pytest.mark.parametrize("flavour", ["asyncio-httpx", "asyncio-httpx2"], indirect=True)
async def test_asyncio_sees_the_end_at_once(make_node, make_caller, reached) -> None:
    """The loop closes an idle connection as soon as its node does."""
    caller = make_caller(make_node(lambda peer: peer.answer()))
    await caller.call("/")
    await reached(lambda: caller.books == (0, 0, 0))


@pytest.fixture
def pem(tmp_path, authority):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.mark.filterwarnings("ignore:.*verify:DeprecationWarning")  # httpx would like a context
def test_renewed_files_are_taken_up(pem, authority) -> None:
    """A context is made anew when its file was; a file that is broken meanwhile changes nothing."""
    now = [0.0]
    context = TlsContext(httpx, verify=str(pem), cert=None, trust_env=False, clock=lambda: now[0])
    first = context()
    assert context() is first
    now[0] += 2.0
    assert context() is first
    pem.write_text("half")
    now[0] += 2.0
    assert context() is first
    authority.cert_pem.write_to_path(pem)
    now[0] += 2.0
    assert context() is not first


@pytest.mark.parametrize("trusted", [True, False])
def test_renewed_roots_of_the_environment_are_taken_up(pem, monkeypatch, flavour, trusted) -> None:
    """The file that `SSL_CERT_FILE` names is looked at as well, where the environment counts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    now = [0.0]
    options = {"verify": True, "cert": None, "trust_env": trusted, "clock": lambda: now[0]}
    context = TlsContext(flavour.http, **options)
    first = context()
    trustme.CA().cert_pem.write_to_path(str(pem))
    now[0] += 2.0
    assert (context() is not first) is trusted


def test_a_context_that_is_given_is_kept(pem) -> None:
    """Whoever gives a context renews it."""
    given = ssl.create_default_context(cafile=str(pem))
    now = [0.0]
    context = TlsContext(httpx, verify=given, cert=None, trust_env=False, clock=lambda: now[0])
    assert context() is given
    now[0] += 2.0
    assert context() is given


async def test_a_408_on_a_kept_connection_is_marked(make_node, make_caller, flavour) -> None:
    """It is the answer that the caller gets, with the mark by which a retry knows it."""
    late = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    def idle(peer) -> None:
        peer.answer()
        peer.recv()
        peer.send(late)

    caller = make_caller(make_node(idle, lambda peer: peer.answer(late)))
    await caller.call("/")
    crossed = await caller.call("/")
    fresh = await caller.call("/")
    assert crossed.status_code == fresh.status_code == 408
    assert crossed.extensions.get("rpcguard.crossed") is True
    assert "rpcguard.crossed" not in fresh.extensions


async def test_a_deadline_ends_a_body_that_never_pauses(make_node, make_caller, flavour) -> None:
    """Past its deadline a call reads no more, though there is always more to read."""
    done = threading.Event()

    class Over(dict):
        """Timeouts whose time is up once the head is there."""

        left = 5.0

        def clamp(self, _timeout):
            return self.left

    def flood(peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while not done.is_set() and peer.sock.fileno() >= 0:
            try:
                peer.sock.sendall(bytes(65536))
            except OSError:
                return

    caller = make_caller(make_node(flood))
    timeouts = Over(connect=5.0, read=5.0, write=5.0, pool=5.0)
    response = await caller.open("/", extensions={"timeout": timeouts})
    timeouts.left = 0.0
    with pytest.raises(flavour.http.ReadTimeout):
        await caller.read(response)
    done.set()


def test_an_idle_connection_grows_old_while_the_machine_sleeps() -> None:
    """Its node may have gone meanwhile, and the word of that was lost: a clock counts sleep."""
    for made in (Exchange, IdleAge):
        assert inspect.signature(made).parameters["clock"].default is lasting
