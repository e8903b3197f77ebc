"""Which of two nodes is nearer, all things considered: the zone, and the load."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.policies.zone import ZonePolicy

_SAY: Final = 1.0 / 32.0
"""The say that an answer has in the caller's mean latency: that of the last hundred or so."""

_FIRST: Final = 0.001
"""Seconds that stand in until the first answer."""

_HINTS: Final = "hints"
"""The metadata in which Kubernetes names the zones that should use a node."""

_SHOWN: Final = 10  # nodes in an explanation; more are not read


class Zones:
    """The caller's zone, and how far it spills.

    Lives under the lock of its service. A rule that looked at counts of nodes alone would keep
    calls in a zone that is slow: one caller among hundreds sees hardly a call in flight. Loads are
    compared instead, and between pools they must be of one measure: a node without history counts
    with the caller's own mean latency (`typical`), and the load of an idle node does not fade.
    """

    __slots__ = (
        "_answers",
        "_hinted",
        "_seen",
        "_without_hints",
        "enforced",
        "own",
        "spill",
        "strict",
        "typical",
    )

    def __init__(self, zone: str, *, spill: float, strict: bool, enforce: bool) -> None:
        self.own: str = zone
        self.spill: float = spill
        self.strict: bool = strict and enforce
        self.enforced: bool = enforce
        self.typical: float = _FIRST
        self._answers = 0
        self._seen: Counter[str] | None = Counter()
        self._without_hints = 0
        self._hinted = False

    def owns(self, node: Node) -> bool:
        """Tell whether a node is placed among those of the own zone."""
        return self.enforced and self.near(node)

    def near(self, node: Node) -> bool:
        """Tell whether a node counts as one of the own zone.

        By its hints where every node has some, as Kubernetes' proxies do; else by where it is.
        """
        if self._hinted:
            return self.own in node.metadata.get(_HINTS, "").split(",")
        return node.zone == self.own

    def see(self, node: Node, count: int) -> None:
        """Note a node that is listed, or by -1 one that is no more."""
        self._without_hints += 0 if node.metadata.get(_HINTS) else count
        if self._seen is not None:
            self._seen[node.zone or "none"] += count

    def same(self, node: Node, old: Node) -> bool:
        """Tell whether two words of the registry on a node say the same of its place."""
        return node.zone == old.zone and node.metadata.get(_HINTS) == old.metadata.get(_HINTS)

    def turn(self, listed: int) -> bool:
        """Go by hints, or by zones again, where that is due; tell whether nodes have to move."""
        hinted = listed > 0 and not self._without_hints
        changed = hinted != self._hinted
        self._hinted = hinted
        return changed

    def strange(self) -> str | None:
        """Say once that no node has ever been in the caller's zone, and which zones there are."""
        seen = self._seen
        if seen is None or not +seen:
            return None
        self._seen = None
        if self._hinted or self.own in seen:
            return None
        zones = ", ".join(sorted(+seen)[:_SHOWN])
        return f"no node is in the caller's zone {self.own!r}; they are in: {zones}"

    def observe(self, seconds: float) -> None:
        """Take an answer's latency into the mean."""
        self._answers += 1
        say = max(_SAY, 1.0 / self._answers)
        self.typical += (seconds - self.typical) * say

    def load(self, compared: Iterable[tuple[LiveNode, float]], now: float) -> float:
        """Give the load of the best of some nodes, by the measure of this comparison."""
        return min(live.load(self.typical, now) for live, _ in compared)

    def spills(self, here: float, there: float) -> bool:
        """Tell whether the own zone's load is so much higher that the call goes elsewhere."""
        return here > self.spill * there


def zones_of(policy: ZonePolicy) -> Zones | None:
    """Give what a policy asks for; None where the caller's zone is not known."""
    if policy.zone is None:
        return None
    return Zones(policy.zone, spill=policy.spill, strict=policy.strict, enforce=policy.enforce)
