"""Compare rules on zones: blind callers, the pair of loads with its spills, and the strict rule.

`python -m benchmarks.fleets.zones [--seeds 2] [--callers 90] [--write]` plays 30 providers and so
many callers in three zones through six cases and prints failed calls, the 99th percentile and the
share that crosses zones; with `--write` into the page on balancing. The load is the same for any
number: of 900 callers each makes 1.3 calls a second, and sees too little of its zone to leave it in
time.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Final

from benchmarks.lib.report import Check, Section, Table, write_between
from rpcguard import ZonePolicy
from tests.support.zones import CASES, ZoneCase, ZoneOutcome, play

RULES: Final = {
    "blind": None,
    "pair, spill 3": ZonePolicy(spill=3.0),
    "pair, spill 2": ZonePolicy(spill=2.0),
    "pair, spill 5": ZonePolicy(spill=5.0),
    "strict": ZonePolicy(strict=True),
}
OWN: Final = "pair, spill 3"
PLAYED: Final = (*CASES, ZoneCase("a zone dead", dead=10))
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "balancing.md"


def _played(case: ZoneCase, policy: ZonePolicy | None, seeds: int) -> ZoneOutcome:
    runs = [play(case, policy, seed=seed) for seed in range(1, seeds + 1)]
    return ZoneOutcome(
        sum(run.calls for run in runs),
        mean(run.failed for run in runs),
        mean(run.p99 for run in runs),
        mean(run.across for run in runs),
    )


def _with(callers: int, case: ZoneCase) -> ZoneCase:
    whole = sum(case.callers)
    first, second, third = (callers * part // whole for part in case.callers)
    return replace(case, callers=(first, second, third))


def zones(seeds: int = 2, callers: int = 90) -> Section:
    """Play all cases by all rules."""
    cases = [_with(callers, case) for case in PLAYED]
    found = {name: [_played(case, rule, seeds) for case in cases] for name, rule in RULES.items()}
    table = Table(["rule: failed / p99 in ms / across", *(case.name for case in PLAYED)])
    for name, outcomes in found.items():
        cells = [f"{one.failed:.2%} / {one.p99 * 1000:.0f} / {one.across:.0%}" for one in outcomes]
        table.rows.append([name, *cells])
    checks = [Check("balanced: calls across zones", found[OWN][0].across, 0.2)]
    for case, blind, own in zip(PLAYED, found["blind"], found[OWN], strict=True):
        checks.append(Check(f"{case.name}: failed calls", own.failed, 0.0))
        checks.append(Check(f"{case.name}: p99 ÷ blind", own.p99 / blind.p99, 1.25))
    about = (
        "30 providers of 4 workers, service times exponential around 50 ms, and "
        f"{callers} callers, each "
        "with 1 ms more to another zone and a timeout of 2 s; 18 s after the trouble began."
    )
    return Section("Zones", about, table, checks)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=2, help="runs of each figure (2)")
    parser.add_argument("--callers", type=int, default=90, help="callers in all zones (90)")
    parser.add_argument("--write", action="store_true", help="rewrite the table of the page")
    options = parser.parse_args()
    found = zones(options.seeds, options.callers)
    print(found.text())
    if options.write:
        write_between(PAGE, f"zones {options.callers}", found.table.markdown())


if __name__ == "__main__":
    main()
