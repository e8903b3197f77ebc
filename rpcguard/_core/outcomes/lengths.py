"""How long a body is, as far as its head says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rpcguard._core.outcomes.responses import Headers

_DIGITS = 19  # of a length that is believed: more are no length of anything


def is_short(raw: Headers, limit: int) -> bool:
    """Tell whether a body is known to have `limit` bytes at most."""
    length = declared_length(raw)
    return length is not None and length <= limit


def is_whole(reply: Any) -> bool:
    """Tell whether all of a body came with its head, and its connection was given back."""
    return getattr(reply.stream, "whole", False)


def declared_length(raw: Headers) -> float | None:
    """Give the bytes of a body; None where its head does not say, infinite for nonsense."""
    length = None
    for name, value in raw:
        kind = name.lower()
        if kind == b"content-length":
            length = int(value) if value.isdigit() and len(value) <= _DIGITS else math.inf
        elif kind == b"transfer-encoding":
            return None  # the length beside it means nothing (RFC 9112 §6.3)
    return length
