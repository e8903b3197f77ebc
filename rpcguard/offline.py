"""Offline marks: nodes that said that they leave, and what ends such a mark."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cachetools import TLRUCache

from rpcguard._checks import require_positive, require_shares

if TYPE_CHECKING:
    from rpcguard.live import LiveNode

Key = tuple[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePolicy:
    """Set how a node's own word that it leaves is taken; all times in seconds.

    A mark lives `ttl`, or what the signal asks for, at most `max_ttl`; a `Retry-After` is followed
    for at most `max_retry_after`. Marks cover at most `max_share` of a service, and never its last
    usable node. `enforce=False` counts the signals and marks nothing.
    """

    ttl: float = 30.0
    max_ttl: float = 120.0
    max_retry_after: float = 60.0
    max_share: float = 0.5
    enforce: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "ttl", "max_ttl", "max_retry_after")
        require_shares(self, "max_share")


@dataclass(frozen=True, slots=True)
class Notice:
    """Say what an answer told about the node that gave it; `ttl` in seconds where it was given.

    `source` is `"signal"`, `"goaway"`, `"retry-after"`, or `"foreign"` for a notice about somebody
    else, which is counted and not followed.
    """

    source: Literal["signal", "goaway", "retry-after", "foreign"]
    reason: str
    ttl: float | None = None


@dataclass(slots=True)
class Mark:
    """Hold one node's offline mark. `proof` says that it ends only after a good probe."""

    live: LiveNode
    reason: str
    until: float
    proof: bool
    seen_down: bool = False


class OfflineMarks:
    """Hold the offline marks of one service, by node id and generation.

    Not thread-safe: it lives under the lock of its service, which also calls `advance` before
    anything else, so that a mark that ends is always seen to end.
    """

    def __init__(self, policy: OfflinePolicy, *, probes: bool) -> None:
        self.policy = policy
        self._probes = probes
        self._now = 0.0
        self._marks: TLRUCache[Key, Mark] = TLRUCache(
            math.inf, ttu=lambda _, mark, __: mark.until, timer=lambda: self._now
        )
        self._unproven: dict[Key, Mark] = {}

    def __iter__(self) -> Iterator[Mark]:
        yield from self._unproven.values()
        for key in self._marks:
            yield self._marks[key]

    def __len__(self) -> int:
        return len(self._unproven) + len(self._marks)

    def get(self, live: LiveNode) -> Mark | None:
        """Give the mark of a node, if it has one."""
        key = _key(live)
        return self._unproven.get(key) or self._marks.get(key)

    def advance(self, now: float) -> list[LiveNode]:
        """Move the clock; give the nodes whose mark has ended by itself."""
        self._now = now
        ended = []
        for key, mark in self._marks.expire():
            if mark.proof:
                self._unproven[key] = mark
            else:
                ended.append(mark.live)
        return ended

    def next_end(self) -> float:
        """Give the time at which the next mark runs out, infinite if none does."""
        return min((self._marks[key].until for key in self._marks), default=math.inf)

    def allowed(self, listed: int, usable_others: int) -> bool:
        """Tell whether one more node may be marked on its own word."""
        cap = max(int(listed * self.policy.max_share), 1 if listed >= 2 else 0)
        return usable_others > 0 and len(self) < cap

    def put(self, live: LiveNode, notice: Notice) -> Mark:
        """Mark a node, or renew its mark."""
        policy = self.policy
        if notice.source == "retry-after":
            length = min(notice.ttl or policy.ttl, policy.max_retry_after)
        else:
            length = min(notice.ttl or policy.ttl, policy.max_ttl)
        old = self.discard(live)
        mark = Mark(
            live=live,
            reason=notice.reason,
            until=self._now + length,
            proof=self._probes and notice.source != "retry-after",
            seen_down=old is not None and old.seen_down,
        )
        self._marks[_key(live)] = mark
        return mark

    def probed(self, live: LiveNode, *, alive: bool) -> bool:
        """Take the result of a probe; True when the mark ends by it."""
        mark = self.get(live)
        if mark is None or not mark.proof:
            return False
        if not alive:
            mark.seen_down = True
            return False
        return mark.seen_down or _key(live) in self._unproven

    def discard(self, live: LiveNode) -> Mark | None:
        """Take the mark off a node."""
        key = _key(live)
        return self._unproven.pop(key, None) or self._marks.pop(key, None)


def _key(live: LiveNode) -> Key:
    return live.node.id, live.node.generation
