"""The seam at which parsers of heads are exchanged."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rpcguard._wire.head import HeadParser

PARSER = "RPCGUARD_PARSER"
"""The environment variable that selects the parser: `h11`, or `llhttp` where it is installed."""


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
