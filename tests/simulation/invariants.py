"""What must hold of calls and picks, judged by what truly happened and by the words of the design.

Nothing of the code's own verdicts is believed: what an attempt came to is known from the network.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Any

from rpcguard._core.call.call import DRAIN_TIME
from rpcguard._core.call.steps import Discard, Read, Send, Sleep
from rpcguard._core.service.service import Service
from rpcguard.errors import NoAvailableNode, TransportClosed
from tests.simulation.faults import Fate
from tests.simulation.keys import Keys
from tests.simulation.lanes import Ways
from tests.simulation.lists import RECORDS, Lists
from tests.simulation.standing import Violation, demand
from tests.simulation.subsets import Subsets

if TYPE_CHECKING:
    from collections.abc import Collection

    from rpcguard import Node
    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.nodes.snapshot import Snapshot
    from rpcguard._core.service.effects import Event
    from tests.simulation.driver import Flight
    from tests.simulation.world import World

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "QUERY"})
SHORTEST = 0.001
MOST_UNSENT = 20
SLACK = 0.012
NOTHING = Fate("never", "none", name="nothing")
WELL = Fate(name="well")


class Watched(Service):
    """Be a service whose every decision is judged."""

    def __init__(self, world: World, judge: Judge) -> None:
        super().__init__(
            "orders",
            policies=world.policies,
            effects=world,
            clock=world.clock,
            wall=world.wall,
            rng=world.rng,
        )
        self.judge = judge
        judge.attach(self)

    def pick(self, *, repeatable: bool, ask: Any = None) -> Lease | None:
        lease = super().pick(repeatable=repeatable, ask=ask)
        self.judge.picked(lease, (), patient=not repeatable)
        return lease

    def pick_again(
        self, tried: Any, *, same_node: bool = False, free: bool = False, ask: Any = None
    ) -> Any:
        demand(free != bool(self.judge.flight.spent), "a retry is paid for, or is not, wrongly")
        following = super().pick_again(tried, same_node=same_node, free=free, ask=ask)
        if not isinstance(following, str):
            self.judge.picked(following, tried, patient=False, again=same_node)
        return following

    def settle(self, lease: Lease, verdict: Any) -> Any:
        with self.judge.standing.settling(lease, self.judge.fate_of(lease)):
            return super().settle(lease, verdict)

    def conclude(self, lease: Lease, verdict: Any, call: Any = None) -> Any:
        with self.judge.standing.settling(lease, self.judge.fate_of(lease)):
            return super().conclude(lease, verdict, call)

    def fail_body(self, lease: Lease, verdict: Any) -> Any:
        with self.judge.standing.settling(lease, self.judge.fate_of(lease), body=True):
            return super().fail_body(lease, verdict)

    def probed(self, live: LiveNode, *, alive: bool | None, answered: bool = False) -> float | None:
        with self.judge.standing.probing(live, alive=alive):
            return super().probed(live, alive=alive, answered=answered)

    def reconcile(self, snapshot: Snapshot, *, gone: Collection[str] = ()) -> bool:
        with self.judge.standing.reconciling(snapshot):
            return super().reconcile(snapshot, gone=gone)


class Judge:
    """Look at every step of a world."""

    def __init__(self, world: World, flights: set[Flight]) -> None:
        self.world, self.flights = world, flights
        self.flight: Flight
        self.standing: Lists
        self.longest = 0.0
        self._retry = world.policies.retry
        self._fates: dict[Lease, Fate] = {}
        self._calls: deque[float] = deque()
        self._retries: deque[float] = deque()

    def attach(self, service: Service) -> None:
        self.service, self.roster = service, service._roster
        self.standing = Lists(self.world, service)
        self.ways = Ways(self.world, self.standing)
        self.keys = Keys(self.world.policies.affinity, self.standing)
        self.subsets = Subsets(self.world.policies.subset, self.standing)

    def told(self, event: Event) -> None:
        self.standing.told(event)

    def fate_of(self, lease: Lease) -> Fate:
        return self._fates.get(lease, NOTHING)

    # A call

    def begun(self, flight: Flight) -> None:
        """Note a new call: it pays into the budget, and how long it may last is known."""
        plan = flight.plan
        timeout = flight.begin.timeout or 0.0
        once = min(3.0 * timeout, plan.attempt_timeout or math.inf) + 0.11
        flight.limit = plan.attempts * (once + self._retry.backoff_max) + 3.0 * timeout
        if plan.until is not None:
            flight.limit = min(flight.limit, plan.until - self.world.now)
        flight.limit += SLACK
        self.longest = max(self.longest, flight.limit)
        self._calls.append(self.world.now)

    def denied(self, _: Service, reason: str) -> None:
        self.flight.denials.append(reason)

    def attempted(self, flight: Flight, fate: Fate, error: BaseException | None) -> None:
        """Note what truly came of the attempt, before the call learns of it."""
        if isinstance(error, asyncio.CancelledError):
            fate = NOTHING
        elif error is None and fate.until in ("body", "rest"):
            fate = WELL  # so far
        flight.fate = self._fates[flight.leases[-1]] = fate
        paid_at = flight.leases[-1].paid_at
        if paid_at is not None and fate.truth == "unconnected":
            self._retries.remove(paid_at)  # it is paid back
        if not self._is_free(flight, fate):
            flight.spent += 1
        flight.permitted = self._permitted(flight, fate)

    def _is_free(self, flight: Flight, fate: Fate) -> bool:
        """Tell whether an attempt cost nothing: few do that take one connect timeout at most."""
        if fate.truth != "unconnected":
            return False
        flight.unsent += 1
        flight.connecting += self.world.now - flight.leases[-1].started
        limit = flight.begin.timeout
        return flight.unsent <= MOST_UNSENT and (limit is None or flight.connecting < limit)

    def broke(self, flight: Flight, fate: Fate) -> None:
        """Note that the body of an answer broke off."""
        failed = flight.fate.status >= 500
        flight.fate = self._fates[flight.leases[-1]] = fate
        flight.permitted = self._permitted(flight, fate)
        if flight.state == "reading" and flight.permitted:
            size = flight.exchange.length
            if failed:
                flight.permitted = False  # a failure is handed out as it comes, there is no other
            elif size is None or not 0 < size <= self._retry.prefetch or flight.plan.attempts == 1:
                flight.permitted = False  # it was too long to be kept, so it had to be handed out
            elif not _repeatable(flight):
                flight.permitted = False

    def _permitted(self, flight: Flight, fate: Fate) -> bool | None:
        """Tell whether another attempt is safe, paid for and in time; None where it is close."""
        made, plan, policy = flight.spent, flight.plan, self._retry
        listed = fate.status in policy.statuses
        if (fate.truth in ("well", "never") and not listed) or made >= plan.attempts:
            return False
        if fate.truth in ("well", "never", "maybe"):
            answered = fate.status >= 400
            if not _repeatable(flight) or (answered and not listed):
                return False
        if getattr(flight.body, "touched", False):
            return False
        left = math.inf if plan.until is None else plan.until - self.world.now
        pause = 0.0 if made <= 1 else min(policy.backoff * 2.0 ** (made - 1), policy.backoff_max)
        if left <= SHORTEST:
            return False
        if left <= pause + 2 * SHORTEST:
            return None
        return self._paid() if made else True

    def _paid(self) -> bool | None:
        policy, now = self._retry, self.world.now
        window = policy.budget_window
        floor = policy.budget_floor * window

        def since(times: deque[float], age: float) -> int:
            return sum(now - at < age for at in times)

        if since(self._retries, window) + 1 <= (
            policy.budget_ratio * since(self._calls, 0.9 * window) + floor
        ):
            return True
        most = policy.budget_ratio * since(self._calls, window) + floor
        return False if since(self._retries, 0.9 * window) + 1 > most + 1e-9 else None

    def stepped(self, flight: Flight) -> None:
        """Look at what the call wants done next."""
        step = flight.step
        if isinstance(step, Send):
            lease, number = step.lease, step.number
            demand(lease is flight.leases[-1], "a node is sent to that was not picked for it")
            demand(number == len(flight.leases), "the attempts are not counted")
            demand(flight.spent < flight.plan.attempts, "there are too many attempts")
            self._look_at_timeouts(flight, step)
        elif isinstance(step, Discard):
            known, until = flight.exchange.length is not None, flight.plan.until or math.inf
            demand(known or not step.drain, "an answer of unknown length is drained")
            haste = self.world.now + DRAIN_TIME + self._retry.backoff_max > until
            demand(step.drain or haste or not known, "a short answer is not drained")
        elif isinstance(step, Sleep):
            retry = flight.spent
            free = flight.fate.truth == "unconnected" and retry == 0
            demand(not free and flight.fate.status != 429, "a call waits that may go on at once")
            most = min(self._retry.backoff * 2.0 ** (retry - 1), self._retry.backoff_max)
            demand(retry > 1 and 0.0 < step.seconds <= most, "a retry waits %s s", step.seconds)

    def _look_at_timeouts(self, flight: Flight, step: Send) -> None:
        plan, now = flight.plan, self.world.now
        left = min(
            math.inf if plan.until is None else plan.until - now, plan.attempt_timeout or math.inf
        )
        for name in ("connect", "read", "write", "pool"):
            limit = step.timeouts.get(name)
            demand(
                limit is not None and limit <= max(left, SHORTEST) + 1e-9,
                "the %s timeout of %s outlasts the %s s that are left",
                name,
                limit,
                left,
            )

    def ended(self, flight: Flight) -> None:
        """Look at what the caller got."""
        runs = self.world.runs[flight.number]
        demand(runs <= 1 or _repeatable(flight), "a %s was run %s times", flight.begin.method, runs)
        demand(runs <= flight.plan.attempts, "a call was run more often than it may be tried")
        error = flight.error
        if isinstance(error, NoAvailableNode):
            demand(not self._usable(flight), "a call found no node although there is one")
        elif isinstance(error, TransportClosed):
            demand(self.service.closed, "a call was refused though nothing was closed")
        elif flight.leases:
            self._look_at_account(flight)

    def _look_at_account(self, flight: Flight) -> None:
        """Look at what the caller is told: the last original error, and every attempt in order."""
        told = [attempt.node.id for attempt in flight.call.attempts]
        truth = [lease.live.node.id for lease in flight.leases]
        error, given_up = flight.error, isinstance(flight.error, asyncio.CancelledError)
        demand(told == truth[: len(told)], "the caller is told of other attempts than were made")
        demand(len(told) == len(truth) or given_up, "the caller is not told of every attempt")
        demand(given_up or error is flight.thrown, "the caller gets another error: %r", error)
        if isinstance(error, Exception):
            demand("".join(error.__notes__).count("attempt ") == len(told), "the note is wrong")

    def decided(self, flight: Flight) -> None:
        """Look for what could still be done when the call makes no other attempt."""
        if flight.permitted and not self.service.closed:
            lost = self._usable(flight)
            demand(not lost, "a call is lost that %s could have saved %s", lost, flight.denials)

    def _usable(self, flight: Flight) -> list[str]:
        """Give the nodes that the call may still be sent to."""
        tried = [lease.live for lease in flight.leases]
        usable = [live.node.id for live in self.ways.usable(flight, tried)]
        if flight.fate.only_connection and not tried[-1].gone:
            usable.append(tried[-1].node.id)
        return usable

    # A pick

    def picked(
        self, lease: Lease | None, tried: Any, *, patient: bool, again: bool = False
    ) -> None:
        """Look at a pick."""
        flight = self.flight
        if lease is None:
            self.ways.counted(flight)
            return
        first = not flight.leases
        flight.leases.append(lease)
        live = lease.live
        demand(not self.service.closed or not first, "a closed service was picked from")
        others = [one for one in self.roster.nodes.values() if one not in tried]
        if first:
            demand(not tried, "a first attempt comes after others")
        else:
            if flight.permitted is False:  # calls that began while a body was read pay for more
                flight.permitted = self._permitted(flight, flight.fate)
            demand(flight.permitted is not False, "after %s the call went on", flight.fate)
            demand(list(tried) == [one.live for one in flight.leases[:-1]], "nodes are forgotten")
            if flight.spent:
                self._retries.append(self.world.now)
        if live in tried:
            known = again and live is tried[-1] and flight.fate.only_connection
            others = [one for one in self.ways.usable(flight, tried) if one.in_pool]
            plain = self.ways.routing is None  # else the last node's lane comes before others
            better = plain and others and all(one.streak <= live.streak for one in others)
            demand(known and not better, "a node was tried twice")
            out = not live.in_pool and self.ways.usable(flight, tried)
            demand(not out, "a node that is out was tried twice")
            return
        demand(live in others, "a node was picked that is not listed")
        self.ways.picked(flight, lease, first=first)
        scope = self.ways.scope(flight, lease, tried)
        demand(live in scope, "%s was picked, meant were %s", live.node.id, len(scope))
        self.standing.picked(lease, scope, tried, patient=patient)
        group = self.ways.group(flight, live, again=bool(tried))
        self.keys.picked(flight, lease, group, tried)
        self.subsets.picked(lease, tried)

    # Always

    def look(self) -> None:
        """Look at the whole, and at what was seen amid effects."""
        if self.world.wrong is not None:
            raise self.world.wrong
        held: dict[LiveNode, int] = dict.fromkeys(self.roster.nodes.values(), 0)
        asked = held.copy()
        now, calls = self.world.now, self.service.calls
        for flight in self.flights:
            step, live = flight.step, flight.leases[-1].live
            held[live] = held.get(live, 0) + 1
            if type(step) is Discard:
                before = flight.leases[-2].live
                held[before] = held.get(before, 0) + 1
            if step is not None and type(step) is not Read:
                asked[live] = asked.get(live, 0) + 1
            demand(now - flight.began <= flight.limit, "a call outlasts %s s", flight.limit)
        for live, count in held.items():
            demand(live.in_flight == count, "%s in flight, %s held", live.in_flight, count)
            demand(live.unanswered == asked.get(live, 0), "unanswered attempts are miscounted")
        demand(calls == len(self.flights), "%s calls, in truth %s", calls, len(self.flights))
        for live in self.world.children:
            demand(not live.gone or live in held, "%s has left, its child is open", live.node.id)
        self.standing.look()
        self.subsets.look()

    def retired(self, live: LiveNode) -> None:
        """Look at a node whose child is to be closed."""
        demand(live.gone, "the child of a listed node is closed")
        demand(not live.in_flight, "the child of a busy node is closed")

    # At the end

    def all_ended(self) -> None:
        """Look at the end, when every call must be over."""
        demand(not self.flights, "%s calls never ended", len(self.flights))
        self.look()
        demand(len(self.service.explain()) <= RECORDS, "the records of picks grow")
        self.standing.bounded()

    def all_well(self, truth: tuple[Node, ...]) -> None:
        """Look at the list when everything has been well for long, and calls were made."""
        self.all_ended()
        self.standing.all_well(truth)


def _repeatable(flight: Flight) -> bool:
    said = flight.begin.options.get("idempotent")
    return (
        bool(said) if said is not None else flight.begin.keyed or flight.begin.method in IDEMPOTENT
    )


__all__ = ["Judge", "Violation", "Watched"]
