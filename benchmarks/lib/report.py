"""What a benchmark found: tables for people, and checks against the bars."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.lib.measure import Series


@dataclass(frozen=True, slots=True)
class Check:
    """Hold one figure against its bar; `spread` tells the lowest and highest round."""

    what: str
    value: float
    bar: float
    unit: str = ""
    spread: tuple[float, float] | None = None

    @property
    def holds(self) -> bool:
        return self.value <= self.bar

    def shown(self, value: float) -> str:
        digits = 0 if value >= 100 else 2 if value >= 0.1 or not value else 4
        return f"{value:.{digits}f}{self.unit and ' ' + self.unit}"

    @property
    def cells(self) -> list[str]:
        spread = "–".join(map(self.shown, self.spread)) if self.spread else ""
        verdict = "met" if self.holds else "**missed**"
        return [self.what, self.shown(self.value), spread, f"≤ {self.shown(self.bar)}", verdict]


@dataclass(slots=True)
class Table:
    """Hold a table of text cells."""

    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def text(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if not at else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in [self.columns, *self.rows]
        )


@dataclass(slots=True)
class Section:
    """Hold what one benchmark found; `series` are values for a plot: by name, then by side."""

    title: str
    about: str
    table: Table
    checks: list[Check] = field(default_factory=list)
    series: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Section:
        """Make a section of what `asdict` gave and JSON kept."""
        checks = [
            Check(**{**one, "spread": one["spread"] and tuple(one["spread"])})
            for one in kept["checks"]
        ]
        return cls(
            kept["title"], kept["about"], Table(**kept["table"]), checks, kept.get("series", {})
        )

    def markdown(self) -> str:
        return f"## {self.title}\n\n{self.about}\n\n{self.table.markdown()}\n"

    def text(self) -> str:
        checks = Table(["check", "value", "rounds", "bar", ""], [one.cells for one in self.checks])
        return f"{self.title}\n\n{self.table.text()}\n\n{checks.text() if self.checks else ''}\n"


def ratio(
    what: str, measured: Mapping[str, Series], over: str, bar: float, *, own: str = "rpcguard"
) -> Check:
    """Check the ratio of CPU time of two sides."""
    mine, other = measured[own], measured[over]
    return Check(f"{what} ÷ {over}", mine.over(other), bar, spread=mine.spread_over(other))


def time_ratio(
    what: str, measured: Mapping[str, Series], over: str, bar: float, *, own: str = "rpcguard"
) -> Check:
    """Check the ratio of wall time of two sides, where a figure is one of throughput."""
    pairs = zip(measured[own].wall, measured[over].wall, strict=True)
    ratios = [mine / other for mine, other in pairs]
    what = f"{what}, time ÷ {over}"
    return Check(what, statistics.median(ratios), bar, spread=(min(ratios), max(ratios)))


def own_share(what: str, measured: Mapping[str, Series], null: str, over: str, bar: float) -> Check:
    """Check what rpcguard adds to the client, as a share of what the other side adds."""
    rounds = zip(measured["rpcguard"].cpu, measured[null].cpu, measured[over].cpu, strict=True)
    shares = [(mine - alone) / (other - alone) for mine, alone, other in rounds]
    what = f"{what}, beyond {null} ÷ {over}"
    return Check(what, statistics.median(shares), bar, spread=(min(shares), max(shares)))


def add_sides(
    table: Table, what: str, measured: Mapping[str, Series], *, own: str = "rpcguard"
) -> None:
    """Add a row for each side: CPU and wall time per call, and its ratio to rpcguard's."""
    for name, series in measured.items():
        cpu, wall = statistics.median(series.cpu), statistics.median(series.wall)
        share = f"{measured[own].over(series):.4g}" if name != own else ""
        table.rows.append([f"{what}, {name}", f"{cpu:,.0f}", f"{wall:,.0f}", share])


def sides_table() -> Table:
    """Make an empty table for `add_sides`."""
    return Table(["", "CPU µs per call", "wall µs per call", "rpcguard ÷ this, CPU"])


def write_between(page: Path, mark: str, text: str) -> None:
    """Put text into a page, in place of what is between `<!-- mark -->` and its end."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    before, rest = page.read_text().split(begin)
    page.write_text(f"{before}{begin}{text.strip()}\n{end}{rest.split(end)[1]}")
