"""What one attempt's answer or exception means: one table, for httpx and httpx2 alike."""

from __future__ import annotations

import errno
import math
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from rpcguard.offline import Notice

if TYPE_CHECKING:
    from rpcguard.nodes import Node

Headers = Iterable[tuple[bytes, bytes]]

GOAWAY = "rpcguard.goaway"
"""The extension of a response whose connection was told to end when it had just begun."""

_LONGEST_VALUE = 256


class Safety(Enum):
    """Say whether the request may be sent again."""

    UNSENT = "provably not processed: any method may go again"
    MAYBE = "may have been processed: idempotent calls only"
    NEVER = "sending it again changes nothing"


Blame = Literal["none", "failure", "connect", "handshake"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Say what one attempt came to.

    `outcome` is the status code or the name of the exception. `failed` is true for an exception
    and for an answer of 500 and above, `good` for an answer below 400; what lies between says
    nothing of the node. `stale` is a kept-alive connection that was closed under the request,
    which is nobody's fault.
    """

    outcome: str
    failed: bool
    safety: Safety
    blame: Blame
    good: bool = False
    notice: Notice | None = None
    stale: bool = False


_CANCELLED = Verdict("cancelled", failed=True, safety=Safety.NEVER, blame="none")

_EXCEPTIONS: dict[str, tuple[Safety, Blame]] = {
    "ConnectTimeout": (Safety.UNSENT, "connect"),
    "ConnectError": (Safety.UNSENT, "connect"),
    "PoolTimeout": (Safety.UNSENT, "none"),
    "ProxyError": (Safety.UNSENT, "none"),
    "UnsupportedProtocol": (Safety.NEVER, "none"),
    "LocalProtocolError": (Safety.NEVER, "none"),
    "TransportClosed": (Safety.NEVER, "none"),
    "TransportError": (Safety.MAYBE, "failure"),
}
"""By class name along the MRO, nearest first: read, write and remote protocol errors and their
timeouts are all `TransportError`, possibly processed. See RFC 9110 §9.2.2 and RFC 9113 §8.7."""

_LOCAL_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM, errno.EACCES}
)
_LIBRARIES = frozenset({"httpx", "httpx2", "rpcguard"})
_REFUSED_STREAM = 7


def cancelled() -> Verdict:
    """Give the verdict of an attempt that its caller gave up: nobody's fault."""
    return _CANCELLED


def classify_exception(error: BaseException) -> Verdict:
    """Judge what an attempt raised.

    Works by class name, so that httpx and httpx2 need not be imported; anything that is not
    theirs (an error of the caller's own body iterator, say) is passed on and blames nobody.
    """
    outcome = type(error).__name__
    for kind in type(error).__mro__:
        known = _EXCEPTIONS.get(kind.__name__)
        if known is not None and kind.__module__.partition(".")[0] in _LIBRARIES:
            break
    else:
        return Verdict(outcome, failed=True, safety=Safety.NEVER, blame="none")
    verdict = Verdict(outcome, failed=True, safety=known[0], blame=known[1])
    if verdict.blame == "connect":
        return _refine_connect(verdict, error)
    if outcome in ("RemoteProtocolError", "LocalProtocolError", "ReadError", "WriteError"):
        return _refine_protocol(verdict, error)
    return verdict


def _refine_connect(verdict: Verdict, error: BaseException) -> Verdict:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return replace(verdict, blame="handshake")
        if isinstance(cause, OSError) and cause.errno in _LOCAL_ERRNOS:
            return replace(verdict, blame="none")
    return verdict


def _refine_protocol(verdict: Verdict, error: BaseException) -> Verdict:
    cause = error.__cause__
    if type(cause).__name__ == "StaleConnection":
        return replace(verdict, blame="none", stale=True)
    event = cause.args[0] if cause is not None and cause.args else None
    if getattr(event, "error_code", None) == _REFUSED_STREAM and hasattr(event, "stream_id"):
        return replace(verdict, safety=Safety.UNSENT, blame="none")
    if type(event).__name__ == "TooManyStreamsError":  # h2 sends nothing then
        return replace(verdict, safety=Safety.UNSENT, blame="none")
    if type(event).__name__ == "StreamClosedError":  # the node reset it under the body
        return replace(verdict, safety=Safety.MAYBE, blame="failure")
    last_stream = getattr(event, "last_stream_id", None)
    if last_stream is not None:
        safety = Safety.UNSENT if last_stream == 0 else Safety.MAYBE
        return replace(verdict, safety=safety, blame="none", notice=Notice("goaway", "GOAWAY"))
    if "ConnectionState.CLOSED" in str(error):
        # The h2 package takes any GOAWAY for the end of the connection, and then calls the
        # answers that the draining node still sends a protocol error of ours.
        notice = Notice("goaway", "GOAWAY")
        return replace(verdict, safety=Safety.MAYBE, blame="none", notice=notice)
    return verdict


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    waiting, seen = [error], 0
    while waiting and seen < 32:
        current = waiting.pop()
        if current is None:
            continue
        seen += 1
        yield current
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions


@lru_cache(maxsize=1024)
def _by_status(status: int) -> Verdict:
    if status < 500:
        good = status < 400
        return Verdict(str(status), failed=False, safety=Safety.NEVER, blame="none", good=good)
    blame: Blame = "none" if status in (501, 505) else "failure"
    return Verdict(str(status), failed=True, safety=Safety.MAYBE, blame=blame)


def classify_response(
    status: int, headers: Headers, node: Node, wall: Callable[[], float] = time.time
) -> Verdict:
    """Judge an answer by its status and by what its raw headers say of the node that gave it."""
    verdict = _by_status(status)
    notices = []
    for name, value in headers:
        reader = _READERS.get(name.lower())
        if reader is not None and len(value) <= _LONGEST_VALUE:
            notice = reader(status, value.decode("latin-1").strip(), node, wall)
            if notice is not None:
                notices.append(notice)
    if not notices:
        return verdict
    loudest = min(notices, key=_loudness)
    if any(notice.reason in _REFUSALS for notice in notices):
        return replace(verdict, safety=Safety.UNSENT, blame="none", notice=loudest)
    return replace(verdict, notice=loudest)


def departing(verdict: Verdict) -> Verdict:
    """Add to a verdict that a GOAWAY came with the answer, on a connection that had just begun."""
    return verdict if verdict.notice else replace(verdict, notice=Notice("goaway", "GOAWAY"))


def _loudness(notice: Notice) -> tuple[int, bool]:
    order = ("signal", "goaway", "retry-after", "foreign")
    return order.index(notice.source), notice.ttl is None


def _offline(_: int, value: str, __: Node, ___: Callable[[], float]) -> Notice | None:
    first, *options = (part.strip() for part in value.split(";"))
    if first != "1":
        return None
    ttl = None
    for option in options:
        name, _equals, given = option.partition("=")
        if name.strip().lower() == "ttl":
            ttl = _seconds(given.strip())
    return Notice("signal", "X-RpcGuard-Offline", ttl)


def _sermant(_: int, value: str, node: Node, __: Callable[[], float]) -> Notice:
    if value.lower() == node.address:
        return Notice("signal", "sermant.grace.mark.shutdown.service.endpoint")
    return Notice("foreign", "sermant.grace.mark.shutdown.service.endpoint")


def _envoy(_: int, __: str, ___: Node, ____: Callable[[], float]) -> Notice:
    return Notice("signal", "x-envoy-immediate-health-check-fail")


def _finagle(status: int, _: str, __: Node, ___: Callable[[], float]) -> Notice | None:
    return Notice("signal", "finagle-http-nack") if status == 503 else None


def _brpc(status: int, value: str, _: Node, __: Callable[[], float]) -> Notice | None:
    return Notice("signal", "x-bd-error-code") if status == 503 and value == "2003" else None


def _retry_after(status: int, value: str, _: Node, wall: Callable[[], float]) -> Notice | None:
    if status != 503:
        return None
    seconds = _seconds(value) if value[:1].isdigit() else _until_date(value, wall())
    return Notice("retry-after", "Retry-After", seconds) if seconds else None


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _until_date(value: str, now: float) -> float | None:
    try:
        date = parsedate_to_datetime(value)
        seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None


_REFUSALS = frozenset({"finagle-http-nack", "x-bd-error-code"})
_READERS: dict[bytes, Callable[[int, str, Node, Callable[[], float]], Notice | None]] = {
    b"x-rpcguard-offline": _offline,
    b"sermant.grace.mark.shutdown.service.endpoint": _sermant,
    b"x-envoy-immediate-health-check-fail": _envoy,
    b"finagle-http-nack": _finagle,
    b"x-bd-error-code": _brpc,
    b"retry-after": _retry_after,
}
