"""One answer, from the bytes of its connection to its head and its body."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rpcguard._wire.body import BodyReader, ChunkedBody, ClosingBody, LengthBody
from rpcguard._wire.head import MOST_FIELDS
from rpcguard._wire.request import tokens
from rpcguard._wire.violations import NoAnswer, RemoteViolation

if TYPE_CHECKING:
    from rpcguard._wire.head import HeadParser, ResponseHead

LONGEST_HEAD = 102400
"""Bytes of a head, 100 KB: what httpcore allows."""

_MOST_INTERIM = 10_000
"""1xx answers to one request: a node that sends them without end is never silent, nor done. One
that says 102 or 104 each second of a long upload is well for nearly three hours."""
_OVERLAP = 3
"""Bytes of an empty line that may have come before the last piece."""
_FIRST_PRINTABLE = 0x21  # a head begins with a letter; what is below is a line break or noise
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})
_LENGTH = re.compile(rb"[0-9]{1,19}").fullmatch
_NO_BODY = frozenset({204, 304})  # RFC 9110 §6.4.1: by these an answer has no content
_SWITCHING = 101  # RFC 9110 §15.2.2: the only 1xx that ends the call
_TIMEOUT = re.compile(rb"(?i)(?:^|[,;\s])timeout\s*=\s*([0-9]{1,9})").search


class ResponseReader:
    """One answer to one request.

    `head` is None until the final head is there: 1xx heads are passed over. `data` is content that
    came and was not taken yet, `complete` says that no more is to come. Not thread-safe.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_interim",
        "_method",
        "_odd",
        "_parse",
        "_upgrades",
        "_whole",
        "begun",
        "complete",
        "data",
        "head",
        "keep_alive",
        "leading",
        "sized",
    )

    def __init__(self, parse: HeadParser, method: bytes, *, upgrades: bool) -> None:
        self._parse = parse
        self._method = method
        self._upgrades = upgrades
        self._buffer = b""
        self._body: BodyReader | None = None
        self._interim = 0
        self._odd = False
        self._whole = False
        self.head: ResponseHead | None = None
        self.begun: bool = False
        """Whether any byte has come."""
        self.complete: bool = False
        self.sized: bool = False
        """Whether the end of the body was known from its head: no chunks, and not to the end."""
        self.data: bytes = b""
        self.leading: bytes | None = None
        """After 101, or 2xx to CONNECT: the first bytes of the other protocol. Else None."""
        self.keep_alive: float | None = None
        """Seconds after which the node closes an idle connection, where it says so."""

    @property
    def reusable(self) -> bool:
        """Whether the connection may serve another call, as far as the answer goes."""
        return self._whole and not self._odd

    def feed(self, data: bytes) -> None:
        """Take what came; raises `RemoteViolation` for what is no answer."""
        self.begun = True
        if self.complete:
            self._odd = True  # nobody asked for it
            return
        if self._body is not None:
            content = self._body.feed(data)
            self.data = self.data + content if self.data else content
            if self._body.complete:
                self._note_end()
            return
        if self.leading is not None:
            self.leading += data
            return
        self._feed_head(data)

    def end(self, *, clean: bool) -> None:
        """Take the end of the connection; `clean` unless TLS was cut without saying so.

        Raises `NoAnswer` where no final head has come, `RemoteViolation` where the body is cut.
        """
        self._odd = True
        if self._body is not None and not self.complete:
            self._body.end(clean=clean)
            self.complete = self._body.complete
        elif self.head is None:
            raise NoAnswer("Server disconnected without sending a response.")

    def take(self) -> bytes:
        """Hand out the content that has come."""
        data, self.data = self.data, b""
        return data

    def _feed_head(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        start = max(len(self._buffer) - _OVERLAP, 0)
        while self.head is None:
            if buffer and buffer[0] < _FIRST_PRINTABLE:
                raise RemoteViolation("illegal status line")  # TLS, for one: no line will come
            size = _end_of_head(buffer, start)
            if (size or len(buffer)) > LONGEST_HEAD:
                raise RemoteViolation("Receive buffer too long")
            if not size:
                self._buffer = buffer
                return
            head = self._parse(buffer if size == len(buffer) else buffer[:size])
            buffer, start = buffer[size:], 0
            self._take_head(head)
        self._buffer = b""
        if self.leading is not None:
            self.leading = buffer
        elif buffer and self.complete:
            self._odd = True
        elif buffer and self._body is not None:
            self.data = self._body.feed(buffer)
            if self._body.complete:
                self._note_end()

    def _take_head(self, head: ResponseHead) -> None:
        if len(head.fields) > MOST_FIELDS:
            raise RemoteViolation(f"more than {MOST_FIELDS} header fields")
        status = head.status
        body = self._framed(head)
        if status < 200 and status != _SWITCHING:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise RemoteViolation(f"more than {_MOST_INTERIM} answers of status 1xx")
            return
        self.head = head
        if status == _SWITCHING or (self._method == b"CONNECT" and status < 300):
            if status == _SWITCHING and not self._upgrades:
                raise RemoteViolation("the answer is 101, though no other protocol was asked for")
            self.leading = b""
            return
        if self._method == b"HEAD" or status in _NO_BODY:
            body = LengthBody(0)
        self._body, self.sized = body, isinstance(body, LengthBody)
        if body.complete:
            self._note_end()

    def _framed(self, head: ResponseHead) -> BodyReader:
        """Find how the body ends, and refuse what leaves it open (RFC 9112 §6.3)."""
        self._odd = self._odd or head.odd or head.version != b"HTTP/1.1"
        length: int | None = None
        chunked = False
        for name, value in head.fields:
            kind = name.lower()
            if kind not in _FRAMING:
                continue
            if kind == b"content-length":
                if length is not None:
                    raise RemoteViolation("conflicting Content-Length headers")
                if not _LENGTH(value):
                    raise RemoteViolation("bad Content-Length")
                length = int(value)
            elif kind == b"transfer-encoding":
                if chunked:
                    raise RemoteViolation("multiple Transfer-Encoding headers")
                if value.lower() != b"chunked":
                    raise RemoteViolation("Only Transfer-Encoding: chunked is supported")
                chunked = True
            elif kind == b"keep-alive":
                if told := _TIMEOUT(value):
                    self.keep_alive = float(told[1])
            elif b"close" in tokens(value):
                self._odd = True
        if chunked:
            # A length beside it may come from somebody who smuggles (RFC 9112 §6.1).
            self._odd = self._odd or length is not None
            return ChunkedBody()
        return ClosingBody() if length is None else LengthBody(length)

    def _note_end(self) -> None:
        assert self._body is not None
        self.complete = self._whole = True
        self._odd = self._odd or bool(self._body.rest)


def _end_of_head(data: bytes, start: int) -> int:
    """Find where the first empty line ends; 0 where none has come.

    By two plain searches: one by a pattern took half of the time that reading an answer takes.
    """
    end = data.find(b"\n\r\n", start)
    bare = data.find(b"\n\n", start) if end < 0 else data.find(b"\n\n", start, end + 1)
    if bare >= 0:
        return bare + 2
    return end + 3 if end >= 0 else 0
