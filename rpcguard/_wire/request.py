"""Requests as bytes (RFC 9112 §3 and §6)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rpcguard._wire.violations import LocalViolation

Fields = Sequence[tuple[bytes, bytes]]

_TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+").fullmatch
_TARGET = re.compile(rb"[\x21-\x7e]+").fullmatch
_VALUE = re.compile(rb"(?:[^\x00\n\r\s](?:[^\x00\n\r\f\v]*[^\x00\n\r\s])?)?").fullmatch
_DIGITS = re.compile(rb"[0-9]{1,20}").fullmatch

_SPEAKING = frozenset({b"host", b"content-length", b"transfer-encoding", b"upgrade", b"connection"})
"""Fields that say more than is in them: which service is meant, where the body ends, and what
becomes of the connection."""


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """The header fields of a request as bytes, and what they say of its body."""

    data: bytes
    """From the line after the request line to the empty one."""
    length: int | None
    """The bytes that the body has; None for a body in chunks."""
    upgrades: bool
    """Whether the request asks for another protocol, so that 101 is an answer to it."""
    closes: bool
    """Whether it says that the connection ends with its answer."""

    def followed_by(self, fields: Fields) -> HeaderBlock | None:
        """Give the block with further fields at its end; None where `of` has to look at them all.

        That is so where one speaks of the body or the connection, or is refused.
        """
        lines = []
        for name, value in fields:
            if not (_TOKEN(name) and _VALUE(value)) or name.lower() in _SPEAKING:
                return None
            lines.append(b"%b: %b\r\n" % (name, value))
        data = b"".join([self.data[:-2], *lines, b"\r\n"])
        return HeaderBlock(data, self.length, self.upgrades, self.closes)

    @classmethod
    def of(cls, fields: Fields) -> HeaderBlock:
        """Check the fields and write them, Host first, as RFC 9110 §7.2 advises.

        Raises `LocalViolation` for what would not arrive as it was meant.
        """
        hosts: list[bytes] = []
        lines: list[bytes] = []
        length, chunked, upgrades, closes = None, False, False, False
        for name, value in fields:
            if not (_TOKEN(name) and _VALUE(value)):
                raise _refused(fields)
            kind = name.lower()
            line = b"%b: %b\r\n" % (name, value)
            if kind == b"host":
                hosts.append(line)
                continue
            lines.append(line)
            if kind == b"content-length":
                if length is not None or not _DIGITS(value):
                    raise _refused(fields)
                length = int(value)
            elif kind == b"transfer-encoding":
                if chunked or value.lower() != b"chunked":
                    raise _refused(fields)
                chunked = True
            elif kind == b"upgrade":
                upgrades = True
            elif kind == b"connection":
                closes = closes or b"close" in tokens(value)
        if len(hosts) != 1:
            raise _refused(fields)
        data = b"".join([*hosts, *lines, b"\r\n"])
        return cls(data, None if chunked else length or 0, upgrades, closes)


class HeaderBlocks:
    """What writes the header fields of one request after the other.

    Most requests to a node have the fields of the one before, or begin with them: the id of a
    trace stands last. To compare is ten times as fast as to check and write them, which is 2 % of a
    call's CPU time. Any thread may call: at worst something is written anew.
    """

    __slots__ = ("_last", "_stem")

    def __init__(self) -> None:
        self._last: tuple[Fields, HeaderBlock | None] = ((), None)
        self._stem: tuple[Fields, HeaderBlock | None] = ((), None)

    def of(self, fields: Fields) -> HeaderBlock:
        """Give the block of the fields; raises `LocalViolation` as `HeaderBlock.of` does."""
        before, block = self._last
        if block is not None and fields == before:
            return block
        block = self._grown(fields)
        if block is None:
            self._stem = _stem_of(before, fields)
            block = self._grown(fields) or HeaderBlock.of(fields)
        self._last = fields, block
        return block

    def _grown(self, fields: Fields) -> HeaderBlock | None:
        stem, block = self._stem
        if block is None or fields[: len(stem)] != stem:
            return None
        return block.followed_by(fields[len(stem) :])


def _stem_of(before: Fields, fields: Fields) -> tuple[Fields, HeaderBlock | None]:
    """Give what two lists begin with, as far as it can stand for itself."""
    same = 0
    for one, other in zip(before, fields, strict=False):
        if one != other:
            break
        same += 1
    stem = fields[:same]
    if not any(name.lower() == b"host" for name, _ in stem):
        return (), None
    return stem, HeaderBlock.of(stem)


def request_line(method: bytes, target: bytes) -> bytes:
    """Write the first line; raises `LocalViolation` for what is no method or no target."""
    if not (_TOKEN(method) and _TARGET(target)):
        raise _refused([(b"Host", b"")], method, target)
    return b"%b %b HTTP/1.1\r\n" % (method, target)


def chunk(data: bytes) -> bytes:
    """Write one part of a body in chunks (RFC 9112 §7.1); an empty part would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def tokens(value: bytes) -> list[bytes]:
    """Take a list of names apart, in lower case (RFC 9110 §5.6.1)."""
    return [token.strip() for token in value.lower().split(b",")]


LAST_CHUNK = b"0\r\n\r\n"


def _refused(fields: Fields, method: bytes = b"GET", target: bytes = b"/") -> LocalViolation:
    """Give h11's words for what is wrong, which callers of httpx know."""
    import h11

    try:
        h11.Request(method=method, target=target, headers=list(fields))
    except h11.LocalProtocolError as error:
        return LocalViolation(str(error))
    return LocalViolation("the request has header fields that contradict each other")
