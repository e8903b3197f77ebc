"""Look for the smallest scenario that still fails in the same way."""

from __future__ import annotations

import random
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from tests.simulation.run import fails
from tests.simulation.scenario import Begin

if TYPE_CHECKING:
    from tests.simulation.scenario import Part, Scenario

_LEFT_OUT, _PLAIN, _WHOLE = 0, 1, 999
_SETTINGS = settings(
    max_examples=3000,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def shrink(scenario: Scenario) -> Scenario:
    """Leave out what the failure does not need, and make plain what is left.

    Each node and part is a number of Hypothesis': nearly always a large one, by which it is kept
    as it is. Hypothesis makes the numbers smaller, and with them the scenario.
    """
    cause = _where(fails(scenario))
    count = len(scenario.first) + len(scenario.parts)
    numbers = st.tuples(*[st.integers(_LEFT_OUT, _WHOLE)] * count)
    try:
        kept = find(
            numbers,
            lambda drawn: _where(fails(_less(scenario, drawn))) == cause,
            settings=_SETTINGS,
            random=random.Random(0),
        )
    except NoSuchExample:
        return scenario
    return _less(scenario, kept)


def _less(scenario: Scenario, numbers: tuple[int, ...]) -> Scenario:
    count = len(scenario.first)
    first = [one for one, number in zip(scenario.first, numbers, strict=False) if number]
    parts = [
        _plain(part) if number == _PLAIN else part
        for part, number in zip(scenario.parts, numbers[count:], strict=True)
        if number
    ]
    return replace(scenario, first=tuple(first), parts=tuple(parts))


def _plain(part: Part) -> Part:
    return Begin(part.at, fates=part.fates) if isinstance(part, Begin) else part


def _where(error: Exception | None) -> object:
    """Tell two failures apart by the lines that found them."""
    if error is None:
        return None
    frames = traceback.extract_tb(error.__traceback__)
    found = [frame for frame in frames if frame.name != "demand"][-1]
    return type(error), found.filename, found.lineno
