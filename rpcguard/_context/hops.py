"""What the hops of a request tell each other: by when it is due, and who tries it again."""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RETRY_HEADER: Final = "x-rpcguard-retry"
"""Says, by `1`, that the request may be the second of one call."""

RETRY_MEMBER: Final = "rpcguard.retry"
"""The member of baggage that says the same, for hops in between that know nothing of it."""

TRIED_HEADER: Final = "x-rpcguard-tried"
"""Says, by `1` in an answer that is a failure, that what it failed on has been tried again."""

TRIED_FIELD: Final = (TRIED_HEADER.encode("ascii"), b"1")
"""The same as the raw header of an ASGI app."""

GRPC_TIMEOUT: Final = "grpc-timeout"
_GRPC: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
"""Seconds of gRPC's units, by its protocol over HTTP/2: hours to nanoseconds."""
_MILLISECONDS: Final = re.compile(r"[0-9]{1,12}")


class Hop:
    """A request that is being served, as the hop above it and the calls made for it see it."""

    __slots__ = ("open", "retried", "tried", "until")

    def __init__(self, until: float | None = None, *, retried: bool = False) -> None:
        self.until: float | None = until
        """When it is to be answered, on the monotonic clock; None where nobody has said so."""
        self.retried: bool = retried
        """Whether a hop above tries it again already."""
        self.tried: bool = False
        """Whether a call made for it has failed so that another try would be of no use, and no call
        was begun since, as by an app that knows another way."""
        self.open: bool = True
        """False once it is answered: from then on nobody waits for it, nor tries it again."""

    @property
    def retried_above(self) -> bool:
        """Tell whether a hop above tries it again already, and still may."""
        return self.retried and self.open


_hop: ContextVar[Hop | None] = ContextVar("rpcguard_hop")

_UNKNOWN: Final = Hop()
"""Stands for the request that no middleware has looked at, if there is one."""


def arrive(hop: Hop | None) -> None:
    """Make the work of this context that of a request."""
    _hop.set(hop)


@contextmanager
def served(hop: Hop | None) -> Iterator[None]:
    """Do so for a block, after which the deadline holds for nobody: not for tasks that go on."""
    token = _hop.set(hop)
    try:
        yield
    finally:
        if hop is not None:
            hop.open = False
        _hop.reset(token)


def hop_at_hand() -> Hop | None:
    """Give the request that the work at hand is for; None where it is for none."""
    return _hop.get(None)


def due_at() -> float | None:
    """Give the time by which the request at hand is to be answered; None where there is none."""
    hop = _hop.get(None)
    return hop.until if hop is not None and hop.open else None


def is_retried() -> bool | None:
    """Tell whether a hop above already tries the request at hand again.

    None where nobody knows, since no middleware has looked: then baggage may speak, if there is
    any. False also where the word of whoever asked does not count.
    """
    hop = _hop.get(_UNKNOWN)
    return None if hop is _UNKNOWN else hop is not None and hop.retried_above


def is_tried(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether an answer says that what it failed on has been tried again."""
    name, word = TRIED_FIELD
    said = (value for key, value in headers if key.lower() == name)
    # A proxy may have joined the words of several hops.
    return any(part.strip() == word for value in said for part in value.split(b","))


def seconds_of(header: str, value: str) -> float | None:
    """Read the time that a header leaves, in seconds; None for what is none.

    Milliseconds, or for `grpc-timeout` up to eight digits and a unit.
    """
    if header == GRPC_TIMEOUT:
        match = _GRPC.fullmatch(value.strip())
        return int(match[1]) * _UNITS[match[2]] if match else None
    match = _MILLISECONDS.fullmatch(value.strip())
    return int(match[0]) / 1000.0 if match else None
