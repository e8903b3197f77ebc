"""The failure blacklist: which nodes are out, until when, and how much of a list it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import TLRUCache

from rpcguard._core.policies.ejection import CANNOT_CONNECT, LISTENS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.policies.ejection import EjectionPolicy, Trip

_LOST_PROBES = 3.0
"""How often the longest pause between two probes may pass without a result before an ejection that
only a probe was to end has an end of its own: one may be late, three in a row are lost."""


@dataclass(slots=True)
class Ejection:
    """One node's ejection, until it is over or a probe or a call has shown that the node is well.

    `until` is also the latest end of an ejection that waits for a probe, should none report.
    """

    live: LiveNode
    trip: Trip
    until: float

    @property
    def reason(self) -> str:
        """Give the reason in words."""
        return self.trip.reason

    @property
    def connect(self) -> bool:
        """Tell whether a probe ends it."""
        return self.live.health in ("unreachable", "dead")

    @property
    def unconnected(self) -> bool:
        """Tell whether it is no judgement: the node could not be connected to."""
        return self.connect or self.listens

    @property
    def listens(self) -> bool:
        """Tell whether a probe has found it listening, and a call is to show the rest."""
        return self.trip is LISTENS

    @property
    def half_open(self) -> bool:
        """Tell whether its time is over and a call is to show whether the node is well."""
        return self.live.health == "half_open"


class Blacklist:
    """The ejected nodes of one service.

    Not thread-safe: the caller holds the service's lock, and calls `advance` before anything else,
    so that an ejection that ends is always seen to end. `waiting` are the half-open ones whose
    trial call is still to come; `next_end` is at or before the next end.
    """

    def __init__(self, policy: EjectionPolicy, *, rng: Random) -> None:
        self.policy = policy
        self.waiting: dict[str, Ejection] = {}
        self.next_end: float = math.inf
        self._rng = rng
        self._now = -math.inf
        self._frozen_until = -math.inf
        self._ejections: dict[str, Ejection] = {}
        self._dead: set[str] = set()  # counting them at each failure of thousands would be seen
        self._ends: TLRUCache[str, Ejection] = TLRUCache(
            math.inf, ttu=lambda _, ejection, __: ejection.until, timer=lambda: self._now
        )

    def __len__(self) -> int:
        return len(self._ejections)

    def nodes(self) -> Iterator[LiveNode]:
        """Give the ejected nodes."""
        return (ejection.live for ejection in self._ejections.values())

    def get(self, live: LiveNode) -> Ejection | None:
        """Give the ejection of a node, if it is ejected."""
        return self._ejections.get(live.node.id)

    def advance(self, now: float) -> list[LiveNode]:
        """Move the clock; give the nodes whose ejection has run out."""
        self._now = now
        if now < self.next_end:
            return []
        ended = [ejection.live for _, ejection in self._ends.expire()]
        self.next_end = min(
            (one.until for one in self._ejections.values() if one.until > now), default=math.inf
        )
        return ended

    def await_trial(self, live: LiveNode, now: float) -> None:
        """Note that a half-open node waits for its one call.

        Where a probe has found it before the end of its time, it waits since now.
        """
        self._dead.discard(live.node.id)
        ejection = self.get(live)
        if ejection is None or ejection.until > now:
            self._put(live, LISTENS, now)
        self.waiting[live.node.id] = self._ejections[live.node.id]

    def trials(self, now: float, *, patient: bool) -> list[Ejection]:
        """Give the half-open nodes that wait for their one live call.

        `patient` passes over nodes that became half-open only lately, so that a call that could
        not be repeated is used only when no other kind came along.
        """
        since = now - (self.policy.duration if patient else 0.0)
        return [ejection for ejection in self.waiting.values() if ejection.until <= since]

    def begin_trial(self, live: LiveNode) -> object:
        """Note that a half-open node has its one call; give what that call knows it by."""
        del self.waiting[live.node.id]
        live.trial = trial = object()
        return trial

    def end_trial(self, live: LiveNode) -> None:
        """Note that the one call has said nothing: the node waits for another."""
        ejection = self.get(live)
        if live.trial is not None and ejection is not None:
            self.waiting[live.node.id] = ejection
        live.trial = None

    def eject(self, live: LiveNode, trip: Trip, now: float, *, listed: int, probed: bool) -> bool:
        """Eject a node, until a probe succeeds where it is `probed`, else for a time.

        False where the cap or a freeze forbids it; `listed` counts the whole list.
        """
        if self.get(live) is None and not self._allowed(now, listed, trip):
            return False
        length = self.policy.length(live.level, self._rng)
        self._worsen(live)
        live.stop_being_clean()
        self._put(live, trip, now + (self.latest if probed else length))
        return True

    def condemn(self, live: LiveNode, now: float) -> None:
        """Note that a probe failed too: the node is dead, which needs no judgement and no cap."""
        ejection = self.get(live)
        if ejection is None:
            self._worsen(live)
        live.stop_being_clean()
        self._put(live, CANNOT_CONNECT, now + self.latest)
        self._dead.add(live.node.id)

    @property
    def latest(self) -> float:
        """Give the seconds after which a node is tried whose probes report nothing any more."""
        pause = self.policy.probe_max_interval + self.policy.probe_timeout
        return max(self.policy.max_duration, _LOST_PROBES * pause)

    def _worsen(self, live: LiveNode) -> None:
        # A level that lengthens nothing would take as many proofs of health to be forgiven.
        if self.policy.duration * 2.0**live.level < self.policy.max_duration:
            live.level += 1

    def forgive(self, live: LiveNode) -> None:
        """Take one level back from a node that has been clean for long."""
        live.level -= 1
        live.stop_being_clean()

    def _put(self, live: LiveNode, trip: Trip, until: float) -> None:
        self.discard(live)
        ejection = Ejection(live, trip, until)
        self._ejections[live.node.id] = self._ends[live.node.id] = ejection
        self.next_end = min(self.next_end, until)

    def discard(self, live: LiveNode) -> None:
        """Take a node off the blacklist."""
        if self._ejections.pop(live.node.id, None) is not None:
            self._ends.pop(live.node.id, None)
            self._dead.discard(live.node.id)
            self.waiting.pop(live.node.id, None)
        live.trial = None

    def freeze(self, now: float, listed: int) -> list[LiveNode]:
        """Stop judging for a window if most nodes fail together; give those ejected on judgement.

        Most nodes failing without being dead means that the cause is not the node.
        """
        if now < self._frozen_until:
            return []
        judged = [one.live for one in self._ejections.values() if not one.unconnected]
        most = 2 * (len(judged) + 1) > listed - len(self._dead)
        if not judged or not most:
            return []
        self._frozen_until = now + self.policy.window
        return judged

    def is_frozen(self, now: float) -> bool:
        """Tell whether nobody is judged now, since most nodes have failed together."""
        return now < self._frozen_until

    def _allowed(self, now: float, listed: int, trip: Trip) -> bool:
        if trip.code != "connect" and self.is_frozen(now):
            return False
        dead = len(self._dead)
        alive = listed - dead
        cap = max(int(alive * self.policy.max_share), 1 if alive >= 2 else 0)
        return len(self) - dead < cap
