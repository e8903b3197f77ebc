"""What is broken on purpose is where it is looked for, by the simulation and by mutants."""

from __future__ import annotations

import pytest

from tests.mutants.known import EQUIVALENT
from tests.simulation.mutations import MUTATIONS
from tests.support.rooms import PACKAGE


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)
def test_each_rule_is_found(mutation):
    """A rule that moved is told here at once, before the worlds are played."""
    assert mutation.patched() != mutation.path.read_bytes()


@pytest.mark.parametrize("known", EQUIVALENT)
def test_each_change_that_changes_nothing_is_found(known):
    """One whose line has moved excuses nothing, or something else."""
    place, change = known.split("  ", 1)
    file, _, number = place.partition(":")
    line = (PACKAGE / file).read_text().splitlines()[int(number) - 1]
    assert change.partition("  ->  ")[0] in line
