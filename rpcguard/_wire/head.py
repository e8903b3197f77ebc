"""The head of an answer, and the seam at which parsers are exchanged."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST_FIELDS = 5000
"""Header fields of one head: curl's limit too. 100 KB hold 25,000, at a second of CPU time."""

PARSER = "RPCGUARD_PARSER"
"""The environment variable that selects the parser: `h11`, or `llhttp` where it is installed."""


@dataclass(slots=True)
class ResponseHead:
    """The head of an answer, whole."""

    version: bytes
    """As it is written, `HTTP/1.1` say."""
    status: int
    """The status code, 100 or above."""
    reason: bytes
    """The reason phrase, often empty."""
    fields: list[tuple[bytes, bytes]]
    """Names and values as they came, the space around values taken away."""
    odd: bool = False
    """Whether it strays from the grammar, so that another recipient may read it otherwise."""


HeadParser = Callable[[bytes], ResponseHead]
"""Take a head apart, from its first byte to its empty line; raises `RemoteViolation`."""


def head_parser() -> HeadParser:
    """Give the parser that the environment asks for; llhttp where that is installed."""
    asked: Any = os.environ.get(PARSER) or "llhttp"
    if asked not in ("h11", "llhttp"):
        raise ValueError(f"{PARSER} must be h11 or llhttp, not {asked!r}")
    if asked == "llhttp" and platform.python_implementation() == "CPython":
        from rpcguard._wire.llhttp import parse_head

        return parse_head
    from rpcguard._wire.h11_heads import parse_head as parse_by_h11

    return parse_by_h11
