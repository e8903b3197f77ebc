"""Measure sides against each other: interleaved rounds in one run, ratios of CPU time per call.

CPU time is the figure on a noisy machine; wall time stands beside it.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping


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


class _Round:
    def __init__(self, series: Series, calls: int) -> None:
        self._series, self._calls = series, calls

    def __enter__(self) -> None:
        gc.collect()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        self._series.cpu.append(cpu / self._calls * 1e6)
        self._series.wall.append(wall / self._calls * 1e6)


def _turns(names: list[str], rounds: int) -> Iterator[str]:
    for turn in range(rounds):
        yield from names if turn % 2 else reversed(names)


def compare(
    sides: Mapping[str, Callable[[int], object]], *, calls: int, rounds: int = 7
) -> dict[str, Series]:
    """Run each side `rounds` times for `calls` calls, in turns, after a warm-up."""
    result = {name: Series() for name in sides}
    for side in sides.values():
        side(max(calls // 5, 1))
    for name in _turns(list(sides), rounds):
        with _Round(result[name], calls):
            sides[name](calls)
    return result


async def compare_async(
    sides: Mapping[str, Callable[[int], Awaitable[object]]], *, calls: int, rounds: int = 7
) -> dict[str, Series]:
    """Do the same on an event loop."""
    result = {name: Series() for name in sides}
    for side in sides.values():
        await side(max(calls // 5, 1))
    for name in _turns(list(sides), rounds):
        with _Round(result[name], calls):
            await sides[name](calls)
    return result
