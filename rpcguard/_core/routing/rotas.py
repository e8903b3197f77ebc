"""Whose turn it is among the shares of the same calls."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from rpcguard._core.policies.routing import ROUNDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rpcguard._core.routing.shares import Share

_MOST_OWED: Final = 10.0
"""Calls that a share is owed at most. By turns it is never more than one; what a few users of a
sticky share keep from it is made up for, and what a heavy one keeps from it for an hour is not."""

_PAIR: Final = 2
"""Most splits are of two: a version and the one before it."""


class Rota:
    """The turns of shares of the same calls, in one process.

    What is owed to them adds up, and a call is taken when that makes a whole one. Not random: drawn
    at 5 %, a third of the callers with 20 calls send none, and one of twenty sends three or more.
    Only the start is, so that a thousand callers do not take turns together.

    Which of several takes that call is drawn, by how long each can wait, unless another could then
    no longer get its own in time. Then it is the one that can wait least, as in Tijdeman's chairman
    assignment (1980). So each has what it is owed, to one call, after any number of calls. Lives
    under the lock of its service.
    """

    __slots__ = ("_random", "_start")

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._start = random()

    def takes(self, share: Share, part: float) -> bool:
        """Count a call of which one share alone is owed a part; tell whether it takes it."""
        share.due += part
        if self._start + share.due < 1.0 or not part:
            return False
        share.due -= 1.0
        return True

    def turn(self, shares: Sequence[tuple[Share, float]]) -> Share | None:
        """Count a call of which each share is owed a part; give the one that takes it, if any.

        The parts sum to 1 at most; a share whose part is 0 takes nothing.
        """
        if len(shares) == _PAIR:
            (one, part), (other, rest) = shares
            if part and rest and part + rest >= 1.0 - ROUNDING:
                return self._turn_of_pair(one, part, other, rest)
        whole, rate = self._start, 0.0
        for share, part in shares:
            share.due += part
            whole += share.due
            rate += part
        taker = None
        if rate >= 1.0 - ROUNDING:
            # Each call is for one of them, whatever the start was.
            taker = self._taker(shares, 1.0) or max(shares, key=_part)[0]
        elif whole >= 1.0:
            taker = self._taker(shares, whole - 1.0)
        if taker is not None:
            taker.due -= 1.0
        return taker

    def _turn_of_pair(self, one: Share, part: float, other: Share, rest: float) -> Share:
        # Of two that have all calls between them, one has what the other has not.
        other.due += rest
        if self.takes(one, part):
            return one
        other.due -= 1.0
        return other

    def _taker(self, shares: Sequence[tuple[Share, float]], left: float) -> Share | None:
        owed = [one for one in shares if one[1] and one[0].due > 0.0]
        if not owed:
            return None
        urgent = min(owed, key=_wait)
        if len(owed) == 1 or _wait(urgent) < 0.0:
            return urgent[0]
        drawn = self._draw(owed)
        # Whoever is most urgent may always have it.
        good = drawn is urgent[0] or _all_in_time(drawn, shares, left)
        return drawn if good else urgent[0]

    def _draw(self, owed: Sequence[tuple[Share, float]]) -> Share:
        # The time for it is as likely now as at any later call that it may wait for.
        chances = [*accumulate([1.0 / (1.0 + _wait(one)) for one in owed])]
        return owed[bisect_right(chances, self._random() * chances[-1])][0]


def _wait(owed: tuple[Share, float]) -> float:
    """Give the calls after which a share is owed a whole one."""
    return (1.0 - owed[0].due) / owed[1]


def _part(share: tuple[Share, float]) -> float:
    return share[1]


def owe(shares: Iterable[tuple[Share, float]]) -> None:
    """Count a call of which each share is owed a part, and that none of them can have."""
    for share, part in shares:
        share.due = min(share.due + part, _MOST_OWED)


def _all_in_time(taker: Share, shares: Iterable[tuple[Share, float]], left: float) -> bool:
    """Tell whether all are served in time if one takes a call and the rest follows by urgency.

    A share must have its next call before it is owed more than one. Until then all together get
    what is `left` of a whole call now, and what is owed to them by then.
    """
    waits = []
    for share, part in shares:
        due = share.due - 1.0 if share is taker else share.due
        if part:
            waits.append(((1.0 - due) / part, due, part))
    whole = sum([part for _, _, part in waits])
    owed = rate = 0.0
    for wait, due, part in sorted(waits):
        owed += due
        rate += part
        if owed + rate * wait > left + whole * wait + ROUNDING:
            return False
    return True
