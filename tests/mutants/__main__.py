"""Draw mutants and try them: `python -m tests.mutants [seed] [count]`, 2026 and 100 by default."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.mutants.known import EQUIVALENT
from tests.mutants.operators import Mutant, draw
from tests.mutants.rings import RINGS, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED, COUNT = 2026, 100

WARM = ("anyio", "h11", "h2", "httpcore", "httpx", "hypothesis", "opentelemetry.sdk", "trustme")
"""What all tests import, imported once before the forks; nothing of rpcguard, of course."""

BY_TIME = ", by time"

_LOOK = 0.05
"""Seconds between looks at the processes."""


_HANGS = (-signal.SIGKILL, -signal.SIGXCPU)


@dataclass(frozen=True, slots=True)
class Result:
    """The ring that noticed a mutant, or none; without a mutant it is the source as it is."""

    mutant: Mutant | None
    noticed: str


def tried(mutants: Sequence[Mutant | None]) -> list[Result]:
    """Try all mutants, ring by ring, each until one notices it, on all cores."""
    waiting = deque((one, 0) for one in mutants)
    running: list[Trial] = []
    results = []
    try:
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                running.append(Trial(*waiting.popleft()))
            time.sleep(_LOOK)
            for trial in list(running):
                status = trial.outcome()
                if status is None:
                    continue
                running.remove(trial)
                if not status and trial.ring + 1 < len(RINGS):
                    waiting.append((trial.mutant, trial.ring + 1))
                else:
                    results.append(_told(trial, status))
    finally:
        for trial in running:
            trial.end()
    return results


def _told(trial: Trial, status: int) -> Result:
    noticed = RINGS[trial.ring].name if status else ""
    if status in _HANGS:
        noticed += BY_TIME
    print(f"{noticed or 'SURVIVES':<24} {trial.mutant or 'the source as it is'}", flush=True)
    return Result(trial.mutant, noticed)


def main() -> int:
    """List the survivors; 0 when each is known to change nothing."""
    seed, count = (*(int(one) for one in sys.argv[1:]), *(SEED, COUNT)[len(sys.argv) - 1 :])
    for name in WARM:
        importlib.import_module(name)
    assert "rpcguard" not in sys.modules
    results = tried([None, *draw(seed, count)])
    left = [str(one.mutant) for one in results if one.mutant and not one.noticed]
    unknown = [one for one in left if not any(name in one for name in EQUIVALENT)]
    for one in left:
        print(f"survives{'' if one in unknown else ', and changes nothing'}: {one}")
    late = sum(BY_TIME in one.noticed for one in results)
    print(f"seed {seed}: {count - len(left)} of {count} noticed, {late} of them by time,", end=" ")
    print(f"{len(left) - len(unknown)} equivalent, {len(unknown)} survive")
    fails = any(one.noticed for one in results if one.mutant is None)
    if fails:
        print("the source as it is fails too: what was noticed says nothing")
    return 1 if unknown or fails else 0


if __name__ == "__main__":
    sys.exit(main())
