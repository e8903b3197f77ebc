"""The release script is data; these tests read it like a person would."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rpcguard._commands.demo.canary import canary_script
from rpcguard._commands.demo.script import BOOT, WHAT, release_script


def actions(script, provider: int) -> list[str]:
    return [step.action for step in script.steps if step.providers == (provider,)]


def test_every_provider_is_released_and_three_are_hurt():
    """The order of each provider's fate is that of the issue: release, then a fault."""
    script = release_script(providers=5, seconds=45)
    release = ["leave", "stop", "forget", "start", "list"]
    assert actions(script, 0) == [*release, "kill", "forget", "start", "list"]
    assert actions(script, 1) == [*release, "freeze", "forget", "thaw", "list"]
    assert actions(script, 2) == [*release, "sick", "well"]
    assert actions(script, 3) == actions(script, 4) == release


@pytest.mark.parametrize("providers", [2, 3, 5, 12])
@pytest.mark.parametrize("seconds", [20, 45, 120])
def test_the_script_fits_the_time(providers, seconds):
    """Pauses and the time that processes need to start add up to what was asked for."""
    script = release_script(providers=providers, seconds=seconds)
    starts = sum(step.action == "start" for step in script.steps)
    total = sum(step.pause for step in script.steps) + script.tail + BOOT * starts
    assert total == pytest.approx(max(seconds, total if script.pace == 0.1 else 0), rel=0.01)


def test_the_registry_is_seconds_late():
    """Between a stop, a kill or a freeze and the removal there are seconds, as in real life."""
    steps = release_script(providers=5, seconds=45).steps
    for before, step in pairwise(steps):
        if step.action == "forget":
            assert before.action in ("stop", "kill", "freeze")
            assert step.pause > 2


def test_a_short_run_still_has_pauses():
    """Time that does not suffice squeezes the pauses and never makes them negative."""
    script = release_script(providers=20, seconds=5)
    assert script.pace == 0.1
    assert all(step.pause >= 0 for step in script.steps)


def test_every_action_can_be_told():
    """Each action of a script has words for the event line."""
    scripts = (
        release_script(providers=3, seconds=45),
        canary_script(canary=2, seconds=45),
    )
    assert {step.action for script in scripts for step in script.steps} == set(WHAT)
