"""A network and a clock that are made up: nodes, their processes, what passes between, and when."""

from __future__ import annotations

import heapq
import math
import random
import weakref
from collections import Counter, deque
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx

from rpcguard import LeastLoaded, Random, RoundRobin, Snapshot
from rpcguard._core.outcomes.responses import GOAWAY
from rpcguard._core.policies.bundle import Policies
from rpcguard._discovery.feed import Feed
from rpcguard._discovery.http_probe import Found
from rpcguard._discovery.probes import probing
from rpcguard.testing import ScriptedRegistry
from tests.simulation.faults import CRASHED, FATES, PROBES, PROCESS, Fate, Headers
from tests.simulation.scenario import EPOCH, Option
from tests.simulation.standing import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rpcguard import Node
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.effects import Event
    from rpcguard._core.service.service import Service
    from tests.simulation.scenario import Begin, Listing, Scenario

START = 1000.0
CHUNK = b"x"
TIMEOUTS = {
    "connect": ("connect", httpx.ConnectTimeout, "unconnected", "connect"),
    "write": ("write", httpx.WriteTimeout, "maybe", "failure"),
    "headers": ("read", httpx.ReadTimeout, "maybe", "failure"),
    "body": ("read", httpx.ReadTimeout, "maybe", "failure"),
    "rest": ("read", httpx.ReadTimeout, "maybe", "failure"),
}
BALANCERS: dict[str, Any] = {
    "LeastLoaded": LeastLoaded,
    "RoundRobin": RoundRobin,
    "Random": Random,
}

Entry = list[Any]


class Agenda:
    """Keep what is to be done, and do it in order; nothing waits."""

    def __init__(self) -> None:
        self.now = START
        self._order = count()
        self._entries: list[Entry] = []

    def at(self, seconds: float, action: Callable[[], None]) -> Entry:
        """Do something so many seconds from now, unless its entry is struck out."""
        entry = [self.now + seconds, next(self._order), action]
        heapq.heappush(self._entries, entry)
        return entry

    def run(self, until: float, after: Callable[[], None]) -> None:
        """Let time pass; call `after` behind every action."""
        entries = self._entries
        while entries and entries[0][0] <= until:
            moment, _, action = heapq.heappop(entries)
            if action is None:
                continue
            self.now = moment
            action()
            after()
        self.now = max(self.now, until)


class World(Agenda):
    """Hold the processes of the nodes, and do for the service what a transport does."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.scenario = scenario
        self.rng = random.Random(scenario.seed)
        self.skew = 0.0
        self.moods: dict[str, str] = {}
        self.runs: Counter[int] = Counter()
        self.children: set[LiveNode] = set()
        self.wrong: Violation | None = None
        self.busy: dict[Exchange, None] = {}
        self.retired: list[LiveNode] = []
        self.story: list[tuple[Any, ...]] = []
        self.listed: Listing | None = None
        self.policies = _policies(scenario, self.rng)
        self.service: Service
        self.feed: Feed
        self.judge: Any

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now - START + self.skew

    def follow(self, service: Service) -> None:
        """Make the feed of a service; what its registry says is put into it by hand."""
        self.service = service
        self.feed = Feed(service, ScriptedRegistry())

    def change(self, node: str, mood: str) -> None:
        """Let a node's process change; one that dies breaks what it was at."""
        self.moods[node] = mood
        if mood == "dead":
            for exchange in list(self.busy):
                if exchange.node.id == node:
                    exchange.crash()

    def hear(self, said: Listing) -> None:
        """Let the feed take what the registry says."""
        if said.nodes is None:
            self.feed._troubled("simulated", "RegistryError")
            return
        self.listed = said
        self.feed._take(Snapshot(said.nodes, authoritative=said.authoritative, known=said.known))

    # What the service asks for

    def emit(self, event: Event) -> None:
        self.story.append((self.now, event.kind, event.node or "", event.reason, event.enforced))
        self.judge.told(event)

    def retire(self, live: LiveNode) -> None:
        try:
            self.judge.retired(live)
        except Violation as violation:
            # Whoever delivers effects prints what they raise and goes on.
            self.wrong = self.wrong or violation
        self.children.discard(live)

    def probe(self, service: Service, live: LiveNode) -> None:
        steps = probing(weakref.ref(service), live)

        def connect() -> None:
            found = Found(PROBES.get(self.moods.get(live.node.id, "well"), True))
            pause_before(lambda: steps.send(found))

        def pause_before(step: Callable[[], float]) -> None:
            try:
                pause = step()
            except StopIteration:
                return
            self.at(pause, connect)

        pause_before(lambda: next(steps))

    # What the network does

    def converse(
        self, live: LiveNode, begin: Begin, number: int, call: int, timeouts: Mapping[str, Any]
    ) -> Exchange:
        """Let an attempt meet its fate."""
        self.children.add(live)
        node = live.node
        own = begin.fates[number - 1] if number <= len(begin.fates) else ""
        fate = FATES[own or PROCESS[self.moods.get(node.id, "well")]]
        self.story.append((self.now, "call", call, "attempt", number, node.id, fate.name))
        return Exchange(self, fate, begin, node, call, timeouts)


class Exchange:
    """Be one request on its way, and the answer: stages that take their time, or end it.

    `fate` is what has come of it so far; a timeout may have changed it.
    """

    def __init__(
        self,
        world: World,
        fate: Fate,
        begin: Begin,
        node: Node,
        call: int,
        timeouts: Mapping[str, Any],
    ) -> None:
        self.world, self.fate, self.node, self.timeouts = world, fate, node, timeouts
        self.body: Any = None
        self._call = call
        self._entry: Entry | None = None
        self._then: Callable[[Exception | None], None]
        length = begin.length
        if fate.until in ("body", "rest") and not length:
            length = 2
        pace = 0.01 * begin.pace * fate.slow
        early = {stage: 0.001 * (stage == fate.until) for stage in ("connect", "write")}
        stages = [*early.items(), ("headers", pace)]
        if length != 0:
            stages += [("body", 0.002), ("rest", 0.02 * begin.pace)]
        self.stages = deque(stages)
        self.length = length
        self.arrived: deque[Any] = deque()

    def play(self, last: str, then: Callable[[Exception | None], None]) -> None:
        """Go on up to and with a stage; tell how that came out."""
        error = None
        while self.stages and error is None:
            stage, seconds = self.stages.popleft()
            if stage == self.fate.until and self.fate.silent:
                seconds = math.inf
            limit = self.timeouts.get(TIMEOUTS[stage][0])
            late = limit is not None and seconds > limit
            if seconds or late:
                go_on = partial(self._go_on, stage, last, then, late=late)
                self._entry = self.world.at(limit if late else seconds, go_on)
                self._then = then
                self.world.busy[self] = None
                return
            error = self._passed(stage)
            if stage == last:
                break
        then(error)

    def _go_on(
        self, stage: str, last: str, then: Callable[[Exception | None], None], *, late: bool
    ) -> None:
        self._rest()
        error = self._timed_out(stage) if late else self._passed(stage)
        if error is not None or stage == last:
            then(error)
        else:
            self.play(last, then)

    def _passed(self, stage: str) -> Exception | None:
        if stage == "write":
            self._write()
        if stage == self.fate.until and self.fate.error is not None:
            return self.fate.error()
        if stage in ("body", "rest"):
            self.arrived.append(CHUNK)
        return None

    def _write(self) -> None:
        for _ in self.body:
            pass
        if self.fate.runs:
            self.world.runs[self._call] += 1

    def _timed_out(self, stage: str) -> Exception:
        _, kind, truth, blame = TIMEOUTS[stage]
        name = f"{self.fate.name}, timed out"
        self.fate = replace(
            self.fate, name=name, truth=truth, blame=blame, status=0, says="", stale=False
        )
        return kind("simulated")

    def stop(self) -> None:
        """Let nothing more happen."""
        if self._entry is not None:
            self._entry[2] = None
            self._rest()
        self.stages.clear()

    def _rest(self) -> None:
        self._entry = None
        self.world.busy.pop(self, None)

    def crash(self) -> None:
        """Let the node's process die now."""
        if self._entry is None:
            return
        self.stop()
        self.fate = CRASHED
        self._then(httpx.ReadError("crashed"))

    def reply(self) -> Reply:
        """Give the answer whose headers have come."""
        pairs = [(name, self._filled(value)) for name, value in self.fate.headers]
        if self.length is not None:
            pairs.append((b"Content-Length", b"%d" % self.length))
        return Reply(self, pairs)

    def _filled(self, value: bytes) -> bytes:
        if b"SELF" in value:
            return value.replace(b"SELF", self.node.address.encode())
        if value == b"OTHER":
            return b"10.0.0.1:80" if self.node.host != "10.0.0.1" else b"10.0.0.2:80"
        if value == b"DATE":
            date = math.floor(EPOCH + self.world.now - START + 20.0)
            left = date - self.world.wall()
            self.fate = replace(self.fate, ttl=left, says="pause" if left > 0.0 else "")
            return formatdate(date, usegmt=True).encode()
        return value


class Reply:
    """Be an answer whose headers are there; its stream gives what has arrived of the body."""

    def __init__(self, exchange: Exchange, pairs: list[tuple[bytes, bytes]]) -> None:
        self.exchange = exchange
        self.status_code = exchange.fate.status
        self.headers = Headers(pairs)
        self.extensions: dict[str, Any] = {GOAWAY: True} if exchange.fate.goaway else {}
        self.stream = self
        self.closed = False

    def __iter__(self) -> Reply:
        return self

    def __next__(self) -> bytes:
        arrived = self.exchange.arrived
        if not arrived:
            raise StopIteration
        item = arrived.popleft()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self.closed = True
        self.exchange.stop()


def _policies(scenario: Scenario, rng: random.Random) -> Policies:
    policies = Policies(balancer=lambda: BALANCERS[scenario.balancer](rng=rng))
    for part in scenario.parts:
        if isinstance(part, Option):
            change = {part.name: part.value}
            if part.policy:
                change = {part.policy: replace(getattr(policies, part.policy), **change)}
            policies = replace(policies, **change)
    return policies
