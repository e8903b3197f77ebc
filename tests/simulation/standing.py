"""What must hold of the nodes: who is out and why, for how long, and who comes back."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rpcguard._core.policies.ejection import CONNECTING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rpcguard import EjectionPolicy, Node
    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.service.effects import Event
    from rpcguard._core.service.service import Service
    from tests.simulation.faults import Fate
    from tests.simulation.world import World

LISTED, DOUBTED, RANK_DOWN, RANK_DRAINED, RANK_DEAD = -2, -1, 3, 4, 5
ODD_RUN = 10
UNNAMED = (b"x-rpcguard-offline", b"x-envoy", b"finagle", b"x-bd-error", b"retry-after")
ZONE_DRAWS = 5


class Violation(AssertionError):  # noqa: N818
    """Tell that an invariant does not hold."""


def demand(holds: object, what: str, *about: object) -> None:
    if not holds:
        raise Violation(what % about if about else what)


@dataclass(slots=True)
class Shadow:
    """Hold what is truly known of a node: failures and good answers in a row, and a held-back trip.

    `denied` is the blame for which a trip was held back. `held` says whether it had an ejection and
    a mark when it was last looked at.
    """

    streak: int = 0
    clean: int = 0
    denied: str = ""
    unproven: bool = False
    odd: int = 0
    odd_run: int = 0
    heard_at: float = -math.inf
    well_at: float = -math.inf
    held: tuple[object, object] = (None, None)
    was_down: bool = False
    was_brief: bool = False
    recent: deque[tuple[float, bool]] = field(default_factory=deque)

    def restart(self) -> None:
        """Forget what went wrong."""
        self.streak = 0
        self.recent.clear()

    def learn(self, fate: Fate, now: float, *, body: bool, odd: bool) -> None:
        """Take in what an attempt truly came to; as far as `body`, only a failure is news.

        `odd` says that the answer is one that a wrong application would give as well.
        """
        failed, good = fate.blame != "none", _good(fate) and not body
        if not body and fate.error is None and fate.status:
            self.denied = "" if self.denied in CONNECTING else self.denied
        if not body and fate.truth == "well":
            self.heard_at, self.unproven = now, False
            self.odd += odd
            self.odd_run = self.odd_run + 1 if odd else 0 if good else self.odd_run
        if fate.stale:
            self.clean, failed = 0, False
            self.recent.append((now, True))
        elif failed:
            self.streak, self.clean = self.streak + 1, 0
        elif good:
            self.streak, self.clean, self.denied = 0, self.clean + 1, ""
        if failed or (good and self.recent):
            self.recent.append((now, failed))

    def tripped(self, policy: EjectionPolicy, now: float, *, stale: bool) -> bool | None:
        """Tell whether the failures make up a trip; None where a moment decides."""
        if not stale and self.streak >= policy.consecutive:
            return True
        spans = (policy.window * 0.9, policy.window * 1.1)
        counts = [[bad for at, bad in self.recent if now - at < span] for span in spans]
        surely, perhaps = (policy.failure_rate * len(one) for one in counts)
        failed, most_failed = map(sum, counts)
        if len(counts[0]) >= policy.min_calls and failed >= perhaps:
            return True
        return False if len(counts[1]) < policy.min_calls or most_failed < surely else None


class Standing:
    """Judge the list: ejections, marks, probes, ramps and membership."""

    def __init__(self, world: World, service: Service) -> None:
        self.world, self.service = world, service
        self.roster, self.policies = service._roster, world.policies
        self.blacklist, self.marks = self.roster.blacklist, self.roster.marks
        self._shadows: dict[LiveNode, Shadow] = defaultdict(Shadow)
        self._heard: set[tuple[str, str | None]] = set()
        self._trials: dict[LiveNode, Lease] = {}
        self._warm: dict[LiveNode, float] = {}
        self._missing: dict[LiveNode, float] = {}
        self._frozen_until = -math.inf
        self._said: dict[bytes, dict[LiveNode, float]] = defaultdict(dict)

    def told(self, event: Event) -> None:
        """Note when nodes come back, and when judging stops."""
        now, live = self.world.now, self.roster.nodes.get(event.node or "")
        if event.kind == "restored" and live is not None:
            self._trials.pop(live, None)  # a call that goes on is no trial any more
        if event.enforced:
            self._heard.add((event.kind, event.node))
        if event.kind == "restored" and live is not None:
            shadow = self._shadows[live]
            if "expired" not in event.reason and "nodes" not in event.reason:
                shadow.denied = ""
            if "together" not in event.reason and "several" not in event.reason:
                self._warm[live] = now
        if event.kind == "frozen":
            self._frozen_until = now + self.policies.ejection.window

    # What is so

    def listed(self) -> Iterable[LiveNode]:
        return self.roster.nodes.values()

    def serving(self) -> int:
        return sum(_takes_calls(live.node) for live in self.listed())

    def whole(self) -> int:
        """Count the nodes of which half may be ejected: what is ejected is one of them."""
        nodes = ((live, self.blacklist.get(live)) for live in self.listed())
        return sum(_takes_calls(live.node) or ejection is not None for live, ejection in nodes)

    def judged(self) -> set[LiveNode]:
        """Give the nodes that are ejected and not proven dead."""
        return {live for live in self.listed() if self._is_judged(live)}

    def _is_judged(self, live: LiveNode) -> bool:
        ejection = self.blacklist.get(live)
        return ejection is not None and live.health != "dead"

    def marked(self) -> set[LiveNode]:
        return {live for live in self.listed() if self.marks.get(live) is not None}

    def rank(self, live: LiveNode) -> int:
        """Tell how bad a node is: in use, doubted, leaving, judged, cut off, down, drained."""
        ejection, mark = self.blacklist.get(live), self.marks.get(live)
        if (ejection is not None and live.health == "dead") or (
            mark is not None and mark.seen_down
        ):
            return RANK_DEAD
        if live.node.status == "draining":
            return RANK_DRAINED
        if ejection is not None:
            return 2 if ejection.connect else 1
        if mark is not None:
            return 0
        if live.node.status == "down":
            return RANK_DOWN
        return DOUBTED if live in self._missing else LISTED

    # A pick

    def picked(self, lease: Lease, others: list[LiveNode], tried: Any, *, patient: bool) -> None:
        """Look at a pick among the nodes that the call has not tried."""
        live, now = lease.live, self.world.now
        node = live.node
        demand(node.weight, "a node of weight 0 was picked")
        able = [one for one in others if one.node.weight]
        best = min(map(self.rank, able))
        eligible = [one for one in able if self.rank(one) == best < 0]
        ejection = self.blacklist.get(live)
        if ejection is not None and lease.proof and ejection.until <= now:
            self._trial(lease, eligible, patient=patient)
            return
        rank = self.rank(live)
        if not eligible:
            demand(rank == best, "in panic a worse node was picked")
            if rank == 1:
                levels = [one.level for one in able if self.rank(one) == 1]
                demand(live.level == min(levels), "in panic a node was picked that fails more")
            return
        demand(
            rank == best, "%s %s was picked, %s was there", live.state, node.id, eligible[0].node.id
        )
        lowest = min(one.node.priority for one in eligible)
        demand(node.priority == lowest, "a node of a later priority was picked")
        own = node.zone is not None and lease.keyed is None  # a key looks at no zone
        if tried and own and node.zone == tried[-1].node.zone:
            # What is at the address of a node that was tried is the same process, wherever it is.
            places = {one.node.address for one in tried}
            level = [one.node for one in eligible if one.node.priority == lowest]
            fresh = node.address not in places
            near = sum(one.zone == node.zone or (fresh and one.address in places) for one in level)
            few = near <= ZONE_DRAWS - len(tried)
            other = near < len(level)
            demand(not (other and few), "a retry stays in its zone")

    def _trial(self, lease: Lease, eligible: list[LiveNode], *, patient: bool) -> None:
        live, ejection = lease.live, self.blacklist.get(lease.live)
        if not eligible and not lease.on_trial:
            return  # in panic
        demand(self.marks.get(live) is None, "a node on trial has a mark")
        demand(live not in self._trials, "a half-open node has two trials")
        young = ejection.until > self.world.now - self.policies.ejection.duration
        demand(not (patient and young), "a call was risked that cannot be repeated")
        self._trials[live] = lease

    # What comes of an attempt

    @contextmanager
    def settling(self, lease: Lease, fate: Fate, *, body: bool = False) -> Iterator[None]:
        """Look at what an attempt changes."""
        live = lease.live
        judged, marked, ejection = self.judged(), self.marked(), self.blacklist.get(live)
        dead, eligible = len(self.blacklist) - len(judged), self._eligible_but(live)
        level, on_trial = live.level, lease.on_trial and not body
        missing, others = live in self._missing, self._others_say(live, fate, body=body)
        surely = fate.blame in ("connect", "handshake") or self._trusted()
        doubted = missing and surely
        known, serving = live not in self.listed(), self.whole()
        may_mark = self._may_mark(live, marked, eligible)
        shadow = self._shadows[live]
        unproven = shadow.unproven
        # What one key is answered may be true of that key alone.
        strange = fate.status == 404 and (on_trial or lease.keyed is None)
        shadow.learn(fate, self.world.now, body=body, odd=strange)
        self._heard.clear()
        latency = live.latency
        yield
        if not body and self._trials.get(live) is lease:
            del self._trials[live]
        if fate.status in (404, 429) and not body:
            demand(live.latency >= latency, "a refusal that was quick makes a node look quick")
        if fate.status == 429 and not body:
            demand(live.stand_back, "a node that has too many is not spared")
        newly = self.judged() - judged
        demand(newly <= {live}, "an attempt ejects another node than its own")
        demand(self.marked() - marked <= {live}, "an attempt marks another node than its own")
        if known or live.gone:
            odd = missing and strange and self._shadows[live].odd == 1
            # A node that leaves may bring another back, which then vouches for the rest at once.
            told_of = doubted or (missing and self._trusted())
            failed = told_of and (fate.blame != "none" or fate.stale)
            demand(known or failed or odd, "a node left for nothing")
            return
        odd = missing and strange and self._shadows[live].odd == 1 and not body
        demand(not odd, "a doubted node stays that answers like another application")
        for kind, changed in (("ejected", newly), ("offline", self.marked() - marked)):
            told = not changed or (kind, live.node.id) in self._heard
            demand(told, "nobody is told of a node that is %s", kind)
        if not body:
            self._judge_notice(live, fate, marked, others, allowed=may_mark)
        now_ejected = self.blacklist.get(live)
        if fate.blame == "none" and not fate.stale:
            odd = strange and (on_trial or self._shadows[live].odd_run >= ODD_RUN)
            demand(not newly or odd, "a node was ejected for what is not its fault")
            if not odd:
                self._judge_good(lease, fate, ejection, level)
            return
        allowed = self._allowed(len(judged), dead, serving, fate)
        if ejection is not None:
            again = on_trial and not fate.stale
            demand((now_ejected is ejection) != again, "a failure of an ejected node, %s", fate)
            return
        demand(not newly or allowed, "more nodes are ejected than the cap allows")
        policy = self.policies.ejection
        tripped = fate.blame in ("connect", "handshake") or shadow.tripped(
            policy, self.world.now, stale=fate.stale
        )
        demand(not newly or tripped is not False, "a node is ejected that fails little")
        if tripped:
            demand(not doubted, "a doubted node fails and stays")
            if allowed:
                demand(now_ejected is not None, "%s is not ejected after %s", live.node.id, fate)
                self._judge_length(now_ejected, fate, level, unproven=unproven)
            elif not self.policies.ejection.enforce:
                shadow.restart()
            else:
                self._judge_held_back(live, judged, dead, serving, fate)

    def _judge_good(self, lease: Lease, fate: Fate, ejection: Any, level: int) -> None:
        live, shadow = lease.live, self._shadows[lease.live]
        restored = _good(fate) and lease.proof and ejection is not None
        demand(
            self.blacklist.get(live) is (None if restored else ejection), "an answer and %s", fate
        )
        patience = self.policies.ejection.forgive_after
        if _good(fate) and not restored and level and shadow.clean >= patience:
            level, shadow.clean = level - 1, 0
        demand(live.level == level, "%s is at level %s, not %s", live.node.id, live.level, level)

    def _others_say(self, live: LiveNode, fate: Fate, *, body: bool) -> list[LiveNode]:
        """Note what an answer says without a name; give the others that still say the same."""
        word = fate.headers[-1][0].lower() if fate.headers else b""
        if (
            body
            or live.gone
            or fate.named
            or not word.startswith(UNNAMED)
            or fate.says not in ("leaving", "pause")
        ):
            return []
        policy, now = self.policies.offline, self.world.now
        said = self._said[word]
        cap = policy.max_retry_after if fate.says == "pause" else policy.max_ttl
        others = [one for one, until in said.items() if until > now and not one.gone]
        said[live] = now + min(fate.ttl or policy.ttl, cap)
        marks = ((one, self.marks.get(one)) for one in others if one is not live)
        return [one for one, mark in marks if mark is None or not mark.seen_down]

    def _eligible_but(self, live: LiveNode) -> int:
        return sum(one.in_pool for one in self.listed() if one is not live)

    def _trusted(self) -> bool:
        return any(live.in_pool and live not in self._missing for live in self.listed())

    def _may_mark(self, live: LiveNode, marked: set[LiveNode], eligible: int) -> bool:
        policy = self.policies.offline
        if not policy.enforce or live.gone:
            return False
        if not _takes_calls(live.node):
            return True
        counted = sum(_takes_calls(one.node) for one in marked)
        return counted < max(int(self.serving() * policy.max_share), 1) and eligible > 0

    def _judge_notice(
        self,
        live: LiveNode,
        fate: Fate,
        marked: set[LiveNode],
        others: list[LiveNode],
        *,
        allowed: bool,
    ) -> None:
        policy, mark = self.policies.offline, self.marks.get(live)
        if others:
            for one in (live, *others):
                still = self.marks.get(one)
                unnamed = still is not None and not still.notice.named
                if still is not None and still.asked_until > self.world.now:
                    continue  # for as long as the user wants
                by_it = unnamed and fate.headers[-1][0].decode().lower() == still.reason.lower()
                demand(not by_it, "several nodes say the same, and one is marked for it")
            return
        gave_way = marked - self.marked()
        if gave_way and not allowed:
            answers = all(self._shadows[one].well_at > -math.inf for one in gave_way)
            demand(answers and len(gave_way) == 1, "a mark gave way on a node that is not back")
            allowed = mark is not None
        says = fate.says in ("leaving", "pause") and (allowed or live in marked)
        if not says:
            demand((mark is not None) == (live in marked), "a mark changed at %s", fate)
            return
        demand(mark is not None, "%s has no mark after %s", live.node.id, fate)
        cap = policy.max_retry_after if fate.says == "pause" else policy.max_ttl
        left = mark.until - self.world.now
        if not (fate.says == "pause" and mark.proof):
            longest = max(min(fate.ttl or policy.ttl, cap), mark.asked_until - self.world.now)
            demand(0.0 < left <= longest + 1e-6, "a mark of %s s", left)
            demand(fate.says == "pause" or left >= min(fate.ttl or policy.ttl, cap) - 1e-6, "short")

    def _allowed(self, judged: int, dead: int, serving: int, fate: Fate) -> bool:
        policy = self.policies.ejection
        if not policy.enforce:
            return False
        if fate.blame != "connect" and self.world.now < self._frozen_until:
            return False
        alive = serving - dead
        return judged < max(int(alive * policy.max_share), 1 if alive >= 2 else 0)

    def _judge_length(self, ejection: Any, fate: Fate, level: int, *, unproven: bool) -> None:
        policy, length = self.policies.ejection, ejection.until - self.world.now
        after = ejection.live.level
        mean = policy.duration * 2.0 ** min(level, 30)
        demand(after == level + (mean < policy.max_duration), "the level is not counted")
        self._shadows[ejection.live].clean = 0
        if fate.blame == "connect" and self.policies.probes and not unproven:
            latest = max(policy.max_duration, 3.0 * (policy.probe_max_interval + 1.0))
            demand(ejection.connect, "a node that refuses is out until a probe succeeds")
            demand(abs(length - latest) < 1e-6, "out for %s s without a probe", length)
            return
        least = min(mean * (1.0 - policy.jitter), policy.max_duration)
        most = min(mean * (1.0 + policy.jitter), policy.max_duration)
        demand(least - 1e-6 <= length <= most + 1e-6, "ejected for %s s, not %s", length, mean)

    def _judge_held_back(
        self, live: LiveNode, judged: set[LiveNode], dead: int, serving: int, fate: Fate
    ) -> None:
        self._shadows[live].denied = fate.blame
        if fate.blame == "connect":
            demand(live.probing == self.policies.probes, "nobody probes a node that refuses")
            return
        soft = {live for live in judged if not self._is_unconnected(live)}
        for lifted in judged - self.judged():
            self._shadows[lifted].denied = ""  # the cause is not the nodes, so they are hope again
        if 2 * (len(soft) + 1) > serving - dead and soft:
            now, until = self.world.now, self._frozen_until
            demand(now < until, "most nodes fail, and judging goes on")
            fresh = until == now + self.policies.ejection.window
            demand(not (fresh and soft & self.judged()), "most nodes fail, some stay ejected")

    def _is_unconnected(self, live: LiveNode) -> bool:
        ejection = self.blacklist.get(live)
        return ejection is not None and ejection.unconnected

    def _is_connect(self, live: LiveNode) -> bool:
        ejection = self.blacklist.get(live)
        return ejection is not None and ejection.connect

    def is_hope(self, live: LiveNode) -> bool:
        """Tell whether a node is in use, and not by the cap alone although it refuses."""
        return live.in_pool and self._shadows[live].denied not in CONNECTING

    @contextmanager
    def probing(self, live: LiveNode, *, alive: bool | None) -> Iterator[None]:
        """Look at what a probe changes."""
        demand(self.policies.probes, "a node is probed that must not be")
        missing = live in self._missing
        connect, denied = self._is_connect(live), self._shadows[live].denied
        mark = self.marks.get(live)
        ending = mark is not None and (mark.seen_down or mark.overdue)
        restart = mark is not None and mark.seen_down
        over = mark is not None and mark.proof and mark.until <= self.world.now
        unseen = over and self.blacklist.get(live) is None
        proof = mark is not None and mark.proof
        yield
        if live.gone or alive is None:
            return
        demand(alive or not missing, "a doubted node stays that a probe finds down")
        if alive:
            self._shadows[live].unproven |= connect or restart or unseen
            self._shadows[live].denied, self._shadows[live].well_at = "", self.world.now
            if missing:
                self._shadows[live].heard_at = self.world.now
            demand(not self._is_connect(live), "a node that takes connections stays ejected")
            if ending:
                demand(self.marks.get(live) is None, "a node that is back stays marked")
            return
        if proof:
            demand(mark.seen_down, "a marked node that is down is not known to be")
        if connect or (denied and self.blacklist.get(live) is None):
            proven = self.blacklist.get(live)
            demand(
                proven is not None and live.health == "dead",
                "a node proven dead is not known to be",
            )


def _good(fate: Fate) -> bool:
    return fate.truth == "well" and fate.status < 400


def _takes_calls(node: Node) -> bool:
    return node.status == "up" and node.weight > 0.0


def _drained(node: Node) -> bool:
    return node.status == "draining" or not node.weight
