"""The rules that the simulation breaks on purpose are where it looks for them."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)
def test_each_rule_is_found(mutation):
    """A rule that moved is told here at once, before the worlds are played."""
    assert mutation.patched() != mutation.path.read_bytes()
