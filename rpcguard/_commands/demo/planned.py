"""A release by the batches of a plan, as `rpcguard plan-release --json` writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpcguard._commands.demo.script import BOOT, TAIL, Action, Script, Step
from rpcguard._commands.demo.work import Capacity
from rpcguard._planning.inputs import Rollout
from rpcguard._planning.rehearsal import CALM, LEAVING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_NODES = 20
"""Providers that one machine plays; a larger plan is not what would be seen."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo plays of a plan, on the time line of its rehearsal."""

    batches: tuple[tuple[int, ...], ...]
    """The numbers of the providers that are restarted together."""
    load: float
    """Utilisation of all providers."""
    capacity: Capacity
    """What each provider can do."""
    rollout: Rollout
    """How they restart, as it was rehearsed: seconds in place of minutes."""

    @property
    def providers(self) -> int:
        """How many there are."""
        return sum(map(len, self.batches))

    @property
    def rate(self) -> float:
        """Calls per second of each client that make up the load of the plan."""
        return self.load * self.providers * self.capacity.width / self.capacity.seconds

    @property
    def length(self) -> float:
        """Seconds of the whole run at the pace of the rehearsal."""
        rollout = self.rollout
        batch = LEAVING * rollout.signal + rollout.away + rollout.between
        return CALM + len(self.batches) * batch + TAIL

    def script(self, *, seconds: float) -> Script:
        """Write the script: the batches one after the other, in about `seconds`."""
        pace = max(0.1, seconds / self.length)
        steps, before = [], CALM
        for batch in self.batches:
            for action, pause in self._restart(pace):
                steps.append(Step((before + pause) * pace, action, batch))
                before = 0.0
            before = self.rollout.between
        return Script(tuple(steps), (before + TAIL) * pace, pace)

    def _restart(self, pace: float) -> list[tuple[Action, float]]:
        rollout = self.rollout
        away = max(rollout.away - rollout.lag - BOOT / pace, 0.0)
        begin: list[tuple[Action, float]] = [("kill", 0.0)]
        if rollout.signal:
            begin = [("leave", 0.0), ("stop", LEAVING)]
        return [*begin, ("forget", rollout.lag), ("start", away), ("list", 0.0)]


def read_plan(path: Path) -> DemoPlan:
    """Read a plan; raise `ValueError` that says what is wrong with it."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"plan must be a JSON file: {error}") from error
    try:
        order, rollout = document["order"], Rollout(**document["rehearsed"])
        names = [name for batch in order for name in batch]
        numbers = {name: number for number, name in enumerate(names)}
        plan = DemoPlan(
            tuple(tuple(numbers[name] for name in batch) for batch in order),
            float(document["expected_load"]),
            Capacity(
                int(document["workers"]), float(document["service_time"]), rollout.cold_factor
            ),
            rollout,
        )
    except (KeyError, TypeError, ValueError) as error:
        told = "plan must be what `rpcguard plan-release --json` writes"
        raise ValueError(f"{told}: {error!r} is missing or wrong in {path.name}") from error
    if not plan.providers:
        raise ValueError(f"{path.name} advises no batches, so there is no release to play")
    if plan.providers > _MOST_NODES:
        raise ValueError(f"plan must have at most {_MOST_NODES} nodes, not {plan.providers}")
    return plan
