"""The node's end of an HTTP/2 connection, in memory: what it says goes to a session at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from rpcguard._wire.h2_session import Http2Session
from rpcguard.testing import ManualClock

if TYPE_CHECKING:
    from rpcguard._wire.h2_counts import NodeCount
    from rpcguard._wire.h2_streams import Http2Stream

GET = [(b":method", b"GET"), (b":authority", b"orders"), (b":scheme", b"http"), (b":path", b"/")]


class Peer2:
    """A session and the node that it talks to, which is h2 in its other role."""

    def __init__(
        self, settings: dict[int, int] | None = None, *, count: NodeCount | None = None
    ) -> None:
        self.clock = ManualClock(1000.0)
        self.room: list[int] = []
        self.session = Http2Session(clock=self.clock, on_room=self._on_room, count=count)
        self.books = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.events: list[h2.events.Event] = []
        self.books.initiate_connection()
        if settings:
            self.books.update_settings(settings)
        self.session.start()
        self.talk()

    def _on_room(self) -> None:
        self.room.append(self.session.capacity)

    def open(self, *, end: bool = True, bodiless: bool = False) -> Http2Stream:
        """Begin a stream, and let the node know of it."""
        stream = self.session.open(GET, end=end, bodiless=bodiless)
        self.talk()
        return stream

    def answer(self, stream: Http2Stream, body: bytes = b"ok", *headers, end: bool = True) -> None:
        """Answer a stream; DATA in frames of 16 KiB at most."""
        self.books.send_headers(stream.id, [(":status", "200"), *headers])
        for at in range(0, len(body), 16384):
            self.books.send_data(stream.id, body[at : at + 16384])
        if end:
            self.books.end_stream(stream.id)
        self.talk()

    def say(self, *frames: Frame | bytes) -> None:
        """Send frames that h2 would not send."""
        for frame in frames:
            self.session.receive(frame if isinstance(frame, bytes) else frame.serialize())
        self.talk()

    def talk(self) -> None:
        """Carry bytes both ways until neither end has any."""
        while True:
            there, back = self.session.output(), self.books.data_to_send()
            if not there and not back:
                return
            if there:
                self.events += self.books.receive_data(there)
            if back:
                self.session.receive(back)

    def heard(self, kind: type) -> list:
        """Give the events of a kind that the node has seen."""
        return [event for event in self.events if isinstance(event, kind)]


def goaway(last: int, error: int = 0) -> bytes:
    """Make a GOAWAY, which h2 sends as the end of everything."""
    return GoAwayFrame(0, last_stream_id=last, error_code=error).serialize()


def reset(stream: int, error: int) -> bytes:
    """Make a RST_STREAM."""
    return RstStreamFrame(stream, error_code=error).serialize()


def ping() -> bytes:
    """Make a PING that wants an answer."""
    return PingFrame(0, opaque_data=b"12345678").serialize()


def settings() -> bytes:
    """Make SETTINGS that change nothing."""
    return SettingsFrame(0).serialize()


def data(stream: int, body: bytes = b"", *, end: bool = False) -> bytes:
    """Make a DATA frame."""
    return DataFrame(stream, data=body, flags=["END_STREAM"] if end else []).serialize()


def headers(stream: int, block: bytes, *flags: str) -> bytes:
    """Make a HEADERS frame."""
    return HeadersFrame(stream, data=block, flags=list(flags)).serialize()
