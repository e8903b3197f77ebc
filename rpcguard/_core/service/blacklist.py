"""The failure blacklist: which nodes are out, until when, and how much of a list it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import TLRUCache

if TYPE_CHECKING:
    from random import Random

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.policies.ejection import Blamed, EjectionPolicy


@dataclass(slots=True)
class Ejection:
    """Hold one node's ejection; `until` is infinite while only a probe can end it.

    `connect` says that a probe ends it, `dead` that a probe has failed too, `half_open` that it
    has run out and one live call is to show whether the node is well.
    """

    live: LiveNode
    reason: str
    until: float
    connect: bool
    dead: bool = False
    half_open: bool = False


class Blacklist:
    """Hold the ejected nodes of one service.

    Not thread-safe: it lives under the lock of its service, which also calls `advance` before
    anything else, so that an ejection that ends is always seen to end. `waiting` are the half-open
    ones whose trial call is still to come; `next_end` is at or before the next end.
    """

    def __init__(self, policy: EjectionPolicy, *, probes: bool, rng: Random) -> None:
        self.policy = policy
        self.waiting: dict[str, Ejection] = {}
        self.next_end: float = math.inf
        self._probes = probes
        self._rng = rng
        self._now = -math.inf
        self._frozen_until = -math.inf
        self._ejections: dict[str, Ejection] = {}
        self._ends: TLRUCache[str, Ejection] = TLRUCache(
            math.inf, ttu=lambda _, ejection, __: ejection.until, timer=lambda: self._now
        )

    def __len__(self) -> int:
        return len(self._ejections)

    def get(self, live: LiveNode) -> Ejection | None:
        """Give the ejection of a node, if it is ejected."""
        return self._ejections.get(live.node.id)

    def advance(self, now: float) -> None:
        """Move the clock; ejections that have run out are half-open from now on."""
        self._now = now
        if now < self.next_end:
            return
        for key, ejection in self._ends.expire():
            ejection.half_open = True
            self.waiting[key] = ejection
        self.next_end = min(
            (one.until for one in self._ejections.values() if not one.half_open), default=math.inf
        )

    def trials(self, now: float, *, patient: bool) -> list[Ejection]:
        """Give the half-open nodes that wait for their one live call.

        `patient` passes over nodes that became half-open only lately, so that a call that could
        not be repeated is used only when no other kind came along.
        """
        since = now - (self.policy.duration if patient else 0.0)
        return [ejection for ejection in self.waiting.values() if ejection.until <= since]

    def begin_trial(self, live: LiveNode) -> None:
        """Note that a half-open node has its one call, whose lease is its `trial` then."""
        del self.waiting[live.node.id]

    def end_trial(self, live: LiveNode) -> None:
        """Note that the one call has said nothing: the node waits for another."""
        ejection = self.get(live)
        if live.trial is not None and ejection is not None:
            self.waiting[live.node.id] = ejection
        live.trial = None

    def eject(
        self, live: LiveNode, reason: str, blame: Blamed, now: float, *, listed: int
    ) -> Ejection | None:
        """Eject a node unless the cap or a freeze forbids it; `listed` counts the whole list."""
        if self.get(live) is None and not self._allowed(now, listed, blame):
            return None
        length = self.policy.length(live.level, self._rng)
        if length < self.policy.max_duration:
            live.level += 1
        connect = blame == "connect" and self._probes
        return self._put(live, reason, math.inf if connect else now + length)

    def condemn(self, live: LiveNode) -> None:
        """Note that a probe failed too: the node is dead, which needs no judgement and no cap."""
        if self.get(live) is None:
            live.level += 1
        self._put(live, "cannot connect", math.inf).dead = True

    def _put(self, live: LiveNode, reason: str, until: float) -> Ejection:
        self.discard(live)
        live.clean = 0
        ejection = Ejection(live, reason, until, connect=until == math.inf)
        self._ejections[live.node.id] = ejection
        if not ejection.connect:
            self._ends[live.node.id] = ejection
            self.next_end = min(self.next_end, until)
        return ejection

    def discard(self, live: LiveNode) -> None:
        """Take a node off the blacklist."""
        if self._ejections.pop(live.node.id, None) is not None:
            self._ends.pop(live.node.id, None)
            self.waiting.pop(live.node.id, None)
        live.trial = None

    def freeze(self, now: float, listed: int) -> list[LiveNode]:
        """Stop judging for a window if most nodes fail together; give those ejected on judgement.

        Most nodes failing without being dead means that the cause is not the node.
        """
        judged = [one.live for one in self._ejections.values() if not one.connect]
        most = 2 * (len(judged) + 1) > listed - self._dead()
        if not judged or not most or now < self._frozen_until:
            return []
        self._frozen_until = now + self.policy.window
        return judged

    def _dead(self) -> int:
        return sum(ejection.dead for ejection in self._ejections.values())

    def _allowed(self, now: float, listed: int, blame: Blamed) -> bool:
        if blame != "connect" and now < self._frozen_until:
            return False
        dead = self._dead()
        alive = listed - dead
        cap = max(int(alive * self.policy.max_share), 1 if alive >= 2 else 0)
        return len(self) - dead < cap
