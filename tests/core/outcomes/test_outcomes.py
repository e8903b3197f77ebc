"""What an answer or an exception means: the table of facts/httpx.md 3.5, row by row."""

from __future__ import annotations

import errno
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import h2.events
import h2.exceptions
import httpcore
import httpcore2
import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpcguard
import rpcguard.httpx2
from rpcguard._connections.exchange import StaleConnection
from rpcguard._connections.handshake import HandshakeFailed
from rpcguard._core.outcomes.exceptions import classify_exception
from rpcguard._core.outcomes.responses import classify_response
from rpcguard._core.outcomes.verdict import Notice, Safety, cancelled
from rpcguard._wire.h2_faults import Refusal, StreamRefused
from tests.support.library import http

UNCONNECTED, UNSENT = Safety.UNCONNECTED, Safety.UNSENT
MAYBE, NEVER = Safety.MAYBE, Safety.NEVER
NODE = rpcguard.Node("10.0.0.1", 8080)
GOAWAY = Notice("goaway", "GOAWAY")
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

both_libraries = pytest.mark.parametrize(
    ("http", "core"), [(httpx, httpcore), (httpx2, httpcore2)], ids=["httpx", "httpx2"]
)


def caused(error: BaseException, *causes: BaseException) -> BaseException:
    """Chain errors as `raise ... from ...` does."""
    current = error
    for cause in causes:
        current.__cause__ = cause
        current = cause
    return error


@both_libraries
@pytest.mark.parametrize(
    ("name", "safety", "blame"),
    [
        ("PoolTimeout", UNSENT, "none"),
        ("ConnectTimeout", UNCONNECTED, "connect"),
        ("ConnectError", UNCONNECTED, "connect"),
        ("ProxyError", UNSENT, "none"),
        ("UnsupportedProtocol", NEVER, "none"),
        ("LocalProtocolError", NEVER, "none"),
        ("WriteTimeout", MAYBE, "failure"),
        ("WriteError", MAYBE, "failure"),
        ("ReadTimeout", MAYBE, "failure"),
        ("ReadError", MAYBE, "failure"),
        ("RemoteProtocolError", MAYBE, "failure"),
        ("CloseError", MAYBE, "failure"),
        ("NetworkError", MAYBE, "failure"),
        ("TimeoutException", MAYBE, "failure"),
        ("TransportError", MAYBE, "failure"),
        ("DecodingError", NEVER, "none"),
        ("TooManyRedirects", NEVER, "none"),
    ],
)
def test_exceptions(http, core, name, safety, blame):
    """Every exception of both libraries has its row, and none is good."""
    verdict = classify_exception(getattr(http, name)("message"))
    assert (verdict.outcome, verdict.safety, verdict.blame) == (name, safety, blame)
    assert verdict.failed
    assert not verdict.good
    assert not verdict.stale
    assert verdict.notice is None


@both_libraries
def test_an_exception_of_a_subclass_counts_as_its_parent(http, core):
    """What a child transport derives from httpx's exceptions is judged alike."""

    class Refused(http.ConnectError):
        pass

    verdict = classify_exception(Refused("no"))
    assert (verdict.outcome, verdict.safety, verdict.blame) == ("Refused", UNCONNECTED, "connect")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("the caller's iterator"),
        ValueError("no"),
        ConnectionResetError("raised by the caller's own body"),
        TimeoutError(),
        ExceptionGroup("several", [http.ReadError("inside")]),
        type("ConnectError", (Exception,), {"__module__": "elsewhere"})("of another library"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_of_httpx_is_passed_on(error):
    """An error of the caller's own blames nobody and is never retried."""
    verdict = classify_exception(error)
    assert (verdict.safety, verdict.blame, verdict.failed) == (NEVER, "none", True)


def test_cancellation_is_neutral():
    """A call that its caller gave up blames nobody."""
    verdict = cancelled()
    assert (verdict.safety, verdict.blame, verdict.notice) == (NEVER, "none", None)


@pytest.mark.parametrize("closed", [rpcguard.TransportClosed, rpcguard.httpx2.TransportClosed])
def test_a_call_that_is_cut_by_closing_is_over(closed):
    """Closing the transport under a call blames nobody, and nothing more is sent."""
    verdict = classify_exception(closed("closed"))
    assert (verdict.safety, verdict.blame) == (NEVER, "none")


@both_libraries
@pytest.mark.parametrize(
    "code", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM]
)
@pytest.mark.parametrize("nesting", ["plain", "group", "context"])
def test_local_errors_blame_nobody(http, core, code, nesting):
    """Out of descriptors, ports or memory: the connect error is ours, however deep it lies."""
    local = OSError(code, "local")
    if nesting == "group":
        middle = caused(OSError("All connection attempts failed"), ExceptionGroup("", [local]))
    elif nesting == "context":
        middle = OSError("all attempts failed")
        middle.__context__ = local
    else:
        middle = local
    verdict = classify_exception(caused(http.ConnectError("no"), core.ConnectError("no"), middle))
    assert (verdict.safety, verdict.blame) == (UNCONNECTED, "none")


@both_libraries
@pytest.mark.parametrize("code", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH])
def test_remote_errors_blame_the_node(http, core, code):
    """Refused and unreachable are the node's."""
    error = caused(http.ConnectError("no"), core.ConnectError("no"), OSError(code, "remote"))
    assert classify_exception(error).blame == "connect"


@both_libraries
@pytest.mark.parametrize("tls", [ssl.SSLCertVerificationError("bad name"), ssl.SSLError("eof")])
def test_tls_failures_are_told_apart(http, core, tls):
    """A failed handshake is safe to repeat, and another trouble than a closed port."""
    verdict = classify_exception(caused(http.ConnectError("tls"), core.ConnectError("tls"), tls))
    assert (verdict.safety, verdict.blame) == (UNCONNECTED, "handshake")


@both_libraries
@pytest.mark.parametrize("name", ["ConnectError", "ConnectTimeout"])
def test_blame_goes_by_the_stage_that_failed(http, core, name):
    """A reset or a silence when TCP stood is the handshake's, whatever its type."""
    below = caused(getattr(core, name)("no"), HandshakeFailed(), ConnectionResetError())
    verdict = classify_exception(caused(getattr(http, name)("no"), below))
    assert (verdict.safety, verdict.blame) == (UNCONNECTED, "handshake")


@both_libraries
@pytest.mark.parametrize("name", ["ConnectError", "ConnectTimeout"])
def test_the_word_of_a_foreign_transport_may_be_wrong(http, core, name):
    """What it calls an error of connecting may have been processed; the node is blamed alike."""
    error = caused(getattr(http, name)("no"), getattr(core, name)("no"))
    verdict = classify_exception(error, exact=False)
    assert (verdict.safety, verdict.blame) == (MAYBE, "connect")


def test_an_endless_chain_of_causes_ends():
    """Exceptions that refer to each other in a circle are no trap."""
    first, second = http.ConnectError("a"), OSError("b")
    first.__cause__, second.__context__ = second, first
    assert classify_exception(first).blame == "connect"


@both_libraries
@pytest.mark.parametrize("name", ["RemoteProtocolError", "ReadError", "WriteError"])
def test_a_stale_connection_is_nobodys_fault(http, core, name):
    """A kept connection that ended may have carried the request; only the blame goes away."""
    verdict = classify_exception(caused(getattr(http, name)("gone"), StaleConnection("gone")))
    assert (verdict.safety, verdict.blame, verdict.stale) == (MAYBE, "none", True)


def reset(code: int) -> h2.events.StreamReset:
    return h2.events.StreamReset(stream_id=3, error_code=code, remote_reset=True)


def goaway(last: int | None) -> h2.events.ConnectionTerminated:
    event = h2.events.ConnectionTerminated()
    event.error_code, event.last_stream_id = 0, last
    return event


@both_libraries
@pytest.mark.parametrize(
    ("event", "safety", "blame", "notice"),
    [
        (reset(7), UNSENT, "failure", None),
        (reset(2), MAYBE, "failure", None),
        (reset(8), MAYBE, "failure", None),
        (goaway(0), UNSENT, "failure", GOAWAY),
        (goaway(1), MAYBE, "none", GOAWAY),
        (goaway(2**31 - 1), MAYBE, "none", GOAWAY),
    ],
    ids=["refused", "internal", "cancel", "goaway-0", "goaway-1", "goaway-max"],
)
def test_http2(http, core, event, safety, blame, notice):
    """REFUSED_STREAM and a GOAWAY that names stream 0 prove that nothing was processed."""
    error = caused(http.RemoteProtocolError(str(event)), core.RemoteProtocolError(event))
    verdict = classify_exception(error)
    assert (verdict.safety, verdict.blame, verdict.notice) == (safety, blame, notice)


@both_libraries
@pytest.mark.parametrize("by_goaway", [False, True])
def test_what_a_goaway_leaves_out_may_go_to_the_same_node(http, core, by_goaway):
    """Its connection had ended, while what is refused for itself would be refused there again."""
    refusal = StreamRefused(Refusal(3), by_goaway=by_goaway)
    verdict = classify_exception(caused(http.RemoteProtocolError("no"), refusal))
    assert (verdict.safety, verdict.blame) == (UNSENT, "failure")
    assert verdict.only_connection is by_goaway


@both_libraries
def test_a_stream_that_the_limit_forbids(http, core):
    """What h2 does not open, since the node lowered its limit, was never sent."""
    limit = h2.exceptions.TooManyStreamsError("Max outbound streams is 0, 2 open")
    verdict = classify_exception(
        caused(http.LocalProtocolError("no"), core.LocalProtocolError(limit))
    )
    assert (verdict.safety, verdict.blame) == (UNSENT, "none")


@both_libraries
def test_a_stream_that_is_reset_under_its_body(http, core):
    """h2 says that the stream is closed: the node did it, and may have done more."""
    closed = h2.exceptions.StreamClosedError(3)
    verdict = classify_exception(
        caused(http.LocalProtocolError("3"), core.LocalProtocolError(closed))
    )
    assert (verdict.safety, verdict.blame) == (MAYBE, "failure")


@both_libraries
def test_answers_after_goaway(http, core):
    """What the h2 package says of answers after GOAWAY is the node's leaving, no error of ours."""
    message = "Invalid input ConnectionInputs.RECV_HEADERS in state ConnectionState.CLOSED"
    for name in ("LocalProtocolError", "RemoteProtocolError"):
        verdict = classify_exception(getattr(http, name)(message))
        assert (verdict.safety, verdict.blame, verdict.notice) == (MAYBE, "none", GOAWAY)


@pytest.mark.parametrize(
    ("status", "failed", "good", "safety", "blame"),
    [
        (101, False, True, NEVER, "none"),
        (200, False, True, NEVER, "none"),
        (304, False, True, NEVER, "none"),
        (399, False, True, NEVER, "none"),
        (400, False, False, NEVER, "none"),
        (404, False, False, NEVER, "none"),
        (429, False, False, NEVER, "none"),
        (500, True, False, MAYBE, "failure"),
        (501, True, False, MAYBE, "none"),
        (502, True, False, MAYBE, "failure"),
        (503, True, False, MAYBE, "failure"),
        (504, True, False, MAYBE, "failure"),
        (505, True, False, MAYBE, "none"),
        (599, True, False, MAYBE, "failure"),
    ],
)
def test_statuses(status, failed, good, safety, blame):
    """5xx is the node's failure but for 501 and 505; 4xx says nothing of the node."""
    verdict = classify_response(status, [], NODE)
    assert verdict.outcome == str(status)
    assert (verdict.failed, verdict.good) == (failed, good)
    assert (verdict.safety, verdict.blame) == (safety, blame)
    assert verdict.notice is None


SIGNAL = b"X-RpcGuard-Offline"
SERMANT = b"sermant.grace.mark.shutdown.service.endpoint"
ENVOY = b"x-envoy-immediate-health-check-fail"
NAMES = {name.lower(): name.decode() for name in (SIGNAL, SERMANT, ENVOY)}


@pytest.mark.parametrize(
    ("status", "name", "value", "notice"),
    [
        (200, SIGNAL, b"1", ("signal", None)),
        (404, SIGNAL, b"1", ("signal", None)),
        (500, SIGNAL, b"1", ("signal", None)),
        (200, b"x-rpcguard-OFFLINE", b" 1 ", ("signal", None)),
        (200, SIGNAL, b"1; ttl=30", ("signal", 30.0)),
        (200, SIGNAL, b"1;TTL = 2.5", ("signal", 2.5)),
        (200, SIGNAL, b"1; ttl=0.01", ("signal", 1.0)),
        (200, SIGNAL, b"0, 1; ttl=5", ("signal", 5.0)),
        (200, SIGNAL, b"1; at=10.0.0.2:8080, 1; ttl=5", ("signal", 5.0)),
        (200, SIGNAL, b"1; colour=red; ttl=7", ("signal", 7.0)),
        (200, SIGNAL, b"1; ttl=-5", ("signal", None)),
        (200, SIGNAL, b"1; ttl=0", ("signal", None)),
        (200, SIGNAL, b"1; ttl=nan", ("signal", None)),
        (200, SIGNAL, b"1; ttl=inf", ("signal", None)),
        (200, SIGNAL, b"1; ttl=soon", ("signal", None)),
        (200, SIGNAL, b"1; ttl", ("signal", None)),
        (200, SIGNAL, b"0", None),
        (200, SIGNAL, b"", None),
        (200, SIGNAL, b"true", None),
        (200, SIGNAL, b"1" + b" " * 256, None),
        (200, SERMANT, b"10.0.0.1:8080", ("signal", None)),
        (200, SERMANT, b"10.0.0.2:8080", ("foreign", None)),
        (200, SERMANT, b"10.0.0.1", ("foreign", None)),
        (200, SERMANT, b"", ("foreign", None)),
        (200, SERMANT, b"\xff\xfe", ("foreign", None)),
        (200, ENVOY, b"true", ("signal", None)),
        (503, ENVOY, b"", ("signal", None)),
        (200, b"finagle-http-nack", b"true", None),
        (200, b"x-bd-error-code", b"2003", None),
        (503, b"x-bd-error-code", b"2004", None),
        (503, b"x-bd-error-code", b"20030", None),
        (503, b"retry-after", b"7", ("retry-after", 7.0)),
        (503, b"retry-after", b"0", None),
        (503, b"retry-after", b"-7", None),
        (503, b"retry-after", b"a while", None),
        (503, b"retry-after", b"", None),
        (503, b"retry-after", b"9" * 400, None),
        (503, b"retry-after", b"9e999", None),
        (503, b"retry-after", "²".encode("latin-1"), None),
        (503, b"retry-after", b"Sat, 21 Nov 2026 12:00:05 GMT", ("retry-after", 5.0)),
        (503, b"retry-after", b"Sat, 21 Nov 2026 12:00:05", ("retry-after", 5.0)),
        (503, b"retry-after", b"Sat, 21 Nov 2026 11:59:59 GMT", None),
        (503, b"retry-after", b"Sat, 21 Nov 2026 12:00:00 GMT", None),
        (503, b"retry-after", b"0.5", ("retry-after", 1.0)),
        (503, b"retry-after", b"Sat, 99 Nov 2026 99:99:99 GMT", None),
        (503, b"retry-after", b"Mon, 01 Jan 0001 00:00:00 +2359", None),
        (429, b"retry-after", b"7", None),
        (200, b"retry-after", b"7", None),
        (503, b"connection", b"close", None),
        (503, b"x-envoy-overloaded", b"true", None),
        (503, b"x-envoy-ratelimited", b"true", None),
        (503, b"l5d-proxy-error", b"no route", None),
    ],
)
def test_notices(status, name, value, notice):
    """Each header says what design 5.2 reads in it, and a forged one says nothing."""
    verdict = classify_response(status, [(name, value)], NODE, NOW.timestamp)
    plain = classify_response(status, [], NODE)
    told = verdict.notice and (verdict.notice.source, verdict.notice.ttl)
    assert told == notice
    if verdict.notice is not None and verdict.notice.source != "retry-after":
        assert verdict.notice.reason == NAMES[name.lower()]
    assert (verdict.outcome, verdict.failed, verdict.good) == (
        plain.outcome,
        plain.failed,
        plain.good,
    )
    assert (verdict.safety, verdict.blame) == (plain.safety, plain.blame)


def test_retry_after_as_a_date_of_another_zone():
    """A date is read with its zone."""
    date = format_datetime(NOW + timedelta(seconds=30)).encode()
    verdict = classify_response(503, [(b"Retry-After", date)], NODE, NOW.timestamp)
    assert verdict.notice == Notice("retry-after", "Retry-After", 30.0)


@pytest.mark.parametrize("skew", [-7200.0, 0.0, 7200.0])
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"Sat, 21 Nov 2026 12:00:00 GMT", 30.0),
        (b"Sat, 21 Nov 2026 12:00:20 GMT", 10.0),
        (b"Sat, 21 Nov 2026 12:00:40 GMT", None),
        (b"nonsense", 30.0),
        (b"Sat, 99 Nov 2026 99:99:99 GMT", 30.0),
        (b"Sat, 21 Nov 2026 12:00:20 GMT" + b" " * 400, 30.0),
    ],
)
def test_a_date_is_compared_with_that_of_the_answer(said, seconds, skew):
    """The node has made both by one clock; that of this machine may be hours away from it."""
    told = len(said) < 256 and said.startswith(b"Sat, 2")
    headers = [(b"Retry-After", b"Sat, 21 Nov 2026 12:00:30 GMT"), (b"DATE", said)]
    wall = NOW.timestamp() + (skew if told else 0.0)
    notice = classify_response(503, headers, NODE, lambda: wall).notice
    assert (notice and notice.ttl) == seconds


def test_a_date_that_is_none_hides_no_other():
    """Proves that a gateway's broken date before that of the node is passed over."""
    dates = [(b"Date", said) for said in (b"nonsense", b"Sat, 21 Nov 2026 12:00:20 GMT")]
    headers = [*dates, (b"Retry-After", b"Sat, 21 Nov 2026 12:00:30 GMT")]
    notice = classify_response(503, headers, NODE, lambda: NOW.timestamp() - 7200).notice
    assert notice is not None
    assert notice.ttl == 10.0


@pytest.mark.parametrize(
    ("name", "value"), [(b"finagle-http-nack", b""), (b"X-BD-Error-Code", b"2003")]
)
@pytest.mark.parametrize("others", [[], [(SIGNAL, b"1; ttl=9")], [(ENVOY, b"")]])
def test_refusals(name, value, others):
    """A refusal proves that nothing was done, whatever else the answer says."""
    verdict = classify_response(503, [*others, (name, value)], NODE)
    assert (verdict.safety, verdict.blame, verdict.failed) == (UNSENT, "failure", True)
    assert verdict.notice is not None
    assert verdict.notice.source == "signal"
    assert verdict.notice.ttl == (9.0 if others and others[0][0] == SIGNAL else None)


@pytest.mark.parametrize(
    ("headers", "source", "ttl"),
    [
        ([(b"Retry-After", b"5"), (SIGNAL, b"1")], "signal", None),
        ([(SIGNAL, b"1"), (b"Retry-After", b"5")], "signal", None),
        ([(SERMANT, b"10.9.9.9:1"), (SIGNAL, b"1; ttl=3")], "signal", 3.0),
        ([(SERMANT, b"10.9.9.9:1"), (b"Retry-After", b"5")], "retry-after", 5.0),
        ([(ENVOY, b"1"), (SIGNAL, b"1; ttl=3")], "signal", 3.0),
    ],
)
def test_the_loudest_of_several_notices_counts(headers, source, ttl):
    """The node's own word comes before push-back, and before a word about somebody else."""
    notice = classify_response(503, headers, NODE).notice
    assert notice is not None
    assert (notice.source, notice.ttl) == (source, ttl)


def test_an_endpoint_in_brackets_and_capitals():
    """The endpoint of an IPv6 node is compared as it is written."""
    node = rpcguard.Node("2001:DB8::1", 80)
    verdict = classify_response(200, [(SERMANT, b"[2001:DB8::1]:80")], node)
    assert verdict.notice == Notice("signal", SERMANT.decode(), named=True)


class Stream:
    """The extension by which httpx tells where an answer came from."""

    def __init__(self, *address: object) -> None:
        self._address = address

    def get_extra_info(self, info: str) -> object:
        if not self._address:
            raise OSError("not connected")
        return self._address if info == "server_addr" else None


BY_NAME = rpcguard.Node("orders-1.internal", 8080, id="orders-1")


@pytest.mark.parametrize(
    ("node", "peer", "at", "says"),
    [
        (NODE, None, "10.0.0.1:8080", "this"),
        (NODE, None, "[::ffff:10.0.0.1]:8080", "this"),
        (NODE, None, "10.0.0.1:8081", "another"),
        (NODE, None, "10.0.0.2:8080", "another"),
        (NODE, None, "10.0.0.1", "another"),
        (NODE, None, "", "another"),
        (NODE, None, "orders-2", "another"),
        (NODE, Stream("10.0.0.1", 8080), "10.0.0.2:8080", "another"),
        (NODE, Stream("172.17.0.2", 80), "172.17.0.2:80", "this"),
        (BY_NAME, None, "orders-1", "this"),
        (BY_NAME, None, "Orders-1.Internal:8080", "this"),
        (BY_NAME, None, "10.0.0.1:8080", "anybody"),
        (BY_NAME, Stream(), "10.0.0.1:8080", "anybody"),
        (BY_NAME, Stream("10.0.0.1", 8080), "10.0.0.1:8080", "this"),
        (BY_NAME, Stream("2001:db8::1", 8080, 0, 0), "[2001:DB8::1]:8080", "this"),
        (BY_NAME, Stream("10.0.0.1", 8080), "10.0.0.2:8080", "another"),
        (NODE, None, "127.0.0.1:8080", "anybody"),
        (NODE, None, "[::1]:80", "anybody"),
        (NODE, None, "0.0.0.0:8080", "anybody"),
        (rpcguard.Node("127.0.0.1", 1), None, "127.0.0.1:2", "another"),
        (rpcguard.Node("127.0.0.1", 1), Stream("/run/s"), "127.0.0.1:1", "this"),
    ],
)
def test_the_node_that_a_signal_names(node, peer, at, says):
    """The node's address, its peer's or its id; a name that every machine has is no name."""
    extensions = {} if peer is None else {"network_stream": peer}
    value = f"1; ttl=9; at={at}".encode()
    notice = classify_response(200, [(SIGNAL, value)], node, extensions=extensions).notice
    name = "X-RpcGuard-Offline"
    expected = {
        "this": Notice("signal", name, 9.0, named=True),
        "another": Notice("foreign", name),
        "anybody": Notice("signal", name, 9.0),
    }
    assert notice == expected[says]


@pytest.mark.parametrize(
    ("status", "headers", "met", "expected"),
    [
        (200, [], "goaway", (False, NEVER, "none", "goaway")),
        (200, [(SIGNAL, b"1")], "goaway", (False, NEVER, "none", "signal")),
        (408, [], "crossed", (True, MAYBE, "none", None)),
        (413, [], "early", (False, NEVER, "none", None)),
        (503, [], "early", (False, NEVER, "none", None)),
        (503, [(b"retry-after", b"3")], "early", (False, NEVER, "none", "retry-after")),
    ],
)
def test_how_an_answer_met_its_connection(status, headers, met, expected):
    """A connection about to end, or an answer before all was asked, is nobody's fault."""
    verdict = classify_response(status, headers, NODE, extensions={f"rpcguard.{met}": True})
    source = verdict.notice and verdict.notice.source
    assert (verdict.failed, verdict.safety, verdict.blame, source) == expected
    assert verdict.stale == (met == "crossed")


def test_a_signal_without_a_name_is_known_as_one():
    """What a gateway may have relayed is told apart from what names the node."""
    for name, value in ((SIGNAL, b"1"), (ENVOY, b"")):
        notice = classify_response(200, [(name, value)], NODE).notice
        assert notice is not None
        assert not notice.named


names = st.sampled_from([*NAMES, b"finagle-http-nack", b"x-bd-error-code", b"retry-after"])
values = st.binary(max_size=300) | st.text(max_size=60).map(str.encode)
dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Sun", "x", ""]),
    *[st.integers(-1, 100), st.sampled_from(["Jan", "Feb", "Dec", "x"]), st.integers(0, 99999)],
    *[st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)],
    st.sampled_from(["GMT", "UTC", "-0000", "+9999", "EST", "", "+99999999"]),
).map(str.encode)


@given(st.integers(0, 999), st.lists(st.tuples(names | values, values | dates), max_size=4))
def test_no_header_raises(status, headers):
    """Whatever a node sends, judging it never fails, and a notice has a usable ttl."""
    verdict = classify_response(status, headers, NODE)
    assert verdict.failed == (status >= 500)
    if verdict.notice is not None and verdict.notice.ttl is not None:
        assert 1 <= verdict.notice.ttl < float("inf")


@given(st.from_type(type).filter(lambda kind: issubclass(kind, Exception)), st.text())
def test_no_exception_raises(kind, text):
    """Whatever a child raises, judging it never fails."""
    try:
        error = kind(text)
    except Exception:
        error = RuntimeError(text)
    assert classify_exception(error).failed
