"""Offline marks: nodes that said that they leave, and what ends such a mark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import TLRUCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.outcomes.verdict import Notice
    from rpcguard._core.policies.offline import OfflinePolicy

Key = tuple[str, object]


@dataclass(slots=True)
class Mark:
    """One node's offline mark, kept from its first signal to its end."""

    live: LiveNode
    notice: Notice
    """What was said last."""
    since: float
    """When it was said first."""
    until: float
    """When it is over, or is to be by the next good probe."""
    asked_until: float = 0.0
    """The end that the user wanted, which nothing that nodes say brings forward."""
    answers: bool = False
    """Whether the last probe since found the node taking connections."""

    @property
    def reason(self) -> str:
        """Give the reason in words."""
        return self.notice.reason

    @property
    def proof(self) -> bool:
        """Tell whether it ends only by a good probe."""
        return self.live.word != "pausing"

    @property
    def overdue(self) -> bool:
        """Tell whether its time has run out and the probe is all that is missing."""
        return self.live.word == "overdue"

    @property
    def seen_down(self) -> bool:
        """Tell whether a probe has found the node down: up again, it is another process."""
        return self.live.word == "down"

    def rests_on(self, notice: Notice, now: float) -> bool:
        """Tell whether it is there for nothing but what was said, and of nobody by name."""
        said = self.notice.reason == notice.reason and not self.notice.named
        return said and self.asked_until <= now


class OfflineMarks:
    """The offline marks of one service, by node id and generation.

    Not thread-safe: the caller holds the service's lock, and calls `advance` before anything else,
    so that a mark that ends is always seen to end. `next_end` is at or before the next end.
    """

    def __init__(self, policy: OfflinePolicy) -> None:
        self.policy = policy
        self.next_end: float = math.inf
        self._now = -math.inf
        self._marks: dict[Key, Mark] = {}
        self._said: dict[str, dict[LiveNode, float]] = {}
        self._ends: TLRUCache[Key, Mark] = TLRUCache(
            math.inf, ttu=lambda _, mark, __: mark.until, timer=lambda: self._now
        )

    def __iter__(self) -> Iterator[Mark]:
        return iter(self._marks.values())

    def __len__(self) -> int:
        return len(self._marks)

    def get(self, live: LiveNode) -> Mark | None:
        """Give the mark of a node, if it has one."""
        return self._marks.get(_key(live))

    def advance(self, now: float) -> list[LiveNode]:
        """Move the clock; give the nodes whose mark has run out."""
        self._now = now
        if now < self.next_end:
            return []
        ended = [mark.live for _, mark in self._ends.expire()]
        self.next_end = min((one.until for one in self if one.until > now), default=math.inf)
        return ended

    def put(self, live: LiveNode, notice: Notice, now: float) -> None:
        """Mark a node, or renew its mark; what was learned since the first signal stays."""
        old = self.get(live)
        mark = old or Mark(live, notice, now, now)
        if notice.source == "caller":
            mark.until = mark.asked_until = now + (notice.ttl or self.policy.ttl)
        else:
            mark.until = max(now + self._length(notice), mark.asked_until)
        mark.notice = notice
        self.discard(live)
        self._marks[_key(live)] = self._ends[_key(live)] = mark
        self.next_end = min(self.next_end, mark.until)

    def _length(self, notice: Notice) -> float:
        cap = self.policy.max_ttl
        if notice.source == "retry-after":
            cap = self.policy.max_retry_after
        return min(notice.ttl or self.policy.ttl, cap)

    def who_says_the_same(self, live: LiveNode, notice: Notice, now: float) -> list[LiveNode]:
        """Note what a node says; give the others that have said the same within its time.

        A `Retry-After` is about a resource, and a signal that names nobody may come from behind a
        gateway: what several nodes say is not about any of them. One that a probe found down since
        meant itself.
        """
        if notice.named or notice.source not in ("signal", "retry-after"):
            return []
        said = self._said.setdefault(notice.reason, {})
        for other in [one for one, until in said.items() if until <= now or one.gone]:
            del said[other]
        said[live] = now + self._length(notice)
        return [one for one in said if one is not live and one.word != "down"]

    def oldest_that_answers(
        self, before: float, takes_room: Callable[[LiveNode], bool]
    ) -> Mark | None:
        """Find the oldest mark, put before that time, whose node takes connections again.

        One of a node that takes no room would give none to another, and the time that the user
        wanted comes first.
        """
        marks = [one for one in self if one.answers and one.since <= before and one.proof]
        those = (one for one in marks if one.asked_until <= before and takes_room(one.live))
        return min(those, key=lambda mark: mark.since, default=None)

    def discard(self, live: LiveNode) -> None:
        """Take the mark off a node."""
        if self._marks.pop(_key(live), None) is not None:
            self._ends.pop(_key(live), None)


def _key(live: LiveNode) -> Key:
    return live.node.id, live.node.generation
