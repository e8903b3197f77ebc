"""What answers, failures, notices, probes, snapshots and time make of the nodes of one service."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rpcguard._core.policies.ejection import CONNECTING, ODD, STALE, Trip
from rpcguard._core.service.roster import PROOF_LIFE
from rpcguard._core.service.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.outcomes.verdict import Notice, Verdict
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.policies.ejection import Blamed
    from rpcguard._core.policies.incidents import Switches
    from rpcguard._core.service.reconcile import Changes
    from rpcguard._core.service.roster import Roster
    from rpcguard._core.service.standing import Happening

_SETTLED_IN = 2.0
"""Probes that a mark must have lasted before it may give way: a node that has just said that it
leaves still takes connections."""

_PROOFS = 3.0
"""Probes within the life of a proof: one may be late, or lost."""


class Reactions:
    """What each thing that is learned of a node is for it; `standing` carries it out.

    Not thread-safe: the caller holds the service's lock, for every method.
    """

    def __init__(
        self, service: str, roster: Roster, policies: Policies, clock: Callable[[], float]
    ) -> None:
        self.standing: Standing = Standing(service, roster, policies, clock)
        self._roster = roster
        self._policies = policies
        self._enforced = policies.ejection.enforce

    def tick(self, now: float) -> None:
        """Apply what is due at now: ejections, marks and doubts that end, ramps that rise."""
        roster, standing = self._roster, self.standing
        for live in roster.blacklist.advance(now):
            standing.turn(live, "ended", now, "its ejection is over")
        for live in roster.marks.advance(now):
            standing.turn(live, "lapsed", now, "the mark has expired")
        for live in [live for live in roster.doubted if roster.held_until(live) <= now]:
            self._give_up(live, "not listed since", now)
        standing.look_after_probes(now)
        standing.reschedule(now)

    def _give_up(self, live: LiveNode, why: str, now: float) -> None:
        self.standing.strike_off(live)
        self.standing.emit("changed", live, f"left out of the snapshot, and {why}")
        self.standing.reschedule(now)

    # Switches

    def switch(self, switches: Switches, now: float) -> None:
        """Take nodes out by hand or let them in again, and ejection into shadow or out of it."""
        roster, standing = self._roster, self.standing
        self._enforced = self._policies.ejection.enforce and switches.ejection
        if not switches.ejection:
            for live in list(roster.blacklist.nodes()):
                standing.turn(live, "excused", now, "ejection is in shadow", warm=False)
        roster.take_out(switches.out)
        standing.reassess_all(now, "let in again")

    # Attempts

    def settled(self, lease: Lease, verdict: Verdict, seconds: float, now: float) -> None:
        """Take in the end of an attempt, up to the headers of its answer."""
        live = lease.live
        if verdict.answered and live.held_back in CONNECTING:
            self.standing.excuse_cap(live)
        if verdict.stale:
            self.failed(lease, STALE, seconds, now)
        elif verdict.blame != "none":
            self.failed(lease, verdict.blame, seconds, now)
        elif not verdict.good:
            self._neutral(lease, verdict, seconds, now)
        else:
            live.succeed(seconds, now)
            if lease.proof or live.level or live.held_back is not None:
                self._recovered(live, now, proof=lease.proof)

    def failed(
        self, lease: Lease, blame: Blamed, seconds: float, now: float, *, body: bool = False
    ) -> None:
        """Take in a failure that is the node's, of an attempt or of the `body` of its answer."""
        policy, live = self._policies.ejection, lease.live
        if blame == STALE:
            live.outlive(now, policy.window)
        else:
            live.fail(seconds, now, policy.window)
        if live.gone:
            return
        trial = lease.on_trial and not body
        trip = policy.tripped(live, blame)
        if live.health != "well":
            if trial and blame == STALE:
                self._roster.blacklist.end_trial(live)
            elif trial:
                self._eject(live, trip or self._trip_before(live), now)
        elif trip is not None and live.doubted_at is not None and self._is_second_word(trip):
            self._give_up(live, trip.reason, now)
        elif trip is not None:
            self._eject(live, trip, now)

    def _trip_before(self, live: LiveNode) -> Trip:
        ejection = self._roster.blacklist.get(live)
        assert ejection is not None  # it is half-open
        return Trip("trial", ejection.reason)

    def _is_second_word(self, trip: Trip) -> bool:
        return trip.code in CONNECTING or self._roster.trusted > 0

    def _recovered(self, live: LiveNode, now: float, *, proof: bool) -> None:
        self.standing.excuse_cap(live)
        if proof and not live.gone and live.health != "well":
            self.standing.turn(live, "proved", now, "a call succeeded")
        elif live.level and live.clean >= self._policies.ejection.forgive_after:
            self._roster.blacklist.forgive(live)

    def _neutral(self, lease: Lease, verdict: Verdict, seconds: float, now: float) -> None:
        live, trial = lease.live, lease.on_trial
        if not verdict.failed:
            live.count(seconds)
        if verdict.answered or verdict.given_up:
            too_many = verdict.outcome == "429"
            live.dismiss(seconds, now, throttled=too_many, answered=verdict.answered)
        if verdict.odd and (trial or not lease.keyed) and not live.gone:
            self._answered_oddly(live, now, trial=trial)
        elif trial:
            self._roster.blacklist.end_trial(live)

    def _answered_oddly(self, live: LiveNode, now: float, *, trial: bool) -> None:
        policy, ejection = self._policies.ejection, self._roster.blacklist.get(live)
        if live.doubted_at is not None and not live.oddities:
            # It has never answered so while it was listed: the address may be another's by now.
            self._give_up(live, "it answers like another application", now)
            return
        live.answer_oddly(now, policy.window)
        if trial and ejection is not None and ejection.trip.code == ODD:
            self._eject(live, ejection.trip, now)
        elif trial:
            self._roster.blacklist.end_trial(live)
        elif live.health == "well":
            trip = policy.is_odd(live, self._roster.pools.peers(live), now)
            if trip is not None:
                self._eject(live, trip, now)

    def _eject(self, live: LiveNode, trip: Trip, now: float) -> None:
        roster, standing = self._roster, self.standing
        if not self._enforced:
            standing.emit("ejected", live, trip.reason, enforced=False, code=trip.code)
            live.forget_failures()
            if trip.code in CONNECTING:
                # It stays in the list: a load that one refusal leaves no trace in would draw calls.
                live.blame(0.0, now, again=True)
            return
        probed = self._policies.probes and self._can_be_probed(live, trip)
        if roster.blacklist.eject(live, trip, now, listed=roster.judged, probed=probed):
            happening: Happening = "cut_off" if probed else "tripped"
            standing.turn(live, happening, now, trip.reason, code=trip.code)
        else:
            self._hold_back(live, trip, now)

    def _can_be_probed(self, live: LiveNode, trip: Trip) -> bool:
        if self._policies.ejection.probe_path is not None:
            return trip.code in CONNECTING
        # A node that fails at once after a connect has found it well is not one for such probes.
        return trip.code == "connect" and not live.unproven

    def _hold_back(self, live: LiveNode, trip: Trip, now: float) -> None:
        roster, standing = self._roster, self.standing
        standing.hold_back(live, trip.reason, trip.code)
        if trip.code == "connect":
            if self._policies.probes:
                standing.start_probe(live, now)
            return
        lifted = roster.blacklist.freeze(now, roster.judged)
        for other in lifted:
            standing.turn(other, "excused", now, "most nodes fail together", warm=False)
        if lifted:
            standing.emit("frozen", None, "most nodes fail together, so the cause is not the nodes")

    # Notices and marks

    def noticed(self, live: LiveNode, notice: Notice, now: float) -> None:
        """Follow what a node said of itself, as far as the policy allows."""
        if live.gone:
            return
        standing, marks = self.standing, self._roster.marks
        if notice.source == "foreign":
            reason = f"{notice.reason} names another node"
            standing.emit("signal", live, reason, enforced=False, code=notice.reason)
            return
        others = marks.who_says_the_same(live, notice, now)
        if others:
            self._discount(notice, [*others, live], now)
            return
        if marks.get(live) is None:
            allowed = self._policies.offline.enforce and self._may_mark(live, now)
            standing.emit("signal", live, notice.reason, enforced=allowed, code=notice.reason)
            if not allowed:
                return
        self.mark(live, notice, now)

    def _discount(self, notice: Notice, sayers: list[LiveNode], now: float) -> None:
        standing, marks = self.standing, self._roster.marks
        reason = f"{notice.reason}, as said by several nodes, is about none of them"
        standing.emit("signal", sayers[-1], reason, enforced=False, code=notice.reason)
        for live in sayers:
            mark = marks.get(live)
            if mark is not None and mark.rests_on(notice, now):
                standing.turn(live, "unsaid", now, "several nodes say the same", warm=False)

    def _may_mark(self, live: LiveNode, now: float) -> bool:
        if not self._roster.serves(live) or self._has_room(live):
            return True
        pause, roster = _SETTLED_IN * self._policies.ejection.probe_interval, self._roster
        oldest = roster.marks.oldest_that_answers(now - pause, roster.serves)
        if oldest is None:
            return False
        self.standing.turn(oldest.live, "unsaid", now, "it answers, and another node leaves")
        return self._has_room(live)

    def _has_room(self, live: LiveNode) -> bool:
        roster = self._roster
        marked = sum(roster.serves(mark.live) for mark in roster.marks)
        cap = max(int(roster.serving * self._policies.offline.max_share), 1)
        return marked < cap and roster.eligible > live.in_pool

    def mark(self, live: LiveNode, notice: Notice, now: float) -> None:
        """Put or renew an offline mark."""
        brief = notice.source == "retry-after" or not self._policies.probes
        if brief and live.word in ("leaving", "overdue", "down"):
            return  # a node that leaves is not back because its last answers ask for a pause
        self._roster.marks.put(live, notice, now)
        self.standing.turn(live, "paused" if brief else "signalled", now, notice.reason)

    def unmark(self, live: LiveNode, now: float) -> None:
        """Take back an offline mark and an ejection, on the user's word."""
        self.standing.excuse_cap(live)
        live.start_over(now)
        self.standing.turn(live, "unsaid", now, "marked online")
        self.standing.turn(live, "excused", now, "marked online")

    # Probes

    def probed(
        self, live: LiveNode, now: float, *, alive: bool | None, answered: bool
    ) -> float | None:
        """Take in the result of a probe, None for one that could not find out, `answered` or not.

        Gives the seconds that the next may wait at most: infinite where nothing is urgent, None
        where no other probe is wanted.
        """
        if now >= self.standing.next_tick:
            self.tick(now)
        if live.gone:  # for long, or since this moment
            return None
        self.standing.note_probe(live, now)
        mark = self._roster.marks.get(live)
        if alive is not None and mark is not None:
            mark.answers = alive
        if alive is False and live.doubted_at is not None:
            self._give_up(live, "a probe failed", now)
            return None
        if alive is True:
            self._found_up(live, now, answered=answered)
        elif alive is False:
            self._found_down(live, now)
        return self._patience(live, now)

    def look_for_proof(self, now: float) -> None:
        """Have the nodes asked that are kept as long as they answer, calls or no calls."""
        if self._policies.probes:
            for live in filter(self._roster.needs_proof, self._roster.doubted):
                self.standing.start_probe(live, now)

    def _found_up(self, live: LiveNode, now: float, *, answered: bool) -> None:
        if self._roster.needs_proof(live):
            live.hear(now)
        self.standing.excuse_cap(live)
        was_down = live.word == "down"
        # One that said it leaves and is there after its time may have restarted unseen.
        is_new = was_down or (live.word == "overdue" and live.health == "well")
        if not answered and (is_new or live.health in ("unreachable", "dead")):
            live.come_back()
        if answered or not self._policies.ejection.enforce:
            happening: Happening = "restarted" if was_down else "answers"
        else:
            happening = "reopened" if is_new else "listens"
        self.standing.turn(live, happening, now, "a probe succeeded")

    def _found_down(self, live: LiveNode, now: float) -> None:
        held_back = live.health == "well" and live.held_back is not None
        if held_back or live.health != "well":
            self._roster.blacklist.condemn(live, now)
        if held_back:
            self.standing.turn(live, "found_dead", now, "a probe failed", code="connect")
        self.standing.turn(live, "probe_down", now, "a probe failed", code="connect")

    def _patience(self, live: LiveNode, now: float) -> float | None:
        if self._roster.needs_proof(live):
            return PROOF_LIFE / _PROOFS
        if not self.standing.is_probed(live) and live.held_back is None:
            return None
        interval, mark = self._policies.ejection.probe_interval, self._roster.marks.get(live)
        if mark is not None and mark.proof and mark.until > now:
            # A fast restart falls between probes that wait longer and longer.
            return min(interval, mark.until - now)
        return math.inf if self._roster.has_hope() else interval

    # Membership

    def apply(self, part: Changes, now: float, wall: float, *, warm: bool) -> None:
        """Carry out a part of what a snapshot changes; `reschedule` is due after the last one."""
        roster = self._roster
        for node in part.replaced:
            if node.id in roster.nodes:
                self.standing.strike_off(roster.nodes[node.id])
        for node in (*part.trusted, *part.added, *part.replaced, *part.updated):
            live = roster.nodes.get(node.id)
            if live is None:
                self._list(node, now, wall, warm=warm)
            else:
                roster.doubt(live, None)
                roster.update(live, node)
        for key in part.removed:
            if key in roster.nodes:
                self.standing.strike_off(roster.nodes[key])
        for key in part.doubted:
            if key in roster.nodes:
                roster.doubt(roster.nodes[key], now)

    def _list(self, node: Node, now: float, wall: float, *, warm: bool) -> None:
        live = self._roster.enter(node, now)
        if warm:
            head_start = self._policies.slow_start.head_start(node.started_at, wall)
            self._roster.warm(live, now, head_start=head_start)
