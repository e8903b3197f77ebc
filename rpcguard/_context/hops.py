"""What the hop above says of the request at hand: by when it is due, whether it is tried again."""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_HEADER: Final = "x-rpcguard-retry"
"""Says, by `1`, that the request may be the second of one call."""

RETRY_MEMBER: Final = "rpcguard.retry"
"""The member of baggage that says the same, for hops in between that know nothing of it."""

GRPC_TIMEOUT: Final = "grpc-timeout"
_GRPC: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
"""Seconds of gRPC's units, by its protocol over HTTP/2: hours to nanoseconds."""
_MILLISECONDS: Final = re.compile(r"[0-9]{1,12}")


class Due:
    """The time by which a request is to be answered, on the monotonic clock; it ends with it."""

    __slots__ = ("open", "until")

    def __init__(self, until: float | None) -> None:
        self.until: float | None = until
        self.open: bool = True


_due: ContextVar[Due | None] = ContextVar("rpcguard_due", default=None)
_retried: ContextVar[bool] = ContextVar("rpcguard_retried", default=False)


def arrive(due: Due | None, *, retried: bool) -> None:
    """Make the work of this context that of a request."""
    _due.set(due)
    _retried.set(retried)


@contextmanager
def served(due: Due | None, *, retried: bool) -> Iterator[None]:
    """Do so for a block, after which the deadline holds for nobody: not for tasks that go on."""
    tokens = _due.set(due), _retried.set(retried)
    try:
        yield
    finally:
        if due is not None:
            due.open = False
        _due.reset(tokens[0])
        _retried.reset(tokens[1])


def due_at() -> float | None:
    """Give the time by which the request at hand is to be answered; None where there is none."""
    due = _due.get()
    return due.until if due is not None and due.open else None


def is_retried() -> bool:
    """Tell whether a hop above already tries the request at hand again."""
    return _retried.get()


def seconds_of(header: str, value: str) -> float | None:
    """Read the time that a header leaves, in seconds; None for what is none.

    Milliseconds, or for `grpc-timeout` up to eight digits and a unit.
    """
    if header == GRPC_TIMEOUT:
        match = _GRPC.fullmatch(value.strip())
        return int(match[1]) * _UNITS[match[2]] if match else None
    match = _MILLISECONDS.fullmatch(value.strip())
    return int(match[0]) / 1000.0 if match else None
