"""Header lists of HTTP/2: what is sent of a request, and what is believed of an answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from hpack import NeverIndexedHeaderTuple

from rpcguard._wire.h2_faults import OwnFault, PeerFault

if TYPE_CHECKING:
    from collections.abc import Iterable

Pairs = list[tuple[bytes, bytes]]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_TOKENS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]+\n)*")
_FORBIDDEN = re.compile(rb"[\x00\r\n]")
_DIGITS = 19
"""An int64 has no more; what is longer is an attack on `int`."""

_OF_ONE_CONNECTION = frozenset(
    (b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""RFC 9113 §8.2.2: fields of HTTP/1.1 alone. `Host` becomes `:authority`."""

_SECRET = frozenset((b"authorization", b"proxy-authorization"))
_SHORT_COOKIE = 20
"""RFC 7541 §7.1.3: what is secret, or short enough to be guessed, enters no table of a proxy."""

LONGEST_LIST = 100 * 1024
"""Bytes of an answer's header list: what h11 takes of an HTTP/1.1 head."""


class Fields(NamedTuple):
    """What is sent of a request's headers, and what they say of its body.

    `length` is None where they do not tell it; `streamed` says that a body follows all the same.
    """

    authority: bytes
    pairs: Pairs
    length: int | None
    streamed: bool


class Head(NamedTuple):
    """The start of an answer: its status, its headers, and the length of its body if it tells."""

    status: int
    pairs: Pairs
    length: int | None


def request_fields(raw: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Turn the headers of a request into those of HTTP/2.

    Raises `OwnFault` for what may not be sent. Everything is checked before anything is encoded: a
    list that fails half-way would leave both ends with different compression tables, and every
    later call of the connection would fail.
    """
    authority, length, streamed = b"", None, False
    pairs: Pairs = []
    dropped = _OF_ONE_CONNECTION
    for given, padded in raw:
        name, value = given.lower(), padded.strip()
        if name == b"host":
            authority = value
        elif name == b"connection":
            dropped |= {part.strip().lower() for part in value.split(b",")}
        elif name == b"content-length":
            length = _own_length(value, length)
        elif name == b"transfer-encoding":
            streamed = True
        if _TOKEN.fullmatch(name) is None or _FORBIDDEN.search(value):
            raise OwnFault(f"illegal header {given!r}: {padded!r}")
        secret = name in _SECRET or (name == b"cookie" and len(value) < _SHORT_COOKIE)
        pairs.append(NeverIndexedHeaderTuple(name, value) if secret else (name, value))
    kept = [
        pair
        for pair in pairs
        if pair[0] not in dropped and (pair[0] != b"te" or pair[1].lower() == b"trailers")
    ]
    return Fields(authority, kept, length, streamed)


def response_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Read the header list of an answer; raise `PeerFault` for what RFC 9113 §8.2 forbids."""
    status: bytes | None = None
    length = None
    pairs: Pairs = []
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        if name == b":status":
            if status is not None or pairs:  # RFC 9113 §8.3; a proxy may have read the other one
                raise PeerFault("the answer has a second status, or a late one")
            status = value
            continue
        if name == b"content-length":
            length = _their_length(value, length)
        pairs.append((name, value))
    if size > LONGEST_LIST:
        raise PeerFault(f"the headers of the answer have more than {LONGEST_LIST} bytes")
    names = b"".join([name + b"\n" for name, _ in pairs])
    if _TOKENS.fullmatch(names) is None or any(_FORBIDDEN.search(value) for _, value in pairs):
        raise PeerFault("the answer has an illegal header")
    if status is None or len(status) != 3 or not status.isdigit():
        raise PeerFault(f"the answer has the status {(status or b'')[:20]!r}")
    return Head(int(status), pairs, length)


def _own_length(value: bytes, known: int | None) -> int:
    if not value.isdigit() or len(value) > _DIGITS or known not in (None, int(value)):
        raise OwnFault(f"bad Content-Length {value[:40]!r}")
    return int(value)


def _their_length(value: bytes, known: int | None) -> int:
    if not value.isdigit() or len(value) > _DIGITS or known not in (None, int(value)):
        raise PeerFault(f"bad content-length {value[:40]!r}")
    return int(value)
