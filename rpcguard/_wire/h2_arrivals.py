"""What arrives on one HTTP/2 connection, frame by frame, and what it means for the streams."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import h2.events
import h2.exceptions
from h2.errors import ErrorCodes

from rpcguard._wire.h2_counts import NodeCount
from rpcguard._wire.h2_faults import (
    REFUSED_STREAM,
    GoAway,
    Http2Error,
    PeerFault,
    Refusal,
    Reset,
    StreamBroken,
    StreamRefused,
    WentAway,
)
from rpcguard._wire.h2_floods import FloodGuard
from rpcguard._wire.h2_headers import response_head
from rpcguard._wire.h2_settings import CONNECTION_WINDOW, h2_connection, window_update

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._wire.h2_streams import Http2Stream

_HEAD = 9
"""Bytes before the payload of a frame, RFC 9113 §4.1."""

_DATA, _HEADERS, _RST_STREAM, _GOAWAY, _CONTINUATION = 0, 1, 3, 7, 9
"""Types of frames, RFC 9113 §6."""

_END_STREAM, _PADDED = 1, 8
"""Flags of DATA, RFC 9113 §6.1."""

_LONGEST_FRAME = 2**14
"""RFC 9113 §4.2: what a peer may send unless it was told otherwise, and it is not."""

_FRESH, _FEW = 5.0, 5
"""A GOAWAY within so many seconds and calls that were taken is no word about the connection, which
has just begun, but about the node, unless the connection before ended upon the same call. Envoy's
shortest drain is of 5 s."""


class Http2Arrivals:
    """The half of a session that reads: it takes bytes in, and tells the streams.

    What the node does wrong on one stream ends that stream; only what leaves the connection in an
    unknown state ends the connection, and what was whole before stays valid. h2 sees neither a
    GOAWAY nor what comes for streams that are over, for it would end the connection over them.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_room: Callable[[], object] | None = None,
        count: NodeCount | None = None,
    ) -> None:
        self.streams: dict[int, Http2Stream] = {}
        self.ready: bool = False
        self.leaving: bool = False
        self.departing: bool = False
        self.ended: Exception | None = None
        self.frames: int = 0
        self.on_room = on_room
        self._clock = clock
        self._opened = clock()
        self._count = count or NodeCount()
        self._newest = 0
        self._goaway: GoAway | None = None
        self._goaway_at = 0.0
        self._buffer = bytearray()
        self._credit = self._dropped = 0
        self._extra = b""
        self._blocked: set[Http2Stream] = set()
        self._floods = FloodGuard(clock)
        self._h2 = h2_connection()
        self._handlers: dict[type, Callable[[Any], None]] = {
            h2.events.ResponseReceived: self._on_response,
            h2.events.InformationalResponseReceived: self._on_cheap,
            h2.events.TrailersReceived: self._on_trailers,
            h2.events.DataReceived: self._on_data,
            h2.events.StreamEnded: self._on_end,
            h2.events.StreamReset: self._on_reset,
            h2.events.WindowUpdated: self._on_window,
            h2.events.RemoteSettingsChanged: self._on_settings,
        }

    def receive(self, data: bytes) -> None:
        """Take in bytes as they come."""
        if self.ended is not None:
            return
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if length > _LONGEST_FRAME:
                self._broken("the node sent a frame that is too long", ErrorCodes.FRAME_SIZE_ERROR)
                return
            end = at + _HEAD + length
            if end > len(buffer):
                break
            if not self._frame(bytes(buffer[at:end])):
                return
            at = end
        del buffer[:at]
        self._give_back()

    def _frame(self, frame: bytes) -> bool:
        self.frames += 1
        kind = frame[3]
        number = int.from_bytes(frame[5:9], "big") & 0x7FFF_FFFF
        stream = self.streams.get(number)
        if stream is not None:
            stream.heard_at = self._clock()
        if kind == _GOAWAY:
            self._on_goaway(frame)
        elif kind == _DATA and not self._wanted(stream, frame, number):
            self._dropped += len(frame) - _HEAD
        elif kind == _RST_STREAM and stream is None and number <= self._newest:
            self._on_cheap(None)  # of a stream that is over: nothing to h2 but a violation
        else:
            if kind > _HEADERS and kind != _CONTINUATION:
                self._on_cheap(None)
            if self.ended is None:
                self._pass(frame)
        return self.ended is None

    def _pass(self, frame: bytes) -> None:
        try:
            events = self._h2.receive_data(frame)
        except h2.exceptions.ProtocolError as error:
            self._broken(f"the node broke the rules of HTTP/2: {error}", None)
            return
        except Exception as error:  # what h2 did not foresee must not reach a caller
            self._broken(f"h2 failed on what the node sent: {error!r}", ErrorCodes.INTERNAL_ERROR)
            return
        for event in events:
            handler = self._handlers.get(type(event))
            if handler is not None and self.ended is None:
                handler(event)

    def _wanted(self, stream: Http2Stream | None, frame: bytes, number: int) -> bool:
        # h2 resets a stream for each frame that comes after it was left, and ends the connection
        # where one answer does not go with its length: neither is to reach it.
        if stream is None or stream.ended:
            return number > self._newest or not number
        size = len(frame) - _HEAD
        if frame[4] & _PADDED:
            size -= 1 + (frame[_HEAD] if size else 0)
        if size <= 0 and not frame[4] & _END_STREAM:
            self._on_cheap(None)
        try:
            stream.check(size, end=bool(frame[4] & _END_STREAM))
        except PeerFault as fault:
            self._refuse_answer(stream, fault)
            return False
        return self.ended is None

    def _give_back(self) -> None:
        if self._credit + self._dropped < CONNECTION_WINDOW // 4:
            return
        if self._credit:
            self._h2.increment_flow_control_window(self._credit)
        if self._dropped:
            # h2 has not seen these bytes, so its own count of the window must not grow by them.
            self._extra += window_update(self._dropped)
        self._credit = self._dropped = 0

    # What h2 makes of it

    def _on_cheap(self, _: object) -> None:
        if not self._floods.admit():
            text = "the node floods the connection with frames that bring nothing"
            self._broken(text, ErrorCodes.ENHANCE_YOUR_CALM)

    def _on_response(self, event: h2.events.ResponseReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return  # it was left
        if stream.id == self._count.last and self._goaway is None:
            self._count.goes_on()
        try:
            stream.begin(response_head(event.headers))
        except PeerFault as fault:
            self._refuse_answer(stream, fault)
        else:
            stream.notify()

    def _on_trailers(self, event: h2.events.TrailersReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.trailers = [(name, value) for name, value in event.headers]

    def _on_data(self, event: h2.events.DataReceived) -> None:
        self._credit += event.flow_controlled_length
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.append(event.data, event.flow_controlled_length)
            stream.notify()

    def _on_end(self, event: h2.events.StreamEnded) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        try:
            stream.check(0, end=True)  # an end by HEADERS is not checked by h2
        except PeerFault as fault:
            self._refuse_answer(stream, fault)
            return
        stream.ended = True
        if stream.sent_end:
            self._forget(stream)
        stream.notify()

    def _on_reset(self, event: h2.events.StreamReset) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        self._forget(stream)
        if stream.ended:
            # RFC 9113 §8.1: the answer is whole, the rest is not wanted. That is NO_ERROR there;
            # some say CANCEL, and none can take back what it has ended.
            stream.stopped = True
        elif not event.remote_reset:
            stream.failure = PeerFault("the node opened the window of a stream too far")
        elif event.error_code == REFUSED_STREAM:
            stream.failure = StreamRefused(Refusal(stream.id))
        else:
            stream.failure = StreamBroken(Reset(stream.id, int(event.error_code)))
        stream.notify()

    def _on_window(self, event: h2.events.WindowUpdated) -> None:
        if event.stream_id:
            stream = self.streams.get(event.stream_id)
            if stream in self._blocked:
                self._unblock({stream})
        else:
            self._unblock(self._blocked)

    def _on_settings(self, _: h2.events.RemoteSettingsChanged) -> None:
        self.ready = True
        if not self._h2.remote_settings.max_concurrent_streams:
            self.leaving = True  # so hypercorn begins to leave
        self._unblock(self._blocked)
        self._tell_room()

    def _unblock(self, streams: set[Http2Stream]) -> None:
        waiting, self._blocked = streams, self._blocked - streams
        for stream in waiting:
            stream.notify()

    def _on_goaway(self, frame: bytes) -> None:
        if len(frame) < _HEAD + 8:
            self._broken("the node sent half a GOAWAY", ErrorCodes.FRAME_SIZE_ERROR)
            return
        last = int.from_bytes(frame[9:13], "big") & 0x7FFF_FFFF
        fact = GoAway(last, int.from_bytes(frame[13:17], "big"))
        if self._goaway is None:
            self._goaway_at = self._clock()
            self.departing = self._says_node_leaves(fact)
        self._goaway, self.leaving = fact, True
        for stream in list(self.streams.values()):
            if stream.id > last:
                self._forget(stream)
                refusal = StreamRefused(Refusal(stream.id), by_goaway=True)
                stream.failure = refusal if last else WentAway(fact)
            stream.notify()  # what is left may have to be patient from now on
        if fact.error_code:
            self._end(WentAway(fact))
        self._tell_room()

    def _says_node_leaves(self, fact: GoAway) -> bool:
        last = fact.last_stream_id
        if fact.error_code or not last:
            return False
        newest, stream = min(last, self._newest), self.streams.get(last)
        upon_call = stream is not None and stream.head is None
        if self._count.ended(newest, upon_call=upon_call):
            return False  # it comes upon this call each time, and not upon the time
        return self._goaway_at - self._opened < _FRESH and (newest + 1) // 2 < _FEW

    # How streams and the connection end

    def _refuse_answer(self, stream: Http2Stream, fault: PeerFault) -> None:
        stream.failure = fault
        self._drop(stream, ErrorCodes.PROTOCOL_ERROR)
        stream.notify()

    def _drop(self, stream: Http2Stream, code: ErrorCodes) -> None:
        if stream.id in self.streams:
            self._forget(stream)
            # The frame that is wrong may have been its last one.
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                self._h2.reset_stream(stream.id, code)

    def _forget(self, stream: Http2Stream) -> None:
        del self.streams[stream.id]
        self._blocked.discard(stream)
        self._tell_room()

    def _broken(self, text: str, code: ErrorCodes | None) -> None:
        if code is not None:
            self._h2.close_connection(code)
        self._end(PeerFault(text))

    def _end(self, error: Http2Error) -> None:
        self.ended = error
        for stream in list(self.streams.values()):
            self._forget(stream)
            if not stream.ended:
                # One for each: a traceback belongs to one task.
                stream.failure = type(error)(error.args[0])
            stream.notify()
        self._tell_room()

    def _tell_room(self) -> None:
        if self.on_room is not None:
            self.on_room()
