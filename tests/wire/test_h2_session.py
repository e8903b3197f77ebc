"""What the books of an HTTP/2 connection tell its streams, frame by frame."""

from __future__ import annotations

import sys

import h2.events
import pytest
from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, PriorityFrame, PushPromiseFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as some

from rpcguard._wire.h2_counts import NodeCount, StreamCount
from rpcguard._wire.h2_faults import (
    Disconnected,
    GoAway,
    PeerFault,
    Refusal,
    Reset,
    StreamBroken,
    StreamRefused,
    WentAway,
)
from rpcguard._wire.h2_session import Http2Session
from tests.support.http2_peer import GET, Peer2, data, goaway, headers, ping, reset, settings

ALL = 2**31 - 1


def block(*pairs: tuple[str, str]) -> bytes:
    return Encoder().encode([(":status", "200"), *pairs])


def test_an_answer_comes_with_its_headers_body_and_trailers():
    """Status and headers at its head, the pieces joined, trailers after them."""
    peer = Peer2()
    stream = peer.open()
    peer.answer(stream, b"a" * 20_000, ("x-one", "1"), end=False)
    assert stream.head.status == 200
    assert stream.head.pairs == [(b"x-one", b"1")]
    assert peer.session.take(stream) == b"a" * 20_000
    peer.books.send_headers(stream.id, [("grpc-status", "0")], end_stream=True)
    peer.talk()
    assert stream.ended
    assert stream.trailers == [(b"grpc-status", b"0")]
    assert peer.session.streams == {}


def test_one_stream_until_the_node_has_said_how_many():
    """The first call need not wait for it, the others do."""
    session = Http2Session()
    session.start()
    assert (session.ready, session.capacity) == (False, 1)
    peer = Peer2({SettingCodes.MAX_CONCURRENT_STREAMS: 7})
    assert (peer.session.ready, peer.session.capacity) == (True, 7)
    assert Peer2({SettingCodes.MAX_CONCURRENT_STREAMS: 5000}).session.capacity == 100


def test_a_limit_of_none_means_that_the_node_leaves():
    """Hypercorn lowers it to 0 before it says GOAWAY."""
    peer = Peer2()
    peer.books.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0})
    peer.talk()
    assert not peer.session.usable
    assert peer.room[-1] == 0


@pytest.mark.parametrize("size", [1, 7, 9, 13, 1000])
def test_a_goaway_lets_finish_what_it_names_however_the_bytes_come(size):
    """Streams above its last one are refused, the others are answered, none is begun."""
    peer = Peer2()
    one, two, three = (peer.open() for _ in range(3))
    peer.books.send_headers(one.id, [(":status", "200")])
    peer.books.send_data(one.id, b"ok", end_stream=True)
    wire = goaway(ALL) + goaway(one.id) + peer.books.data_to_send()
    for at in range(0, len(wire), size):
        peer.session.receive(wire[at : at + size])
    assert one.ended
    assert one.failure is None
    for refused in (two, three):
        assert isinstance(refused.failure, StreamRefused)
        assert refused.failure.by_goaway
        assert refused.failure.args[0] == Refusal(refused.id)
    assert peer.session.capacity == 0


def test_a_goaway_before_any_stream_says_that_nothing_was_processed():
    """What is open fails with the fact that proves it."""
    peer = Peer2()
    stream = peer.open()
    peer.say(goaway(0))
    assert isinstance(stream.failure, WentAway)
    assert stream.failure.args[0] == GoAway(0, 0)


def test_a_goaway_with_an_error_ends_what_it_names():
    """ENHANCE_YOUR_CALM: the streams above were not processed, the others may have been."""
    peer = Peer2()
    one, two = peer.open(), peer.open()
    peer.say(goaway(one.id, 11))
    assert isinstance(one.failure, WentAway)
    assert one.failure.args[0] == GoAway(one.id, 11)
    assert isinstance(two.failure, StreamRefused)
    assert peer.session.ended is not None


def test_a_goaway_is_remembered_when_the_connection_ends():
    """What it promised and did not finish is told apart from a connection that just broke."""
    peer, silent = Peer2(), Peer2()
    stream, other = peer.open(), silent.open()
    peer.say(goaway(stream.id))
    assert stream.failure is None
    peer.session.end("the node closed the connection")
    silent.session.end("the node closed the connection")
    assert isinstance(stream.failure, WentAway)
    assert isinstance(other.failure, Disconnected)


@pytest.mark.parametrize(
    ("age", "answers", "departing"), [(1.0, 1, True), (6.0, 1, False), (1.0, 5, False)]
)
def test_a_node_departs_when_a_fresh_connection_is_told_to_end(age, answers, departing):
    """An old or much used connection is told so too, for its age alone."""
    peer = Peer2()
    for _ in range(answers):
        peer.answer(peer.open())
    peer.clock.advance(age)
    peer.say(goaway(ALL), goaway(2 * answers - 1))
    assert peer.session.leaving
    assert peer.session.departing is departing


@pytest.mark.parametrize(("last", "departing"), [(1, [True, False, False]), (ALL, [True] * 3)])
def test_a_node_does_not_depart_that_ends_each_connection_upon_the_same_call(last, departing):
    """Proves that a node which keeps no connections is told from one that leaves.

    nginx with `keepalive_timeout 0` ends each with its first call; an Envoy that drains names none.
    """
    count = NodeCount()
    for wanted in departing:
        peer = Peer2(count=count)
        peer.open()
        peer.say(goaway(last))
        assert peer.session.departing is wanted


def test_each_node_of_a_release_departs_that_has_taken_more_calls_before():
    """They all end what has just begun, upon its first call: from the second on none was heard."""
    service = StreamCount()
    for _ in range(3):
        count = NodeCount(service)
        old = Peer2(count=count)
        for _ in range(8):
            old.answer(old.open())
        old.clock.advance(60.0)
        old.say(goaway(15))
        young = Peer2(count=count)
        young.open()
        young.say(goaway(1))
        assert (old.session.departing, young.session.departing) == (False, True)


def test_a_node_is_given_few_calls_on_a_connection_until_one_goes_on():
    """Of the first calls the same number twice may be chance, as where it drains."""
    count = NodeCount()
    for _ in range(2):
        peer = Peer2(count=count)
        peer.open()
        peer.say(goaway(1))
    for ends in (True, False):
        peer = Peer2(count=count)
        assert peer.session.capacity
        stream = peer.open()
        assert not peer.session.capacity
        if ends:
            peer.say(goaway(1))
        peer.answer(stream)
    peer = Peer2(count=count)
    peer.open()
    assert peer.session.capacity


def test_a_node_that_keeps_connections_no_longer_is_known_by_the_second():
    """Its own long one before tells of what it was then."""
    count = NodeCount()
    told = [count.ended(last, upon_call=True) for last in (1999, 1, 1)]
    assert told == [False, False, True]


def test_a_goaway_upon_a_call_teaches_how_many_there_are():
    """That of a node which drains comes upon no call, or with an error, and teaches nothing."""
    for last, error, teaches in ((1, 0, False), (3, 0, True), (3, 1, False), (ALL, 0, False)):
        count = Learned()
        peer = Peer2(count=NodeCount(count))
        peer.answer(peer.open())
        peer.open()
        peer.open()
        peer.say(goaway(last, error), goaway(last, error))
        assert count.learned == teaches * [last]


def test_a_connection_is_left_at_the_last_stream_that_it_is_known_to_take():
    """What is open on it goes on, and nobody is told of a fault."""
    count = NodeCount()
    peer = Peer2(count=count)
    one, _ = peer.open(), peer.open()
    count.service.last = 5
    assert peer.session.usable
    peer.open()
    assert (peer.session.usable, peer.session.capacity) == (False, 0)
    assert not peer.session.departing
    peer.answer(one)
    assert one.ended
    assert one.failure is None


class Learned(StreamCount):
    """Keep what there was to learn."""

    def __init__(self):
        super().__init__()
        self.learned = []

    def learn(self, last):
        self.learned.append(last)
        return super().learn(last)


def test_patience_counts_from_the_last_frame_of_the_stream():
    """From the GOAWAY on, and from nothing that came for others."""
    peer = Peer2()
    one, two = peer.open(), peer.open()
    assert peer.session.patience(one, lambda: 1.0) is None
    peer.clock.advance(5.0)
    peer.say(goaway(ALL))
    assert peer.session.patience(one, lambda: 1.0) == pytest.approx(1.0)
    peer.clock.advance(0.7)
    peer.answer(two)
    peer.say(ping())
    assert peer.session.patience(one, lambda: 1.0) == pytest.approx(0.3)
    peer.answer(one, b"", end=False)
    assert peer.session.patience(one, lambda: 1.0) == pytest.approx(1.0)


def test_resets_say_what_is_known():
    """REFUSED_STREAM proves that nothing was done, INTERNAL_ERROR says nothing."""
    peer = Peer2()
    one, two = peer.open(), peer.open()
    peer.say(reset(one.id, 7), reset(two.id, 2))
    assert isinstance(one.failure, StreamRefused)
    assert not one.failure.by_goaway
    assert isinstance(two.failure, StreamBroken)
    assert two.failure.args[0] == Reset(two.id, 2)
    assert peer.session.usable


@pytest.mark.parametrize("code", [0, 7, 8], ids=["NO_ERROR", "REFUSED_STREAM", "CANCEL"])
def test_a_reset_after_the_whole_answer_only_ends_the_upload(code):
    """RFC 9113 §8.1: the rest of the request is not wanted, the answer stays valid."""
    peer = Peer2()
    stream = peer.open(end=False)
    peer.answer(stream, b"no")
    assert stream.answered_early
    peer.say(reset(stream.id, code))
    assert stream.failure is None
    assert stream.stopped
    assert peer.session.take(stream) == b"no"


def test_what_comes_for_a_stream_that_is_over_ends_nothing():
    """A reset, a window update and data that were under way when it was left or answered."""
    peer = Peer2()
    left, done, other = peer.open(), peer.open(), peer.open()
    peer.answer(left, b"x", end=False)
    peer.session.leave(left)
    peer.answer(done)
    peer.say(data(left.id, b"y" * 100), reset(left.id, 8), reset(done.id, 0))
    peer.say(WindowUpdateFrame(done.id, window_increment=10))
    peer.answer(other)
    assert other.ended
    assert peer.session.usable


# What is wrong with one answer


@pytest.mark.parametrize(
    ("told", "frames"),
    [("5", [b"123456"]), ("5", [b"123", b"456"]), ("5", [b"1234"]), ("5", [b""])],
    ids=["too long", "too long in parts", "too short", "empty"],
)
def test_an_answer_that_belies_its_length_ends_alone(told, frames):
    """h2 would end the connection: here its neighbour does not notice."""
    peer = Peer2()
    bad, good = peer.open(), peer.open()
    peer.say(headers(bad.id, block(("content-length", told)), "END_HEADERS"))
    *before, last = (data(bad.id, part) for part in frames)
    peer.say(*before, data(bad.id, frames[-1], end=True) if last else b"")
    assert isinstance(bad.failure, PeerFault)
    peer.answer(good)
    assert good.ended
    assert good.failure is None
    resets = peer.heard(h2.events.StreamReset)
    assert [event.stream_id for event in resets] == [bad.id]


def test_an_answer_that_ends_with_its_headers_is_checked_too():
    """h2 does not compare the length then: a body of five bytes would be empty."""
    peer = Peer2()
    bad = peer.open()
    peer.say(headers(bad.id, block(("content-length", "5")), "END_HEADERS", "END_STREAM"))
    assert isinstance(bad.failure, PeerFault)
    assert not bad.ended


@pytest.mark.parametrize(("bodiless", "status"), [(True, "200"), (False, "304"), (False, "204")])
def test_a_length_without_a_body_is_no_fault_where_none_may_come(bodiless, status):
    """HEAD, 304 and 204 tell a length and have no body."""
    peer = Peer2()
    stream = peer.open(bodiless=bodiless)
    lines = Encoder().encode([(":status", status), ("content-length", "5")])
    peer.say(headers(stream.id, lines, "END_HEADERS", "END_STREAM"))
    assert stream.ended
    assert stream.failure is None


@pytest.mark.parametrize(
    "pair",
    [("x-one", "1\r\nx-two: 2"), ("X-One", "1"), ("x one", "1"), ("", "1"), ("x-one", "\0")],
)
def test_an_illegal_header_ends_its_answer_alone(pair):
    """RFC 9113 §8.2.1: what would be two lines over HTTP/1.1 is handed to nobody."""
    peer = Peer2()
    bad, good = peer.open(), peer.open()
    peer.say(headers(bad.id, block(pair), "END_HEADERS", "END_STREAM"))
    assert isinstance(bad.failure, PeerFault)
    peer.answer(good)
    assert good.ended


def test_headers_beyond_the_limit_end_their_answer_alone():
    """Those of 200 KB; a list of more than 1 MiB, as a small block may become, ends them all."""
    peer = Peer2()
    bad, good = peer.open(), peer.open()
    encoder = Encoder()
    lines = encoder.encode([(":status", "200"), ("x", "y" * 3000), *[("x", "y" * 3000)] * 70])
    peer.say(headers(bad.id, lines[:9000]), continuation(bad.id, lines[9000:]))
    assert isinstance(bad.failure, PeerFault)
    peer.say(headers(good.id, encoder.encode([(":status", "200")]), "END_HEADERS"))
    assert good.head is not None
    bomb = encoder.encode([("x", "y" * 3000)] * 400)
    peer.session.receive(headers(good.id, bomb, "END_HEADERS", "END_STREAM"))
    assert isinstance(good.failure, PeerFault)
    assert peer.session.ended is not None


def continuation(stream: int, lines: bytes) -> bytes:
    return ContinuationFrame(stream, data=lines, flags=["END_HEADERS"]).serialize()


def test_what_was_whole_before_a_fault_of_the_connection_stays_valid():
    """Even where both came in one read."""
    peer = Peer2()
    whole, half = peer.open(), peer.open()
    peer.books.send_headers(whole.id, [(":status", "200")])
    peer.books.send_data(whole.id, b"ok", end_stream=True)
    peer.books.send_headers(half.id, [(":status", "200")])
    wire = peer.books.data_to_send() + b"\0\0\1\0\0\0\0\0\0x"  # DATA for no stream
    peer.session.receive(wire)
    assert whole.ended
    assert whole.failure is None
    assert peer.session.take(whole) == b"ok"
    assert isinstance(half.failure, PeerFault)


# Bounds

CHEAP = {
    "PING": lambda _: ping(),
    "SETTINGS": lambda _: settings(),
    "RST_STREAM of what is over": lambda _: reset(1, 8),
    "PRIORITY": lambda _: PriorityFrame(3, depends_on=0).serialize(),
    "WINDOW_UPDATE": lambda _: WindowUpdateFrame(0, window_increment=1).serialize(),
    "empty DATA": lambda _: data(3),
    "an unknown frame": lambda _: b"\0\0\0\xee\0\0\0\0\0",
    "1xx": lambda encoder: headers(3, encoder.encode([(":status", "103")]), "END_HEADERS"),
}


@pytest.mark.parametrize("kind", CHEAP)
def test_a_flood_ends_the_connection(kind):
    """Frames that cost work and bring nothing are counted, and the node is told why it is left."""
    peer = Peer2()
    peer.answer(peer.open())
    stream, encoder = peer.open(), Encoder()
    if kind == "empty DATA":
        peer.say(headers(3, encoder.encode([(":status", "200")]), "END_HEADERS"))
    flood = b"".join(CHEAP[kind](encoder) for _ in range(900))
    peer.session.receive(flood)
    assert peer.session.usable
    peer.session.receive(flood)
    assert isinstance(stream.failure, PeerFault)
    assert "floods" in str(stream.failure)
    peer.events += peer.books.receive_data(peer.session.output())
    assert [event.error_code for event in peer.heard(h2.events.ConnectionTerminated)] == [11]


def test_a_node_that_pings_for_days_is_left_in_peace():
    """The bound is of frames in a time."""
    peer = Peer2()
    for _ in range(3000):
        peer.say(ping())
        peer.clock.advance(0.1)
    assert peer.session.usable


def test_window_updates_for_what_was_sent_are_no_flood():
    """An upload of 64 MiB brings two updates for each of its 4,096 frames."""
    peer = Peer2()
    stream = peer.open(end=False)
    part = memoryview(bytes(65536))
    for _ in range(1024):
        left = part
        while left:
            left = left[peer.session.send(stream, left) :]
            peer.talk()
            for event in peer.heard(h2.events.DataReceived):
                size = event.flow_controlled_length
                peer.books.increment_flow_control_window(size)
                peer.books.increment_flow_control_window(size, event.stream_id)
            peer.events.clear()
            peer.talk()
    assert peer.session.usable


def test_continuations_without_end_are_bounded():
    """CVE-2024-27316: they would be gathered for ever."""
    peer = Peer2()
    stream = peer.open()
    peer.session.receive(headers(stream.id, block()))
    for _ in range(100):
        peer.session.receive(ContinuationFrame(stream.id, data=b"").serialize())
    assert isinstance(stream.failure, PeerFault)


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        b"\0\0\4\x07\0\0\0\0\0" + bytes(4),
        PushPromiseFrame(1, promised_stream_id=2, flags=["END_HEADERS"]).serialize(),
    ],
    ids=["endless", "half a GOAWAY", "a push that was refused"],
)
def test_what_breaks_the_rules_ends_the_connection(frame):
    """With an error of our own for whoever is on it."""
    peer = Peer2()
    stream = peer.open()
    peer.session.receive(frame)
    assert isinstance(stream.failure, PeerFault)
    assert peer.session.capacity == 0


@run(deadline=None, max_examples=300)
@given(
    some.lists(
        some.tuples(
            some.integers(0, 12),
            some.integers(0, 255),
            some.integers(0, 6),
            some.binary(max_size=40),
        ),
        max_size=30,
    )
)
def test_no_frame_makes_the_session_raise(frames):
    """Whatever comes, a stream has an answer or a failure, and no error of h2 gets out."""
    peer = Peer2()
    stream = peer.open()
    for kind, flags, number, payload in frames:
        head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big")
        peer.session.receive(head + payload)
        peer.session.output()
    peer.session.end("over")
    assert stream.ended or stream.failure is not None


# Credit


def test_bodies_that_nobody_reads_leave_the_window_open():
    """Forty answers of 1 MiB to callers who read nothing, and the next one still comes."""
    peer = Peer2()
    for _ in range(40):
        stream = peer.open()
        send_all(peer, stream, 1024 * 1024)
        peer.session.leave(stream)
    stream = peer.open()
    send_all(peer, stream, 1024 * 1024)
    assert len(peer.session.take(stream)) == 1024 * 1024


def test_what_was_under_way_when_a_stream_was_left_is_credited():
    """Hundreds of MiB for streams that are over use nothing up."""
    peer = Peer2()
    peer.books.max_outbound_frame_size = 16384
    for _ in range(40):
        stream = peer.open()
        peer.books.send_headers(stream.id, [(":status", "200")])
        peer.talk()
        peer.session.leave(stream)
        late = peer.session.output()  # the reset, which the node reads too late
        for _ in range(64):
            peer.books.send_data(stream.id, bytes(16384))
        peer.session.receive(peer.books.data_to_send())
        peer.books.receive_data(late)
        peer.talk()
    assert peer.books.outbound_flow_control_window > 12 * 1024 * 1024
    assert len(peer.heard(h2.events.StreamReset)) == 0


def test_a_reader_gives_its_stream_more():
    """A body of 20 MiB comes whole, as fast as it is read and no faster."""
    peer = Peer2()
    stream = peer.open()
    peer.books.send_headers(stream.id, [(":status", "200")])
    got, left = 0, 20 * 1024 * 1024
    while left:
        window = min(peer.books.local_flow_control_window(stream.id), 16384, left)
        if not window:
            assert stream.unread <= 4 * 1024 * 1024
            got += len(peer.session.take(stream))
            peer.talk()
            continue
        peer.books.send_data(stream.id, bytes(window))
        left -= window
        peer.talk()
    assert got + len(peer.session.take(stream)) == 20 * 1024 * 1024


def test_what_waits_for_its_reader_takes_no_more_room_than_it_has_bytes():
    """A hundred thousand frames of a byte each are one buffer, not as many objects."""
    peer = Peer2()
    stream = peer.open()
    peer.say(headers(stream.id, block(), "END_HEADERS"))
    peer.session.receive(data(stream.id, b"x") * 100_000)
    assert sys.getsizeof(stream.body) < 150_000
    assert peer.session.take(stream) == b"x" * 100_000


def send_all(peer: Peer2, stream, size: int) -> None:
    peer.books.send_headers(stream.id, [(":status", "200")])
    for _ in range(size // 16384):
        peer.books.send_data(stream.id, bytes(16384))
        peer.talk()


# Sending


def test_an_upload_waits_for_the_window_and_is_told_when_it_opens():
    """What the node does not take is not sent, and its owner is woken by the update."""
    peer = Peer2()
    stream = peer.open(end=False)
    woken = []
    stream.wake = lambda: woken.append(True)
    sent = peer.session.send(stream, memoryview(bytes(100_000)), end=True)
    assert sent == 65_535
    assert not stream.sent_end
    peer.talk()
    assert woken == []
    peer.books.increment_flow_control_window(100_000)
    peer.books.increment_flow_control_window(100_000, stream.id)
    peer.talk()
    assert woken
    assert peer.session.send(stream, memoryview(bytes(100_000 - sent)), end=True) == 100_000 - sent
    assert stream.sent_end
    peer.talk()
    assert peer.heard(h2.events.StreamEnded)


def test_both_directions_go_on_at_once():
    """A stream may be written to after its answer has begun, and ends when both have ended."""
    peer = Peer2()
    stream = peer.open(end=False)
    peer.answer(stream, b"first", end=False)
    assert peer.session.take(stream) == b"first"
    assert peer.session.send(stream, memoryview(b"ack")) == 3
    peer.talk()
    assert peer.heard(h2.events.DataReceived)[-1].data == b"ack"
    peer.books.send_data(stream.id, b"second", end_stream=True)
    peer.talk()
    assert stream.ended
    assert stream.id in peer.session.streams
    peer.session.finish(stream)
    assert peer.session.streams == {}


def test_leaving_tells_the_node():
    """A stream that is given up is cancelled, one that is over is not."""
    peer = Peer2()
    left, done = peer.open(), peer.open()
    peer.answer(done)
    peer.session.leave(left)
    peer.session.leave(done)
    peer.talk()
    resets = peer.heard(h2.events.StreamReset)
    assert [(event.stream_id, event.error_code) for event in resets] == [(left.id, 8)]


def test_the_last_stream_number_ends_the_connection():
    """RFC 9113 §5.1.1: then a fresh one is needed."""
    peer = Peer2()
    peer.session._h2.highest_outbound_stream_id = 2**31 - 3
    stream = peer.session.open(GET, end=True, bodiless=False)
    assert stream.id == 2**31 - 1
    assert not peer.session.usable
