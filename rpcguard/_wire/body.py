"""Where the body of an answer ends (RFC 9112 §6 and §7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from rpcguard._wire.violations import RemoteViolation

_INCOMPLETE = "peer closed connection without sending complete message body"
LONGEST_LINE = 16384
"""Bytes of the line before a chunk: its extensions mean nothing to us, and may not fill memory."""
LONGEST_TRAILERS = 102400
"""Bytes of the trailers, as many as of a head."""
_LARGEST_CHUNK = (1 << 63) - 1
"""What a signed 64-bit counter holds: a larger size is meant to overflow somebody's."""
_SIZE = re.compile(rb"([0-9a-fA-F]{1,20})(?:;[^\x00-\x08\n-\x1f\x7f]*)?[ \t]*\r\n").match
_FIELD = re.compile(
    rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+:[ \t]*(?:[^\x00\n\r\s](?:[^\x00\n\r\f\v]*[^\x00\n\r\s])?)?[ \t]*"
).fullmatch
_FOLDED = re.compile(rb"\r?\n[ \t]+").sub
_CRLF = b"\r\n"
_EMPTY_LINE = re.compile(rb"\r?\n").match
_BLANK = re.compile(rb"\n\r?\n").search

_Step = Callable[[bytes, int, list[bytes]], int]


class BodyReader(Protocol):
    """A body that is being read; `rest` are bytes behind its end."""

    complete: bool
    rest: bytes

    def feed(self, data: bytes) -> bytes:
        """Take what came, and give the content in it."""
        ...

    def end(self, *, clean: bool) -> None:
        """Take the end of the connection; raises `RemoteViolation` where it comes too early."""
        ...


class LengthBody:
    """A body of so many bytes."""

    __slots__ = ("_expected", "_left", "complete", "rest")

    def __init__(self, length: int) -> None:
        self._expected = self._left = length
        self.complete = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take what came, and give the content in it."""
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data
        self._left, self.complete = 0, True
        if len(data) == left:
            return data
        self.rest = data[left:]
        return data[:left]

    def end(self, *, clean: bool) -> None:
        """Refuse: the length says that more was to come."""
        received = self._expected - self._left
        raise RemoteViolation(
            f"{_INCOMPLETE} (received {received} bytes, expected {self._expected})"
        )


class ClosingBody:
    """A body that ends with its connection; over TLS only an end that TLS announced is one."""

    __slots__ = ("complete", "rest")

    def __init__(self) -> None:
        self.complete = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Give all of it."""
        return data

    def end(self, *, clean: bool) -> None:
        """Take the end; a TLS connection that anybody could have cut is refused (RFC 9112 §9.8)."""
        if not clean:
            raise RemoteViolation(f"{_INCOMPLETE} (TLS ended without close_notify)")
        self.complete = True


class ChunkedBody:
    """A body in chunks; their extensions and the trailers are checked and dropped."""

    __slots__ = ("_buffer", "_left", "_step", "complete", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._step: _Step = self._size
        self.complete = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take what came, and give the content in it."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        parts: list[bytes] = []
        # By position: cutting off each of many small chunks would copy the rest as often.
        at, end = 0, len(data)
        while at < end and not self.complete:
            after = self._step(data, at, parts)
            if after == at:  # not enough to go on
                break
            at = after
        if self.complete:
            self.rest = data[at:]
        else:
            self._buffer = data[at:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def end(self, *, clean: bool) -> None:
        """Refuse: the last chunk has not come."""
        raise RemoteViolation(f"{_INCOMPLETE} (incomplete chunked read)")

    def _size(self, data: bytes, at: int, parts: list[bytes]) -> int:
        found = _SIZE(data, at)
        if found is None or (begin := found.end()) - at > LONGEST_LINE:
            _check_unfinished(data, at)
            return at
        size = int(found[1], 16)
        if not size:
            self._step = self._trailers
            return begin
        end = begin + size
        if data.startswith(_CRLF, end):  # all of it is here, as it is mostly
            parts.append(data[begin:end])
            return end + 2
        if size > _LARGEST_CHUNK:
            raise _illegal(data[at:begin])
        self._left = size
        self._step = self._content
        return begin

    def _content(self, data: bytes, at: int, parts: list[bytes]) -> int:
        part = data[at : at + self._left]
        parts.append(part)
        self._left -= len(part)
        if not self._left:
            self._step = self._footer
        return at + len(part)

    def _footer(self, data: bytes, at: int, _parts: list[bytes]) -> int:
        found = data[at : at + 2]
        if not _CRLF.startswith(found):
            raise RemoteViolation(f"malformed chunk footer: {bytearray(found)!r}")
        if found != _CRLF:
            return at
        self._step = self._size
        return at + 2

    def _trailers(self, data: bytes, at: int, _parts: list[bytes]) -> int:
        none = _EMPTY_LINE(data, at)
        found = none or _BLANK(data, at)
        if (found.end() if found else len(data)) - at > LONGEST_TRAILERS:
            raise RemoteViolation("Receive buffer too long")
        if found is None:
            return at
        if none is None:
            _check_trailers(data[at : found.start()])
        self.complete = True
        return found.end()


def _check_unfinished(data: bytes, at: int) -> None:
    """Refuse a line before a chunk that is whole and gives no size, or that is too long."""
    # A line that ends in a bare LF is whole as well, and fits no pattern of one.
    end = data.find(b"\n", at, at + LONGEST_LINE)
    if end >= 0:
        raise _illegal(data[at : end + 1])
    if len(data) - at >= LONGEST_LINE:
        raise RemoteViolation("Receive buffer too long")


def _illegal(line: bytes) -> RemoteViolation:
    return RemoteViolation(f"illegal chunk header: {bytearray(line)!r}")


def _check_trailers(data: bytes) -> None:
    for line in _FOLDED(b" ", data).split(b"\n"):
        if not _FIELD(line.removesuffix(b"\r")):
            raise RemoteViolation(f"illegal header line: {bytearray(line)!r}")
