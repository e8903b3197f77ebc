"""What happens in one simulated world: plain values that a seed draws and shrinking leaves out."""

from __future__ import annotations

import random
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from rpcguard import Affinity, Node, Route, Routing, Subset
from tests.simulation.faults import ANSWERS, FAULTS, MOODS
from tests.simulation.keys import SESSIONS
from tests.simulation.lanes import CANARY
from tests.simulation.subsets import SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCH = 1_700_000_000.0
KEYED_SHARE = 0.3
"""Of the worlds, in which calls have keys: the rules of other worlds need most of them."""
PARTIAL_SHARE = 0.3
"""Of the worlds without lanes and keys, in which the caller uses a part of the nodes."""
POLICIES: dict[str, dict[str, list[Any]]] = {
    "retry": {
        "attempts": [1, 3, 4],
        "budget_floor": [0.0, 0.0, 0.1, 0.5],
        "budget_ratio": [0.0, 0.1, 1.0],
        "prefetch": [0, 4, 100],
        "prefetch_unknown": [True],
        "statuses": [frozenset({429, 503}), frozenset({404, 500})],
    },
    "ejection": {
        "consecutive": [1, 2, 2, 3, 100],
        "failure_rate": [0.2, 1.0],
        "min_calls": [2, 4],
        "duration": [0.5, 2.0, 20.0],
        "max_share": [0.0, 0.3, 1.0],
        "forgive_after": [1, 3],
        "max_duration": [4.0],
        "enforce": [False],
    },
    "slow_start": {"window": [0.0, 5.0, 30.0], "calls": [1, 5], "floor": [0.3], "curve": [1.0]},
    "offline": {"ttl": [3.0, 10.0], "max_ttl": [5.0], "max_share": [0.0, 1.0], "enforce": [False]},
    "": {"probes": [False]},
    "membership": {
        "shrink_hold": [5.0, 20.0],
        "empty_hold": [0.0, 30.0],
        "shrink_share": [0.2, 1.0],
    },
}


@dataclass(frozen=True, slots=True)
class Option:
    """Set a field of a policy, or of all of them, to something else than its default."""

    policy: str
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a call; `fates` are those of its attempts, "" leaves one to the node's mood."""

    at: float
    method: str = "GET"
    body: str = "bytes"
    keyed: bool = False
    fates: tuple[str, ...] = ()
    pace: float = 1.0
    length: int | None = 2
    timeout: float | None = 5.0
    options: Mapping[str, Any] = field(default_factory=dict)
    gives_up: float | None = None
    mark: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Mood:
    """Let a node's process be like this from now on."""

    at: float
    node: str
    mood: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Let the registry say this; `nodes` None is an answer that fails."""

    at: float
    nodes: tuple[Node, ...] | None
    authoritative: bool = True
    known: bool = True


@dataclass(frozen=True, slots=True)
class Jump:
    """Set the wall clock forward or back; the monotonic clock never moves but forward."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Word:
    """Let the user mark a node online, or offline for a while."""

    at: float
    node: str
    online: bool


@dataclass(frozen=True, slots=True)
class Close:
    """Close the service; what is still in flight after `drain` seconds is cut."""

    at: float
    drain: float


Part = Option | Begin | Mood | Listing | Jump | Word | Close


@dataclass(frozen=True, slots=True)
class Scenario:
    """Hold a whole simulated world; any part may be left out, and it is still one."""

    seed: int
    balancer: str
    first: tuple[Node, ...]
    parts: tuple[Part, ...]
    marks: tuple[str | None, ...] = (None,)

    def __str__(self) -> str:
        head = f"seed {self.seed}, {self.balancer}, first list:\n  "
        return head + "\n  ".join((*map(shown, self.first), "and then:", *map(shown, self.parts)))


def shown(value: Any) -> str:
    """Show a part or a node by what it has of its own."""
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))})"
    if not is_dataclass(value):
        return repr(value)
    told = (
        f"{one.name}={shown(getattr(value, one.name))}"
        for one in fields(value)
        if one.name not in ("host", "port") and getattr(value, one.name) != _default(one)
    )
    return f"{type(value).__name__}({', '.join(told)})"


def _default(of: Field[Any]) -> object:
    return of.default if of.default_factory is MISSING else of.default_factory()


def draw(seed: int) -> Scenario:
    """Draw a scenario."""
    rng, lanes, keys = (random.Random(one) for one in (seed, f"lanes of {seed}", f"keys of {seed}"))
    scenario = with_keys(_Drawing(rng, lanes).scenario(seed), keys)
    return with_subset(scenario, random.Random(f"subset of {seed}"))


def with_keys(scenario: Scenario, chance: random.Random) -> Scenario:
    """Give the calls of some worlds keys; whatever else happens in these is what it was."""
    if chance.random() > KEYED_SHARE:
        return scenario
    affinity = Affinity(balance=chance.choice((1.0, 1.5, 3.0)), least=chance.choice((1, 2, 2)))
    parts = (
        replace(part, session=chance.choice(SESSIONS)) if isinstance(part, Begin) else part
        for part in scenario.parts
    )
    return replace(scenario, parts=(Option("", "affinity", affinity), *parts))


def with_subset(scenario: Scenario, chance: random.Random) -> Scenario:
    """Let the callers of some worlds use a part of the nodes; lanes and keys are never cut."""
    options = (part.name for part in scenario.parts if isinstance(part, Option))
    taken = any(name in ("affinity", "routing") for name in options)
    if taken or chance.random() > PARTIAL_SHARE:
        return scenario
    subset = Option("", "subset", Subset(size=chance.choice(SIZES)))
    return replace(scenario, parts=(subset, *scenario.parts))


class _Drawing:
    """Draw the parts of a scenario, and remember what is true of the nodes meanwhile."""

    def __init__(self, rng: random.Random, chance: random.Random) -> None:
        # Lanes have a chance of their own, so that worlds without them stay what they were.
        self.rng, self.chance = rng, chance
        self.routed = chance.random() < 0.25
        self.lanes = (None, None, None, "x", "y") if chance.random() < 0.8 else ("x", "y")
        self.marks = (None, "x", "y", "z") if self.routed else (None,)
        self.span = rng.choice((4.0, 15.0, 60.0, 150.0))
        self.names = "abcdefgh"[: rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 6, 8))]
        mixed = rng.random()
        self.zones = ("x", "y") if mixed < 0.3 else (None,)
        self.priorities = (0, 0, 1) if 0.2 < mixed < 0.4 else (0,)
        self.weights = (1.0, 1.0, 2.0, 0.3) if mixed > 0.7 else (1.0,)
        self.truth = {name: self.node(name) for name in self.names}
        self.past = [tuple(self.truth.values())]

    def scenario(self, seed: int) -> Scenario:
        rng = self.rng
        parts: list[Any] = [*self.begins(), *self.moods(), *self.jumps(), *self.words()]
        first = self.past[0]
        parts += self.listings()
        if rng.random() < 0.3:
            parts += rng.choice((self.leases, self.wiped, self.half_dead, self.busy_resource))()
        if rng.random() < 0.12:
            parts.append(Close(self.moment(), rng.choice((0.0, 0.5, 5.0))))
        parts.sort(key=lambda part: part.at)
        balancer = rng.choice(("LeastLoaded",) * 4 + ("RoundRobin", "Random"))
        options = (*self.options(), *self.routing())
        return Scenario(seed, balancer, first, (*options, *parts), self.marks)

    def routing(self) -> list[Option]:
        """Draw rules, or none: without a window of slow start a share is exact."""
        if not self.routed:
            return []
        chance, rules = self.chance, []
        if chance.random() < 0.5:
            share = chance.choice((0.05, 0.5, 0.9))
            rules.append(Route("canary", share=share, to={"version": CANARY}))
        options = [Option("", "routing", Routing(rules=rules))]
        if rules and chance.random() < 0.7:
            options.append(Option("slow_start", "window", 0.0))
        return options

    def moment(self) -> float:
        return round(self.rng.random() * self.span, 3)

    def node(self, name: str, generation: int = 1, **fields: Any) -> Node:
        rng = self.rng
        return Node(
            f"10.0.0.{ord(name) - 96}",
            80,
            id=name,
            generation=generation,
            **{
                "weight": rng.choice(self.weights),
                "priority": rng.choice(self.priorities),
                "zone": rng.choice(self.zones),
                **self.routed_fields(),
                **fields,
            },
        )

    def routed_fields(self) -> dict[str, Any]:
        if not self.routed:
            return {}
        lane = self.chance.choice(self.lanes)
        fields: dict[str, Any] = {"version": self.chance.choice(("1", "1", CANARY))}
        return fields if lane is None else {**fields, "metadata": {"lane": lane}}

    def options(self) -> list[Option]:
        rng, chosen = self.rng, {}
        for _ in range(rng.choice((0, 1, 2, 4, 6))):
            policy = rng.choice(tuple(POLICIES))
            name = rng.choice(tuple(POLICIES[policy]))
            chosen[policy, name] = Option(policy, name, rng.choice(POLICIES[policy][name]))
        return list(chosen.values())

    def begins(self) -> list[Begin]:
        rng = self.rng
        bursts = [self.moment() for _ in range(rng.choice((1, 3, 6)))]
        wild = rng.choice((0.05, 0.2, 0.4, 0.8))
        return [self.begin(bursts, wild) for _ in range(rng.choice((6, 15, 30, 45)))]

    def begin(self, bursts: list[float], wild: float) -> Begin:
        rng = self.rng
        dense = rng.random() < 0.6
        kind, pace = rng.random(), rng.choice((1.0, 1.0, 0.5, 3.0, 30.0))
        soon = rng.choice((0.004, 0.015, 0.04, 0.08, 0.4)) * pace
        return Begin(
            at=round(rng.choice(bursts) + 0.4 * rng.random(), 3) if dense else self.moment(),
            method=rng.choice(("GET", "GET", "PUT", "POST", "POST")),
            body=rng.choice(("bytes", "bytes", "once")),
            keyed=kind < 0.05,
            fates=tuple(self.fate(wild) for _ in range(3)),
            pace=pace,
            length=rng.choice((0, 2, 2, 50, None)),
            timeout=rng.choice((5.0, 5.0, 1.0, 0.1)),
            options=self.call_options() if kind > 0.7 else {},
            gives_up=soon if rng.random() < 0.1 else None,
            mark=self.chance.choice(self.marks) if self.routed else None,
        )

    def fate(self, wild: float) -> str:
        rng = self.rng
        if rng.random() > wild:
            return ""
        return rng.choice(ANSWERS) if rng.random() < 0.3 else rng.choice(FAULTS)

    def call_options(self) -> dict[str, Any]:
        rng = self.rng
        whole = {
            "idempotent": rng.random() < 0.6,
            "attempts": rng.choice((1, 3, 3, 4)),
            "deadline": rng.choice((0.05, 0.3, 1.0, 8.0)),
            "attempt_timeout": rng.choice((0.05, 0.5, 2.0)),
        }
        return {name: value for name, value in whole.items() if rng.random() < 0.5}

    def moods(self) -> list[Mood]:
        rng, moods = self.rng, []
        kinds = [rng.choice(MOODS) for _ in range(rng.choice((1, 2)))]
        for _ in range(rng.choice((0, 1, 3, 6, 10))):
            at, kind, node = self.moment(), rng.choice(kinds), rng.choice(self.names)
            moods.append(Mood(at, node, kind))
            if rng.random() < 0.5:
                moods.append(Mood(round(at + rng.expovariate(0.3), 3), node, "well"))
        return moods

    def jumps(self) -> list[Jump]:
        rng = self.rng
        sizes = (-3600.0, -1.0, 0.5, 40.0, 1e6)
        return [Jump(self.moment(), rng.choice(sizes)) for _ in range(rng.choice((0, 0, 1, 2)))]

    def leases(self) -> list[Listing]:
        """Let the nodes' leases run out one by one, within a minute, as those of a lost etcd do."""
        at, left = self.moment(), list(self.past[-1])
        self.rng.shuffle(left)
        listed = []
        while left:
            left.pop()
            at = round(at + self.rng.random() * 4.0, 3)
            listed.append(Listing(at, tuple(left)))
        return listed

    def wiped(self) -> list[Listing]:
        """Let a registry that has lost everything say so again and again, while all nodes live."""
        at = self.moment()
        empty = [
            Listing(round(at + 5.0 * number, 3), ()) for number in range(self.rng.randint(2, 8))
        ]
        return [*empty, Listing(round(at + 45.0, 3), self.past[-1])]

    def half_dead(self) -> list[Mood]:
        """Let half of the nodes go at once: refuse, be silent, or fail when TCP stands."""
        at, names = self.moment(), list(self.names)
        mood = self.rng.choice(("dead", "cut off", "half open", "resetting"))
        dead = self.rng.sample(names, max(len(names) // 2, 1))
        back = round(at + self.rng.expovariate(0.1), 3)
        return [one for name in dead for one in (Mood(at, name, mood), Mood(back, name, "well"))]

    def busy_resource(self) -> list[Begin]:
        """Let calls of one busy endpoint be answered by a pause, whichever node they meet."""
        at, fate = self.moment(), self.rng.choice(("pause", "long pause", "leaving", "429"))
        times = (round(at + 0.3 * number, 3) for number in range(6))
        return [Begin(time, fates=(fate, fate, fate)) for time in times]

    def words(self) -> list[Word]:
        rng = self.rng
        return [
            Word(self.moment(), rng.choice(self.names), rng.random() < 0.5)
            for _ in range(rng.choice((0, 0, 0, 1, 2)))
        ]

    def listings(self) -> list[Listing]:
        moments = sorted(self.moment() for _ in range(self.rng.choice((0, 1, 3, 6, 10))))
        return [self.listing(at) for at in moments]

    def listing(self, at: float) -> Listing:
        rng, lie = self.rng, self.rng.random()
        if lie < 0.45:
            self.change(at)
            self.past.append(tuple(self.truth.values()))
            return Listing(at, self.past[-1])
        nodes, stale = list(self.past[-1]), rng.choice(self.past)
        if lie < 0.55:
            return Listing(at, (), known=rng.random() < 0.7)
        if lie < 0.67:
            return Listing(at, tuple(nodes[: len(nodes) // 2]))
        if lie < 0.75:
            return Listing(at, stale)
        if lie < 0.80:
            return Listing(at, (*nodes, *stale, self.node(rng.choice(self.names), 2)))
        if lie < 0.85:
            return Listing(at, tuple(rng.sample(nodes, rng.randint(0, len(nodes)))), False)
        return Listing(at, None) if lie < 0.9 else Listing(at, self.past[-1])

    def change(self, at: float) -> None:
        """Change what is true: a node comes, goes, starts anew, is drained or weighs else."""
        rng, name = self.rng, self.rng.choice("abcdefgh"[: len(self.names) + 1])
        old, kind = self.truth.get(name), rng.random()
        if old is None:
            self.truth[name] = self.node(name, started_at=EPOCH + at - rng.choice((1.0, 60.0)))
        elif kind < 0.3 and len(self.truth) > 1:
            del self.truth[name]
        elif kind < 0.6:
            self.truth[name] = self.node(name, int(old.generation or 1) + 1)
        elif kind < 0.75:
            self.truth[name] = self.node(name, int(old.generation or 1), weight=2.0)
        elif kind < 0.9:
            status = rng.choice(("draining", "down"))
            self.truth[name] = self.node(name, int(old.generation or 1), status=status)
        else:
            self.truth[name] = self.node(name, int(old.generation or 1))
