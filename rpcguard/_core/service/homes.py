"""Which node a keyed call goes to: the home of its key, or the next while that cannot take it."""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, Final, NamedTuple

from rpcguard._core.balancing.rendezvous import distance, seed_of, turn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.policies.affinity import Affinity
    from rpcguard._core.service.pools import Pools
    from rpcguard._core.service.stages import Leg, Rank, Stage

HOME: Final = "the home of its key"
MOVED: Final = "the next for its key, since the home is out, busy, warming or tried"
"""Why a node was picked for a key, for `explain`."""

_REMEMBERED: Final = 4096
"""Keys of which the way is remembered: 1.4 MB at 20 nodes. Where 1,000 nodes are listed, finding it
takes a hundred times as long as looking it up."""

_FIRST: Final = 8
"""Nodes of a key's walk that are remembered: who passes over more of them looks at all."""


class Homed(NamedTuple):
    """What was chosen for a key."""

    live: LiveNode
    stage: Stage


class _Known(NamedTuple):
    """What is remembered of a key: its home, and the first nodes of its walk."""

    home: LiveNode | None
    first: tuple[LiveNode, ...]


class Homes:
    """The homes of the keys of one service.

    Not thread-safe: it lives under the lock of its service. A key has its home among all listed
    nodes of its group, so that it comes back when the node does. What is remembered of the last
    keys only saves time, and is forgotten when the list changes.
    """

    def __init__(self, policy: Affinity, pools: Pools) -> None:
        self._policy = policy
        self._pools = pools
        self._known: dict[tuple[Stage, int], _Known] = {}
        self._moves = pools.moves

    def home(self, stage: Stage, key: int) -> LiveNode | None:
        """Give the listed node that a key belongs to; None where there is none."""
        return self._know(stage, key).home

    def nearer(self, stage: Stage, key: int, live: LiveNode, than: LiveNode | None) -> bool:
        """Tell whether a key would go to a node that is out, were it well, before another one."""
        if than is None:
            return True
        here, there = (
            (self._pools.rank_of(one), distance(_seed_of(one), key, one.weight))
            for one in (live, than)
        )
        return here < there

    def choose(
        self,
        leg: Leg,
        key: int,
        passed: Collection[LiveNode],
        tried: Collection[LiveNode] = (),
    ) -> Homed | None:
        """Choose a node that can be picked; None where each is passed over, tried or out.

        One at the address of one that was tried is the same process: another goes before it.
        """
        places = {live.node.address for live in tried}
        for stage in leg.stages:
            if not stage.eligible or not stage.fit:
                continue
            excluded = [*passed, *tried]
            first = live = self._next(stage, key, excluded)
            for _ in range(_FIRST):
                if live is None or live.node.address not in places:
                    break
                excluded.append(live)
                live = self._next(stage, key, excluded)
            live = live or first
            if live is not None:
                return Homed(live, stage)
        return None

    def _next(self, stage: Stage, key: int, excluded: Collection[LiveNode]) -> LiveNode | None:
        live = self._walk(stage, self._know(stage, key).first, key, excluded)
        if live is None:
            listed = [live for *_, live in sorted(self._near(stage, key))]
            live = self._walk(stage, listed, key, excluded)
            live = live or self._least_busy(listed, key, excluded)
        return live

    def _know(self, stage: Stage, key: int) -> _Known:
        if self._moves != self._pools.moves:
            self._known.clear()
            self._moves = self._pools.moves
        known = self._known.get((stage, key))
        if known is None:
            near = self._near(stage, key)
            # By priority alone: a node that the registry has dropped for a moment stays a home.
            home = min(near, key=lambda one: (one[0][1], one[1]), default=None)
            first = tuple([live for *_, live in nsmallest(_FIRST, near)])
            known = _Known(None if home is None else home[-1], first)
            if len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[stage, key] = known
        return known

    def _near(self, stage: Stage, key: int) -> list[tuple[Rank, float, str, LiveNode]]:
        """Give the listed nodes as they are compared: by priority, and how far from the key.

        The ids, of which there is one each, keep nodes themselves from being compared.
        """
        return [
            (rank, distance(_seed_of(live), key, live.weight), live.node.id, live)
            for live, rank in self._pools.members(stage)
            if live.weight
        ]

    def _walk(
        self, stage: Stage, nodes: Iterable[LiveNode], key: int, excluded: Collection[LiveNode]
    ) -> LiveNode | None:
        """Go from the key to the first node that is warm enough and has room for a call."""
        level: Rank | None = None
        room: float | None = None
        for live in nodes:
            if not live.in_pool or live in excluded:
                continue
            rank = self._pools.rank_of(live)
            level = rank if level is None else level
            if rank != level:
                return None  # a standby is for a level that is out, not for one that is busy
            if not _takes(live, key) and self._has_warm(stage, level):
                continue
            if live.in_flight < self._policy.least:
                return live
            room = self._room(stage, level) if room is None else room
            if live.in_flight + 1 <= room * live.effective_weight:
                return live
        return None

    def _has_warm(self, stage: Stage, level: Rank) -> bool:
        """Tell whether others of a level can stand in for its cold nodes; else these take all."""
        members = self._pools.members(stage)
        return any(live.ramp >= 1.0 for live, rank in members if rank == level and live.in_pool)

    def _room(self, stage: Stage, level: Rank) -> float:
        """Give how many calls a node of a level may have, for a weight of 1."""
        members = self._pools.members(stage)
        nodes = [live for live, rank in members if rank == level and live.in_pool]
        calls = sum(live.in_flight for live in nodes)
        return float(self._policy.balance) * calls / sum(live.effective_weight for live in nodes)

    def _least_busy(
        self, listed: list[LiveNode], key: int, excluded: Collection[LiveNode]
    ) -> LiveNode | None:
        """Choose where no node has room, as where the bound is tight and all are equally busy."""
        usable = [live for live in listed if live.in_pool and live not in excluded]
        if not usable:
            return None
        level = self._pools.rank_of(usable[0])
        usable = [live for live in usable if self._pools.rank_of(live) == level]
        warm = [live for live in usable if _takes(live, key)]
        return min(warm or usable, key=lambda live: live.in_flight / live.weight)


def _seed_of(live: LiveNode) -> int:
    seed = live.seed
    if seed is None:
        seed = live.seed = seed_of(live.node.id)
    return seed


def _takes(live: LiveNode, key: int) -> bool:
    """Tell whether a node is warm enough for a key: its keys move to it one by one."""
    return live.ramp >= 1.0 or turn(_seed_of(live), key) < live.ramp


def homes_of(policy: Affinity | None, pools: Pools) -> Homes | None:
    """Give the homes of a service's keys; None where calls have none."""
    return None if policy is None else Homes(policy, pools)
