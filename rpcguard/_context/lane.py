"""The lane of the work at hand."""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from rpcguard._context.hops import served

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a mark may look like: it goes into headers, logs and metadata of many languages."""

BASE: Final = "base"
"""The mark, in use with Alibaba's MSE, that says that a call has none."""

UNHEARD: Final = "\0"
"""Stands for no word on a lane, where baggage that says something else is not to be believed."""

_lane: ContextVar[str | None] = ContextVar("rpcguard_lane")


def is_mark(text: object) -> bool:
    """Tell whether a text can be a mark: 1 to 64 of `A-Za-z0-9._-`."""
    return isinstance(text, str) and _MARK.fullmatch(text) is not None


@contextmanager
def lane(mark: str | None) -> Iterator[None]:
    """Make the calls of a block, and of the tasks it starts, those of a lane.

    For what no middleware does it: jobs, timers, consumers of a queue. None takes the mark off,
    and `"base"` is the same. Looked at by transports that have a `Routing`. Raises `ValueError` for
    a mark that is not 1 to 64 characters of `A-Za-z0-9._-`.
    """
    if mark is not None and not is_mark(mark):
        raise ValueError(f"lane must be 1 to 64 characters of A-Za-z0-9._- or None, not {mark!r}")
    with arrived_with(mark):
        yield


def arrive(mark: str | None) -> None:
    """Make the work of this context that of a request with this mark, or `UNHEARD`."""
    _lane.set(mark)


@contextmanager
def arrived_with(mark: str | None) -> Iterator[None]:
    """Do so for a block."""
    token = _lane.set(mark)
    try:
        yield
    finally:
        _lane.reset(token)


def current_lane(default: str | None = None) -> str | None:
    """Give the mark of the work at hand; `default` where nothing has been said of one."""
    return _lane.get(default)


@contextmanager
def detached() -> Iterator[None]:
    """Keep the request that a block was started by from the calls of the block.

    Neither its lane nor its deadline. For background work that is no part of the answer; where a
    task goes on after the request has been answered, the deadline has ended anyway.
    """
    with lane(None), served(None):
        yield
