"""What must hold of keyed calls: a key has its nodes in an order, and leaves one only for a reason.

The hashes of the code are not believed, and not made again. When a key gets one of two nodes that
could both take it, it is known which it prefers; that must never be otherwise while both weigh the
same. So a node that comes or goes moves keys of its own alone, and these come home with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.standing import LISTED, demand

if TYPE_CHECKING:
    from rpcguard import Affinity
    from rpcguard._core.nodes.live import Lease, LiveNode
    from tests.simulation.driver import Flight
    from tests.simulation.standing import Standing

SESSIONS = ("p", "q", "r", None)
"""Keys of calls: so few that calls of one meet; some calls have none."""

CLOSE = 1e-9
"""Of two amounts that differ by less, a rounding decides which is larger."""

Weighed = tuple[str, float]


class Keys:
    """Know what each key of a world prefers, and judge where its calls went."""

    def __init__(self, policy: Affinity | None, standing: Standing) -> None:
        self.policy, self.standing = policy, standing
        self._preferred: set[tuple[str, Weighed, Weighed]] = set()

    def picked(self, flight: Flight, lease: Lease, group: list[LiveNode], tried: Any) -> None:
        """Look at a pick among the nodes of a group."""
        key, live = flight.begin.session, lease.live
        if self.policy is None or key is None:
            demand(lease.keyed is None, "a call without a key has a home")
            return
        able = [one for one in group if one.in_pool]
        if lease.proof and not lease.on_trial:
            left = [one for one in able if one not in tried]
            demand(not left, "a key keeps its call from nodes that could take it")
            return
        rank = (LISTED, live.node.priority) if lease.on_trial else self._rank(live)
        level = [one for one in able if self._rank(one) == rank]
        rivals = [one for one in level if one not in (live, *tried) and one.ramp >= 1.0]
        # What is at the address of a node that was tried is the same process: others go before it.
        places = {one.node.address for one in tried}
        if live.node.address not in places:
            rivals = [one for one in rivals if one.node.address not in places]
        rivals = [one for one in rivals if self._room(one, level, live) is True]
        room = True if lease.on_trial else self._room(live, level, live)
        demand(room is not False or not rivals, "a key keeps to a node that has its part of calls")
        if room is True:
            for one in rivals:
                self._learn(key, live, one)
        self._look_at_home(key, lease)

    def _learn(self, key: str, live: LiveNode, other: LiveNode) -> None:
        one, two = _weighed(live), _weighed(other)
        known = (key, two, one) in self._preferred
        demand(not known, "key %s went to %s, though %s could take it", key, one[0], two[0])
        self._preferred.add((key, one, two))

    def _look_at_home(self, key: str, lease: Lease) -> None:
        """Look at what is told of a pick, where all nodes are known to be worse or one better."""
        live = lease.live
        peers = [one for one in self.standing.listed() if one is not live and one.node.weight]
        if self.standing.policies.routing is not None or any(
            one.node.priority != live.node.priority for one in peers
        ):
            return
        here = _weighed(live)
        better = any((key, _weighed(one), here) in self._preferred for one in peers)
        worse = all((key, here, _weighed(one)) in self._preferred for one in peers)
        demand(lease.keyed != "home" or not better, "a node is called the home of a key, wrongly")
        demand(lease.keyed == "home" or not worse, "the home of a key is not called so")

    def _rank(self, live: LiveNode) -> tuple[int, int]:
        return self.standing.rank(live), live.node.priority

    def _room(self, live: LiveNode, level: list[LiveNode], taken: LiveNode) -> bool | None:
        """Tell whether a node had room for the call that `taken` has got; None where it is close.

        By the contract: in flight + 1 ≤ max(least, balance x its part of what is in flight).
        """
        calls = live.in_flight - (live is taken)
        weight = sum(one.effective_weight for one in level)
        total = sum(one.in_flight for one in level) - (taken in level)
        part = total * live.effective_weight / weight if weight else 0.0
        most = max(float(self.policy.least), self.policy.balance * part)
        return None if abs(calls + 1 - most) < CLOSE else calls + 1 < most


def _weighed(live: LiveNode) -> Weighed:
    return live.node.id, live.node.weight
