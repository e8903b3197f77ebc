"""What HTTP/2 connections of both kinds share: how a call begins on one, and what time it has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rpcguard._connections.http2.calls import Unsent, has_body, request_headers
from rpcguard._core.outcomes.responses import GOAWAY
from rpcguard._wire.h2_faults import Silence, StreamForsaken

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import httpx

    from rpcguard._connections.http2.calls import Countdown
    from rpcguard._wire.h2_headers import Fields
    from rpcguard._wire.h2_session import Http2Session
    from rpcguard._wire.h2_streams import Http2Stream

PIECE = 64 * 1024
"""Bytes of a body that are handed over before it is asked whether they leave."""


class Http2Connection:
    """One HTTP/2 connection; `name` is the TLS name that it was verified for.

    Its timeouts are errors of `http`, httpx or httpx2; all others are those of the frame books.
    """

    __slots__ = (
        "_http",
        "calls",
        "channel",
        "expires",
        "idle_since",
        "name",
        "opened_at",
        "session",
    )

    def __init__(
        self, http: ModuleType, channel: Any, session: Http2Session, name: str | None
    ) -> None:
        self._http = http
        self.channel = channel
        self.session = session
        self.name = name
        self.calls: int = 0
        self.opened_at: float = 0.0
        self.expires: float = 0.0
        self.idle_since: float = 0.0

    @property
    def usable(self) -> bool:
        """Tell whether it takes further calls at all."""
        return self.session.usable and not self.channel.closed

    @property
    def ready(self) -> bool:
        """Tell whether the node has said how many calls it takes."""
        return self.session.ready

    @property
    def capacity(self) -> int:
        """Give how many calls it may carry at once."""
        return self.session.capacity

    def close(self) -> None:
        """Close at once; whoever still uses it gets an error."""
        self.session.end("the connection was closed on this side")
        self.channel.abort()

    def leave(self, stream: Http2Stream) -> None:
        """Give a stream up, or part with one that is over."""
        self.session.leave(stream)
        self.channel.flush()

    def begin(self, request: httpx.Request, fields: Fields, scheme: str) -> Http2Stream:
        """Send the headers of a request; raise `Unsent` where the connection takes none.

        Without an await: whatever cancels a call finds it sent as a whole or not at all.
        """
        if not self.usable or len(self.session.streams) >= self.session.capacity:
            raise Unsent("the connection takes no further call")
        stream = self.session.open(
            request_headers(request, fields, scheme),
            end=not has_body(fields),
            bodiless=request.method == "HEAD",
        )
        self.channel.flush()
        return stream

    def extensions(self, stream: Http2Stream) -> dict[str, Any]:
        """Give what a response tells of its connection."""
        told = {
            "http_version": b"HTTP/2",
            "network_stream": self.channel.stream,
            "stream_id": stream.id,
        }
        if self.session.departing:
            told[GOAWAY] = True
        return told

    def _start(self) -> None:
        self.channel.start()

    def _finish(self, stream: Http2Stream) -> None:
        self.session.finish(stream)
        self.channel.flush()

    def _take(self, stream: Http2Stream) -> bytes:
        data = self.session.take(stream)
        self.channel.flush()
        return data

    def _read_time(self, countdown: Countdown) -> float | None:
        left = countdown.left()
        if left is not None and left <= 0.0:
            raise self._http.ReadTimeout("the node did not answer in time")
        return left

    def _write_time(self, countdown: Countdown) -> float | None:
        left = countdown.left()
        if left is not None and left <= 0.0:
            raise self._late()
        return left

    def _patient_time(
        self, stream: Http2Stream, patience: Callable[[], float], left: float | None
    ) -> float | None:
        quiet = self.session.patience(stream, patience)
        if quiet is None or quiet == math.inf:
            return left
        if quiet <= 0.0:
            raise StreamForsaken(Silence(stream.id, patience()))
        return quiet if left is None else min(left, quiet)

    def _late(self) -> Exception:
        late: Exception = self._http.WriteTimeout("the node did not take the body in time")
        return late
