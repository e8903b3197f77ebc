"""The books of one HTTP/2 connection, on the client's side: streams, credit and frames; no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.errors import ErrorCodes

from rpcguard._wire.h2_arrivals import Http2Arrivals
from rpcguard._wire.h2_faults import Disconnected, WentAway
from rpcguard._wire.h2_settings import CONNECTION_WINDOW, MAX_STREAMS, STREAM_WINDOW
from rpcguard._wire.h2_streams import Http2Stream

if TYPE_CHECKING:
    from collections.abc import Callable


class Http2Session(Http2Arrivals):
    """One HTTP/2 connection without its socket, for any number of streams, in both directions.

    What arrives goes to `receive`, what is to be sent comes from `output`. `open` begins a stream,
    `send` and `finish` send its body, `take` hands out what came, `leave` gives it up at any point.
    Nothing here waits and nothing raises an error of h2. Not thread-safe.

    A GOAWAY ends the connection for new streams (`leaving`), refuses the streams above the last one
    that it names, and lets the others finish (RFC 9113 §6.8); h2, which takes any GOAWAY for the
    end of everything, does not see it. `departing` says that it came when the connection was young,
    so that not the connection is old, but the node leaves. A fault of one answer ends its stream
    alone, and what was whole before a fault of the connection stays valid.

    `on_room` is called when the number of streams that may be open changes. `count` says at which
    stream to leave the connection, and learns from how the node ends it.
    """

    @property
    def usable(self) -> bool:
        """Tell whether the connection may be kept for further streams."""
        return not self.leaving and self.ended is None

    @property
    def capacity(self) -> int:
        """Give the number of streams that may be open at once: one until the node has told."""
        if not self.usable:
            return 0
        if not self.ready:
            return 1
        return min(self._h2.remote_settings.max_concurrent_streams, MAX_STREAMS)

    def start(self) -> None:
        """Begin the connection: the preface, our settings, and credit for bodies."""
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW)

    def open(self, headers: list[tuple[bytes, bytes]], *, end: bool, bodiless: bool) -> Http2Stream:
        """Begin a stream; the headers must be good, and `capacity` must allow for it.

        `end` says that no body follows, `bodiless` that the answer has none (HEAD).
        """
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(number, headers, end_stream=end)
        stream = Http2Stream(number, self._clock(), bodiless=bodiless, sent_end=end)
        self.streams[number] = stream
        self._newest = number
        count = self._count
        self.leaving = self.leaving or number >= count.service.last or number >= count.last
        return stream

    def send(self, stream: Http2Stream, data: memoryview, *, end: bool = False) -> int:
        """Send what the windows allow of the data, and tell how much; `end` if that is the last.

        Where nothing may be sent, `stream.wake` is called as soon as something may.
        """
        sent, books = 0, self._h2
        window = books.local_flow_control_window(stream.id)
        window = min(window, len(data))
        while sent < window:
            step = min(window - sent, books.max_outbound_frame_size)
            last = end and sent + step == len(data)
            books.send_data(stream.id, data[sent : sent + step], end_stream=last)
            self._floods.earn(2)  # one update for each window is what it may bring
            sent += step
            stream.sent_end = last
        if sent < len(data):
            self._blocked.add(stream)
        return sent

    def finish(self, stream: Http2Stream) -> None:
        """Say that the body is sent."""
        if not stream.sent_end:
            stream.sent_end = True
            self._h2.end_stream(stream.id)
            if stream.ended:
                self._forget(stream)

    def take(self, stream: Http2Stream) -> bytes:
        """Hand out all of the body that has come, and give its credit back."""
        data = bytes(stream.body)
        stream.body.clear()
        stream.uncredited += stream.unread
        stream.unread = 0
        if (
            stream.uncredited >= STREAM_WINDOW // 2
            and stream.id in self.streams
            and not stream.ended
        ):
            self._h2.increment_flow_control_window(stream.uncredited, stream.id)
            stream.uncredited = 0
        return data

    def leave(self, stream: Http2Stream) -> None:
        """End a stream from this side: cancel what is still to come, forget what came."""
        stream.wake = None
        stream.body.clear()
        self._drop(stream, ErrorCodes.CANCEL)
        stream.ended = True

    def patience(self, stream: Http2Stream, patience: Callable[[], float]) -> float | None:
        """Give the seconds until a stream that a GOAWAY left open has been silent for too long.

        None where nothing was said that would end the connection.
        """
        if self._goaway is None:
            return None
        return max(self._goaway_at, stream.heard_at) + patience() - self._clock()

    def output(self) -> bytes:
        """Take what is to be sent now."""
        extra, self._extra = self._extra, b""
        return self._h2.data_to_send() + extra

    def end(self, reason: str) -> None:
        """Take in that the connection has ended, from whichever side."""
        if self.ended is None:
            goaway = self._goaway
            self._end(Disconnected(reason) if goaway is None else WentAway(goaway))
