"""How an attempt gets its node: a trial that is due, else a good one, else the least bad."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Final

from rpcguard._core.service.homes import HOME, MOVED
from rpcguard._core.service.records import LEAST_BAD, explained

if TYPE_CHECKING:
    from rpcguard._core.nodes.live import Keyed, Lease, LiveNode
    from rpcguard._core.nodes.routed import Routed
    from rpcguard._core.service.asks import Ask
    from rpcguard._core.service.homes import Homed, Homes
    from rpcguard._core.service.reactions import Reactions
    from rpcguard._core.service.records import Compared, PickRecord, Taken
    from rpcguard._core.service.roster import Roster
    from rpcguard._core.service.router import Router
    from rpcguard._core.service.stages import Leg

_RECORDS: Final = 64
"""How many picks are remembered: enough to see a pattern, and no memory to speak of."""

TRIAL: Final = "half-open, and its trial is due"
HEDGE: Final = "a second attempt beside a late one"
SAME: Final = "the last node once more: only its connection had ended"
"""Why a node was picked, for `explain`, where nothing was drawn."""


class Picker:
    """What picks the nodes of one service, and remembers how.

    Not thread-safe: it lives under the lock of its service. `router` is None where lanes are not
    looked at; then every call may go to any node. `homes` is None where no call has a key.
    `passed_over` are nodes that no pick may use at the moment, since they have as many calls as one
    may have.
    """

    def __init__(
        self,
        roster: Roster,
        reactions: Reactions,
        router: Router | None,
        homes: Homes | None = None,
    ) -> None:
        self.router: Router | None = router
        self._homes = homes
        self._roster = roster
        self._pools = roster.pools
        self._draws = roster.draws
        self._blacklist = roster.blacklist
        self._reactions = reactions
        self._standing = reactions.standing
        self.passed_over: tuple[LiveNode, ...] = ()
        self._panics = False
        self._records: deque[Taken] = deque(maxlen=_RECORDS)
        self._routed: deque[Routed | None] = deque(maxlen=_RECORDS)

    def pick_for(
        self,
        ask: Ask | None,
        now: float,
        tried: tuple[LiveNode, ...],
        *,
        repeatable: bool,
        instead: LiveNode | None = None,
    ) -> Lease | None:
        """Pick an untried node as lanes and routes want it; None when the call may use none."""
        pick = self.pick
        if ask is None:
            return pick(now, tried, repeatable=repeatable, instead=instead)
        if self._homes is not None and ask.key is not None:
            pick = partial(self._pick_keyed, self._homes, ask)
        if self.router is None:
            return pick(now, tried, repeatable=repeatable, instead=instead)
        if now >= self._standing.next_tick:
            self._reactions.tick(now)  # legs are of what is there after it
        legs = self.router.legs(ask, now, again=bool(tried))
        entry = ask.aim.entry if ask.aim is not None else None  # known now
        if entry is not None and entry.route.attempts == 1:
            repeatable = False
        for leg in legs:
            lease = pick(now, tried, repeatable=repeatable, leg=leg, instead=instead)
            if lease is not None:
                stage = self._roster.draws.stage
                lease.routed = self.router.routed(ask, stage, first=not tried)
                self._routed[-1] = lease.routed
                return lease
        return None

    def pick(
        self,
        now: float,
        tried: tuple[LiveNode, ...],
        *,
        repeatable: bool,
        leg: Leg | None = None,
        instead: LiveNode | None = None,
    ) -> Lease | None:
        """Pick an untried node of a leg, or of all; None when there is none to use.

        `instead` is one that was tried, and goes before those that fail or are out.
        """
        if now >= self._standing.next_tick:
            self._reactions.tick(now)
        leg = leg or self._pools.whole or self._pools.prepare_whole()
        draws, passed = self._draws, self.passed_over
        if self._blacklist.waiting and not tried:  # a retry may be the last one
            live = self._roster.trial(leg, now, passed, patient=not repeatable)
            if live is not None:
                return self._try_out(live, leg, now)
        only = leg.only
        if only is not None and not tried:  # nearly always; by way of the draws it takes 5 % longer
            live = only.pick(now, passed)
            if live is not None:
                self._panics, draws.stage = False, leg.stages[0]
                return self.lease(live, now, only.considered, (), getattr(only, "why", ""))
        live = (
            draws.pick_again(leg, now, (*passed, *tried)) if tried else draws.pick(leg, now, passed)
        )
        worse = instead is not None and (live is None or live.streak > instead.streak)
        if instead is not None and worse and instead.in_pool:
            return self._same_again(instead, now, tried)
        if live is None:
            return self._pick_in_panic(leg, now, tried)
        self._panics = False
        return self.lease(live, now, draws.compared, tried, draws.why)

    def _pick_keyed(
        self,
        homes: Homes,
        ask: Ask,
        now: float,
        tried: tuple[LiveNode, ...],
        *,
        repeatable: bool,
        leg: Leg | None = None,
        instead: LiveNode | None = None,
    ) -> Lease | None:
        """Pick as `pick` does, by a key: its home, or the next that can take the call."""
        if now >= self._standing.next_tick:
            self._reactions.tick(now)
        instead = instead if instead is not None and instead.in_pool else None
        leg = leg or self._roster.pools.whole or self._roster.pools.prepare_whole()
        key = ask.key or 0
        found = homes.choose(leg, key, self.passed_over, tried)
        ask.home = homes.home(leg.stages[0] if found is None else found.stage, key)
        lease = None
        if self._roster.blacklist.waiting and not tried:
            lease = self._try_for_key(homes, key, leg, now, found, patient=not repeatable)
        worse = found is None or (instead is not None and found.live.streak > instead.streak)
        if lease is None and instead is not None and worse:
            lease = self._same_again(instead, now, tried)
        if lease is None and found is not None:
            self._panics = False
            self._roster.draws.stage = found.stage
            compared = ((found.live, found.live.load(0.0, now)),)
            why = HOME if found.live is ask.home else MOVED
            lease = self.lease(found.live, now, compared, tried, why)
        if lease is None:
            lease = self._pick_in_panic(leg, now, tried)
        if lease is not None:
            lease.keyed = _keyed(ask, lease.live)
        return lease

    def _try_for_key(
        self,
        homes: Homes,
        key: int,
        leg: Leg,
        now: float,
        found: Homed | None,
        *,
        patient: bool,
    ) -> Lease | None:
        """Try a half-open node out by a key that would go there: no other one has to move."""
        than = None if found is None else found.live
        fit = partial(homes.nearer, leg.stages[0], key, than=than)
        live = self._roster.trial(leg, now, self.passed_over, patient=patient, fit=fit)
        return None if live is None else self._try_out(live, leg, now)

    def _try_out(self, live: LiveNode, leg: Leg, now: float) -> Lease:
        self._roster.draws.stage = leg.stages[0]  # the only one of which nodes are tried out
        lease = self._prove(live, now, ((live, live.load(0.0, now)),), (), why=TRIAL)
        lease.trial = self._roster.blacklist.begin_trial(live)
        return lease

    def _same_again(self, live: LiveNode, now: float, tried: tuple[LiveNode, ...]) -> Lease:
        self._roster.draws.stage = None
        return self.lease(live, now, (), tried, SAME)

    def _pick_in_panic(self, leg: Leg, now: float, tried: tuple[LiveNode, ...]) -> Lease | None:
        live = self._roster.least_bad(leg, (*self.passed_over, *tried))
        if live is None:
            return None
        if not self._roster.eligible and not self._panics:
            self._panics = True
            self._standing.emit("panic", live, f"nothing is eligible; {live.reason}")
        return self._prove(live, now, (), tried, why=LEAST_BAD)

    def pick_nested(self, now: float, tried: tuple[LiveNode, ...], ask: Ask | None) -> Lease | None:
        """Pick amid another change of the list, which may be half done: the least busy node.

        Of those of the call's lane if there are any, else of those of none.
        """
        listed = list(self._roster.nodes.values())
        left = [live for live in listed if live.in_pool and live not in tried]
        if ask is not None and self.router is not None:
            lanes = {live: self.router.lane_of(live) for live in left}
            for lane in (ask.mark, None):
                left = [live for live in left if lanes[live] == lane] or left
        return min(left, key=lambda live: live.in_flight).begin(now) if left else None

    def lease(
        self,
        live: LiveNode,
        now: float,
        compared: Compared,
        tried: tuple[LiveNode, ...],
        why: str,
    ) -> Lease:
        """Claim a node for an attempt."""
        lease, excluded = live.begin(now), self._roster.excluded
        if excluded is None:
            excluded = self._roster.list_excluded()
        # Not the lease: kept here, it would not be missed where it is dropped.
        self._records.append((live, now, why, compared, tried, excluded))
        if self.router is not None:
            self._routed.append(None)
        return lease

    def lease_again(self, now: float, tried: tuple[LiveNode, ...], ask: Ask | None) -> Lease:
        """Claim the last node once more, of which only the connection had ended."""
        lease = self._same_again(tried[-1], now, tried)
        if ask is not None and self.router is not None:
            lease.routed = self.router.routed(ask, None, first=False)
        if ask is not None and ask.key is not None:
            lease.keyed = _keyed(ask, tried[-1])
        return lease

    def _prove(
        self,
        live: LiveNode,
        now: float,
        compared: Compared,
        tried: tuple[LiveNode, ...],
        *,
        why: str,
    ) -> Lease:
        lease = self.lease(live, now, compared, tried, why)
        lease.proof = True
        return lease

    def tell_hedge(self) -> None:
        """Let the record of the last pick say that it is a hedge."""
        live, now, why, compared, tried, excluded = self._records[-1]
        told = f"{HEDGE}: {why}" if why else HEDGE
        self._records[-1] = (live, now, told, compared, tried, excluded)

    def explain(self) -> list[PickRecord]:
        """Show the last picks, the newest last."""
        return explained(self._records, self._routed if self.router else repeat(None))


def _keyed(ask: Ask, live: LiveNode) -> Keyed:
    return "home" if live is ask.home else "moved"
