"""What an exception says, for httpx and httpx2 alike."""

from __future__ import annotations

import errno
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

from rpcguard._core.outcomes.verdict import Blame, Notice, Safety, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXCEPTIONS: dict[str, tuple[Safety, Blame]] = {
    "ConnectTimeout": (Safety.UNCONNECTED, "connect"),
    "ConnectError": (Safety.UNCONNECTED, "connect"),
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
_REFUSED_STREAM = 7  # RFC 9113 §7: nothing of the stream was processed

_AFTER_TCP = "HandshakeFailed"
"""The cause, by its class name, of an error of connecting that came when TCP stood: no TCP probe
can tell when the node is well again."""


def classify_exception(error: BaseException, *, exact: bool = True) -> Verdict:
    """Judge what an attempt raised.

    Works by class name, so that httpx and httpx2 need not be imported; anything that is not
    theirs (an error of the caller's own body iterator, say) is passed on and blames nobody.
    `exact` False doubts that what is called an error of connecting was none of a later stage.
    """
    outcome = type(error).__name__
    for kind in type(error).__mro__:
        known = _EXCEPTIONS.get(kind.__name__)
        if known is not None and kind.__module__.partition(".")[0] in _LIBRARIES:
            break
    else:
        return of_caller(error)
    verdict = Verdict(outcome, failed=True, safety=known[0], blame=known[1])
    if verdict.blame == "connect":
        verdict = _refine_connect(verdict, error)
        return verdict if exact else replace(verdict, safety=Safety.MAYBE)
    if outcome in ("RemoteProtocolError", "LocalProtocolError", "ReadError", "WriteError"):
        return _refine_protocol(verdict, error)
    return verdict


def of_caller(error: BaseException) -> Verdict:
    """Judge what is the caller's own: nobody's fault, and not to be tried again."""
    return Verdict(type(error).__name__, failed=True, safety=Safety.NEVER, blame="none")


def _refine_connect(verdict: Verdict, error: BaseException) -> Verdict:
    for cause in causes_of(error):
        if isinstance(cause, ssl.SSLError) or type(cause).__name__ == _AFTER_TCP:
            return replace(verdict, blame="handshake")
        if isinstance(cause, OSError) and _is_local(cause):
            return replace(verdict, blame="none")
    return verdict


def _is_local(error: OSError) -> bool:
    # A Unix domain socket that may not be written to is its node's fault; elsewhere it is a
    # firewall on this side.
    forbidden = error.errno == errno.EACCES and error.filename is not None
    return error.errno in _LOCAL_ERRNOS and not forbidden


def _refine_protocol(verdict: Verdict, error: BaseException) -> Verdict:
    cause = error.__cause__
    # The second: a connection whose node said GOAWAY, and then left out what it had promised.
    if type(cause).__name__ in ("StaleConnection", "StreamForsaken"):
        return replace(verdict, blame="none", stale=True)
    event = cause.args[0] if cause is not None and cause.args else None
    if getattr(event, "error_code", None) == _REFUSED_STREAM and hasattr(event, "stream_id"):
        dropped = getattr(cause, "by_goaway", False) is True
        return replace(verdict, safety=Safety.UNSENT, blame="failure", dropped=dropped)
    if type(event).__name__ == "TooManyStreamsError":  # h2 sends nothing then
        return replace(verdict, safety=Safety.UNSENT, blame="none")
    if type(event).__name__ == "StreamClosedError":  # the node reset it under the body
        return replace(verdict, safety=Safety.MAYBE, blame="failure")
    last_stream = getattr(event, "last_stream_id", None)
    if last_stream is not None:
        refused, notice = last_stream == 0, Notice("goaway", "GOAWAY")
        if refused:
            return replace(verdict, safety=Safety.UNSENT, blame="failure", notice=notice)
        return replace(verdict, safety=Safety.MAYBE, blame="none", notice=notice)
    if "ConnectionState.CLOSED" in str(error):
        # The h2 package takes any GOAWAY for the end of the connection, and then calls the
        # answers that the draining node still sends a protocol error of ours.
        notice = Notice("goaway", "GOAWAY")
        return replace(verdict, safety=Safety.MAYBE, blame="none", notice=notice)
    return verdict


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error, what is behind it and members of groups; 32 at most, so that a circle ends."""
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
