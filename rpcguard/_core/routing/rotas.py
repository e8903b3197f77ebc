"""Whose turn it is among the shares of the same calls."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from rpcguard._core.policies.routing import ROUNDING, WHOLE
from rpcguard._core.routing.shares import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_MOST_OWED: Final = 10.0
"""Calls that a share is owed at most. By turns it is never more than one; what a few users of a
sticky share keep from it is made up for, and what a heavy one keeps from it for an hour is not."""

_PAIR: Final = 2
"""Most splits are of two: a version and the one before it."""

_HALF: Final = 0.5
"""Part up to which it is drawn when a share takes its next call, and above which, when it leaves
the next one out: what is rarer is then as likely at any call."""

_LONGEST: Final = 200
"""Calls of the longest round that is looked for, which has room for half percents."""

_BACK: Final = 1e-6
"""Calls that a share which is back where it began may be off, by rounding."""

_IN_A_ROW: Final = 200
"""Calls of the same shares, with none of others between them, until a round of theirs is looked
for: that takes as long as a hundred draws, and where calls of two kinds come in turns it would be
for nothing at each second one."""

_KEPT: Final = 1000
"""Calls for which a round is gone through before another is drawn: calls may repeat in step with
it, and those of one kind would be for the same shares for ever. To draw it takes 10 to 170."""

Turn = tuple[Share, float]
"""A share, and the part of the calls that it is owed."""


class Rota:
    """The turns of shares of the same calls, in one process.

    What is owed to them adds up, and a call is taken when that makes a whole one. Not random: drawn
    at 5 %, a third of the callers with 20 calls send none, and one of twenty sends three or more.
    Only which of each 20 it is is drawn, so that a thousand callers do not take turns together, and
    a caller whose calls are of two kinds in turns does not send one kind alone.

    What is owed to all of them counts, also in calls that only some are for: where the rest are
    divided among all, whatever those take beyond it nobody else can have back.

    Which of several takes a call is drawn, by how long each can wait, unless another could then no
    longer get its own in time. Then it is the one that can wait least, as in Tijdeman's chairman
    assignment (1980). Where they are a part of the calls, the rest is one of them. So each has what
    it is owed, to one call, after any number of calls. What was drawn is gone through for a while,
    once it has brought each of them back to where it began: to draw anew costs half as much as a
    pick. Lives under the lock of its service.
    """

    __slots__ = ("_in_a_row", "_last", "_random", "_rest", "_round", "_start")

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._start = random()
        self._rest = Share()
        self._last: Sequence[Turn] = ()
        self._in_a_row = 0
        self._round: _Round | None = None

    def turn(self, turns: Sequence[Turn], absent: Sequence[Share] = ()) -> Share | None:
        """Count a call of which each share is owed a part; give the one that takes it, if any.

        The parts sum to 1 at most; a share whose part is 0 takes nothing. `absent` are those that
        other calls of this rota are for, and this one is not. What was handed in once must not
        change: what comes of it is remembered.
        """
        if turns is self._last:
            return self._turn_again(turns, absent)
        if self._last:
            self._leave()
        if len(turns) == 1:
            share, part = turns[0]
            return share if self._takes(share, part, absent) else None
        if len(turns) == _PAIR:
            (one, part), (other, rest) = turns
            even = abs(one.due + other.due) < _BACK  # else one was in turns without the other
            if part and rest and even and part + rest >= WHOLE:
                return self._turn_of_pair(one, part, other, rest)
        self._last = turns
        return self._draw(turns, absent)

    def owe(self, turns: Iterable[Turn]) -> None:
        """Count a call of which each share is owed a part, and that none of them can have."""
        if self._last:
            self._leave()
        for share, part in turns:
            share.due = min(share.due + part, _MOST_OWED)

    def _turn_again(self, turns: Sequence[Turn], absent: Sequence[Share]) -> Share | None:
        known = self._round
        if known is None:
            self._in_a_row += 1
            if self._in_a_row < _IN_A_ROW:
                return self._draw(turns, absent)
            known = self._round = _Round(turns)
        takers, at = known.takers, known.at
        if takers:
            known.at = at + 1 if at + 1 < len(takers) else known.end()
            return takers[at]
        taker = self._draw(turns, absent)
        known.note(taker)
        return taker

    def _leave(self) -> None:
        known = self._round
        self._round, self._last, self._in_a_row = None, (), 0
        if known is not None:
            known.leave()

    def _draw(self, turns: Sequence[Turn], absent: Sequence[Share]) -> Share | None:
        owed, rate, rest = _owed_to(absent), 0.0, self._rest
        for share, part in turns:
            share.due += part
            owed += share.due
            rate += part
        taker: Share | None
        if rate >= WHOLE:  # each call is for one of them
            taker = self._taker(turns) or max(turns, key=_part)[0]
        else:
            rest.due = 1.0 - owed
            taker = self._taker((*turns, (rest, 1.0 - rate)))
        if taker is None or taker is rest:
            return None
        taker.due -= 1.0
        return taker

    def _takes(self, share: Share, part: float, absent: Sequence[Share]) -> bool:
        share.due = due = share.due + part
        if part < WHOLE:
            whole = self._start + due
            if absent:
                whole += _owed_to(absent)
            if whole < 1.0 or due <= 0.0 or not part:
                if part > _HALF:
                    self._start = self._random()
                return False
        share.due = due - 1.0
        if part <= _HALF:  # at any start it has what it is owed, to one call
            self._start = self._random()
        return True

    def _turn_of_pair(self, one: Share, part: float, other: Share, rest: float) -> Share:
        # Of two that have all calls between them, one has what the other has not.
        other.due += rest
        if self._takes(one, part, ()):
            return one
        other.due -= 1.0
        return other

    def _taker(self, turns: Sequence[Turn]) -> Share | None:
        urgent, soonest = None, inf
        owed, chances, chance = [], [], 0.0
        for share, part in turns:
            due = share.due
            if due > 0.0 and part:
                wait = (1.0 - due) / part  # calls after which it is owed a whole one
                if wait < soonest:
                    urgent, soonest = share, wait
                # The time for it is as likely now as at any later call that it may wait for.
                chance += 1.0 / (1.0 + wait) if wait > 0.0 else 1.0
                owed.append(share)
                chances.append(chance)
        if len(owed) <= 1 or soonest < 0.0:
            return urgent
        drawn = owed[bisect_right(chances, self._random() * chance)]
        # Whoever is most urgent may always have it.
        return drawn if drawn is urgent or _all_in_time(drawn, turns) else urgent


class _Round:
    """As many calls as bring each of some shares back to where it began.

    `takers` has who takes each call, while they are gone through, and `at` counts those that are
    past. Where the parts do not come to whole calls within `_LONGEST`, there are none.
    """

    __slots__ = ("_begun", "_drawn", "_left", "_length", "_turns", "at", "takers")

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.takers: Sequence[Share | None] = ()
        self.at: int = 0
        self._left = 0
        self._turns = turns
        whole = partial(_come_to_whole, {part for _, part in turns})
        self._length = next(filter(whole, range(1, _LONGEST + 1)), 0)
        self._begin()

    def _begin(self) -> None:
        self._begun = [share.due for share, _ in self._turns]
        self._drawn: list[Share | None] = []

    def end(self) -> int:
        """Begin anew, with other calls where these were kept for long; give the first place."""
        self._left -= self._length
        if self._left <= 0:
            self.takers = ()
            self._begin()
        return 0

    def note(self, taker: Share | None) -> None:
        """Note who has taken a call, if any has."""
        if not self._length:
            return
        self._drawn.append(taker)
        if len(self._drawn) < self._length:
            return
        now = [share.due for share, _ in self._turns]
        if all(abs(due - begun) < _BACK for due, begun in zip(now, self._begun, strict=True)):
            self.takers, self._left = self._drawn, _KEPT
        else:
            self._begin()

    def leave(self) -> None:
        """Bring what each is owed up to the calls of this round that are past."""
        taken = Counter(self.takers[: self.at])
        for share, part in self._turns:
            share.due += self.at * part - taken[share]


def _owed_to(shares: Iterable[Share]) -> float:
    return sum(share.due for share in shares)


def _come_to_whole(parts: Iterable[float], calls: int) -> bool:
    return all(abs(part * calls - round(part * calls)) < ROUNDING for part in parts)


def _part(share: Turn) -> float:
    return share[1]


def _all_in_time(taker: Share, turns: Iterable[Turn]) -> bool:
    """Tell whether all are served in time if one takes a call and the others follow by urgency.

    A share must have its next call before it is owed more than one. Until then all together get
    this call, and what is owed to them by then.
    """
    waits, whole = [], 0.0
    for share, part in turns:
        if part:
            due = share.due - 1.0 if share is taker else share.due
            waits.append(((1.0 - due) / part, due, part))
            whole += part
    waits.sort()
    owed = rate = 0.0
    for wait, due, part in waits:
        owed += due
        rate += part
        if owed + rate * wait > 1.0 + whole * wait + ROUNDING:
            return False
    return True
