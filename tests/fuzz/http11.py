"""Answers over HTTP/1.1, by both parsers and by httpx: what differs is in a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpcore

from rpcguard._wire import h11_heads
from rpcguard._wire.response import ResponseReader
from rpcguard._wire.violations import RemoteViolation
from tests.fuzz.draw import Draw
from tests.fuzz.stand import Broken

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._wire.head import HeadParser
    from tests.fuzz.stand import Stand

SEEDS = tuple(
    bytes([0, 0, 0]) + answer
    for answer in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200\r\n\r\nuntil the end",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\nX: a\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx",
    )
)
WORDS: tuple[str, ...] = (
    *("HTTP/1.1 ", "HTTP/1.0 ", "200", "304", "100", "\r\n", "\n", "\r", "\r\n\r\n", " "),
    *("\t", ":", "0", "2", "+", "-", ",", ";", "\0", "\x7f", "0\r\n\r\n", "ffffffffffffffff"),
    *("Content-Length: ", "Transfer-Encoding: ", "chunked", "gzip", "identity"),
    *("Connection: close", "Upgrade: x"),
)


@dataclass(frozen=True)
class Outcome:
    """What a caller gets of an answer: all of it, or a refusal."""

    head: Any = None
    body: bytes = b""
    whole: bool = False
    kept: bool | None = None


REFUSED = Outcome()


@dataclass(frozen=True)
class Difference:
    """An intended difference from httpx: ours refuses, or says otherwise, and why."""

    clause: str
    holds: Callable[[Outcome, Outcome, bytes], bool]


_CHUNK_LINES = re.compile(rb"[0-9a-fA-F]{1,20};[^\n]*[\x00-\x08\x0b-\x1f\x7f](?!\n)")
_HUGE = re.compile(rb"[89a-fA-F][0-9a-fA-F]{15}|[0-9a-fA-F]{17}")
DIFFERENCES = {
    "a chunk's size overflows a signed counter": Difference(
        "RFC 9112 §7.1", lambda ours, _, data: ours == REFUSED and bool(_HUGE.search(data))
    ),
    "control characters stand in a chunk's extension": Difference(
        "RFC 9112 §7.1.1", lambda ours, _, data: ours == REFUSED and bool(_CHUNK_LINES.search(data))
    ),
    "the name of a coding keeps its capitals": Difference(
        "RFC 9112 §7", lambda ours, theirs, _: _lowered(ours) == _lowered(theirs)
    ),
}
"""What may differ from httpx, each by the clause that asks for it or allows it."""


def answers(stand: Stand, data: bytes) -> None:
    """Read one answer in five ways and hold them against each other."""
    draw = Draw(data[:3])
    method = b"HEAD" if draw.byte() % 4 == 1 else b"GET"
    answer, at = data[3:], sorted((draw.byte(), draw.byte()))
    pieces = [answer[: at[0]], answer[at[0] : at[1]], answer[at[1] :]]
    parsers = _parsers()
    ours = [
        _ours(parser, method, given)
        for parser in parsers
        for given in ([answer], pieces, _dripped(answer))
    ]
    if len(set(map(_comparable, ours))) > 1:
        raise Broken(f"one connection, several answers: {ours}")
    theirs = _theirs(method, pieces)
    if ours[0].kept and _ours(parsers[0], method, [answer + b"H"]).kept:
        raise Broken("a connection is kept on which more was said")
    plain = Outcome(ours[0].head, ours[0].body, ours[0].whole)
    if plain != theirs and not any(d.holds(plain, theirs, answer) for d in DIFFERENCES.values()):
        raise Broken(f"httpx reads {theirs}, we read {plain}")


def _parsers() -> list[HeadParser]:
    from rpcguard._wire import llhttp

    return [llhttp.parse_head, h11_heads.parse_head]


def _dripped(answer: bytes) -> list[bytes]:
    return [answer[place : place + 1] for place in range(len(answer))]


def _ours(parser: HeadParser, method: bytes, pieces: list[bytes]) -> Outcome:
    reader = ResponseReader(parser, method, upgrades=False)
    try:
        for piece in pieces:
            if piece and not reader.complete:
                reader.feed(piece)
        kept = reader.complete and reader.reusable
        if not reader.complete:
            reader.end(clean=True)
    except RemoteViolation:
        return REFUSED
    head = reader.head
    assert head is not None
    fields = tuple(head.fields)
    return Outcome((head.version, head.status, head.reason, fields), reader.take(), True, kept)


def _theirs(method: bytes, pieces: list[bytes]) -> Outcome:
    url = httpcore.URL("http://orders/")
    stream = httpcore.MockStream([piece for piece in pieces if piece])
    with httpcore.HTTP11Connection(url.origin, stream) as connection:
        request = httpcore.Request(method, url, headers=[(b"Host", b"orders")])
        try:
            response = connection.handle_request(request)
            body = response.read()
        except httpcore.RemoteProtocolError:
            return REFUSED
    told = response.extensions
    head = told["http_version"], response.status, bytes(told["reason_phrase"])
    return Outcome((*head, tuple(response.headers)), body, True)


def _comparable(one: Outcome) -> Any:
    # Whether more comes behind an answer is not known yet where it comes drop by drop.
    return _lowered(Outcome(one.head, one.body, one.whole))


def _lowered(one: Outcome) -> Outcome:
    if one.head is None:
        return one
    *start, fields = one.head
    lowered = tuple(
        (name, value.lower() if name.lower() == b"transfer-encoding" else value)
        for name, value in fields
    )
    return Outcome((*start, lowered), one.body, one.whole)
