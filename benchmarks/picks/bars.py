"""Hold the default balancer against its bars, beside the rules of others, and draw the pictures.

`python -m benchmarks.picks.bars [SCENARIO...] [--seeds 9]` simulates and rewrites the table, the
comparison and the pictures of the page on balancing. Scenarios that are not named are kept from the
last run, in docs/picks/results.json. About a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.lib.report import Table, write_between
from benchmarks.picks.candidates import CANDIDATES
from benchmarks.picks.scenarios import SCENARIOS
from rpcguard._commands.demo.svg import STYLE, line, rect, text

if TYPE_CHECKING:
    from benchmarks.picks.stages import Stage

OWN = "LeastLoaded"
DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = DOCS / "picks" / "results.json"
WORST = 1.1
"""How far beyond the bar the worst seed may be."""
WIDTH, LEFT, SPAN, LANE, TOP = 760.0, 190.0, 500.0, 19.0, 62.0
"""Pixels of a picture: its width, where the bars begin, how long they may be, and their height."""
BEYOND = 2.5
"""Times the bar at which a picture ends; longer ones are cut, their figure says how long."""

TICK = ".picture .tick { stroke: var(--ink); stroke-width: 1.5; }\n"
"""The look of the mark for the worst seed."""

Found = dict[str, dict[str, list[float]]]
"""Figures by balancer and case, one for each seed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a case came to beside its bar."""

    stage: Stage
    figures: list[float]

    @property
    def middle(self) -> float:
        """The median of the seeds."""
        return median(self.figures)

    @property
    def worst(self) -> float:
        """The seed that is furthest on the wrong side."""
        return min(self.figures) if self.stage.at_least else max(self.figures)

    @property
    def met(self) -> bool:
        """Whether the median is within the bar, and no seed much beyond."""
        if self.stage.at_least:
            return self.middle >= self.stage.bar and self.worst >= self.stage.bar / WORST
        return self.middle <= self.stage.bar and self.worst <= self.stage.bar * WORST


def measured(stage: Stage, seeds: int, names: list[str]) -> Found:
    """Play all cases with the default, and the first one with the other candidates."""
    found: Found = {}
    for name in names:
        maker = CANDIDATES[name]
        cases = list(stage.cases) if name == OWN else list(stage.cases)[:1]
        found[name] = {case: stage.measure(maker, case, seeds) for case in cases}
        middle = median(found[name][cases[0]])
        print(f"{stage.name}, {cases[0]}, {name}: {middle:.3g}", flush=True)
    return found


def shown(value: float) -> str:
    """Write a figure with as many digits as matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def sign(stage: Stage) -> str:
    """Write a bar."""
    return f"{'≥' if stage.at_least else '≤'} {stage.bar:g}"


def bars(results: dict[str, Found]) -> Table:
    """Put every case of the default beside its bar."""
    table = Table(["scenario", "bar", "median", "worst seed", "met"])
    for name, stage in SCENARIOS.items():
        for case, figures in results.get(name, {}).get(OWN, {}).items():
            told = Verdict(stage, figures)
            cells = [f"{stage.name}: {case}", sign(stage), shown(told.middle), shown(told.worst)]
            met = "yes" if told.met else "**no**"
            table.rows.append([*cells, "beyond" if case in stage.beyond else met])
    return table


def side_by_side(results: dict[str, Found]) -> Table:
    """Put the candidates beside each other, each scenario in its first case."""
    known = [(stage, results[name]) for name, stage in SCENARIOS.items() if name in results]
    table = Table(["", *(f"{stage.name}, {sign(stage)}" for stage, _ in known), "met"])
    for candidate in CANDIDATES:
        cells, met = [], 0
        for stage, found in known:
            told = Verdict(stage, next(iter(found[candidate].values())))
            met += told.met
            cells.append(shown(told.middle) if told.met else f"*{shown(told.middle)}*")
        table.rows.append([candidate, *cells, f"{met} of {len(known)}"])
    return table


def picture(stage: Stage, found: Found) -> str:
    """Draw a bar for each candidate, and the line that it should not pass, or should."""
    case = next(iter(stage.cases))
    most = stage.bar * (BEYOND if not stage.at_least else 1.6)
    scale = SPAN / most
    height = TOP + LANE * len(found) + 26.0
    parts = [
        text(16, 24, stage.name, look="title"),
        text(16, 44, f"{stage.says}; {case}", look="soft"),
    ]
    for at, (name, figures) in enumerate(found.items()):
        told, y = Verdict(stage, figures[case]), TOP + LANE * at
        fill = "var(--good)" if told.met else "var(--bad)"
        long, worst = min(told.middle, most) * scale, LEFT + min(told.worst, most) * scale
        parts += [
            text(LEFT - 8, y + 12, name, look="small end"),
            rect(LEFT, y + 2, max(long, 1.5), LANE - 6, fill=fill, tip=f"worst {told.worst:.3g}"),
            line(worst, y + 1, worst, y + LANE - 3, look="tick"),
            text(max(LEFT + long, worst) + 5, y + 12, shown(told.middle), look="small soft"),
        ]
    edge, low = LEFT + stage.bar * scale, TOP + LANE * len(found)
    what = "at least" if stage.at_least else "at most"
    parts += [
        line(edge, TOP - 4, edge, low + 2, look="event"),
        text(edge, low + 16, f"{what} {stage.bar:g}", look="small middle"),
    ]
    page = f'<rect class="page" width="{WIDTH:g}" height="{height:g}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" viewBox="0 0 {WIDTH:g} '
        f'{height:g}">\n<style>{STYLE}{TICK}</style>\n{page}\n' + "\n".join(parts) + "\n</svg>\n"
    )


def write(results: dict[str, Found]) -> None:
    """Rewrite the page and the pictures."""
    for name, found in results.items():
        RESULTS.with_name(f"{name}.svg").write_text(picture(SCENARIOS[name], found))
    page = DOCS / "balancing.md"
    write_between(page, "bars", bars(results).markdown())
    write_between(page, "candidates", side_by_side(results).markdown())
    drawn = [
        f"![{SCENARIOS[name].name}: each rule beside the bar](picks/{name}.svg)"
        for name in SCENARIOS
        if name in results
    ]
    write_between(page, "pictures", "\n\n".join(drawn))


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--seeds", type=int, default=9)
    parser.add_argument("--own", action="store_true", help="keep the figures of the others")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    chosen = options.scenarios or list(SCENARIOS)
    RESULTS.parent.mkdir(exist_ok=True)
    for name in chosen:
        names = [OWN] if options.own else list(CANDIDATES)
        found = measured(SCENARIOS[name], options.seeds, names)
        # Read again: another run may have measured another scenario meanwhile.
        kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        kept[name] = {**kept.get(name, {}), **found}
        kept = {name: kept[name] for name in SCENARIOS if name in kept}
        RESULTS.write_text(json.dumps(kept) + "\n")
        write(kept)
        print(bars({name: found}).text(), flush=True)


if __name__ == "__main__":
    main()
