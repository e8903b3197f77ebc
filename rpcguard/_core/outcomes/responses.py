"""What an answer says: of the call by its status, of its node by its headers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from rpcguard._core.outcomes.verdict import Blame, Notice, Safety, Verdict

if TYPE_CHECKING:
    from rpcguard._core.nodes.node import Node

Headers = Iterable[tuple[bytes, bytes]]
GOAWAY = "rpcguard.goaway"
"""The extension of a response whose connection was told to end when it had just begun."""
_LONGEST_VALUE = 256


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
