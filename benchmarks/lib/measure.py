"""Measure sides against each other: interleaved rounds in one run, ratios of CPU time per call.

CPU time is the figure on a noisy machine; wall time stands beside it.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

ROUNDS = 5


@dataclass
class Series:
    """Hold the microseconds per call of one side, a value a round."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Show the medians."""
        return f"{statistics.median(self.cpu):8.0f} µs CPU {statistics.median(self.wall):8.0f} µs"

    def over(self, other: Series) -> float:
        """Give the median of the ratios of CPU time, round by round."""
        return statistics.median(mine / its for mine, its in zip(self.cpu, other.cpu, strict=True))

    def spread_over(self, other: Series) -> tuple[float, float]:
        """Give the lowest and the highest ratio of CPU time, round by round."""
        ratios = [mine / its for mine, its in zip(self.cpu, other.cpu, strict=True)]
        return min(ratios), max(ratios)


def cpu_of(pid: int) -> float:
    """Give the CPU seconds of another process so far, all its threads."""
    # Not /proc/PID/stat, which counts in steps of 10 ms.
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


class _Round:
    def __init__(self, series: Series, calls: int, others: tuple[int, ...]) -> None:
        self._series, self._calls, self._others = series, calls, others

    def __enter__(self) -> None:
        gc.collect()
        self._cpu, self._wall = self._now(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        cpu, wall = self._now() - self._cpu, time.perf_counter() - self._wall
        self._series.cpu.append(cpu / self._calls * 1e6)
        self._series.wall.append(wall / self._calls * 1e6)

    def _now(self) -> float:
        return time.process_time() + sum(map(cpu_of, self._others))


def _turns(names: list[str], rounds: int) -> Iterator[str]:
    for turn in range(rounds):
        yield from names if turn % 2 else reversed(names)


def _calls_of(name: str, calls: int | Mapping[str, int]) -> int:
    return calls[name] if isinstance(calls, Mapping) else calls


def compare(
    sides: Mapping[str, Callable[[int], object]],
    *,
    calls: int | Mapping[str, int],
    rounds: int = ROUNDS,
) -> dict[str, Series]:
    """Run each side `rounds` times, in turns, after a warm-up; `calls` may differ by side."""
    result = {name: Series() for name in sides}
    for name, side in sides.items():
        side(max(_calls_of(name, calls) // 5, 1))
    for name in _turns(list(sides), rounds):
        count = _calls_of(name, calls)
        with _Round(result[name], count, ()):
            sides[name](count)
    return result


async def compare_async(
    sides: Mapping[str, Callable[[int], Awaitable[object]]],
    *,
    calls: int | Mapping[str, int],
    rounds: int = ROUNDS,
    others: Mapping[str, int] | None = None,
) -> dict[str, Series]:
    """Do the same on an event loop; `others` are processes whose CPU time counts, by side."""
    result = {name: Series() for name in sides}
    for name, side in sides.items():
        await side(max(_calls_of(name, calls) // 5, 1))
    for name in _turns(list(sides), rounds):
        count = _calls_of(name, calls)
        pids = (others[name],) if others and name in others else ()
        with _Round(result[name], count, pids):
            await sides[name](count)
    return result
