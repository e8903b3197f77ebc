"""What must hold of the list: what a snapshot changes and keeps, ramps, ends, and no leaks."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.simulation.lanes import cells
from tests.simulation.standing import Standing, demand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpcguard import Node
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.snapshot import Snapshot
    from rpcguard._core.service.service import Service
    from tests.simulation.world import World

RAMP_STEPS = 500
RECORDS = 64
PROOF_LIFE = 60.0


class Lists(Standing):
    """Judge reconciling, ramps and books as well."""

    def __init__(self, world: World, service: Service) -> None:
        super().__init__(world, service)
        self.emptied = False
        self.filled_at = 0.0
        self._losses: deque[tuple[float, list[int]]] = deque()
        self._suspended: set[LiveNode] = set()

    @contextmanager
    def reconciling(self, snapshot: Snapshot) -> Iterator[None]:
        """Look at what a snapshot changes."""
        now, before = self.world.now, dict(self.roster.nodes)
        was = {name: live.node for name, live in before.items()}
        out = {live: (self.blacklist.get(live), self.marks.get(live)) for live in before.values()}
        counts = {live: (live.successes, live.failures) for live in before.values()}
        leaving = {live for live in before.values() if live.state != "available"}
        unseen = {live for live in leaving if live.node.status == "down" and not any(out[live])}
        warm, missed = self.service.ready, set(self._missing)
        hold = self.policies.membership.shrink_hold
        lately_missed = {live for live, since in self._missing.items() if since > now - hold}
        yield
        named = {node.id: node for node in reversed(snapshot.nodes)}
        for name, node in named.items():
            old, live = before.get(name), self.roster.nodes.get(name)
            demand(live is not None and live.node == node, "%s is not listed as it should be", name)
            if old is not None and _same(was[name], node):
                demand(live is old, "%s starts over although it is the same", name)
                demand(out[old] == (self.blacklist.get(old), self.marks.get(old)), "forgotten")
                demand(counts[old] == (live.successes, live.failures), "the counts are forgotten")
            else:
                self._judge_new(live, node, now, warm=warm)
            self._missing.pop(live, None)
        absent = [live for name, live in before.items() if name not in named]
        serving = sum(_takes_calls(node) for node in named.values())
        come = sum(
            _takes_calls(node) and (name not in before or before[name] in lately_missed)
            for name, node in named.items()
        )
        moves = [0, 0, come]
        if snapshot.authoritative:
            self.filled_at = now if self.emptied and named else self.filled_at
            self.emptied = not named
            fresh = [live for live in absent if live not in leaving and live not in missed]
            moves[:2] = len(fresh), len(leaving & {*absent} - missed)
            leaving -= unseen & missed
            if self.emptied:
                leaving -= unseen
                fresh += [live for live in absent if live in unseen - missed]
            self._judge_absent(absent, leaving, fresh, moves, serving)
        if warm:
            self._losses.append((now, moves))
        if not snapshot.authoritative:
            stays = all(self.roster.nodes.get(live.node.id) is live for live in absent)
            demand(stays, "a partial snapshot removes a node")

    def _judge_new(self, live: LiveNode, node: Node, now: float, *, warm: bool) -> None:
        demand(live.in_pool == (node.status == "up" and node.weight > 0), "a new node is out")
        demand(not live.successes + live.failures + live.level, "a new node has a history")
        if warm:
            age = 0.0 if node.started_at is None else self.world.wall() - node.started_at
            window = self.policies.slow_start.window
            self._warm[live] = now - (age if 0.0 < age < window else 0.0)

    def _judge_absent(
        self,
        absent: list[LiveNode],
        leaving: set[LiveNode],
        fresh: list[LiveNode],
        moves: list[int],
        serving: int,
    ) -> None:
        policy, now = self.policies.membership, self.world.now
        lately = [told for at, told in self._losses if at > now - policy.shrink_hold]
        steps = [*lately, moves]
        loss = max(_shorter(steps[at:]) for at in range(len(steps)))
        doubt = self.emptied or loss > policy.shrink_share * (serving + loss)
        for live in absent:
            here = self.roster.nodes.get(live.node.id) is live
            if live in leaving:
                demand(not here, "a node that is out and not listed stays")
            elif live in self._missing:
                demand(here, "%s is held for too short", live.node.id)
            elif live in fresh:
                demand(here == doubt, "%s is missing, %s", live.node.id, doubt)
                self._missing[live] = now

    # Always

    def look(self) -> None:
        """Look at the books, and at what time has done."""
        roster, pooled = self.roster, 0
        ejections = self.blacklist._ejections.values()
        ejected = {one.live: one for one in ejections}
        marked = {mark.live: mark for mark in self.marks}
        held_out = ejected.keys() | marked.keys()
        for live in roster.nodes.values():
            node = live.node
            self._judge_return(live, (ejected.get(live), marked.get(live)))
            fit = live not in held_out and node.status == "up" and node.weight > 0
            demand(live.in_pool == fit, "%s is %s, fit: %s", node.id, live.state, fit)
            pooled += fit
        for one in ejections:
            demand(one.live.probing or not one.connect, "an ejected node is not probed")
        for mark in self.marks:
            demand(mark.live.probing or not mark.proof, "a marked node is not probed")
        demand(pooled == len(roster.pools), "the pools hold other nodes")
        demand(len(self.blacklist) <= len(roster.nodes), "the blacklist outgrows the list")
        if self.world.now >= self.service._standing.next_tick:
            return  # nobody has looked since, so nothing had to change
        self._look_at_time()

    def _judge_return(self, live: LiveNode, held: tuple[Any, Any]) -> None:
        shadow, now = self._shadows[live], self.world.now
        (ejection, mark), shadow.held = shadow.held, held
        was_down, was_brief = shadow.was_down, shadow.was_brief
        shadow.was_down = held[1] is not None and held[1].seen_down
        shadow.was_brief = held[1] is not None and not held[1].proof
        if (ejection, mark) == held:
            return
        ended = ejection is not None and held[0] is None
        lifted = False
        if mark is not None and held[1] is None:
            proven = shadow.well_at == now or (was_brief and mark.until <= now)
            lifted = not mark.notice.named
            demand(proven or lifted or mark.answers, "a mark has ended too early")
            if was_down:
                shadow.restart()
        if ended:
            shadow.restart()
        if (ended or mark is not None) and held == (None, None) and live.in_pool:
            frozen = self._frozen_until == now + self.policies.ejection.window
            told = frozen or lifted or self._warm.get(live) == now
            demand(told, "nobody is told of a return")

    def _look_at_time(self) -> None:
        now, roster = self.world.now, self.roster
        policy = self.policies.membership
        for live, since in list(self._missing.items()):
            if live.gone:
                del self._missing[live]
                continue
            end = since + (policy.empty_hold if self.emptied else policy.shrink_hold)
            if not self.emptied and since < self.filled_at:
                end = self.filled_at + policy.shrink_hold
            if self.emptied or since < self.filled_at:
                end = min(max(self._shadows[live].heard_at, since) + PROOF_LIFE, end)
            demand(now < end, "%s is held for too long", live.node.id)
        for mark in self.marks:
            demand(mark.proof or mark.until > now, "a mark outlasts its time")
        window = self.policies.slow_start.window * (1.0 - 1.0 / RAMP_STEPS)
        for live in self._warm:
            young = self._oldest(live) < window
            young = young and live.warm_calls < self.policies.slow_start.calls
            demand(
                live.gone or not young or live in roster.warming, "a node that is back is not slow"
            )
        if roster.warming:
            self._look_at_ramps(now)

    def _look_at_ramps(self, now: float) -> None:
        roster, routing = self.roster, self.policies.routing
        pooled = [live for live in roster.nodes.values() if live.in_pool]
        if routing is None:
            self._look_at_cell(pooled, now)
            return
        for cell in cells(pooled, shares=bool(routing.rules)):
            self._look_at_cell(cell, now)

    def _look_at_cell(self, pooled: list[LiveNode], now: float) -> None:
        policy, roster = self.policies.slow_start, self.roster
        young = [live for live in pooled if live in roster.warming]
        warm, whole = 2.0 * sum(live.weight for live in young), sum(live.weight for live in pooled)
        if warm > whole - 1e-9:
            self._suspended.update(young)
        for live in young:
            if abs(warm - whole) < 1e-9:
                continue  # a rounding decides
            if warm > whole:
                demand(live.ramp == 1.0, "slow start goes on though half of the list is new")
                continue
            age, step = now - self._warm[live], policy.window / RAMP_STEPS
            least, most = (
                max(policy.floor, (max(at, 0.0) / policy.window) ** policy.curve)
                for at in (age - step, self._oldest(live))
            )
            done = live.warm_calls >= policy.calls
            demand(done or least - 1e-9 <= live.ramp <= most + 1e-9, "a ramp of %s", live.ramp)

    def _oldest(self, live: LiveNode) -> float:
        """Give the age by which a ramp may be reckoned at most: by what was served meanwhile."""
        policy, age = self.policies.slow_start, self.world.now - self._warm[live]
        served = policy.window * live.warm_calls / policy.calls
        return age + served if live in self._suspended else age

    def marked_by_user(self, name: str, *, online: bool) -> None:
        """Look at a node that the user has just marked."""
        live = self.roster.nodes[name]
        if online:
            was = self._shadows[live]
            self._shadows[live] = replace(
                was,
                streak=0,
                denied="",
                odd_run=0,
                held=(None, None),
                was_down=False,
                was_brief=False,
                recent=deque(),
            )
        demand((self.marks.get(live) is None) == online, "the user's word is not followed")
        demand(not online or self.blacklist.get(live) is None, "the user's word is not followed")

    def bounded(self) -> None:
        """Look for what is kept of nodes that are gone."""
        listed, roster = set(self.roster.nodes.values()), self.roster
        demand(len(self.service.explain()) <= RECORDS, "the records of picks grow")
        demand({mark.live for mark in self.marks} <= listed, "a mark outlives its node")
        demand({one.live for one in self.blacklist._ejections.values()} <= listed, "an ejection")
        demand({*roster.warming, *roster.doubted, *roster.out} <= listed, "a node is leaked")
        demand(len(self.blacklist._ends) <= len(listed), "the ends of ejections leak")
        demand(len(self.marks._ends) <= len(listed), "the ends of marks leak")

    def unused(self, since: float) -> bool:
        """Tell whether a node that comes first gets no calls since."""
        pooled = [live for live in self.listed() if live.in_pool]
        if self.policies.routing is not None:
            # What a small share leads to is tried seldom; who comes first is judged at each pick.
            up = [one for one in self.listed() if one.node.status == "up" and one.weight]
            out = [one for one in up if not one.in_pool]
            parts = cells(pooled, shares=False)
            return bool(out) or any(max(one.last_pick for one in cell) < since for cell in parts)
        lowest = min((live.node.priority for live in pooled), default=0)
        first = [live for live in pooled if live.node.priority == lowest]
        return any(live.last_pick < since for live in first if not live.outside)

    def all_well(self, truth: tuple[Node, ...]) -> None:
        """Look at the list when all has been well for so long that everything must be in use."""
        named = {node.id: node for node in reversed(truth)}.values()
        wanted = {node.id for node in named if node.status == "up" and node.weight > 0}
        used = {live.node.id for live in self.roster.nodes.values() if live.in_pool}
        demand(used == wanted, "in use are %s, it should be %s", sorted(used), sorted(wanted))


def _takes_calls(node: Node) -> bool:
    return node.status == "up" and node.weight > 0.0


def _shorter(steps: list[list[int]]) -> int:
    lost, left, come = map(sum, zip(*steps, strict=True))
    return lost - max(come - left, 0)


def _same(old: Node, new: Node) -> bool:
    return old.generation == new.generation and old.address == new.address
