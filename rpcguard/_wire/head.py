"""The head of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MOST_FIELDS = 5000
"""Header fields of one head: curl's limit too. 100 KB hold 25,000, at a second of CPU time."""


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
