"""Half of ten thousand nodes dead: what the probes cost, and how soon who is back is found."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections import Counter, deque
from typing import TYPE_CHECKING

import anyio
import pytest

from rpcguard import Node, RoundRobin
from rpcguard._discovery import probes as probing
from rpcguard._discovery.probes import probe
from rpcguard._discovery.turns import MOST, RATE
from tests.support.stage import GOOD, REFUSED, Stage, leaving
from tests.support.virtual import run_by

if TYPE_CHECKING:
    from rpcguard._core.outcomes.verdict import Verdict

LISTED, DEAD = 10_000, 5_000
RETURNS = 40
BACK = 180.0
"""Seconds within which a dead node that returns is found."""
BACK_MARKED = 2.0
"""Seconds within which one is found that said that it leaves, and restarted."""


class Fleet:
    """Ten thousand nodes of which half swallow every connection, and a caller of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probing, "_connects", self.connects)
        self.listed = [
            Node(f"10.{number >> 8}.{number & 255}.1", 80, id=f"n{number}")
            for number in range(LISTED)
        ]
        self.stage = Stage(balancer=RoundRobin)
        self.stage.list(*self.listed)
        self.dead = {node.host for node in self.listed[:DEAD]}
        self.connecting, self.peak = 0, 0
        self.probed: Counter[str] = Counter()
        self.starts: deque[float] = deque()
        self.most_a_second = 0

    def now(self) -> float:
        return self.stage.clock()

    async def connects(
        self, host: str, port: int, timeout: float, asked: str | None = None, *, uds: str | None
    ) -> bool:
        self.probed[host] += 1
        self.starts.append(self.now())
        while self.starts[0] < self.now() - 1.0 + 1e-6:
            self.starts.popleft()
        self.most_a_second = max(self.most_a_second, len(self.starts))
        self.connecting += 1
        self.peak = max(self.peak, self.connecting)
        await anyio.sleep(timeout if host in self.dead else 0.002)
        self.connecting -= 1
        return host not in self.dead

    def play(self, story) -> None:
        async def main() -> None:
            async with anyio.create_task_group() as group:
                ref = weakref.ref(self.stage.service)
                self.stage.probe = lambda _, live: group.start_soon(probe, ref, live)
                self.call(LISTED + DEAD)
                group.start_soon(self.caller)
                await story(group)
                group.cancel_scope.cancel()

        run_by(self.stage.clock, main)

    def call(self, count: int) -> None:
        for _ in range(count):
            lease = self.stage.pick()
            self.stage.end(lease, REFUSED if lease.live.node.host in self.dead else GOOD)

    async def caller(self) -> None:
        while True:
            await anyio.sleep(1.0)
            self.call(5)


@pytest.fixture
def fleet(monkeypatch):
    return Fleet(monkeypatch)


def told(fleet: Fleet, node: Node, kind: str) -> bool:
    """Tell whether an event of a node was told; the events are dropped as they are read."""
    return any(event.node == node.id and event.kind == kind for event in fleet.stage.told)


async def found(fleet: Fleet, node: Node, patience: float) -> float:
    """Let a node be back; give the seconds after which it is restored."""
    fleet.stage.told.clear()
    fleet.dead.discard(node.host)
    began = fleet.now()
    while not told(fleet, node, "restored"):
        await anyio.sleep(0.1)
        assert fleet.now() - began <= patience, f"{node.id} is not found"
    return fleet.now() - began


def test_the_cost_of_five_thousand_dead_nodes_is_bounded(fleet):
    """At most 32 probes at once and 50 a second, one prober a node, and memory stays flat."""
    sizes, tasks = [], []

    async def story(_group) -> None:
        for _ in range(3):
            await anyio.sleep(100.3)  # the watch for lost probes comes around meanwhile
            fleet.stage.told.clear()
            sizes.append(sys.getallocatedblocks())
            tasks.append(len(asyncio.all_tasks()))

    fleet.play(story)
    assert fleet.peak == MOST
    assert fleet.most_a_second <= RATE + 1
    assert len(fleet.probed) >= DEAD
    assert max(tasks) <= DEAD + 10
    assert sizes[2] < 1.05 * sizes[1]


def test_a_dead_node_that_returns_is_found(fleet):
    """Whenever it returns, its turn comes within three minutes."""

    async def story(group) -> None:
        await anyio.sleep(100.0)
        for node in fleet.listed[: DEAD : DEAD // RETURNS]:
            group.start_soon(found, fleet, node, BACK)
            await anyio.sleep(2.3)
        await anyio.sleep(BACK)

    fleet.play(story)


def test_marked_and_just_ejected_nodes_go_first(fleet):
    """A restart behind 5,000 dead nodes is found within 2 s, and so is who was only cut off."""

    def call(verdict: Verdict) -> Node:
        lease = fleet.stage.pick()
        fleet.stage.end(lease, verdict)
        return lease.live.node

    async def story(_group) -> None:
        await anyio.sleep(200.0)  # the dead ones are not new any more
        marked = call(leaving(60.0))
        await anyio.sleep(3.0)
        fleet.dead.add(marked.host)
        await anyio.sleep(8.0)
        await found(fleet, marked, BACK_MARKED)
        await found(fleet, call(REFUSED), BACK_MARKED)

    fleet.play(story)
