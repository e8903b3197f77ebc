"""What every input must leave unharmed: the names of nodes, the cost of a pick, memory, the log."""

from __future__ import annotations

import gc
import json
import logging
import random
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from cachetools import LRUCache

from rpcguard._core.balancing.least_loaded import LeastLoaded
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._core.outcomes.verdict import Verdict, cancelled
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.service.service import Service
from rpcguard._telemetry.log import EventLog
from rpcguard.testing import ManualClock

if TYPE_CHECKING:
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.nodes.view import NodeView

LONGEST_PICK = 0.010
LONGEST_INPUT = 0.250
LONGEST_NAME = 1024
MOST_BLOCKS = 40_000
_PICKS = 2
_GLANCE = 0.001  # to ask for the time of the processor itself takes longer than a pick


class Broken(AssertionError):  # noqa: N818
    """Report an input that did harm."""


class Stand:
    """Keep one service for many inputs, and see to it that none makes picks slow or anything grow.

    `slowest_pick` and `slowest_input` are seconds, of processor time where they are long; `grown`
    counts the blocks of memory that Python holds more than after the first fifth of the inputs.
    """

    def __init__(self) -> None:
        self.slowest_pick = 0.0
        self.slowest_input = 0.0
        self.grown = 0
        self._blocks = 0
        self._clock = ManualClock(1000.0)
        self._journal = EventLog(clock=self._clock)
        self._taken: LRUCache[int, bool] = LRUCache(512)
        self._service = Service(
            "orders",
            policies=Policies(balancer=lambda: LeastLoaded(rng=random.Random(1))),
            effects=self,
            clock=self._clock,
            wall=lambda: 1_700_000_000.0 + self._clock(),
            rng=random.Random(1),
        )

    # What a service asks for

    def emit(self, event) -> None:
        self._journal.record(event)

    def probe(self, service, live) -> None:
        live.probing = False

    def retire(self, live) -> None:
        pass

    # What a target does

    def take(self, snapshot: Snapshot) -> None:
        """List the nodes, look at each, and pick."""
        if not isinstance(snapshot, Snapshot):
            raise Broken(f"{snapshot!r} is no snapshot")
        key = hash(snapshot.nodes)
        if key in self._taken:
            return  # most inputs make a list that another has made
        self._taken[key] = True
        for node in snapshot.nodes:
            _look_at(node)
        self._clock.advance(1.0)
        self._service.reconcile(snapshot)
        for _ in range(_PICKS):
            self.pick()

    def pick(self, verdict: Verdict | None = None) -> None:
        """Pick a node, in time; the attempt comes to this verdict."""
        # Whatever else the machine does may come in between, but not every time.
        for clock in (time.perf_counter, *[time.thread_time] * 4):
            begun = clock()
            lease = self._service.pick(repeatable=True)
            taken = clock() - begun
            if lease is not None:
                self._service.settle(lease, verdict or cancelled())
                self._service.release(lease)
            if taken < (_GLANCE if clock is time.perf_counter else LONGEST_PICK):
                break
        else:
            raise Broken(f"a pick took {taken * 1000:.1f} ms")
        self.slowest_pick = max(self.slowest_pick, taken)

    def views(self) -> list[NodeView]:
        """Show the list."""
        self._clock.advance(1.0)
        return self._service.nodes()

    def timed(self, run, data: bytes) -> None:
        """Run an input, which must not take long for its size."""
        for clock in (time.perf_counter, *[time.thread_time] * 2):
            begun = clock()
            run(self, data)
            taken = clock() - begun
            if taken < (10 * _GLANCE if clock is time.perf_counter else LONGEST_INPUT):
                break
        else:
            raise Broken(f"{len(data)} bytes took {taken:.3f} s")
        self.slowest_input = max(self.slowest_input, taken)

    def weigh(self, *, first: bool) -> None:
        """Look at the memory that Python holds; after the first time it may not grow much."""
        gc.collect()
        blocks = sys.getallocatedblocks()
        if first:
            self._blocks = blocks
        self.grown = blocks - self._blocks
        if self.grown > MOST_BLOCKS:
            raise Broken(f"memory has grown by {self.grown} blocks")


class Plain(logging.Handler):
    """See to it that no line of the log has a control character, or is endless."""

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if not line.isprintable():
            raise Broken(f"the log has {line!r}")
        if len(line) > 4 * LONGEST_NAME:
            raise Broken(f"a line of the log has {len(line)} characters")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise


def listen() -> Plain:
    """Watch the log, and nothing else of it."""
    logger, handler = logging.getLogger("rpcguard"), Plain()
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return handler


def _look_at(node: Node) -> None:
    names = node.id, node.zone, node.version, node.generation
    for name in names:
        if name is not None and not (str(name).isprintable() and len(str(name)) <= LONGEST_NAME):
            raise Broken(f"a node is called {name!r}")
    if not (0 <= node.weight < float("inf") and 0 < node.port < 65536):
        raise Broken(f"{node!r} cannot be picked")
    hash(node)
    json.dumps({**node.metadata}).encode()
    _dial(node.host, node.scheme, node.port)


@lru_cache(maxsize=1024)
def _dial(host: str, scheme: str | None, port: int) -> None:
    if not (host.isascii() and host.isprintable()) or set(host) & set(" /?#@\\%\"'<>"):
        raise Broken(f"host {host!r} is none")
    host.encode("idna")  # as the resolver does
    httpx.URL("http://orders/path").copy_with(scheme=scheme or "http", host=host, port=port)
