"""One HTTP/2 connection that tasks share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from rpcguard._connections.http2.calls import Countdown
from rpcguard._connections.http2.connection import PIECE, Http2Connection
from rpcguard._wire.h2_faults import OwnFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from rpcguard._wire.h2_headers import Pairs
    from rpcguard._wire.h2_streams import Http2Stream


class AsyncHttp2Connection(Http2Connection):
    """One HTTP/2 connection that tasks share."""

    __slots__ = ()

    async def start(self) -> None:
        """Begin the connection."""
        self._start()

    async def upload(self, stream: Http2Stream, request: httpx.Request, length: int | None) -> None:
        """Send the body, unless its answer comes before, and say where it ends."""
        timeouts, left = request.extensions.get("timeout", {}), length
        parts: Any = request.stream.__aiter__()  # type: ignore[union-attr]
        try:
            async for part in parts:
                if left is not None:
                    left -= len(part)
                    if left < 0:
                        raise OwnFault("the body is longer than its Content-Length")
                await self._send(stream, memoryview(part), timeouts, end=left == 0)
                if stream.answered_early or stream.failure is not None:
                    return
        finally:
            close = getattr(parts, "aclose", None)
            if close is not None:  # left early: collected as garbage it would be too late
                await close()
        if left:
            raise OwnFault("the body is shorter than its Content-Length")
        self._finish(stream)

    async def head(self, stream: Http2Stream, request: httpx.Request) -> tuple[int, Pairs]:
        """Give the start of the answer.

        The request's `patience`, if it has one, tells how many seconds a stream may be silent that
        a GOAWAY left open.
        """
        countdown = Countdown(request.extensions.get("timeout", {}), "read")
        patience = getattr(request, "patience", None)
        while True:
            left = self._read_time(countdown)
            if stream.failure is not None:
                raise stream.failure
            if stream.head is not None:
                return stream.head.status, stream.head.pairs
            if patience is not None:
                left = self._patient_time(stream, patience, left)
            await self.channel.wait(stream, left)

    async def part(self, stream: Http2Stream, request: httpx.Request) -> bytes:
        """Give the next part of the body, empty at its end; with patience as for its start."""
        countdown = Countdown(request.extensions.get("timeout", {}), "read")
        patience = getattr(request, "patience", None)
        while True:
            left = self._read_time(countdown)
            if stream.body:
                return self._take(stream)
            if stream.failure is not None:
                raise stream.failure
            if stream.ended:
                return b""
            if patience is not None:
                left = self._patient_time(stream, patience, left)
            await self.channel.wait(stream, left)

    async def _send(
        self, stream: Http2Stream, data: memoryview, timeouts: Mapping[str, Any], *, end: bool
    ) -> None:
        session, channel = self.session, self.channel
        countdown = Countdown(timeouts, "write")
        while data and stream.failure is None and not stream.answered_early:
            piece = data[:PIECE]
            sent = session.send(stream, piece, end=end and len(piece) == len(data))
            channel.flush()
            data = data[sent:]
            if sent:
                countdown.restart()
            left = self._write_time(countdown)
            if channel.full:
                if not await channel.drained(left):
                    raise self._late()
            elif not sent:
                await channel.wait(stream, left)
            elif data:
                await anyio.lowlevel.checkpoint()  # others have something to say meanwhile
