"""Where every node of one service stands: in a pool of eligible ones, or out and why."""

from __future__ import annotations

import math
from itertools import chain, islice
from typing import TYPE_CHECKING

from rpcguard._core.balancing.subset import OUTSIDE
from rpcguard._core.nodes.live import LiveNode, weight_of
from rpcguard._core.policies.ejection import CONNECTING
from rpcguard._core.service.blacklist import Blacklist
from rpcguard._core.service.draws import Draws
from rpcguard._core.service.marks import OfflineMarks
from rpcguard._core.service.pools import Pools, subsets_of
from rpcguard._core.service.zones import zones_of

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Sequence
    from random import Random
    from typing import Any

    from rpcguard._core.nodes.node import Node, State
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.policies.membership import MembershipPolicy
    from rpcguard._core.policies.slow_start import SlowStart
    from rpcguard._core.service.pools import Alone
    from rpcguard._core.service.stages import Leg

_RAMP_STEPS = 500  # a ramp is brought up to date so often, in steps nobody sees
_SHOWN = 50  # nodes that are out, in an explanation: more are not read
_UNSEEN, _DRAINED, _DEAD = 2.5, 2.75, 3.0
"""Ranks in panic, behind those of nodes that leave (0), fail (1) and cannot be reached (2)."""

PROOF_LIFE = 60.0
"""Seconds for which an answer shows that an address is still the node's: DHCP and Kubernetes give
addresses of nodes that are gone to others within minutes, seldom within one."""


class Roster:
    """The nodes of one service, and where each of them stands.

    Not thread-safe: it lives under the lock of its service. Those that are eligible are in `pools`,
    the others in `out`. `warming` are those in slow start, `doubted` those that the last snapshot
    left out and that are kept for a while. `excluded` are the first nodes that are out, as
    `list_excluded` has shown them; None since something has changed. `emptied` says that the last
    snapshot was empty, `filled_at` since when none is any more, and `secured` that calls go over
    TLS, which proves whom they reach. `left` takes the leases that are dropped.
    """

    def __init__(self, policies: Policies, rng: Random, left: deque[Any] | None = None) -> None:
        self.slow_start: SlowStart = policies.slow_start
        self.membership: MembershipPolicy = policies.membership
        self.blacklist: Blacklist = Blacklist(policies.ejection, rng=rng)
        self.marks: OfflineMarks = OfflineMarks(policies.offline)
        self.nodes: dict[str, LiveNode] = {}
        # Not sets: their order, by addresses in memory, would make no two runs alike.
        self.warming: dict[LiveNode, None] = {}
        self.doubted: dict[LiveNode, None] = {}
        self.out: dict[LiveNode, None] = {}
        self.emptied: bool = False
        self.filled_at: float = -math.inf
        self.secured: bool = False
        self._taken_out: frozenset[str] = frozenset()
        self._idle: dict[LiveNode, None] = {}  # those that a switch or the registry keeps out
        self._left = left
        self.pools: Pools = Pools(
            policies.balancer, new_subset=subsets_of(policies, rng), zones=zones_of(policies.zone)
        )
        self.draws: Draws = Draws(self.pools, rng, overprovision=policies.overprovision)
        self.excluded: tuple[tuple[str, str], ...] | None = ()

    @property
    def eligible(self) -> int:
        """Count the nodes that can be picked."""
        return len(self.pools)

    @property
    def trusted(self) -> int:
        """Count the nodes that can be picked and that the last snapshot lists."""
        return self.eligible - sum(live.in_pool for live in self.doubted)

    @property
    def serving(self) -> int:
        """Count the nodes that neither the registry nor a switch keeps out."""
        return len(self.nodes) - len(self._idle)

    @property
    def judged(self) -> int:
        """Count the nodes that serve, and of those that are kept out the ejected ones."""
        return self.serving + sum(live.health != "well" for live in self._idle)

    def serves(self, live: LiveNode) -> bool:
        """Tell whether neither the registry nor a switch keeps a listed node out."""
        return live not in self._idle

    def find(self, name: str) -> list[LiveNode]:
        """Find a node by id, else all that are listed at a `host:port`."""
        live = self.nodes.get(name)
        if live is not None:
            return [live]
        return [live for live in self.nodes.values() if live.node.address == name]

    def enter(self, node: Node, now: float) -> LiveNode:
        """List a node."""
        live = LiveNode(node, now)
        live.left = self._left
        self.nodes[node.id] = live
        self._sort(live)
        self.pools.enter(live)
        self.place(live)
        return live

    def leave(self, live: LiveNode) -> None:
        """Strike a node off the list, with all that is remembered of it."""
        self.pools.leave(live)
        for held in (self.out, self._idle, self.warming, self.doubted):
            held.pop(live, None)
        self.blacklist.discard(live)
        self.marks.discard(live)
        del self.nodes[live.node.id]
        live.gone = True
        self.excluded = None

    def update(self, live: LiveNode, node: Node) -> None:
        """Take what the registry now says of a node; what was learned of it stays."""
        moves = not self.pools.suits(live, node)
        if moves:
            self.pools.leave(live)
        live.node = node
        live.weight = weight_of(node)
        self._sort(live)
        if moves:
            self.pools.enter(live)
        self.place(live)

    def place(self, live: LiveNode) -> None:
        """Put a node where it belongs after something about it has changed."""
        live.state, live.reason = self._standing(live)
        if live.state == "available":
            self.pools.put(live)
            self.out.pop(live, None)
        else:
            self.pools.take_out(live)
            self.out[live] = None
        self.excluded = None

    def _standing(self, live: LiveNode) -> tuple[State, str | None]:
        node = live.node
        if self._is_taken_out(node):
            return "draining", "taken out by a switch"
        if node.status == "draining" or not node.weight:
            return "draining", "weight 0" if node.status == "up" else "drained by the registry"
        if live.health != "well":
            ejection = self.blacklist.get(live)
            return "ejected", ejection.reason if ejection is not None else None
        if live.word != "staying":
            mark = self.marks.get(live)
            return "offline", mark.reason if mark is not None else None
        return ("ejected", "down in the registry") if node.status == "down" else ("available", None)

    def take_out(self, named: frozenset[str]) -> None:
        """Keep nodes out by a switch, given by id or address; each has to be placed anew."""
        self._taken_out = named
        for live in self.nodes.values():
            self._sort(live)

    def _is_taken_out(self, node: Node) -> bool:
        return not self._taken_out.isdisjoint((node.id, node.address))

    def _sort(self, live: LiveNode) -> None:
        node = live.node
        if node.status == "up" and node.weight > 0.0 and not self._is_taken_out(node):
            self._idle.pop(live, None)
        else:
            self._idle[live] = None

    def warm(self, live: LiveNode, now: float, *, head_start: float = 0.0) -> None:
        """Start the ramp of a node; `retune` is due after it."""
        live.warm_since = now - head_start
        live.begin_ramp()
        live.ramp = self.slow_start.ramp(head_start, 0)
        self.warming[live] = None

    def doubt(self, live: LiveNode, since: float | None) -> None:
        """Note since when a listed node is missing in the snapshots, None when it is not."""
        live.doubted_at = since
        if since is None:
            self.doubted.pop(live, None)
        else:
            self.doubted[live] = None
        self.pools.place_again(live)
        self.excluded = None

    def move(self, nodes: Sequence[LiveNode], alone: Alone, clock: Callable[[], float]) -> None:
        """Move nodes to where rules and zones want them now, a few at a time."""
        self.pools.move(nodes, alone)
        if nodes:
            alone(lambda: self._relist(clock()))

    def _relist(self, now: float) -> None:
        self.excluded = None
        self.retune(now)  # what warming nodes lack counts where they are now

    def hear(self, now: float, *, emptied: bool) -> None:
        """Note whether the last snapshot was empty."""
        if self.emptied and not emptied:
            self.filled_at = now
        self.emptied = emptied

    def held_until(self, live: LiveNode) -> float:
        """Give the time until which a node is kept that the snapshots leave out.

        An empty list is the word of a registry that has lost everything: nodes that answer stay,
        and for a while when it gets them back one by one. What answers is them only over TLS;
        otherwise a call or a probe has to show it now and then, since their address may be given to
        others.
        """
        policy, since = self.membership, live.doubted_at or 0.0
        if not self._is_of_empty(since):
            return since + policy.shrink_hold
        longest = since + policy.empty_hold
        if not self.emptied:
            longest = self.filled_at + policy.shrink_hold
        if not self.needs_proof(live):
            return longest
        return min(max(live.heard_at, since) + PROOF_LIFE, longest)

    def needs_proof(self, live: LiveNode) -> bool:
        """Tell whether a node is kept against an empty list as long as it answers over HTTP."""
        since = live.doubted_at
        return since is not None and self._is_of_empty(since) and not self.is_secured(live)

    def _is_of_empty(self, since: float) -> bool:
        """Tell whether nodes that are missing since then were so in an empty list."""
        return self.emptied or since < self.filled_at

    def is_secured(self, live: LiveNode) -> bool:
        """Tell whether calls go to a node over TLS."""
        return self.secured or live.node.scheme == "https"

    def retune(self, now: float) -> None:
        """Bring every ramp up to date."""
        if not self.warming and not self.pools.tempered:
            return
        slow_start = self.slow_start
        for live in self.warming:
            live.ramp = slow_start.ramp(now - (live.warm_since or 0.0), live.warm_calls)
        self.warming = {live: None for live in self.warming if live.ramp < 1.0}
        for live in self.pools.temper(self.warming):
            live.ramp = 1.0  # suspended: the old ones would have to bear the load of the rest
            # It goes on from what was served: a whole share that is a tenth all at once is none.
            live.warm_since = min(live.warm_since or 0.0, now - slow_start.worth(live.warm_calls))

    def next_change(self, now: float) -> float:
        """Give a time at or before that at which something changes by itself, else infinity."""
        ends = min(self.blacklist.next_end, self.marks.next_end)
        if self.warming:
            ends = min(ends, now + self.slow_start.window / _RAMP_STEPS)
        return min(ends, min(map(self.held_until, self.doubted), default=math.inf))

    def trial(
        self,
        leg: Leg,
        now: float,
        tried: Collection[LiveNode],
        *,
        patient: bool,
        fit: Callable[[LiveNode], bool] | None = None,
    ) -> LiveNode | None:
        """Give a half-open node its one live call, unless something else keeps it out as well.

        `fit` tells of a node whether the call may prove it; without it any may be proved.
        """
        for ejection in self.blacklist.trials(now, patient=patient):
            live = ejection.live
            wanted = live.state == "ejected" and live.node.status == "up"
            if not wanted or not self.pools.is_first(leg, live):
                continue
            if live not in tried and live.word == "staying" and (fit is None or fit(live)):
                return live
        return None

    def least_bad(self, leg: Leg, tried: Collection[LiveNode]) -> LiveNode | None:
        """Pick a node that is out: one that leaves but still serves, else the least ejected.

        A node without hope is picked only where no other has any, and so is one that the registry
        drains: it serves what it has, so it is the last resort before failing. Of two that are as
        bad it is the one that the call was meant for.
        """
        best: LiveNode | None = None
        best_rank: tuple[float, ...] = (math.inf,)
        hopeful = self.has_hope(leg)
        for live in self.out:
            if not live.node.weight or live in tried:
                continue
            place = self.pools.place_in(leg, live)
            if place is None:
                continue
            badness = self._badness(live)
            hopeless = badness[0] >= _DRAINED
            rank = hopeless, place, *badness
            if rank < best_rank and not (hopeless and hopeful):
                best, best_rank = live, rank
                self.draws.stage = leg.last[place]
        return best

    def has_hope(self, leg: Leg | None = None) -> bool:
        """Tell whether a node of a leg, or any, is in use that could be connected to.

        One that only the cap keeps in use counts for nothing: it has refused, and another that a
        probe found dead may be back by now.
        """
        # Or thousands that are out would be looked at, for each of them that is probed.
        used = self.eligible if leg is None else any(stage.eligible for stage in leg.last)
        return bool(used) and any(
            live.in_pool
            and live.held_back not in CONNECTING
            and (leg is None or self.pools.place_in(leg, live) is not None)
            for live in self.nodes.values()
        )

    def _badness(self, live: LiveNode) -> tuple[float, ...]:
        if live.health == "dead" or live.word == "down":
            # Nothing tells two dead nodes apart, so they take turns: one of them may be back.
            return _DEAD, live.last_pick
        if live.state == "draining":
            return _DRAINED, live.in_flight, live.last_pick
        if live.health != "well":
            return 2.0 if live.health == "unreachable" else 1.0, live.level, live.last_pick
        if live.word != "staying":
            return 0.0, live.in_flight, live.last_pick
        # Down by the word of the registry alone, which may have lost sight of all of them.
        return _UNSEEN, live.last_pick

    def list_excluded(self) -> tuple[tuple[str, str], ...]:
        """Give the first of the nodes that are out or outside, with reasons; fill `excluded`."""
        out = ((live.node.id, live.reason or live.state) for live in self.out)
        outside = ((live.node.id, OUTSIDE) for live in self.pools.outside())
        self.excluded = tuple(islice(chain(out, outside), _SHOWN))
        return self.excluded
