"""Rebuild the tables of the guide on releases: what batches cost, and what real providers do.

`python -m benchmarks.fleets.releases [rehearsed] [real] [--seeds 3]`. Rehearsed: twenty nodes,
forty callers; a node is away for 4 s, then cold for 4 s at up to three times its service time, with
2 s between batches. *signalled* nodes say that they leave for a second; *killed* ones are gone at
once and listed for 0.5 s more. Real: see `benchmarks.fleets.rehearsed`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from benchmarks.fleets.rehearsed import against_real_providers
from benchmarks.lib.report import Table, write_between
from rpcguard._planning.batches import cut, left
from rpcguard._planning.inputs import Fleet, PlannedNode, Rollout
from rpcguard._planning.rehearsal import Rehearsed, rehearse

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "plan.md"
NODES = tuple(PlannedNode(id=f"n{number}", zone="abc"[number % 3]) for number in range(20))
CASES = {0.4: (1, 4, 10), 0.6: (1, 4, 5, 7, 10), 0.7: (1, 2, 4, 5, 7), 0.8: (1, 2, 4, 5)}


def measured(load: float, size: int, *, signal: bool, seeds: int) -> tuple[float, Rehearsed]:
    """Give what is left, and the medians of some rehearsals."""
    fleet = Fleet(nodes=NODES, load=load)
    rollout = Rollout(away=4.0, cold=4.0, pause=2.0, canary=0, signal=signal)
    batches = cut(fleet, rollout, size=size, zones="mixed")
    runs = [rehearse(fleet, rollout, batches, seed=seed) for seed in range(1, seeds + 1)]
    figures = Rehearsed(
        median(run.calm for run in runs),
        median(run.p99 for run in runs),
        median(run.lost for run in runs),
    )
    return left(fleet, Rollout(cold=0.0, canary=0), batches), figures


def table(seeds: int) -> Table:
    """Rehearse each load and batch."""
    columns = ["load", "batch", "left", "signalled: p99 ÷ calm, lost", "killed: p99 ÷ calm, lost"]
    found = Table(columns)
    for load, sizes in CASES.items():
        for size in sizes:
            used, told = measured(load, size, signal=True, seeds=seeds)
            _, killed = measured(load, size, signal=False, seeds=seeds)
            cells = (
                f"{run.p99:.2f}, {run.lost / 1e4:.2f} %" for run in (told, killed)
            )  # of a million, so a ten-thousandth is a percent
            found.rows.append([f"{load:.0%}", str(size), f"{used:.0%}", *cells])
            print("  ".join(found.rows[-1]), flush=True)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["rehearsed", "real"], metavar="PART")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if "rehearsed" in options.parts:
        write_between(PAGE, "releases", table(options.seeds).markdown())
    if "real" in options.parts:
        section = against_real_providers()
        print(section.text())
        write_between(PAGE, "real providers", f"{section.about}\n\n{section.table.markdown()}")


if __name__ == "__main__":
    main()
