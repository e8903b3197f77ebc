"""What h2 gets to see of a connection, frame by frame."""

from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from rpcguard._connections.http2.frames import Frames
from rpcguard.testing import ManualClock

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = SettingsFrame(0).serialize()
ALL = 2**31 - 1


def headers(stream: int) -> bytes:
    return HeadersFrame(stream, data=b"\x88", flags=["END_HEADERS"]).serialize()


def data(stream: int, size: int = 5) -> bytes:
    return DataFrame(stream, data=b"x" * size, flags=["END_STREAM"]).serialize()


def goaway(last: int, error: int = 0) -> bytes:
    return GoAwayFrame(0, last_stream_id=last, error_code=error, additional_data=b"why").serialize()


def refused(*streams: int) -> bytes:
    return b"".join(RstStreamFrame(stream, error_code=7).serialize() for stream in streams)


def opened(*streams: int, clock=None) -> Frames:
    """Open streams on a connection."""
    frames = Frames(clock or ManualClock())
    frames.sent(PREFACE + SETTINGS)
    for stream in streams:
        frames.sent(headers(stream) + data(stream))
    return frames


@pytest.mark.parametrize("size", [1, 2, 7, 9, 10, 13, 1000])
def test_a_goaway_is_held_back_however_the_bytes_come(size):
    """The frames around it pass whole, in order and at once; it comes when the connection ends."""
    frames = opened(1, 3)
    wire = SETTINGS + headers(1) + goaway(ALL) + data(1, 300) + goaway(3) + headers(3) + data(3)
    passed = b"".join(frames.received(wire[at : at + size]) for at in range(0, len(wire), size))
    assert passed == SETTINGS + headers(1) + data(1, 300) + headers(3) + data(3)
    assert frames.leaving
    assert frames.ended() == goaway(3)
    assert frames.ended() == b""


def test_streams_above_the_last_one_are_refused():
    """Those that are open at once, and those that are opened later."""
    frames = opened(1, 3, 5)
    assert frames.received(goaway(1)) == refused(3, 5)
    frames.sent(headers(7))
    assert frames.received(b"") == refused(7)
    assert frames.received(data(1)) == data(1)


def test_what_is_refused_never_comes_in_the_middle_of_a_frame():
    """It waits for the frame that is being read to end."""
    frames = opened(1)
    long = data(1, 100)
    assert frames.received(goaway(1) + long[:50]) == long[:50]
    frames.sent(headers(3))
    assert frames.received(b"") == b""
    assert frames.received(long[50:]) == long[50:] + refused(3)


def test_a_stream_that_the_goaway_names_may_still_be_opened_late():
    """The first of two GOAWAYs names them all, and refuses none."""
    frames = opened(1)
    assert frames.received(goaway(ALL)) == b""
    frames.sent(headers(3))
    assert frames.received(b"") == b""
    assert frames.received(goaway(1)) == refused(3)


def test_a_goaway_with_an_error_passes():
    """What it names is lost; what it does not name was not processed."""
    frames = opened(1, 3)
    assert frames.received(goaway(1, error=11)) == refused(3) + goaway(1, error=11)
    assert frames.leaving
    assert not frames.departing


def test_a_goaway_before_any_stream_passes():
    """Nothing was processed, and nothing goes on that it could break."""
    frames = opened(1)
    assert frames.received(goaway(0)) == goaway(0)
    assert frames.leaving


def test_a_reset_after_the_whole_answer_is_left_out():
    """The server does not want the rest of the request, and the answer stays valid."""
    frames = opened(1, 3)
    answer = headers(1) + data(1)
    done = RstStreamFrame(1, error_code=0).serialize()
    assert frames.received(answer + done) == answer
    early = RstStreamFrame(3, error_code=0).serialize()
    assert frames.received(early) == early
    broken = RstStreamFrame(1, error_code=2).serialize()
    assert frames.received(broken) == broken


def test_a_goaway_without_end_is_not_waited_for():
    """What is longer than h2 takes goes to h2, which ends the connection over it."""
    endless = b"\xff\xff\xff\x07\x00" + bytes(4) + bytes(1000)
    assert opened(1).received(endless) == endless


def test_http1_passes_untouched():
    """A connection without the preface of HTTP/2 is none of its business."""
    frames = Frames()
    frames.sent(b"GET / HTTP/1.1\r\n\r\n")
    answer = goaway(1) + b"HTTP/1.1 200 OK\r\n\r\n"
    assert frames.received(answer) == answer
    assert (frames.leaving, frames.ended()) == (False, b"")


def test_frames_may_be_written_in_parts():
    """A frame that goes on in the next write is no start of another one."""
    frames = Frames()
    whole = headers(1)
    long = DataFrame(1, data=headers(99) * 20).serialize()
    frames.sent(PREFACE + SETTINGS + whole + long[:30])
    frames.sent(long[30:60])
    frames.sent(long[60:] + headers(3))
    assert frames.received(goaway(1)) == refused(3)


@pytest.mark.parametrize(
    ("age", "answers", "departing"), [(1.0, 1, True), (6.0, 1, False), (1.0, 5, False)]
)
def test_a_node_departs_when_a_fresh_connection_is_told_to_end(age, answers, departing):
    """An old or much used connection is told so too, for its age alone."""
    clock = ManualClock()
    frames = opened(*range(1, 2 * answers, 2), clock=clock)
    for stream in range(1, 2 * answers, 2):
        frames.received(headers(stream) + data(stream))
    clock.advance(age)
    frames.received(goaway(ALL))
    frames.received(goaway(2 * answers - 1))
    assert frames.leaving
    assert frames.departing is departing
