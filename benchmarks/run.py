"""Run the benchmarks, check every bar, and write docs/performance.md with tables and plots.

`python -m benchmarks.run [PART...] [--rounds 5]` measures the parts that are named, all of them by
default: some six minutes, and as many again for the simulation, on two cores. What is not measured
is kept from the last run, in docs/performance/results.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.calls import counted, http2, overhead, shapes, shares, sidecars, telemetry
from benchmarks.calls import many_nodes as fleet
from benchmarks.fleets import cold, simulate
from benchmarks.footprint import measure as footprint
from benchmarks.lib.measure import ROUNDS
from benchmarks.lib.nodes import nodes
from benchmarks.lib.report import Section, Table, add_sides, ratio, sides_table
from benchmarks.picks import picking

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = DOCS / "performance" / "results.json"
PACKAGES = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "h11", "h2", "anyio", "trio"),
    *("httpx-retries", "httpx-aiohttp", "aiohttp"),
)


def telling(rounds: int) -> Section:
    """Measure calls with telemetry and without; many rounds, for the bar is close to nothing."""
    table, checks = sides_table(), []
    with nodes(2) as ports:
        for kind in ("sync", "asyncio"):
            if kind == "sync":
                measured = telemetry.threads(ports, 150, rounds * 10)
            else:
                measured = asyncio.run(telemetry.tasks(ports, 150, rounds * 10))
            add_sides(table, kind, measured, own=telemetry.API)
            what = f"{kind}, telemetry without an SDK"
            checks.append(ratio(what, measured, telemetry.NONE, 1.02, own=telemetry.API))
            checks.append(telemetry.added(f"{kind}, telemetry with an SDK", measured, 0.6))
    table.columns[-1] = "without an SDK ÷ this, CPU"
    about = (
        "Two nodes, one call after the other; with an SDK every attempt is sampled. *contrib's* is"
    )
    about += " opentelemetry-instrumentation-httpx, on a bare client."
    return Section("Telemetry", about, table, checks)


def parts(rounds: int, callers: int, providers: int) -> dict[str, Callable[[], Section]]:
    """Name the parts."""
    return {
        "one": partial(overhead.one_in_flight, rounds),
        "many": partial(overhead.many_in_flight, rounds),
        "shapes": partial(shapes.of_other_shapes, rounds),
        "counted": counted.functions_of_a_call,
        "shares": shares.where_time_goes,
        "http2": partial(http2.over_http2, rounds),
        "fleet": partial(fleet.round_trips, rounds),
        "sidecars": partial(sidecars.against_sidecars, rounds),
        "telemetry": partial(telling, rounds),
        "picking": partial(picking.picking, rounds),
        "snapshot": partial(picking.reconciling, rounds),
        "listed": picking.memory,
        "used": partial(footprint.used_nodes, rounds),
        "watching": partial(footprint.watched_services, rounds),
        "importing": partial(footprint.importing, rounds * 2),
        "first": partial(footprint.first_call, rounds * 2),
        "trouble": partial(simulate.fleet_in_trouble, callers, providers),
        "cold": partial(cold.mass_restart, rounds),
    }


def circumstances() -> str:
    """Say where and with what was measured."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = os.getloadavg()[0]
    return (
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load average {load:.1f} at the end; {versions}."
    )


def page(sections: dict[str, Section], where: str) -> str:
    """Write the page."""
    checks = [one for section in sections.values() for one in section.checks]
    missed = sum(not one.holds for one in checks)
    bars = Table(["figure", "value", "rounds", "bar", ""], [one.cells for one in checks])
    lines = [
        "# Performance",
        "A resilient call costs less than a bare one: rpcguard keeps a small stack of connections"
        " per node, where httpx's pool looks at all connections for every call. This page is"
        " written by `python -m benchmarks.run`, which measures every figure and compares it"
        " with its bar.",
        "Both sides of a ratio take turns in one process, against nodes in another. CPU time per"
        " call of the client is the figure, since a busy machine blurs wall time; a ratio is the"
        " median over the rounds, and the column *rounds* has the lowest and the highest. Only"
        " ratios within one table mean anything. *bare* is an httpx client straight to one"
        " address; *unlimited* has no limit on connections, nor on how long they are kept. There"
        " is no row of a free-threaded build: the machine that measures has none.",
        f"Measured: {where}",
        f"## The bars\n\n{len(checks) - missed} of {len(checks)} bars are met.",
        bars.markdown(),
        "![Each figure as a share of its bar](performance/bars.svg)",
    ]
    pictures = {
        "many": "![CPU time per call with many in flight](performance/many.svg)",
        "fleet": "![CPU time per call over many nodes](performance/fleet.svg)",
        "trouble": "![p99 over time, by scenario and balancer](performance/trouble.svg)",
    }
    for name, section in sections.items():
        lines.append(section.markdown().rstrip())
        if name in pictures:
            lines.append(pictures[name])
    return "\n\n".join(lines) + "\n"


def _read(kept: dict[str, Any], where: str) -> Section:
    section = Section.from_dict(kept)
    if not where.startswith(kept["when"]):
        section.about += f" Not measured anew since {kept['when']}."
    return section


def draw(sections: dict[str, Section]) -> None:
    """Draw the plots of what was measured."""
    from benchmarks.lib import plots  # slow to load, and only wanted at the end

    checks = [one for section in sections.values() for one in section.checks]
    plots.bars(checks, RESULTS.with_name("bars.svg"))
    for name in ("many", "fleet"):
        if name in sections:
            plots.costs(sections[name].table, RESULTS.with_name(f"{name}.svg"))
    if "trouble" in sections:
        plots.troubles(sections["trouble"], RESULTS.with_name("trouble.svg"))


def main() -> None:
    """Measure, check and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--callers", type=int, default=300, help="of the simulation")
    parser.add_argument("--providers", type=int, default=30, help="of the simulation")
    given = parser.parse_args()
    known = parts(given.rounds, given.callers, given.providers)
    unknown = set(given.parts) - set(known)
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(known)}")
    RESULTS.parent.mkdir(exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"parts": {}}
    for name in given.parts or known:
        section = known[name]()
        print(section.text(), flush=True)
        kept["parts"][name] = {**asdict(section), "when": time.strftime("%Y-%m-%d")}
    kept["where"] = circumstances()
    kept["parts"] = {name: kept["parts"][name] for name in known if name in kept["parts"]}
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    sections = {name: _read(one, kept["where"]) for name, one in kept["parts"].items()}
    draw(sections)
    (DOCS / "performance.md").write_text(page(sections, kept["where"]))


if __name__ == "__main__":
    main()
