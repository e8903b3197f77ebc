"""Drive real calls through a made-up world, as the transports drive them, and judge every step."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx

from rpcguard._core.call.call import DRAIN_TIME, Call
from rpcguard._core.call.plan import CallPlan, read_options
from rpcguard._core.call.steps import Discard, Read, Send, Sleep
from rpcguard._core.routing.facts import Facts
from rpcguard._transport.bodies import SyncGuardedBody, SyncOneShotBody
from rpcguard._transport.pins import pin
from rpcguard.errors import NoAvailableNode, TransportClosed
from tests.simulation.faults import Fate
from tests.simulation.invariants import NOTHING, Judge, Violation, Watched, demand
from tests.simulation.scenario import Begin, Close, Jump, Listing, Mood, Word
from tests.simulation.world import START, World

if TYPE_CHECKING:
    from collections.abc import Generator

    from rpcguard._core.call.steps import Handout, Step
    from rpcguard._core.nodes.live import Lease
    from tests.simulation.scenario import Scenario
    from tests.simulation.world import Exchange

HEALING = 420.0
"""Seconds after which whatever was held against a node has run its course."""
PATIENCE = 200
"""Calls for each node within which every one gets its own again."""

CUT = Fate("maybe", "failure", name="cut")


class _OneShot(SyncOneShotBody):
    consumed = httpx.StreamConsumed


class _Once:
    def __iter__(self) -> Any:
        return iter((b"sent",))

    def close(self) -> None:
        pass


class Flight:
    """Be one call and its caller."""

    def __init__(self, play: Play, begin: Begin, number: int) -> None:
        self.play, self.begin, self.number = play, begin, number
        self.world, self.judge, self.service = play.world, play.judge, play.world.service
        self.step: Step | None = None
        self.exchange: Exchange | None = None
        self.began = self.world.now
        self.state = "new"
        self.error: BaseException | None = None
        self.thrown: BaseException | None = None
        self.plan = self._plan()
        self.leases: list[Lease] = []
        self.spent = self.unsent = 0
        self.connecting = 0.0
        self.denials: list[str] = []
        self.fate = NOTHING
        self.permitted: bool | None = False
        self.limit = 0.0
        self.call: Call
        self._steps: Generator[Step, Any, Handout]
        self._pause: list[Any] | None = None
        self._guarded: Any = None
        self._chunks: Any = None

    def _plan(self) -> CallPlan:
        begin, retry = self.begin, self.world.policies.retry
        once = begin.body == "once"
        self.body: Any = _OneShot(_Once(), httpx.StreamConsumed) if once else _Once()
        plan = CallPlan(
            method=begin.method,
            keyed=begin.keyed,
            timeouts=dict.fromkeys(("connect", "read", "write", "pool"), begin.timeout),
            replayable=(lambda: not self.body.touched) if once else (lambda: True),
        )
        given = read_options(begin.options or None, self.world.now, retry)
        for name, value in given.items():
            setattr(plan, name, value)
        affinity = self.world.policies.affinity
        request = httpx.Request(begin.method, "http://orders/")
        if self.service.router is not None:
            facts = Facts(request, mark=begin.mark, baggage={}.get, options=begin.options)
            plan.ask = self.service.router.ask(facts)
        if affinity is not None:
            plan.ask = pin(affinity, request, {"key": begin.session or ""}, plan.ask)
        return plan

    def start(self) -> None:
        """Go."""
        self.judge.begun(self)
        self.call = Call(
            self.service,
            self.plan,
            no_node=self._no_node,
            on_denied=self.judge.denied,
            on_retry=lambda *_: None,
        )
        if not self.call.begin():
            self.ended(TransportClosed("simulated"))
            return
        self.state = "running"
        self._steps = self.call.run()
        self._advance(None, None)

    @staticmethod
    def _no_node(service: Any, _: Any) -> Exception:
        return NoAvailableNode(service.name)

    def _advance(self, value: Any, error: BaseException | None) -> None:
        self.judge.flight, self.thrown = self, error
        if isinstance(self.step, Send) and self.exchange is not None:
            self.judge.attempted(self, self.exchange.fate, error)
        try:
            step = self._steps.send(value) if error is None else self._steps.throw(error)
        except StopIteration as end:
            self._answered(end.value)
        except Violation:
            raise
        except BaseException as failure:  # whatever the caller would get
            self.call.end()
            self.judge.decided(self)
            self.ended(failure)
        else:
            self.step = step
            self.judge.stepped(self)
            self._take(step)

    def _take(self, step: Step) -> None:
        if isinstance(step, Send):
            if self.play.cut:
                self.exchange = None
                self._advance(None, TransportClosed("simulated"))
                return
            self.exchange = self.world.converse(
                step.lease.live, self.begin, step.number, self.number, step.timeouts
            )
            self.exchange.body = self.body
            self.exchange.play("headers", self._headers)
        elif isinstance(step, Read):
            self.exchange.play("rest", self._whole)
        elif isinstance(step, Discard):
            self._discard(step)
        elif isinstance(step, Sleep):
            self._pause = self.world.at(step.seconds, lambda: self._advance(None, None))

    def _headers(self, error: Exception | None) -> None:
        reply = self.exchange.reply() if error is None else None
        if reply is not None and self.step.buffered and not self.exchange.stages:
            reply.stream = SimpleNamespace(whole=True)
        self._advance(reply, error)

    def _whole(self, error: Exception | None) -> None:
        if error is not None:
            self.judge.broke(self, self.exchange.fate)
        self.exchange.stop()
        self._advance(error is None, error)

    def _discard(self, step: Discard) -> None:
        if not step.drain:
            self.exchange.stop()
            self._advance(None, None)
            return
        self._pause = self.world.at(DRAIN_TIME, self._discarded)
        self.exchange.play("rest", self._discarded)

    def _discarded(self, _: Exception | None = None) -> None:
        if self._pause is not None:
            self._pause[2] = None
        self.exchange.stop()
        self._advance(None, None)

    # The caller, who has an answer

    def _answered(self, answer: Handout) -> None:
        self.judge.decided(self)
        self.step = None
        if answer.complete:
            self.call.finish(answer.lease)
            self.ended(None)
            return
        self.state = "reading"
        self._guarded = SyncGuardedBody(answer.reply.stream, self.service, self.call, answer.lease)
        self._chunks = iter(self._guarded)
        self._read_on()

    def _read_on(self) -> None:
        self.exchange.play("body" if self.exchange.stages else "rest", self._chunk)

    def _chunk(self, error: BaseException | None) -> None:
        if error is not None:
            self.exchange.arrived.append(error)
            self.judge.broke(self, self.exchange.fate)
            self.judge.decided(self)
        self.judge.flight, self.thrown = self, error
        try:
            next(self._chunks)
        except StopIteration:
            self._guarded.close()
            self.ended(None)
        except Violation:
            raise
        except BaseException as failure:  # whatever the caller would get
            self.ended(failure)
        else:
            self.exchange.play("rest", self._chunk)

    def give_up(self) -> None:
        """Cancel the call, wherever it is."""
        self.permitted = False
        self._break(asyncio.CancelledError())

    def cut(self) -> None:
        """Cut the connection, as closing does; whatever still needs one gets none."""
        if isinstance(self.step, Discard):
            self._discarded()
        elif not isinstance(self.step, Sleep):
            self.exchange.fate = CUT
            self.judge.broke(self, CUT)
            self._break(httpx.ReadError("cut by close"))

    def _break(self, reason: BaseException) -> None:
        if self.state == "ended":
            return
        if self.exchange is not None:
            self.exchange.stop()
        if self._pause is not None:
            self._pause[2] = None
        if self.state == "running":
            self._advance(None, reason)
            return
        self.thrown = reason
        self.exchange.arrived.clear()
        self.exchange.arrived.append(reason)
        with contextlib.suppress(type(reason)):
            next(self._chunks)
        self.ended(reason)

    def ended(self, error: BaseException | None) -> None:
        self.state, self.error, self.step = "ended", error, None
        self.play.flights.discard(self)
        self.world.story.append((self.world.now, "call", self.number, "ends", error or "well"))
        self.judge.ended(self)


class Play:
    """Play a scenario to its end, and past it until all is well again."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.world = World(scenario)
        self.flights: set[Flight] = set()
        self.cut = False
        self.judge = Judge(self.world, self.flights)
        self.world.judge = self.judge
        self.world.follow(Watched(self.world, self.judge))
        self._calls = 0

    def run(self) -> World:
        """Run it; `Violation` as soon as something is wrong."""
        world = self.world
        world.at(0.0, lambda: self._heard(Listing(0.0, self.scenario.first)))
        for part in self.scenario.parts:
            if not hasattr(part, "at"):
                continue
            world.at(part.at, lambda part=part: self._do(part))
        last = max((part.at for part in self.scenario.parts if hasattr(part, "at")), default=0.0)
        world.run(START + last, self.judge.look)
        world.run(world.now + self.judge.longest, self.judge.look)
        self.judge.all_ended()
        if not world.service.closed:
            self._heal()
        return world

    def _do(self, part: Any) -> None:
        world = self.world
        world.story.append((world.now, part))
        if isinstance(part, Begin):
            self._begin(part)
        elif isinstance(part, Mood):
            world.change(part.node, part.mood)
        elif isinstance(part, Listing):
            self._heard(part)
        elif isinstance(part, Jump):
            world.skew += part.seconds
        elif isinstance(part, Close):
            world.service.close()
            world.at(part.drain, self._cut)
        elif isinstance(part, Word):
            self._mark(part)

    def _begin(self, begin: Begin) -> Flight:
        self._calls += 1
        flight = Flight(self, begin, self._calls)
        self.flights.add(flight)
        if begin.gives_up is not None:
            self.world.at(begin.gives_up, flight.give_up)
        flight.start()
        return flight

    def _heard(self, said: Listing) -> None:
        self.world.hear(said)

    def _mark(self, word: Word) -> None:
        service = self.world.service
        with contextlib.suppress(ValueError):  # it is not listed now
            if word.online:
                service.mark_online(word.node)
            else:
                service.mark_offline(word.node, 5.0)
            self.judge.standing.marked_by_user(word.node, online=word.online)

    def _cut(self) -> None:
        self.cut = True
        for flight in sorted(self.flights, key=lambda flight: flight.number):
            flight.cut()

    def _heal(self) -> None:
        """Let every process be well and the registry say the truth; then all must be used again."""
        world = self.world
        for node in world.moods:
            world.moods[node] = "well"
        truth = world.listed.nodes or self.scenario.first
        world.skew = 0.0
        self._heard(Listing(0.0, truth))
        world.run(world.now + HEALING, self.judge.look)
        healed, calls = world.now, 0
        while calls < 2 * len(truth) or self.judge.standing.unused(healed):
            mark = self.scenario.marks[calls % len(self.scenario.marks)]
            world.at(0.0, lambda mark=mark: self._begin(Begin(0.0, mark=mark)))
            world.run(world.now + 11.0, self.judge.look)
            calls += 1
            most = PATIENCE * len(truth) * len(self.scenario.marks)
            demand(calls < most, "a node that is well gets no call")
        self.judge.all_well(truth)
