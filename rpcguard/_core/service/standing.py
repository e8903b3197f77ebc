"""What answers, failures, notices, probes and time make of the nodes of one service."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rpcguard._core.policies.ejection import Trip
from rpcguard._core.service.effects import Event, Kind, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.outcomes.verdict import Notice, Verdict
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.policies.ejection import Blamed
    from rpcguard._core.service.reconcile import Changes
    from rpcguard._core.service.roster import Roster


class Standing:
    """Eject, restore, mark and strike off the nodes of a roster.

    Not thread-safe: it lives under the lock of its service. What is to be done outside goes into
    the `outbox`. `next_tick` is the time at which `tick` has something to do.
    """

    def __init__(
        self, service: str, roster: Roster, policies: Policies, clock: Callable[[], float]
    ) -> None:
        self.outbox: Outbox = Outbox()
        self.next_tick: float = math.inf
        self._service = service
        self._roster = roster
        self._policies = policies
        self._clock = clock

    def emit(
        self,
        kind: Kind,
        live: LiveNode | None,
        reason: str,
        *,
        enforced: bool = True,
        code: str = "",
    ) -> None:
        """Leave an event for the outside."""
        node = live.node.id if live is not None else None
        if live is not None:
            held_back = "" if enforced else " (not enforced)"
            live.event = f"{kind}{held_back}: {reason}", self._clock()
        self.outbox.append(Event(kind, self._service, node, reason, enforced, code))

    def say(self, kind: Kind, reason: str, enforced: bool) -> None:
        """Leave an event that is about no node."""
        self.emit(kind, None, reason, enforced=enforced)

    def overlooks(self, changes: Changes, listed: int) -> bool:
        """Tell the user, and the caller, whether nodes have come that are in lanes."""
        reason = changes.overlooked(listed)
        if reason is not None:
            self.emit("overlooked", None, reason)
        return reason is not None

    def tick(self, now: float) -> None:
        """Let time do its work: ejections, marks and doubts that end, ramps that rise."""
        roster = self._roster
        roster.blacklist.advance(now)
        for live in roster.marks.advance(now):
            roster.place(live)
            self._come_back(live, "the mark has expired", now)
        hold = self._policies.membership.shrink_hold
        for live in [live for live in roster.doubted if _is_overdue(live, now - hold)]:
            self.strike_off(live)
            self.emit("changed", live, "left out of the snapshot and not listed since")
        self.reschedule(now)

    def reschedule(self, now: float) -> None:
        """Bring ramps and `next_tick` up to date after nodes have come, gone or moved."""
        self._roster.retune(now)
        self.next_tick = self._roster.next_change(now)

    # Attempts

    def failed(
        self, live: LiveNode, blame: Blamed, seconds: float, now: float, *, trial: bool
    ) -> None:
        """Take in a failure that is the node's; `trial` marks the one call of a half-open node."""
        policy, roster = self._policies.ejection, self._roster
        live.fail(seconds, now, policy.window)
        if live.gone:
            return
        ejection = roster.blacklist.get(live)
        trip = policy.tripped(live, blame)
        if ejection is not None:
            if trial:
                self._eject(live, trip or Trip("trial", ejection.reason), blame, now)
        elif trip is not None and live.doubted_at is not None and roster.trusted:
            self.strike_off(live)
            self.emit("changed", live, f"left out of the snapshot, and {trip.reason}")
            self.reschedule(now)
        elif trip is not None:
            self._eject(live, trip, blame, now)

    def recovered(self, live: LiveNode, now: float, *, proof: bool) -> None:
        """Take in a good answer of a node with a history."""
        live.held_back = False
        if proof and not live.gone and self._roster.blacklist.get(live) is not None:
            self._restore(live, "a call succeeded", now)
        elif live.level and live.clean >= self._policies.ejection.forgive_after:
            live.level -= 1
            live.clean = 0

    def neutral(
        self, live: LiveNode, verdict: Verdict, seconds: float, now: float, *, trial: bool
    ) -> None:
        """Take in an attempt that says nothing of the node's health."""
        if not verdict.failed:
            live.count(seconds)
            live.observe(seconds, now)
        elif verdict.outcome == "cancelled" and seconds > live.latency > 0.0:
            live.observe(seconds, now)
        if trial:
            self._roster.blacklist.end_trial(live)

    def _eject(self, live: LiveNode, trip: Trip, blame: Blamed, now: float) -> None:
        roster = self._roster
        if not self._policies.ejection.enforce:
            self.emit("ejected", live, trip.reason, enforced=False, code=trip.code)
            live.streak, live.recent = 0, None
            return
        ejection = roster.blacklist.eject(live, trip.reason, blame, now, listed=roster.serving)
        if ejection is None:
            self._hold_back(live, trip, blame, now)
            return
        roster.place(live)
        self.reschedule(now)
        self.emit("ejected", live, trip.reason, code=trip.code)
        if ejection.connect:
            self._probe(live)

    def _hold_back(self, live: LiveNode, trip: Trip, blame: Blamed, now: float) -> None:
        if not live.held_back:
            live.held_back = True
            self.emit("ejected", live, trip.reason, enforced=False, code=trip.code)
        if blame == "connect":
            if self._policies.probes:
                self._probe(live)
            return
        lifted = self._roster.blacklist.freeze(now, self._roster.serving)
        for other in lifted:
            self._restore(other, "most nodes fail together", now, warm=False)
        if lifted:
            self.emit("frozen", None, "most nodes fail together, so the cause is not the nodes")

    def _restore(self, live: LiveNode, reason: str, now: float, *, warm: bool = True) -> None:
        self._roster.blacklist.discard(live)
        live.held_back = False
        self._roster.place(live)
        self._come_back(live, reason, now, warm=warm)

    def _come_back(self, live: LiveNode, reason: str, now: float, *, warm: bool = True) -> None:
        live.forget_load(now)
        if live.in_pool:
            if warm:
                self._roster.warm(live, now)
            self.emit("restored", live, reason)
        self.reschedule(now)

    # Notices, marks, probes

    def noticed(self, live: LiveNode, notice: Notice, now: float) -> None:
        """Follow what a node said of itself, as far as the policy allows."""
        if live.gone:
            return
        if notice.source == "foreign":
            reason = f"{notice.reason} names another node"
            self.emit("signal", live, reason, enforced=False, code=notice.reason)
            return
        if self._roster.marks.get(live) is None:
            allowed = self._policies.offline.enforce and self._may_mark(live)
            self.emit("signal", live, notice.reason, enforced=allowed, code=notice.reason)
            if not allowed:
                return
        self.mark(live, notice, now)

    def _may_mark(self, live: LiveNode) -> bool:
        roster = self._roster
        if live.state == "draining":
            return True
        marked = sum(mark.live.state != "draining" for mark in roster.marks)
        cap = max(int(roster.serving * self._policies.offline.max_share), 1)
        return marked < cap and roster.eligible > live.in_pool

    def mark(self, live: LiveNode, notice: Notice, now: float) -> None:
        """Put or renew an offline mark."""
        roster = self._roster
        fresh = roster.marks.get(live) is None
        mark = roster.marks.put(live, notice, now)
        if fresh:
            self.emit("offline", live, mark.reason)
        roster.place(live)
        self.reschedule(now)
        if mark.proof:
            self._probe(live)

    def unmark(self, live: LiveNode, now: float) -> None:
        """Take back an offline mark and an ejection, on the user's word."""
        self._roster.marks.discard(live)
        self._restore(live, "marked online", now)

    def _probe(self, live: LiveNode) -> None:
        if not live.probing:
            live.probing = True
            self.outbox.append(("probe", live))

    def probed(self, live: LiveNode, now: float, *, alive: bool) -> float | None:
        """Take in the result of a probe; give the seconds that the next may wait at most, if any.

        That is infinite where nothing is urgent, None where no other probe is wanted.
        """
        roster = self._roster
        self.tick(now)
        if live.gone:  # for long, or since this moment
            return None
        ejection = roster.blacklist.get(live)
        if not alive and (live.held_back or ejection is not None):
            roster.blacklist.condemn(live)
            roster.place(live)
            self.reschedule(now)
        ended = roster.marks.probed(live, alive=alive)
        if ended:
            roster.marks.discard(live)
        if alive:
            live.held_back = False
            if ended or (ejection is not None and ejection.connect):
                self._back_from_probe(live, now)
        return self._patience(live, now)

    def _back_from_probe(self, live: LiveNode, now: float) -> None:
        ejection = self._roster.blacklist.get(live)
        if ejection is not None and ejection.connect:
            self._roster.blacklist.discard(live)
        self._roster.place(live)
        self._come_back(live, "a probe succeeded", now)

    def _patience(self, live: LiveNode, now: float) -> float | None:
        roster, policy = self._roster, self._policies.ejection
        ejection, mark = roster.blacklist.get(live), roster.marks.get(live)
        if not (ejection and ejection.connect) and not (mark and mark.proof):
            return None
        if not roster.eligible:
            return policy.probe_interval
        return max(mark.until - now, 0.0) if mark and mark.proof and not mark.overdue else math.inf

    # Membership

    def apply(self, part: Changes, now: float, wall: float, *, warm: bool) -> None:
        """Carry out a part of what a snapshot changes; `reschedule` is due after the last one."""
        roster = self._roster
        for node in part.replaced:
            if node.id in roster.nodes:
                self.strike_off(roster.nodes[node.id])
        for node in (*part.trusted, *part.added, *part.replaced, *part.updated):
            live = roster.nodes.get(node.id)
            if live is None:
                self._list(node, now, wall, warm=warm)
            else:
                roster.doubt(live, None)
                roster.update(live, node)
        for key in (*part.removed, *part.confirmed):
            if key in roster.nodes:
                self.strike_off(roster.nodes[key])
        for key in part.doubted:
            if key in roster.nodes:
                roster.doubt(roster.nodes[key], now)

    def _list(self, node: Node, now: float, wall: float, *, warm: bool) -> None:
        live = self._roster.enter(node, now)
        if warm:
            head_start = self._policies.slow_start.head_start(node.started_at, wall)
            self._roster.warm(live, now, head_start=head_start)

    def strike_off(self, live: LiveNode) -> None:
        """Take a node off the list; what it keeps is retired once it is idle."""
        self._roster.leave(live)
        if not live.in_flight:
            self.retire(live)

    def retire(self, live: LiveNode) -> None:
        """Ask for the end of what is kept for a node that has left and is idle."""
        self.outbox.append(("retire", live))


def _is_overdue(live: LiveNode, since: float) -> bool:
    return live.doubted_at is not None and live.doubted_at <= since
