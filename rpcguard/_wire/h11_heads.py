"""Heads by h11: the one that knows every oddity, and has the words that callers of httpx know."""

from __future__ import annotations

import re

import h11

from rpcguard._wire.head import ResponseHead
from rpcguard._wire.violations import RemoteViolation

# Asks for an upgrade, so that h11 takes 101 for an answer; whether it is one is judged later.
_ASKED = h11.Request(
    method="GET",
    target="/",
    headers=[("Host", ""), ("Upgrade", "any"), ("Connection", "upgrade")],
)
# A line that is folded or ends in a bare LF (RFC 9112 §5.2 and §2.2).
_STRAY = re.compile(rb"(?<!\r)\n|\n[ \t]").search
_LENGTHS = re.compile(rb"(?i)\ncontent-length:([^\n]*)").findall
_CODING = re.compile(rb"(?i)\ntransfer-encoding:").search


def parse_head(data: bytes) -> ResponseHead:
    """Take a head apart; raises `RemoteViolation`."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=len(data) + 1)
    connection.send(_ASKED)
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise RemoteViolation(str(error)) from error
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        raise RemoteViolation("the head of the answer is not whole")
    fields = list(event.headers.raw_items())
    version, reason = b"HTTP/" + event.http_version, bytes(event.reason)
    return ResponseHead(version, event.status_code, reason, fields, odd=_is_odd(data))


def _is_odd(data: bytes) -> bool:
    lengths = _LENGTHS(data)
    repeated = len(lengths) > 1 or any(b"," in length for length in lengths)
    return bool(repeated or _STRAY(data) or (lengths and _CODING(data)))
