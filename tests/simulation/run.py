"""Run seeds, one after the other or on all cores."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation.cases import CASES
from tests.simulation.driver import Play
from tests.simulation.scenario import draw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.scenario import Scenario

_COLLECT_EVERY = 64


@dataclass(frozen=True, slots=True)
class Failure:
    """Tell which seed failed, and by what."""

    seed: int
    error: str


def fails(scenario: Scenario) -> Exception | None:
    """Play a scenario; give what is wrong, if anything is."""
    try:
        Play(scenario).run()
    except Exception as error:  # a broken core may raise anything
        return error
    return None


def first_failing_case() -> str | None:
    """Play what was found before; say what is wrong with the first case that fails."""
    for name, case in CASES.items():
        error = fails(case)
        if error is not None:
            return f"{name}: {error}"
    return None


def first_failure(seeds: Iterable[int]) -> Failure | None:
    """Play seeds until one fails."""
    logger = logging.getLogger("rpcguard")
    disabled, logger.disabled = logger.disabled, True
    gc.disable()  # a world is one big cycle; collecting many at once is cheaper
    try:
        for number, seed in enumerate(seeds, 1):
            error = fails(draw(seed))
            if error is not None:
                return Failure(seed, f"{type(error).__name__}: {error}")
            if not number % _COLLECT_EVERY:
                gc.collect()
    finally:
        gc.enable()
        logger.disabled = disabled
    return None
