"""Which of two nodes is nearer, all things considered: the zone, and the load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.policies.routing import ZonePolicy

_SAY: Final = 1.0 / 32.0
"""The say that an answer has in the caller's mean latency: that of the last hundred or so."""

_FIRST: Final = 0.001
"""Seconds that stand in until the first answer."""


class Zones:
    """The caller's zone, and how far it spills.

    Lives under the lock of its service. A rule that looked at counts of nodes alone would keep
    calls in a zone that is slow: one caller among hundreds sees hardly a call in flight. Loads are
    compared instead, and between pools they must be of one measure: a node without history counts
    with the caller's own mean latency (`typical`), and the load of an idle node does not fade.
    """

    __slots__ = ("_answers", "enforced", "own", "spill", "strict", "typical")

    def __init__(self, zone: str, *, spill: float, strict: bool, enforce: bool) -> None:
        self.own: str = zone
        self.spill: float = spill
        self.strict: bool = strict and enforce
        self.enforced: bool = enforce
        self.typical: float = _FIRST
        self._answers = 0

    def owns(self, node: Node) -> bool:
        """Tell whether a node counts as one of the own zone."""
        return self.enforced and node.zone == self.own

    def observe(self, seconds: float) -> None:
        """Take an answer's latency into the mean."""
        self._answers += 1
        say = max(_SAY, 1.0 / self._answers)
        self.typical += (seconds - self.typical) * say

    def nearer(
        self, near: LiveNode, far: LiveNode, now: float
    ) -> tuple[tuple[LiveNode, float], tuple[LiveNode, float]]:
        """Give the node to use and the other, each with its load."""
        here, there = near.load(self.typical, now), far.load(self.typical, now)
        if here > self.spill * there:
            return (far, there), (near, here)
        return (near, here), (far, there)


def zones_of(policy: ZonePolicy) -> Zones | None:
    """Give what a policy asks for; None where the caller's zone is not known."""
    if policy.zone is None:
        return None
    return Zones(policy.zone, spill=policy.spill, strict=policy.strict, enforce=policy.enforce)
