"""Offline marks: nodes that said that they leave, and what ends such a mark."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cachetools import TLRUCache

from rpcguard._checks import require_bools, require_positive, require_shares

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpcguard.live import LiveNode

Key = tuple[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePolicy:
    """Set how a node's own word that it leaves is taken; all times in seconds.

    A mark lives `ttl`, or what the signal asks for, at most `max_ttl`; a `Retry-After` is followed
    for at most `max_retry_after`. Marks cover at most `max_share` of a service, and never its last
    usable node. `enforce=False` counts the signals and marks nothing. None of this bounds what the
    user marks by `mark_offline`, nor does a signal shorten it.
    """

    ttl: float = 30.0
    max_ttl: float = 120.0
    max_retry_after: float = 60.0
    max_share: float = 0.5
    enforce: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "ttl", "max_ttl", "max_retry_after")
        require_shares(self, "max_share")
        require_bools(self, "enforce")


@dataclass(frozen=True, slots=True)
class Notice:
    """Say what an answer told about the node that gave it; `ttl` in seconds where it was given.

    `source` is `"signal"`, `"goaway"`, `"retry-after"`, `"foreign"` for a notice about somebody
    else, which is counted and not followed, or `"caller"` for the user's own word.
    """

    source: Literal["signal", "goaway", "retry-after", "foreign", "caller"]
    reason: str
    ttl: float | None = None
    named: bool = field(default=False, kw_only=True)
    """Whether it names the node that answered; one without a name may have been relayed."""


@dataclass(slots=True)
class Mark:
    """Hold one node's offline mark.

    `proof` says that it ends only by a good probe, `overdue` that its time has run out and the
    probe is all that is missing, `seen_down` that the last probe failed. `asked_until` is the end
    that the user wanted, which no signal brings forward.
    """

    live: LiveNode
    reason: str
    until: float
    proof: bool
    overdue: bool = False
    seen_down: bool = False
    asked_until: float = 0.0


class OfflineMarks:
    """Hold the offline marks of one service, by node id and generation.

    Not thread-safe: it lives under the lock of its service, which also calls `advance` before
    anything else, so that a mark that ends is always seen to end. `next_end` is at or before the
    next end.
    """

    def __init__(self, policy: OfflinePolicy, *, probes: bool) -> None:
        self.policy = policy
        self.next_end: float = math.inf
        self._probes = probes
        self._now = -math.inf
        self._marks: dict[Key, Mark] = {}
        self._ends: TLRUCache[Key, Mark] = TLRUCache(
            math.inf, ttu=lambda _, mark, __: mark.until, timer=lambda: self._now
        )

    def __iter__(self) -> Iterator[Mark]:
        return iter(self._marks.values())

    def get(self, live: LiveNode) -> Mark | None:
        """Give the mark of a node, if it has one."""
        return self._marks.get(_key(live))

    def advance(self, now: float) -> list[LiveNode]:
        """Move the clock; give the nodes whose mark has ended by itself."""
        self._now = now
        if now < self.next_end:
            return []
        ended = []
        for key, mark in self._ends.expire():
            if mark.proof:
                mark.overdue = True
            else:
                ended.append(mark.live)
                del self._marks[key]
        self.next_end = min((one.until for one in self if not one.overdue), default=math.inf)
        return ended

    def put(self, live: LiveNode, notice: Notice, now: float) -> Mark:
        """Mark a node, or renew its mark."""
        policy = self.policy
        old = self.get(live)
        brief = notice.source == "retry-after"
        if brief and old is not None and old.proof:
            return old  # a node that leaves is not back because its last answers ask for a pause
        length, asked_until = notice.ttl or policy.ttl, 0.0 if old is None else old.asked_until
        if notice.source == "caller":
            until = asked_until = now + length
        else:
            cap = policy.max_retry_after if brief else policy.max_ttl
            until = max(now + min(length, cap), asked_until)
        self.discard(live)
        mark = Mark(
            live=live,
            reason=notice.reason,
            until=until,
            proof=self._probes and not brief,
            seen_down=old is not None and old.seen_down,
            asked_until=asked_until,
        )
        self._marks[_key(live)] = self._ends[_key(live)] = mark
        self.next_end = min(self.next_end, mark.until)
        return mark

    def probed(self, live: LiveNode, *, alive: bool) -> bool:
        """Take the result of a probe; True when the mark ends by it."""
        mark = self.get(live)
        if mark is None or not mark.proof:
            return False
        if not alive:
            mark.seen_down = True
            return False
        return mark.seen_down or mark.overdue

    def discard(self, live: LiveNode) -> None:
        """Take the mark off a node."""
        if self._marks.pop(_key(live), None) is not None:
            self._ends.pop(_key(live), None)


def _key(live: LiveNode) -> Key:
    return live.node.id, live.node.generation
