"""The failure blacklist: what trips it, for how long, and how much of a list it may take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cachetools import TLRUCache

from rpcguard._checks import is_whole, require, require_positive, require_shares

if TYPE_CHECKING:
    from random import Random

    from rpcguard.live import LiveNode

Blamed = Literal["failure", "connect", "handshake"]


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

    def tripped(self, live: LiveNode, blame: Blamed) -> str | None:
        """Give the reason for which a node that has just failed is to be ejected, if there is."""
        if blame == "connect":
            return "cannot connect"
        if blame == "handshake":
            return "TLS handshake failed"
        if live.trial:
            return "trial call failed"
        if live.streak >= self.consecutive:
            return f"{live.streak} failures in a row"
        counts = live.recent
        if counts is None or counts.first < self.min_calls:
            return None
        share = counts.second / counts.first
        return f"{share:.0%} of {counts.first} calls failed" if share >= self.failure_rate else None

    def length(self, level: int, rng: Random) -> float:
        """Give the seconds that an ejection of the given level, counted from 0, lasts."""
        spread = 1.0 + self.jitter * (2.0 * rng.random() - 1.0)
        return min(self.duration * 2.0 ** min(level, 30) * spread, self.max_duration)


@dataclass(slots=True)
class Ejection:
    """Hold one node's ejection; `until` is infinite while only a probe can end it."""

    live: LiveNode
    reason: str
    until: float
    connect: bool
    dead: bool = False
    half_open: bool = False


class Blacklist:
    """Hold the ejected nodes of one service.

    Not thread-safe: it lives under the lock of its service, which also calls `advance` before
    anything else, so that an ejection that ends is always seen to end.
    """

    def __init__(self, policy: EjectionPolicy, *, probes: bool, rng: Random) -> None:
        self.policy = policy
        self._probes = probes
        self._rng = rng
        self._now = 0.0
        self._frozen_until = -math.inf
        self._ends: TLRUCache[str, Ejection] = TLRUCache(
            math.inf, ttu=lambda _, ejection, __: ejection.until, timer=lambda: self._now
        )
        self._half_open: dict[str, Ejection] = {}

    def __iter__(self) -> Iterator[Ejection]:
        yield from self._half_open.values()
        for key in self._ends:
            yield self._ends[key]

    def __len__(self) -> int:
        return len(self._half_open) + len(self._ends)

    def get(self, live: LiveNode) -> Ejection | None:
        """Give the ejection of a node, if it is ejected."""
        return self._half_open.get(live.node.id) or self._ends.get(live.node.id)

    def advance(self, now: float) -> None:
        """Move the clock; ejections that have run out are half-open from now on."""
        self._now = now
        for _, ejection in self._ends.expire():
            ejection.half_open = True
            self._half_open[ejection.live.node.id] = ejection

    def next_end(self) -> float:
        """Give the time at which the next ejection runs out, infinite if none does."""
        return min((self._ends[key].until for key in self._ends), default=math.inf)

    def trial(self, *, patient: bool) -> Ejection | None:
        """Give a half-open node that waits for its one live call.

        `patient` passes over nodes that became half-open only lately, so that a call that could
        not be repeated is used only when no other kind came along.
        """
        for ejection in self._half_open.values():
            waited = self._now - ejection.until
            if not ejection.live.trial and (not patient or waited >= self.policy.duration):
                return ejection
        return None

    def eject(self, live: LiveNode, reason: str, blame: Blamed, listed: int) -> Ejection | None:
        """Eject a node unless the cap or a freeze forbids it; `listed` counts the whole list."""
        connect = blame == "connect" and self._probes
        old = self.get(live)
        if old is None and not self._allowed(listed, blame):
            return None
        self.discard(live)
        until = self._now + self.policy.length(live.level, self._rng)
        ejection = Ejection(live, reason, math.inf if connect else until, connect)
        ejection.dead = connect and old is not None and old.dead
        live.level += 1
        live.clean = 0
        self._ends[live.node.id] = ejection
        return ejection

    def condemn(self, live: LiveNode) -> Ejection:
        """Note that a probe failed too: the node is dead, which needs no judgement and no cap."""
        ejection = self.get(live)
        if ejection is None:
            ejection = Ejection(live, "cannot connect", math.inf, connect=True)
            live.level += 1
            self._ends[live.node.id] = ejection
        ejection.dead = True
        return ejection

    def discard(self, live: LiveNode) -> Ejection | None:
        """Take a node off the blacklist."""
        ejection = self._half_open.pop(live.node.id, None) or self._ends.pop(live.node.id, None)
        live.trial = False
        return ejection

    def lift(self) -> list[LiveNode]:
        """Freeze judgement for a window and give the nodes that were ejected on it.

        When most nodes fail together without being dead, the cause is not the node.
        """
        self._frozen_until = self._now + self.policy.window
        return [ejection.live for ejection in self if not ejection.connect]

    def _allowed(self, listed: int, blame: Blamed) -> bool:
        if blame != "connect" and self._now < self._frozen_until:
            return False
        dead = sum(ejection.dead for ejection in self)
        alive = listed - dead
        cap = max(int(alive * self.policy.max_share), 1 if alive >= 2 else 0)
        return len(self) - dead < cap
