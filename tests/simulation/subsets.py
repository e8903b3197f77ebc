"""What must hold of a caller that uses a part of the nodes: which, how many, and when it leaves it.

The hashes of the code are not believed, and not made again. Where one node is of the subset and
another that could take calls is not, it is known which comes first in the caller's order; that must
never be otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.simulation.standing import demand

if TYPE_CHECKING:
    from rpcguard import Subset
    from rpcguard._core.nodes.live import Lease, LiveNode
    from tests.simulation.standing import Standing

SIZES = (1, 1, 2, 3)
"""Of subsets: worlds have eight nodes at most, and a subset begins at twice its size."""


class Subsets:
    """Know the order of a world's caller as far as it has shown, and judge by it."""

    def __init__(self, policy: Subset | None, standing: Standing) -> None:
        self.policy, self.standing = policy, standing
        self._first: set[tuple[str, str]] = set()

    def picked(self, lease: Lease, tried: Any) -> None:
        """Look at a pick: a first attempt stays inside, a retry may find a better node outside."""
        if self.policy is None or lease.proof or tried:
            return
        demand(not lease.live.outside, "%s is outside, and others are left", lease.live.node.id)

    def look(self) -> None:
        """Look at the subset of each priority: it is full, and in the caller's order."""
        if self.policy is None:
            return
        levels: dict[tuple[bool, int], list[LiveNode]] = defaultdict(list)
        for live in self.standing.listed():
            demand(live.in_pool or not live.outside, "a node that is out is outside")
            if live.in_pool:
                levels[_level(live)].append(live)
        for nodes in levels.values():
            inside, outside = self._sides(nodes[0])
            size = self.policy.size
            wanted = size if len(nodes) >= 2 * size else len(nodes)
            demand(len(inside) == wanted, "%s in the subset, not %s", len(inside), wanted)
            for one in inside:
                for other in outside:
                    self._learn(one.node.id, other.node.id)

    def _sides(self, live: LiveNode) -> tuple[list[LiveNode], list[LiveNode]]:
        level = [one for one in self.standing.listed() if one.in_pool]
        level = [one for one in level if _level(one) == _level(live)]
        inside = [one for one in level if not one.outside]
        return inside, [one for one in level if one.outside]

    def _learn(self, first: str, second: str) -> None:
        known = (second, first) in self._first
        demand(not known, "%s is in the subset and %s is not, as before", first, second)
        self._first.add((first, second))


def _level(live: LiveNode) -> tuple[bool, int]:
    return live.doubted_at is not None, live.node.priority
