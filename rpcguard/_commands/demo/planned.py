"""A release by the batches of a plan, as `rpcguard plan-release --json` writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpcguard._commands.demo.script import BOOT, LEAD_IN, TAIL, Action, Script, Step

if TYPE_CHECKING:
    from pathlib import Path

_MOST_NODES = 20
"""Providers that one machine plays; a larger plan is not what would be seen."""
PLAN_COLD = 1.0
"""Seconds that a node of a plan is cold for: a plan's minute, cut to what a demo has time for."""
_PART: tuple[tuple[Action, float], ...] = (
    ("leave", 0.0),
    ("stop", 1.0),
    ("forget", 0.2),
    ("start", 2.5),
    ("list", 0.0),
)
"""What happens to each batch: it says that it leaves for a second, as the rehearsal has it."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo plays of a plan: batches by the numbers of providers, and their capacity."""

    batches: tuple[tuple[int, ...], ...]
    workers: int
    service_time: float
    load: float

    @property
    def providers(self) -> int:
        """How many there are."""
        return sum(map(len, self.batches))

    @property
    def rate(self) -> float:
        """Calls per second of each client that make up the load of the plan."""
        return self.load * self.providers * self.workers / self.service_time

    def script(self, *, seconds: float) -> Script:
        """Write the script: the batches one after the other, in about `seconds`."""
        pauses = len(self.batches) * sum(pause for _, pause in _PART)
        pauses += LEAD_IN + TAIL
        fixed = BOOT * len(self.batches) + PLAN_COLD * (len(self.batches) - 1)
        pace = max(0.1, (seconds - fixed) / pauses)
        steps, before = [], LEAD_IN
        for batch in self.batches:
            for action, pause in _PART:
                steps.append(Step((before + pause) * pace, action, batch))
                before = 0.0
            before = PLAN_COLD / pace  # the next batch goes when this one is warm
        return Script(tuple(steps), TAIL * pace, pace)


def read_plan(path: Path) -> DemoPlan:
    """Read a plan; raise `ValueError` that says what is wrong with it."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"plan must be a JSON file: {error}") from error
    try:
        order = document["order"]
        names = [name for batch in order for name in batch]
        numbers = {name: number for number, name in enumerate(names)}
        plan = DemoPlan(
            tuple(tuple(numbers[name] for name in batch) for batch in order),
            workers=int(document["workers"]),
            service_time=float(document["service_time"]),
            load=float(document["expected_load"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        told = "plan must be what `rpcguard plan-release --json` writes"
        raise ValueError(f"{told}: {error!r} is missing or wrong in {path.name}") from error
    if not 1 <= plan.providers <= _MOST_NODES:
        raise ValueError(f"plan must have 1 to {_MOST_NODES} nodes, not {plan.providers}")
    return plan
