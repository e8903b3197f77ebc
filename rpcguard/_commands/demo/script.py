"""The release script, as data: what happens to which provider, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal[
    "leave",
    "stop",
    "forget",
    "start",
    "list",
    "kill",
    "freeze",
    "thaw",
    "sick",
    "falter",
    "well",
]
Part = tuple[tuple[Action, float], ...]

# Each action and the seconds to wait before it. Registries learn late that a node is gone:
# `forget` comes seconds after the node has stopped, died or frozen.
RELEASE: Part = (("leave", 0.0), ("stop", 0.8), ("forget", 2.2), ("start", 0.3), ("list", 0.0))
CRASH: Part = (("kill", 0.0), ("forget", 2.5), ("start", 0.3), ("list", 0.0))
"""Nobody says that the node is gone, so the registry knows later than at a release."""
FREEZE: Part = (("freeze", 0.0), ("forget", 2.5), ("thaw", 1.7), ("list", 0.2))
"""As long as a crash until the registry knows; it goes on before it is listed, as it really is."""
SICK: Part = (("sick", 0.0), ("well", 3.5))
"""The registry never knows; long enough for an ejection to be seen, and short of its end."""

LEAD_IN = 2.0
"""Seconds of calm first, to compare with."""
SETTLE = 0.9
"""Seconds from the signal to the stop, as a preStop hook waits."""
TAIL = 1.5
"""Seconds of calm at the end, so that what the last fault left is seen."""
BOOT = 0.8  # seconds that a provider takes to start, which no script can shorten

WHAT: dict[Action, str] = {
    "leave": "announces that it leaves",
    "stop": "stops (SIGTERM)",
    "forget": "is taken off the registry",
    "start": "starts again, cold",
    "list": "is on the registry again",
    "kill": "is killed (SIGKILL)",
    "freeze": "freezes (SIGSTOP)",
    "thaw": "goes on (SIGCONT)",
    "sick": "answers 500 at once",
    "falter": "answers 500 every third time",
    "well": "answers well again",
}


@dataclass(frozen=True, slots=True)
class Step:
    """An action on the providers of these numbers, `pause` seconds after the step before."""

    pause: float
    action: Action
    providers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of a run; `tail` seconds of quiet follow, `pace` is the stretch of time."""

    steps: tuple[Step, ...]
    tail: float
    pace: float


def release_script(*, providers: int, seconds: float) -> Script:
    """Write the script of a run: release every provider in turn, then crash, freeze and sicken one.

    The pauses are stretched or squeezed so that it all takes about `seconds`.
    """
    parts = [(RELEASE, number) for number in range(providers)]
    parts += [(part, number % providers) for number, part in enumerate((CRASH, FREEZE, SICK))]
    pauses = sum(pause for part, _ in parts for _, pause in part)
    pauses += LEAD_IN + SETTLE * (len(parts) - 1) + TAIL
    boots = BOOT * sum(action == "start" for part, _ in parts for action, _ in part)
    pace = max(0.1, (seconds - boots) / pauses)
    steps = []
    before = LEAD_IN
    for part, provider in parts:
        for action, pause in part:
            steps.append(Step((before + pause) * pace, action, (provider,)))
            before = 0.0
        before = SETTLE
    return Script(tuple(steps), TAIL * pace, pace)
