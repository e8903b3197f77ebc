"""What the calls of both kinds share over HTTP/2: their headers, their time, their errors."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from rpcguard._connections.exchange import StaleConnection
from rpcguard._connections.handshake import HandshakeFailed
from rpcguard._wire.h2_faults import Disconnected, Http2Error, OwnFault, StreamRefused
from rpcguard._wire.h2_headers import Fields, request_fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import ModuleType

    import httpx

FRESH_TRIES = 3
"""Fresh connections for a call that others refused because they ended: after two of them it is
known how many calls a node takes on each."""

_NO_TIME = 0.001
"""Seconds that timeouts which shrink with a deadline never fall below: less is none."""


class Unsent(Exception):  # noqa: N818
    """A connection that turned out to be of no use before anything was sent over it."""


class SpeaksHttp1(Exception):  # noqa: N818
    """A node that agreed on HTTP/1.1 in the TLS handshake."""


class FieldCache:
    """The headers of the last request, prepared: a client sends the same ones again and again."""

    __slots__ = ("_fields", "_raw")

    def __init__(self) -> None:
        self._raw: list[tuple[bytes, bytes]] = []
        self._fields: Fields | None = None

    def prepare(self, raw: list[tuple[bytes, bytes]]) -> Fields:
        """Give what is sent of a request's headers; raise `OwnFault` for what may not be sent."""
        if self._fields is None or raw != self._raw:
            self._fields, self._raw = request_fields(raw), raw
        return self._fields


class Countdown:
    """The time that is left of one stage of a call: its timeout, and its deadline where it has one.

    The timeouts are looked up each time, for a deadline shrinks them meanwhile.
    """

    __slots__ = ("_clock", "_key", "_timeouts", "_until")

    def __init__(
        self,
        timeouts: Mapping[str, float | None],
        key: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeouts, self._key, self._clock = timeouts, key, clock
        self._until = math.inf
        self.restart()

    def restart(self) -> None:
        """Count from now."""
        limit = self._timeouts.get(self._key)
        self._until = math.inf if limit is None else self._clock() + limit

    def left(self) -> float | None:
        """Give the seconds that are left, 0 or less when none are; None without a limit."""
        limit = self._timeouts.get(self._key)
        if limit is None:
            return None
        if limit <= _NO_TIME:
            return 0.0  # the deadline has come, however much of the timeout is left
        return min(limit, self._until - self._clock())


def request_headers(
    request: httpx.Request, fields: Fields, scheme: str
) -> list[tuple[bytes, bytes]]:
    """Give the whole header list of a request; raise `OwnFault` for a method that is none."""
    method = request.method.encode("ascii", "replace")
    if not method.isalnum():
        raise OwnFault(f"illegal method {request.method!r}")
    target: bytes = request.extensions.get("target", request.url.raw_path)
    if not target.isascii() or not target or any(byte <= 32 or byte == 127 for byte in target):
        raise OwnFault(f"illegal target {target!r}")
    return [
        (b":method", method),
        (b":authority", fields.authority),
        (b":scheme", scheme.encode()),
        (b":path", target),
        *fields.pairs,
    ]


def has_body(fields: Fields) -> bool:
    """Tell whether something follows the headers of a request."""
    return fields.streamed if fields.length is None else fields.length > 0


async def traced(
    request: httpx.Request, event: str, info: dict[str, Any], step: Callable[[], Awaitable[Any]]
) -> Any:
    """Do a step, and tell the hook of the call when it begins and how it ends."""
    trace = request.extensions.get("trace")
    if trace is None:
        return await step()
    await trace(f"{event}.started", info)
    try:
        result = await step()
    except BaseException as error:
        await trace(f"{event}.failed", {"exception": error})
        raise
    await trace(f"{event}.complete", {"return_value": result})
    return result


def traced_now(
    request: httpx.Request, event: str, info: dict[str, Any], step: Callable[[], Any]
) -> Any:
    """Do a step in a thread as `traced` does in a task."""
    trace = request.extensions.get("trace")
    if trace is None:
        return step()
    trace(f"{event}.started", info)
    try:
        result = step()
    except BaseException as error:
        trace(f"{event}.failed", {"exception": error})
        raise
    trace(f"{event}.complete", {"return_value": result})
    return result


def is_touched(body: Any) -> bool:
    """Tell whether a body that can be read only once was begun."""
    return bool(getattr(body, "touched", False))


def translated(
    http: ModuleType, error: BaseException, address: str, claim: Any, *, closed: bool
) -> Exception | None:
    """Find the library's own error for what ended a call; None for what is none of HTTP/2.

    `claim` is the call's place or slot, `closed` says that the connections were closed on this
    side. A kept connection that ended before it brought anything for the call was stale.
    """
    made: Exception
    if isinstance(error, OwnFault):
        made = http.LocalProtocolError(str(error))
    elif isinstance(error, Unsent):
        made = http.ConnectError(str(error))
        made.__cause__ = HandshakeFailed("TCP stood, and the node took no call over HTTP/2")
        return made
    elif not isinstance(error, Http2Error):
        return None
    elif closed and not isinstance(error, StreamRefused):
        made = http.ReadError(f"the connections to {address} were closed")
    else:
        made = http.RemoteProtocolError(str(error))
    made.__cause__ = error
    stale = isinstance(error, Disconnected) and claim.reused and not closed
    if stale and claim.connection.session.frames == claim.frames_before:
        made.__cause__ = StaleConnection(f"the kept connection to {address} had ended")
        made.__cause__.__cause__ = error
    return made


def copied(failure: Exception) -> Exception:
    """Make another error like the given one: a traceback belongs to one task."""
    copy = type(failure)(*failure.args)
    copy.__cause__ = failure.__cause__ or failure
    return copy
