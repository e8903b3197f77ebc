"""What answers, failures, notices, probes and time make of the nodes of one service."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rpcguard.events import Event, Kind, Outbox

if TYPE_CHECKING:
    from rpcguard.ejection import Blamed
    from rpcguard.live import LiveNode
    from rpcguard.membership import Plan
    from rpcguard.nodes import Node
    from rpcguard.offline import Notice
    from rpcguard.outcomes import Verdict
    from rpcguard.policies import Policies
    from rpcguard.roster import Roster


class Health:
    """Eject, restore, mark and strike off the nodes of a roster.

    Not thread-safe: it lives under the lock of its service. What is to be done outside goes into
    the `outbox`. `next_tick` is the time at which `tick` has something to do.
    """

    def __init__(self, service: str, roster: Roster, policies: Policies) -> None:
        self.outbox = Outbox()
        self.next_tick = math.inf
        self._service = service
        self._roster = roster
        self._policies = policies

    def tell(
        self, kind: Kind, live: LiveNode | None, reason: str, *, enforced: bool = True
    ) -> None:
        """Leave an event for the outside."""
        node = live.node.id if live is not None else None
        self.outbox.events.append(Event(kind, self._service, node, reason, enforced))

    def tick(self, now: float) -> None:
        """Let time do its work: ejections, marks and doubts that end, ramps that rise."""
        roster = self._roster
        roster.blacklist.advance(now)
        for live in roster.marks.advance(now):
            roster.place(live)
            self._come_back(live, "the mark has expired", now)
        hold = self._policies.membership.shrink_hold
        for live in [live for live in roster.doubted if _over(live, now - hold)]:
            self._strike_off(live)
            self.tell("changed", live, "left out of the snapshot and not listed since")
        self._settle(now)

    # Attempts

    def failed(
        self, live: LiveNode, blame: Blamed, seconds: float, now: float, *, proof: bool
    ) -> None:
        """Take in a failure that is the node's; `proof` marks a trial or a call in panic."""
        policy = self._policies.ejection
        live.fail(seconds, now, policy.window)
        if live.gone:
            return
        if live.doubted_at is not None:
            self._strike_off(live)
            self.tell("changed", live, "left out of the snapshot, and failed")
            return
        old = self._roster.blacklist.get(live)
        reason = policy.tripped(live, blame)
        if old is None and reason is not None:
            self._eject(live, reason, blame, now)
        elif old is not None and proof and not old.connect:
            self._eject(live, reason or old.reason, blame, now)
        if proof:
            live.trial = False

    def recovered(self, live: LiveNode, now: float, *, proof: bool) -> None:
        """Take in a good answer of a node with a history."""
        live.denied = False
        if proof and self._roster.blacklist.get(live) is not None:
            self._restore(live, "a call succeeded", now)
        elif live.level and live.clean >= self._policies.ejection.forgive_after:
            live.level -= 1
            live.clean = 0

    def neutral(
        self, live: LiveNode, verdict: Verdict, seconds: float, now: float, *, proof: bool
    ) -> None:
        """Take in an attempt that says nothing of the node's health."""
        if not verdict.failed:
            live.successes += 1
            live.observe(seconds, now)
        elif verdict.outcome == "cancelled" and seconds > live.latency > 0.0:
            live.observe(seconds, now)
        if proof:
            live.trial = False

    def _eject(self, live: LiveNode, reason: str, blame: Blamed, now: float) -> None:
        roster = self._roster
        if not self._policies.ejection.enforce:
            self.tell("ejected", live, reason, enforced=False)
            live.streak, live.recent = 0, None
            return
        roster.blacklist.advance(now)
        ejection = roster.blacklist.eject(live, reason, blame, roster.serving)
        if ejection is None:
            self._hold_back(live, reason, blame, now)
            return
        roster.place(live)
        self._settle(now)
        self.tell("ejected", live, reason)
        if ejection.connect:
            self.outbox.probe(live)

    def _hold_back(self, live: LiveNode, reason: str, blame: Blamed, now: float) -> None:
        if not live.denied:
            live.denied = True
            self.tell("ejected", live, reason, enforced=False)
        if blame == "connect":
            if self._policies.probes:
                self.outbox.probe(live)
            return
        lifted = self._roster.blacklist.lift()
        for other in lifted:
            self._restore(other, "most nodes fail together", now, warm=False)
        if lifted:
            self.tell("frozen", None, "most nodes fail together, so the cause is not the nodes")

    def _restore(self, live: LiveNode, reason: str, now: float, *, warm: bool = True) -> None:
        self._roster.blacklist.discard(live)
        live.denied = False
        self._roster.place(live)
        self._come_back(live, reason, now, warm=warm)

    def _come_back(self, live: LiveNode, reason: str, now: float, *, warm: bool = True) -> None:
        live.forget_load(now)
        if live.in_pool:
            if warm:
                self._roster.warm(live, now)
            self.tell("restored", live, reason)
        self._settle(now)

    def _settle(self, now: float) -> None:
        self._roster.retune(now)
        self.next_tick = self._roster.next_change(now)

    # Notices, marks, probes

    def noticed(self, live: LiveNode, notice: Notice, now: float) -> None:
        """Follow what a node said of itself, as far as the policy allows."""
        roster, policy = self._roster, self._policies.offline
        if live.gone:
            return
        if notice.source == "foreign":
            self.tell("signal", live, f"{notice.reason} names another node", enforced=False)
            return
        if roster.marks.get(live) is None:
            others = roster.eligible - live.in_pool
            allowed = roster.marks.allowed(roster.serving, others) and policy.enforce
            self.tell("signal", live, notice.reason, enforced=allowed)
            if not allowed:
                return
        self.mark(live, notice, now)

    def mark(self, live: LiveNode, notice: Notice, now: float) -> None:
        """Put or renew an offline mark."""
        fresh = self._roster.marks.get(live) is None
        self._roster.marks.advance(now)
        mark = self._roster.marks.put(live, notice)
        if fresh:
            self.tell("offline", live, mark.reason)
            self._roster.place(live)
            self._settle(now)
        if mark.proof:
            self.outbox.probe(live)

    def unmark(self, live: LiveNode, now: float) -> None:
        """Take back an offline mark and an ejection, on the user's word."""
        self._roster.marks.discard(live)
        self._restore(live, "marked online", now)

    def probed(self, live: LiveNode, now: float, *, alive: bool) -> bool:
        """Take in the result of a probe; True while another one is wanted."""
        roster = self._roster
        if live.gone:
            return False
        if not alive and (live.denied or roster.blacklist.get(live) is not None):
            roster.blacklist.advance(now)
            roster.blacklist.condemn(live)
            roster.place(live)
            self._settle(now)
        if roster.marks.probed(live, alive=alive):
            roster.marks.discard(live)
            roster.place(live)
            self._come_back(live, "a probe succeeded", now)
        ejection = roster.blacklist.get(live)
        if alive and ejection is not None and ejection.connect:
            self._restore(live, "a probe succeeded", now)
            ejection = None
        if alive:
            live.denied = False
        mark = roster.marks.get(live)
        return bool((ejection and ejection.connect) or (mark and mark.proof))

    # Membership

    def apply(self, plan: Plan, now: float, wall: float, *, warm: bool) -> None:
        """Carry out a part of what a snapshot changes."""
        roster = self._roster
        for node in plan.replaced:
            self._strike_off(roster.nodes[node.id])
        for node in (*plan.added, *plan.replaced):
            self._list(node, now, wall, warm=warm)
        for node in plan.updated:
            if node.id in roster.nodes:
                roster.update(roster.nodes[node.id], node)
        for key in plan.removed:
            if key in roster.nodes:
                self._strike_off(roster.nodes[key])
        for key in plan.doubted:
            if key in roster.nodes:
                roster.doubt(roster.nodes[key], now)
        for key in plan.trusted:
            if key in roster.nodes:
                roster.doubt(roster.nodes[key], None)
        self._settle(now)

    def _list(self, node: Node, now: float, wall: float, *, warm: bool) -> None:
        live = self._roster.enter(node, now)
        if warm:
            head_start = self._policies.slow_start.head_start(node.started_at, wall)
            self._roster.warm(live, now, head_start=head_start)

    def _strike_off(self, live: LiveNode) -> None:
        self._roster.leave(live)
        if not live.in_flight:
            self.outbox.retired.append(live)


def _over(live: LiveNode, since: float) -> bool:
    return live.doubted_at is not None and live.doubted_at <= since
