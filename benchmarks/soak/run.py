"""Call for half an hour through a release every minute, and see whether anything grows.

`python -m benchmarks.soak.run [--minutes 30] [--rate 200] [--plot FILE]`. Eight providers, a
Consul, asyncio, trio and threads in one process, whose memory, descriptors, threads and tasks are
sampled. Each release restarts all eight, one after the other. Exits with 1 when something grows or
a call fails.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import rpcguard
from benchmarks.lib.report import Check, Table
from rpcguard._discovery.background import background
from tests.chaos.callers import Load, run_callers
from tests.chaos.faults import World, release, wait_for
from tests.chaos.ledger import Ledger, executions
from tests.chaos.network import enter_namespace
from tests.chaos.run import started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.ledger import Attempts, Failed
    from tests.chaos.network import Network
    from tests.chaos.nodes import Provider, Registry

SAMPLE = 5.0
WARM_UP = 1 / 6
"""Share of the run in which caches, connections and the allocator find their size."""

PERIOD = 60.0
"""Seconds from release to release."""

BARS = {"memory": (2.0, "MiB"), "descriptors": (8.0, ""), "threads": (1.0, ""), "tasks": (2.0, "")}
"""How much a robust line through the least of each period may rise after the warm-up.

The least, since what is never given back raises the floor, where a busy machine raises the peaks:
more calls at a time take more connections. One descriptor in each release would be 25.
"""

_PAGE = os.sysconf("SC_PAGESIZE")


@dataclass
class Tally:
    """Count calls, and keep nothing of those that succeed."""

    calls: int = 0
    retried: int = 0
    restarts: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, _kind: str, _took: float, attempts: Attempts) -> None:
        with self._changing:
            self.calls += 1
            self.retried += len(attempts) > 1

    def lost(self, kind: str, failed: Failed) -> None:
        with self._changing:
            self.calls += 1
            tried = ", ".join(f"{node} {outcome}" for node, outcome, _ in failed.attempts)
            self.failed.append(f"{kind} {failed.method}: {failed.error} [{tried}]")


@dataclass
class Samples:
    """Hold a series of each figure over time."""

    loops: list[asyncio.AbstractEventLoop] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in BARS})

    def begun(self) -> None:
        """Remember the event loop of the caller, if it is one of asyncio."""
        try:
            self.loops.append(asyncio.get_running_loop())
        except RuntimeError:
            return  # trio has no list of its tasks

    def take(self, at: float) -> None:
        """Sample this process."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        tasks = sum(len(asyncio.all_tasks(loop)) for loop in (*self.loops, background()._loop))
        found = {
            "memory": pages * _PAGE / 2**20,
            "descriptors": float(len(os.listdir("/proc/self/fd"))),
            "threads": float(len(os.listdir("/proc/self/task"))),
            "tasks": float(tasks),
        }
        self.times.append(at)
        for name, value in found.items():
            self.series[name].append(value)

    def growth(self, name: str, since: float) -> float:
        """Give the rise of the median line (Theil and Sen) through the floors since then."""
        floors: dict[int, float] = {}
        for at, value in zip(self.times, self.series[name], strict=True):
            if at >= since:
                floors[int(at // PERIOD)] = min(value, floors.get(int(at // PERIOD), math.inf))
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(floors.items(), 2)]
        return statistics.median(slopes) * (max(floors) - min(floors)) if slopes else 0.0


def roll(world: World, tally: Tally) -> None:
    """Release all providers, one after the other, once in each period."""
    rng = random.Random(1)
    while not world.over.is_set():
        begin = time.monotonic()
        for node in world.providers:
            if not world.over.is_set():
                release(world, node, rng)
                tally.restarts += 1
        world.stay(begin + PERIOD - time.monotonic())


def soak(minutes: float, rate: float) -> tuple[Samples, Tally, list[str]]:
    """Run the load and the releases; give samples, calls, and POSTs that were executed twice."""
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        with started(Path(directory)) as (providers, registry, network):
            samples, tally = _soak(minutes * 60.0, rate, providers, registry, network)
        counted = executions(node.log for node in providers)
    twice = [call for (method, call), count in counted.items() if method == "POST" and count > 1]
    return samples, tally, twice


def _soak(
    seconds: float, rate: float, providers: list[Provider], registry: Registry, network: Network
) -> tuple[Samples, Tally]:
    over, samples, tally = threading.Event(), Samples(), Tally()
    world = World(providers, registry, network, Ledger(frozenset()), over)
    retry = rpcguard.RetryPolicy()
    url = registry.registry_url
    callers = run_callers(Load(url, rate, 1, retry, over.is_set, tally, samples.begun))
    releases = threading.Thread(target=roll, args=(world, tally), daemon=True)
    releases.start()
    begin = time.monotonic()
    while (at := time.monotonic() - begin) < seconds and releases.is_alive():
        samples.take(at)
        if len(samples.times) % 12 == 0:
            last = ", ".join(f"{name} {found[-1]:.1f}" for name, found in samples.series.items())
            print(f"{at:7.0f} s  {tally.calls:,} calls, {len(tally.failed)} failed; {last}")
            sys.stdout.flush()
        over.wait(SAMPLE)
    sound = releases.is_alive()
    over.set()
    if not wait_for([*callers, releases], 60.0) or not sound:
        raise RuntimeError("the callers or the releases did not run to their end")
    return samples, tally


def checks(samples: Samples, tally: Tally, twice: list[str]) -> Iterator[Check]:
    """Hold everything to its bar."""
    since = samples.times[-1] * WARM_UP
    for name, (bar, unit) in BARS.items():
        yield Check(f"{name}, growth", samples.growth(name, since), bar, unit)
    yield Check("failed calls", len(tally.failed), 0.0)
    yield Check("wrong answers", len(tally.wrong), 0.0)
    yield Check("POST executed twice", len(twice), 0.0)


def draw(samples: Samples, file: Path) -> None:
    """Draw each figure over the minutes."""
    from benchmarks.lib import plots

    figure, grid = plots.plt.subplots(2, 2, figsize=(8, 4.2), layout="constrained", sharex=True)
    minutes = [at / 60.0 for at in samples.times]
    for axes, (name, found) in zip(grid.flat, samples.series.items(), strict=True):
        axes.plot(minutes, found, color=plots.OWN, linewidth=1)
        axes.axvspan(0, minutes[-1] * WARM_UP, color="#888888", alpha=0.15, linewidth=0)
        unit = BARS[name][1]
        axes.set_title(f"{name}, {unit}" if unit else name, fontsize=9)
        axes.set_ylim(0, 1.2 * max(found))
        axes.grid(alpha=0.3)
    for axes in grid[1]:
        axes.set_xlabel("minutes")
    plots._save(figure, file)


def main() -> int:
    """Soak; print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    enter_namespace()
    samples, tally, twice = soak(given.minutes, given.rate)
    table, found = Table(["what", "measured", "", "bar", ""]), list(checks(samples, tally, twice))
    table.rows += [check.cells for check in found]
    print(*tally.failed[:50], sep="\n")
    print(f"{tally.calls:,} calls, {tally.retried} of them saved by a retry")
    print(f"{tally.restarts} restarts of providers\n\n{table.text()}")
    if given.plot is not None:
        draw(samples, given.plot)
    return 0 if all(check.holds for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())
