"""Which node a keyed call goes to: the home of its key, or the next while that cannot take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rpcguard._core.balancing.rendezvous import distance, hash_of, turn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from rpcguard._core.nodes.live import Keyed, LiveNode
    from rpcguard._core.policies.affinity import Affinity
    from rpcguard._core.service.pools import Pools
    from rpcguard._core.service.stages import Leg, Rank, Stage

HOME: Final = "the home of its key"
MOVED: Final = "the next for its key, since the home is out, busy, warming or tried"
"""Why a node was picked for a key, for `explain`."""


class Homed(NamedTuple):
    """What was chosen for a key."""

    live: LiveNode
    stage: Stage
    keyed: Keyed


class Homes:
    """The homes of the keys of one service.

    Not thread-safe: it lives under the lock of its service. Nothing is remembered of a key. A key
    has its home among all listed nodes of its group, so that it comes back when the node does.
    """

    def __init__(self, policy: Affinity, pools: Pools) -> None:
        self._policy = policy
        self._pools = pools

    def home(self, stage: Stage, key: int) -> LiveNode | None:
        """Give the listed node that a key belongs to; None where there is none."""
        return _nearest(self._near(stage, key))

    def choose(self, leg: Leg, key: int, excluded: Collection[LiveNode]) -> Homed | None:
        """Choose a node that can be picked; None where each is excluded or out."""
        for stage in leg.stages:
            if not stage.eligible or not stage.fit:
                continue
            near = list(self._near(stage, key))
            usable = [one for one in near if one.live.in_pool and one.live not in excluded]
            if usable:
                live = self._walk(usable, key)
                return Homed(live, stage, "home" if live is _nearest(near) else "moved")
        return None

    def _near(self, stage: Stage, key: int) -> Iterator[_Near]:
        for live, rank in self._pools.members(stage):
            if live.weight:
                if live.seed is None:
                    live.seed = hash_of(live.node.id)
                yield _Near(rank, distance(live.seed, key, live.weight), live.seed, live)

    def _walk(self, usable: list[_Near], key: int) -> LiveNode:
        """Go from the key to the first node that is warm enough and has room for a call."""
        first = min(one.rank for one in usable)
        level = [one for one in usable if one.rank == first]
        walk = [one for one in level if one.takes(key)] or level
        room = self._policy.balance * sum(one.live.in_flight for one in level)
        room /= sum(one.live.effective_weight for one in level)
        for one in sorted(walk, key=lambda one: one.distance):
            live = one.live
            if live.in_flight + 1 <= max(self._policy.least, room * live.effective_weight):
                return live
        # Each has its part, as where all are equally busy and the bound is tight.
        return min((one.live for one in walk), key=lambda live: live.in_flight / live.weight)


class _Near(NamedTuple):
    """A listed node, and how far it is from a key."""

    rank: Rank
    distance: float
    seed: int
    live: LiveNode

    def takes(self, key: int) -> bool:
        """Tell whether the node is warm enough for the key: its keys move to it one by one."""
        return self.live.ramp >= 1.0 or turn(self.seed, key) < self.live.ramp


def _nearest(near: Iterator[_Near] | list[_Near]) -> LiveNode | None:
    # By priority alone: a node that the registry has dropped for a moment stays a home.
    best = min(near, key=lambda one: (one.rank[1], one.distance), default=None)
    return None if best is None else best.live


def homes_of(policy: Affinity | None, pools: Pools) -> Homes | None:
    """Give the homes of a service's keys; None where calls have none."""
    return None if policy is None else Homes(policy, pools)
