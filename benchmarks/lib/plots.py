"""Draw what the benchmarks found, as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "rpcguard"
mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["font.size"] = 9

import matplotlib.pyplot as plt  # noqa: E402  # the settings come first

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchmarks.lib.report import Check, Section, Table

MET, MISSED = "#2a7f62", "#c1440e"
OWN = "#2a7f62"
OTHERS = ("#c1440e", "#3b6ea5", "#8a6bbf", "#a08a3a", "#777777", "#8c564b", "#17becf", "#bcbd22")


def bars(checks: Iterable[Check], file: Path) -> None:
    """Draw each figure as a share of its bar; left of 1 it is met."""
    shown = [one for one in checks if one.value > 0 and one.bar > 0]
    figure, axes = plt.subplots(figsize=(8, 0.22 * len(shown) + 0.8), layout="constrained")
    for at, one in enumerate(reversed(shown)):
        axes.plot(one.value / one.bar, at, "o", color=MET if one.holds else MISSED, markersize=5)
    axes.axvline(1.0, color="#444444", linewidth=1)
    axes.set_yticks(range(len(shown)), [one.what for one in reversed(shown)])
    axes.set_xscale("log")
    axes.set_xlabel("measured ÷ bar")
    axes.grid(axis="x", alpha=0.3)
    _save(figure, file)


def costs(table: Table, file: Path) -> None:
    """Draw CPU time per call, a group of bars for each shape of load."""
    groups: dict[str, dict[str, float]] = {}
    for name, cpu, *_ in table.rows:
        group, side = _split(name)
        groups.setdefault(group, {})[side] = float(cpu.replace(",", ""))
    sides = list(dict.fromkeys(side for found in groups.values() for side in found))
    colours = dict(zip(sides, (OWN, *OTHERS), strict=False))
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    width = 0.8 / len(sides)
    for at, found in enumerate(groups.values()):
        for side, value in found.items():
            place = at + (sides.index(side) - len(sides) / 2) * width
            axes.bar(place, value, width, color=colours[side])
    axes.set_yscale("log")
    axes.set_ylabel("CPU µs per call")
    axes.set_xticks(range(len(groups)), [group.replace(", ", "\n") for group in groups])
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[side]) for side in sides]
    axes.legend(handles, sides, frameon=False, fontsize=8)
    _save(figure, file)


def _split(name: str) -> tuple[str, str]:
    for mark in (", rpcguard", ", bare", ", httpx-retries"):
        group, found, rest = name.partition(mark)
        if found:
            return group, found[2:] + rest
    return name, ""


def troubles(section: Section, file: Path) -> None:
    """Draw p99 ÷ ideal over the seconds of each scenario."""
    figure, grid = plt.subplots(2, 3, figsize=(9, 5), layout="constrained", sharex=True)
    for axes, (scenario, sides) in zip(grid.flat, section.series.items(), strict=False):
        for colour, (side, tail) in zip((OWN, *OTHERS), sides.items(), strict=False):
            strong = 2.0 if colour == OWN else 1.0
            axes.plot(tail, color=colour, linewidth=strong, label=side, zorder=strong)
        axes.set_title(scenario, fontsize=9)
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
    grid[1][0].set_xlabel("seconds")
    grid[0][0].set_ylabel("p99 ÷ ideal")
    figure.legend(*grid[0][0].get_legend_handles_labels(), ncols=5, loc="outside lower center")
    _save(figure, file)


def _save(figure: plt.Figure, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
