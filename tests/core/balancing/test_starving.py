"""Nodes of one busy machine become slower and faster together; none of them is passed over."""

from __future__ import annotations

import math
import random

import pytest

from rpcguard import SlowStart
from rpcguard._commands.demo.recording import CallRecord, Recording, Sighting
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import FleetProvider, Simulation
from tests.support.starving import STEP, starved

NODES = ("a", "b", "c", "d", "e")
SECONDS = 60.0
RATE = 50.0


class BusyMachine(Simulation):
    """Five nodes on a machine that has other work to do, and one after the other is released.

    What a call takes goes up and down between 5 and 200 ms, for all nodes alike, and from call to
    call by half as much again. A node that is back has cold caches for 2 s.
    """

    def __init__(self, seed: int) -> None:
        chance, level = random.Random(seed), 0.0
        self.levels: list[float] = []
        for _ in range(int(SECONDS / STEP) + 100):
            level = 0.95 * level + chance.gauss(0.0, 0.25)
            self.levels.append(0.03 * math.exp(level))
        self.back = dict.fromkeys(NODES, 0.0)
        providers = {name: FleetProvider(self.takes(name), workers=999) for name in NODES}
        policies = Policies(slow_start=SlowStart(window=6.0))
        super().__init__(providers, policies=policies, seed=seed)
        self.recording = Recording(NODES, RATE, 2.0, seconds=SECONDS)

    def takes(self, name: str):
        def seconds(_: float, rng: random.Random) -> float:
            usual = max(self.levels[int(self.elapsed / STEP)], 0.005)
            took = usual * math.exp(rng.gauss(0.0, 0.5))
            return max(took, 0.06) if self.elapsed < self.back[name] + 2.0 else took

        return seconds

    def release(self, name: str) -> None:
        """Take a node off the list, and list it anew after 2.5 s."""

        def come_back() -> None:
            self.back[name] = self.elapsed
            self.list_nodes(NODES)

        self.list_nodes([other for other in NODES if other != name])
        self.at(2.5, come_back)

    def look(self) -> None:
        """Note the state of each node, as the demo does."""
        seen = {view.node.id: view for view in self.services[0].nodes()}
        for name in NODES:
            state = seen[name].state if name in seen else None
            self.recording.sightings.append(Sighting(self.elapsed, name, state, None))
        self.at(STEP, self.look)

    def play(self) -> Recording:
        """Play a minute; give the calls as the demo records them."""
        self.list_nodes(NODES)
        self.look()
        for number in range(8):
            name = NODES[number % len(NODES)]
            self.at(4.0 + 6.0 * number, lambda name=name: self.release(name))
        began = self.now
        self.arrive(RATE, SECONDS)
        self.run(SECONDS)
        self.recording.calls += [
            CallRecord("rpcguard", "GET", call.at - began, call.seconds, call.nodes[-1])
            for call in self.calls
        ]
        return self.recording


@pytest.mark.parametrize("seed", range(6, 16))
def test_nodes_that_become_slower_together_keep_their_shares(seed):
    """An available node below half of an equal share for more than two seconds: never.

    Averages of others are of a time that is past, and that of a node that has come back is of now:
    by them alone it looks slow, and gets no call for seconds.
    """
    assert starved(BusyMachine(seed).play(), span=2.0) == []
