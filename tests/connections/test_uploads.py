"""Uploads to a node that takes all that it is sent, at once."""

from __future__ import annotations

import pytest

from rpcguard._connections import stand_in
from rpcguard._connections.http11 import TURN, HTTP11Connection, Part, Sending, Wait
from rpcguard._core.call.timeouts import Timeouts
from rpcguard._wire.parsers import head_parser
from rpcguard._wire.request import HeaderBlock
from rpcguard.testing import ManualClock

PIECE = b"x" * 65536


class Greedy:
    """A stream that takes everything, and never has anything to say."""

    core, closed, touched = stand_in, False, False

    def ended(self) -> bool:
        return False

    def send(self, data: bytes | memoryview) -> int:
        return len(data)

    def flush(self) -> bool:
        return True

    def receive(self) -> None:
        return None


def uploading(timeouts):
    """Begin an upload in parts; give its steps."""
    block = HeaderBlock.of([(b"Host", b"a"), (b"Transfer-Encoding", b"chunked")])
    connection = HTTP11Connection(Greedy(), None, head_parser())
    rest = connection.start(Sending(b"PUT", b"PUT / HTTP/1.1\r\n", block, None, timeouts))
    assert rest is not None
    return connection.finish(rest)


def test_a_deadline_counts_though_nothing_is_waited_for():
    """The first part that comes after it is not sent."""
    clock = ManualClock()
    steps = uploading(Timeouts({"write": 5.0}, clock() + 1.0, clock))
    assert next(steps) is Part.NEXT
    assert steps.send(PIECE) is Part.NEXT
    clock.advance(2.0)
    with pytest.raises(stand_in.WriteTimeout, match="no time left"):
        steps.send(PIECE)


def test_others_have_their_turn_though_nothing_is_waited_for():
    """An event loop goes on, and sees who was cancelled, once in each mebibyte."""
    steps = uploading({"write": 5.0})
    step, turns = next(steps), 0
    for _ in range(4 * TURN // len(PIECE)):
        assert step is Part.NEXT
        step = steps.send(PIECE)
        while step is Wait.TURN:
            turns, step = turns + 1, next(steps)
    assert turns == 4
