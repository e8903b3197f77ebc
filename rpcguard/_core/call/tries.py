"""How the attempts of a call ended, and those that never left this process."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rpcguard._core.call.steps import Reply
    from rpcguard._core.outcomes.verdict import Verdict

_MOST: Final = 20
"""Tries in one call. Where half of a list is dead, one in a million calls meets as many in a row;
where all of it is, each call has looked long enough."""


class UnsentTries:
    """What a call has spent on nodes that it could not connect to.

    Nothing was sent, so another node may be tried at once, at no cost of an attempt or a budget.
    All such tries of a call may together take one connect timeout, which its user is ready to wait.
    """

    __slots__ = ("_count", "_left")

    def __init__(self, connect_timeout: float | None) -> None:
        self._left: float = math.inf if connect_timeout is None else connect_timeout
        self._count = 0

    def take(self, seconds: float) -> bool:
        """Count a try that took so long; False when it counts as an attempt."""
        self._count += 1
        self._left -= seconds
        return self._count <= _MOST and self._left > 0.0


@dataclass(slots=True)
class Done:
    """How an attempt ended.

    `complete` says that the body is read, `last` that the books of the call are closed as well.
    """

    verdict: Verdict
    reply: Reply | None = None
    error: Exception | None = None
    complete: bool = False
    last: bool = False
