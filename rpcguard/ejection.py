"""The failure blacklist: what trips it, for how long, and how much of a list it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from cachetools import TLRUCache

from rpcguard._checks import is_whole, require, require_bools, require_positive, require_shares

if TYPE_CHECKING:
    from random import Random

    from rpcguard.live import LiveNode

Blamed = Literal["failure", "connect", "handshake"]


class Trip(NamedTuple):
    """Say why a node is to be ejected: in one word of few, for metrics, and for people."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectionPolicy:
    """Set when a failing node is ejected and how it comes back; all times in seconds.

    A node trips at once when it cannot be connected to, after `consecutive` blamed failures in a
    row, or when `failure_rate` of at least `min_calls` calls within `window` failed. It stays out
    for `duration` · 2ⁿ, at most `max_duration`, spread by ±`jitter`; n falls by one with each
    `forgive_after` good calls in a row. At most `max_share` of the nodes not proven dead are out
    on judgement. Nodes that could not be connected to are probed by a TCP connect every
    `probe_interval`, doubling to `probe_max_interval`, each given `probe_timeout`, and come back
    when a probe succeeds. `probe=None` probes unless `node_transport` is given, since a custom
    transport may not use TCP at all; without probes every ejection ends by its duration.
    `enforce=False` decides and counts but ejects nothing.
    """

    consecutive: int = 5
    failure_rate: float = 0.5
    min_calls: int = 10
    window: float = 10.0
    duration: float = 5.0
    max_duration: float = 300.0
    jitter: float = 0.2
    forgive_after: int = 20
    max_share: float = 0.5
    probe: bool | None = None
    probe_interval: float = 1.0
    probe_max_interval: float = 60.0
    probe_timeout: float = 1.0
    enforce: bool = True

    def __post_init__(self) -> None:
        for name in ("consecutive", "min_calls", "forgive_after"):
            value = getattr(self, name)
            require(name, value, "a whole number, 1 or more", is_whole(value, least=1))
        require_positive(self, "window", "duration", "max_duration", "failure_rate")
        require_positive(self, "probe_interval", "probe_max_interval", "probe_timeout")
        require_shares(self, "failure_rate", "jitter", "max_share")
        require_bools(self, "enforce")
        require("probe", self.probe, "True, False or None", isinstance(self.probe, bool | None))

    def tripped(self, live: LiveNode, blame: Blamed) -> Trip | None:
        """Say why a node that has just failed is to be ejected, if there is."""
        if blame == "connect":
            return Trip("connect", "cannot connect")
        if blame == "handshake":
            return Trip("handshake", "TLS handshake failed")
        if live.trial is not None:
            return Trip("trial", "trial call failed")
        if live.streak >= self.consecutive:
            return Trip("consecutive", f"{live.streak} failures in a row")
        counts = live.recent
        if counts is None or counts.first < self.min_calls:
            return None
        share = counts.second / counts.first
        if share < self.failure_rate:
            return None
        return Trip("failure_rate", f"{share:.0%} of {counts.first} calls failed")

    def length(self, level: int, rng: Random) -> float:
        """Give the seconds that an ejection of the given level, counted from 0, lasts."""
        spread = 1.0 + self.jitter * (2.0 * rng.random() - 1.0)
        return min(self.duration * 2.0 ** min(level, 30) * spread, self.max_duration)


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
