"""Heads by llhttp, the parser of Node.js, through `httptools`."""

from __future__ import annotations

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from rpcguard._wire.head import ResponseHead

_FIRST_STATUS = 100  # RFC 9110 §15: a status below is none
_VERSION = len(b"HTTP/1.1")
_LINE_BREAKS = b"\r\n"
_CONTROLS = re.compile(rb"[\x00\x0b\x0c]").search


class _Head:
    """What llhttp calls back with while it reads one head."""

    __slots__ = ("complete", "fields", "reason")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.reason = b""
        self.complete = False

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def parse_head(data: bytes) -> ResponseHead:
    """Take a head apart; what llhttp refuses, or takes where h11 would not, is h11's to judge."""
    head = _Head()
    parser = HttpResponseParser(head)
    try:
        parser.feed_data(data)
    except HttpParserUpgrade:
        pass  # 101: another protocol begins after the head, which is all that it was given
    except HttpParserError:
        return _by_h11(data)
    status = parser.get_status_code()
    # An empty line before the status line, a status of two digits, a NUL in the reason phrase.
    doubtful = data[0] in _LINE_BREAKS or status < _FIRST_STATUS or _CONTROLS(head.reason)
    if doubtful or not head.complete:
        return _by_h11(data)
    return ResponseHead(data[:_VERSION], status, head.reason, head.fields)


def _by_h11(data: bytes) -> ResponseHead:
    from rpcguard._wire import h11_heads  # seldom asked, and a twentieth of a first transport

    return h11_heads.parse_head(data)
