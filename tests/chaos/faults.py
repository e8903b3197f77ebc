"""The faults, each with its way back, and how they are composed at random from a seed."""

from __future__ import annotations

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.network import DELAY, LOSS, SILENCE

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future

    from tests.chaos.ledger import Ledger
    from tests.chaos.network import Network
    from tests.chaos.nodes import Provider, Registry

MOST_HURT = 3
"""Nodes that are hurt at a time, of 8; all of them only where that is the fault."""

_DYING = 5.0


@dataclass(frozen=True)
class World:
    """What can be hurt."""

    providers: list[Provider]
    registry: Registry
    network: Network
    ledger: Ledger
    over: threading.Event

    def stay(self, seconds: float) -> None:
        """Let a fault last, but not beyond the run."""
        self.over.wait(seconds)


# Faults of one node


def _start(world: World, node: Provider, rng: random.Random) -> None:
    world.stay(rng.uniform(0.1, 2.0))
    node.start(cold=rng.choice((0.0, 0.0, 2.0)))
    node.wait()


def release(world: World, node: Provider, rng: random.Random) -> None:
    """The node announces that it leaves, stops a second later, comes back."""
    node.say("leave")
    world.stay(1.0)
    node.stop()
    _start(world, node, rng)


def term(world: World, node: Provider, rng: random.Random) -> None:
    """SIGTERM without an announcement."""
    node.stop()
    _start(world, node, rng)


def kill(world: World, node: Provider, rng: random.Random) -> None:
    """SIGKILL; the registry lists the node until its check expires."""
    node.kill()
    _start(world, node, rng)


def die_in_body(world: World, node: Provider, rng: random.Random) -> None:
    """The process dies in the middle of an answer."""
    node.say("die")
    if not node.ended(_DYING):
        node.kill()
    _start(world, node, rng)


def freeze(world: World, node: Provider, rng: random.Random) -> None:
    """SIGSTOP, and SIGCONT some seconds later."""
    node.signal(signal.SIGSTOP)
    world.stay(rng.uniform(0.3, 6.0))
    node.signal(signal.SIGCONT)


def sick(world: World, node: Provider, rng: random.Random) -> None:
    """The node answers 500 or 503 at once, after it has done the work."""
    node.say(f"sick {rng.choice((500, 503))}")
    world.stay(rng.uniform(1.0, 5.0))
    node.say("well")


def slow(world: World, node: Provider, rng: random.Random) -> None:
    """The node takes long for each call, too long for some."""
    node.say(f"slow {rng.choice((0.1, 0.4, 2.0))}")
    world.stay(rng.uniform(1.0, 5.0))
    node.say("well")


def lose(world: World, node: Provider, rng: random.Random) -> None:
    """Packets to and from the node are lost."""
    world.network.lose(node.host, rng.uniform(0.05, 0.4))
    world.stay(rng.uniform(1.0, 5.0))
    world.network.heal(node.host)


def delay(world: World, node: Provider, rng: random.Random) -> None:
    """Packets to and from the node are late."""
    world.network.delay(node.host)
    world.stay(rng.uniform(1.0, 5.0))
    world.network.heal(node.host)


def silence(world: World, node: Provider, rng: random.Random) -> None:
    """Nothing gets to the node or comes from it."""
    world.network.lose(node.host, 1.0)
    world.stay(rng.uniform(1.0, 5.0))
    world.network.heal(node.host)


# Faults of the registry, and of everything


def stop_registry(world: World, rng: random.Random) -> None:
    """The registry is stopped, and comes back with what it knew."""
    world.registry.stop()
    world.stay(rng.uniform(1.0, 6.0))
    world.registry.start()


def wipe_registry(world: World, rng: random.Random) -> None:
    """The registry crashes and comes back empty; the nodes register again in a second or two."""
    world.registry.kill()
    world.registry.wipe()
    world.stay(rng.uniform(0.0, 3.0))
    world.registry.start()


def partition_registry(world: World, rng: random.Random) -> None:
    """The registry runs and is reached by nobody; for longer than the nodes' checks live."""
    world.registry.signal(signal.SIGSTOP)
    world.stay(rng.uniform(2.0, 8.0))
    world.registry.signal(signal.SIGCONT)


def all_down(world: World, rng: random.Random) -> None:
    """Every provider is killed; they come back one after the other."""
    for node in world.providers:
        node.kill()
    world.stay(rng.uniform(0.2, 2.0))
    for node in world.providers:
        node.start()
    for node in world.providers:
        node.wait()


_OF_A_NODE: dict[str, Callable[[World, Provider, random.Random], None]] = {
    "release": release,
    "term": term,
    "kill": kill,
    "die in body": die_in_body,
    "freeze": freeze,
    "sick": sick,
    "slow": slow,
    "packet loss": lose,
    "delay": delay,
    "silence": silence,
}
_NEEDS = {"packet loss": LOSS, "delay": DELAY, "silence": SILENCE}
_OF_THE_REGISTRY: dict[str, Callable[[World, random.Random], None]] = {
    "registry stopped": stop_registry,
    "registry wiped": wipe_registry,
    "registry partitioned": partition_registry,
}
ALL_DOWN = "all down"


@dataclass(frozen=True, slots=True)
class Episode:
    """Faults that begin within a second; `nodes` maps the number of a node to its fault."""

    nodes: dict[int, str]
    registry: str | None
    calm: float

    @property
    def total(self) -> bool:
        return ALL_DOWN in self.nodes.values()


class Composer:
    """Draw episodes from a seed; every kind that is able comes in each round of the kinds."""

    def __init__(self, seed: int, *, nodes: int, able: frozenset[str]) -> None:
        self._rng = random.Random(seed)
        self._numbers = range(nodes)
        self._kinds = [kind for kind in _OF_A_NODE if kind not in _NEEDS or _NEEDS[kind] in able]
        self._bags: dict[str, list[str]] = {}

    def next(self) -> Episode:
        """Draw the next episode."""
        rng = self._rng
        calm = rng.uniform(0.5, 2.0)
        if self._draw("all", [ALL_DOWN, *[""] * 19]):
            return Episode(dict.fromkeys(self._numbers, ALL_DOWN), None, calm + 3.0)
        count = rng.choice((1, 1, 2, 2, MOST_HURT))
        hurt = rng.sample(self._numbers, count)
        registry = self._draw("registry", [*_OF_THE_REGISTRY, *[""] * 9])
        return Episode({one: self._draw("node", self._kinds) for one in hurt}, registry, calm)

    def _draw(self, bag: str, kinds: list[str]) -> str:
        if not self._bags.get(bag):
            self._bags[bag] = self._rng.sample(kinds, len(kinds))
        return self._bags[bag].pop()

    @property
    def seed(self) -> int:
        """Draw a seed for one fault."""
        return self._rng.getrandbits(32)


def play(world: World, composer: Composer) -> None:
    """Play episodes until the run is over; whatever goes wrong in a fault ends it."""
    with ThreadPoolExecutor(MOST_HURT + 1) as hands:
        while not world.over.is_set():
            _play_one(world, composer, hands)


def _play_one(world: World, composer: Composer, hands: ThreadPoolExecutor) -> None:
    episode, begun = composer.next(), []
    if episode.total:
        begun = [hands.submit(_hurt_all, world, random.Random(composer.seed))]
    else:
        for number, kind in episode.nodes.items():
            rng = random.Random(composer.seed)
            begun.append(hands.submit(_hurt_node, world, world.providers[number], kind, rng))
    if episode.registry:
        rng = random.Random(composer.seed)
        begun.append(hands.submit(_hurt_registry, world, episode.registry, rng))
    _finish(begun)
    world.stay(episode.calm)


def _finish(begun: list[Future[None]]) -> None:
    for one in begun:
        one.result()


def _hurt_node(world: World, node: Provider, kind: str, rng: random.Random) -> None:
    world.stay(rng.uniform(0.0, 1.0))
    with world.ledger.trouble(kind, node.name):
        _OF_A_NODE[kind](world, node, rng)


def _hurt_registry(world: World, kind: str, rng: random.Random) -> None:
    world.stay(rng.uniform(0.0, 1.0))
    with world.ledger.trouble(kind):
        _OF_THE_REGISTRY[kind](world, rng)


def _hurt_all(world: World, rng: random.Random) -> None:
    with world.ledger.trouble(ALL_DOWN, *(node.name for node in world.providers)):
        all_down(world, rng)


def wait_for(works: list[threading.Thread], timeout: float) -> bool:
    """Wait for threads to end; False when one has not."""
    end = time.monotonic() + timeout
    for work in works:
        work.join(max(end - time.monotonic(), 0.0))
    return not any(work.is_alive() for work in works)
