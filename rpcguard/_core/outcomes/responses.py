"""What an answer says: of the call by its status, of its node by its headers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from rpcguard._core.outcomes.verdict import Blame, Notice, Safety, Verdict
from rpcguard._text import logger

if TYPE_CHECKING:
    from rpcguard._core.nodes.node import Node

Headers = Iterable[tuple[bytes, bytes]]

GOAWAY = "rpcguard.goaway"
"""The extension of a response whose connection was told to end when it had just begun."""

CROSSED = "rpcguard.crossed"
"""The extension of a 408 on a kept connection: an idle timeout that crossed the request."""
EARLY = "rpcguard.early"
"""The extension of an answer that came before its request had been sent whole."""
_LONGEST_VALUE = 256
"""Bytes of a header that are looked at: what a node says of itself is short."""

_LEAST_TTL = 1.0
"""Seconds. A shorter mark would end before the callers that it is for have made a call."""

_ORDINARY = frozenset({401, 403, 408, 409, 412, 422, 429})
"""Answers between 400 and 500 that a right application gives by what the call says or may do."""

_ROWS = frozenset(
    {
        b"application/json-seq",
        b"application/jsonl",
        b"application/jsonlines",
        b"application/ndjson",
        b"application/stream+json",
        b"application/x-json-stream",
        b"application/x-jsonlines",
        b"application/x-ndjson",
        b"text/event-stream",
    }
)
_ROWS_OF_PARTS = (b"multipart/", b"application/grpc", b"application/connect+")
"""Types of bodies whose parts are wanted one by one, as they come."""

_NO_EXTENSIONS: Mapping[str, Any] = {}


@lru_cache(maxsize=1024)
def _by_status(status: int) -> Verdict:
    if status < 500:
        good = status < 400
        odd = not good and status not in _ORDINARY
        return Verdict(
            str(status), failed=False, safety=Safety.NEVER, blame="none", good=good, odd=odd
        )
    blame: Blame = "none" if status in (501, 505) else "failure"
    return Verdict(str(status), failed=True, safety=Safety.MAYBE, blame=blame)


def classify_response(
    status: int,
    headers: Headers,
    node: Node,
    wall: Callable[[], float] = time.time,
    extensions: Mapping[str, Any] = _NO_EXTENSIONS,
) -> Verdict:
    """Judge an answer by its status and by what its raw headers say of the node that gave it.

    `extensions` are those of the answer; their `network_stream` tells which address it came from,
    the others of them how the answer and its connection met.
    """
    verdict = _by_status(status)
    notices = []
    for name, value in headers:
        reader = _READERS.get(name.lower())
        if reader is not None and len(value) <= _LONGEST_VALUE:
            text = value.decode("latin-1").strip()
            notice = reader(_Said(status, text, node, wall, extensions, headers))
            if notice is not None:
                notices.append(notice)
    if notices:
        verdict = replace(verdict, notice=min(notices, key=_loudness))
        if any(notice.reason in _REFUSALS for notice in notices):
            verdict = replace(verdict, safety=Safety.UNSENT)
    elif GOAWAY in extensions:
        verdict = replace(verdict, notice=Notice("goaway", "GOAWAY"))
    if CROSSED in extensions:
        # Its node was about to close the connection, and nobody failed.
        verdict = replace(verdict, failed=True, safety=Safety.MAYBE, blame="none", stale=True)
    if EARLY in extensions:
        # The node has refused the upload: nobody is to blame, and a second one is not tried.
        verdict = replace(verdict, failed=False, safety=Safety.NEVER, blame="none", good=False)
    return verdict


def judge_reply(
    reply: Any,
    raw: Headers,
    node: Node,
    wall: Callable[[], float],
    judge: Callable[[Any], object] | None,
) -> Verdict:
    """Judge an answer with these raw headers, by what the user says of it too: by `judge`."""
    extensions = reply.extensions
    verdict = classify_response(reply.status_code, raw, node, wall, extensions)
    if judge is None or verdict.failed or EARLY in extensions:
        return verdict
    return judged(verdict, judge, reply)


def judged(verdict: Verdict, judge: Callable[[Any], object], reply: object) -> Verdict:
    """Ask the user's `judge` about an answer; what it calls a failure has perhaps been processed.

    A judge that raises says nothing.
    """
    try:
        condemned = judge(reply)
    except Exception as error:  # a hook is the user's, and may raise anything
        logger.warning("judge of the RetryPolicy failed: %r", error)
        return verdict
    if not condemned:
        return verdict
    return replace(
        verdict,
        outcome=f"judged {verdict.outcome}",
        failed=True,
        safety=Safety.MAYBE,
        blame="failure",
        good=False,
        odd=False,
        judged=True,
    )


def is_undivided(headers: Headers) -> bool:
    """Tell whether a body is one document, and not a row of messages that may never end."""
    for name, value in headers:
        if name.lower() == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            return kind not in _ROWS and not kind.startswith(_ROWS_OF_PARTS)
    return True


def _loudness(notice: Notice) -> tuple[int, bool]:
    order = ("signal", "goaway", "retry-after", "foreign")
    return order.index(notice.source), notice.ttl is None


class _Said(NamedTuple):
    """One header that speaks of a node, and what is needed to understand it."""

    status: int
    value: str
    node: Node
    wall: Callable[[], float]
    extensions: Mapping[str, Any]
    headers: Headers


def _offline(said: _Said) -> Notice | None:
    # A gateway that leaves may have joined its own word to one from behind it.
    notices = [_one_offline(part, said) for part in said.value.split(",")]
    return min(filter(None, notices), key=_loudness, default=None)


def _one_offline(text: str, said: _Said) -> Notice | None:
    first, *options = text.split(";")
    if first.strip() != "1":
        return None
    parts = [option.partition("=") for option in options]
    given = {name.strip().lower(): value.strip() for name, _, value in parts}
    named = _names(given["at"], said) if "at" in given else None
    if named is False:
        return Notice("foreign", "X-RpcGuard-Offline")
    ttl = _seconds(given.get("ttl", ""))
    return Notice("signal", "X-RpcGuard-Offline", ttl, named=named is True)


def _names(at: str, said: _Said) -> bool | None:
    """Tell whether `at` is the node that answered; None where it could be anybody."""
    node = said.node
    if at == node.id or at.lower() == node.address.lower():
        return True
    meant, met = _socket_address(at), _peer(said.extensions) or _socket_address(node.address)
    if meant is not None and meant == met:
        return True
    if met is None:  # listed by name, and nothing tells which of its addresses answered
        return None
    # A proxy beside the node, such as a sidecar, reached it over loopback, which every machine has.
    anybody = meant is not None and (meant[0].is_loopback or meant[0].is_unspecified)
    return None if anybody and not met[0].is_loopback else False


_SocketAddress = tuple[IPv4Address | IPv6Address, int]


def _socket_address(text: str) -> _SocketAddress | None:
    host, _, port = text.rpartition(":")
    return _ip_and_port(host.strip("[]"), port)


def _peer(extensions: Mapping[str, Any]) -> _SocketAddress | None:
    stream = extensions.get("network_stream")
    try:
        peer = None if stream is None else stream.get_extra_info("server_addr")
    except OSError:  # the other side has closed meanwhile
        return None
    return _ip_and_port(*peer[:2]) if isinstance(peer, tuple) and len(peer) >= 2 else None


def _ip_and_port(host: object, port: object) -> _SocketAddress | None:
    try:
        ip = ip_address(str(host))
        return getattr(ip, "ipv4_mapped", None) or ip, int(str(port))
    except ValueError:
        return None


def _sermant(said: _Said) -> Notice:
    if said.value.lower() == said.node.address:
        return Notice("signal", "sermant.grace.mark.shutdown.service.endpoint", named=True)
    return Notice("foreign", "sermant.grace.mark.shutdown.service.endpoint")


def _envoy(_: _Said) -> Notice:
    return Notice("signal", "x-envoy-immediate-health-check-fail")


def _finagle(said: _Said) -> Notice | None:
    return Notice("signal", "finagle-http-nack") if said.status == 503 else None


def _brpc(said: _Said) -> Notice | None:
    refused = said.status == 503 and said.value == "2003"
    return Notice("signal", "x-bd-error-code") if refused else None


def _retry_after(said: _Said) -> Notice | None:
    if said.status != 503:
        return None
    value = said.value
    seconds = _seconds(value) if value[:1].isdigit() else _until_date(value, _now_of(said))
    return Notice("retry-after", "Retry-After", seconds) if seconds else None


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return max(seconds, _LEAST_TTL) if math.isfinite(seconds) and seconds > 0 else None


def _until_date(value: str, now: float) -> float | None:
    date = _epoch(value)
    if date is None or date <= now:
        return None
    return max(date - now, _LEAST_TTL)


def _now_of(said: _Said) -> float:
    """Give the time by the node's own clock, where it tells: that of this machine may be wrong."""
    for name, value in said.headers:
        if name.lower() == b"date" and len(value) <= _LONGEST_VALUE:
            now = _epoch(value.decode("latin-1").strip())
            if now is not None:
                return now
    return said.wall()


def _epoch(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


_REFUSALS = frozenset({"finagle-http-nack", "x-bd-error-code"})
_READERS: dict[bytes, Callable[[_Said], Notice | None]] = {
    b"x-rpcguard-offline": _offline,
    b"sermant.grace.mark.shutdown.service.endpoint": _sermant,
    b"x-envoy-immediate-health-check-fail": _envoy,
    b"finagle-http-nack": _finagle,
    b"x-bd-error-code": _brpc,
    b"retry-after": _retry_after,
}
