"""Real calls over a real list, in thousands of made-up worlds that each seed draws anew."""

from __future__ import annotations

import os

import pytest

from rpcguard._core.service.reactions import Reactions
from tests.simulation.__main__ import replay
from tests.simulation.cases import CASES
from tests.simulation.driver import Play
from tests.simulation.faults import FATES
from tests.simulation.mutations import MUTATIONS, attempt_all
from tests.simulation.run import fails, first_failure
from tests.simulation.scenario import Begin, draw
from tests.simulation.shrink import shrink
from tests.simulation.standing import Violation

SEEDS = int(os.environ.get("RPCGUARD_SIMULATION_SEEDS", "10000"))
CHUNK = 500


@pytest.mark.timeout(300)
@pytest.mark.parametrize("begin", range(0, SEEDS, CHUNK))
def test_every_seed_keeps_the_promises(begin):
    """Whatever a seed lets happen, no call is lost that could be saved, none run twice, no leak."""
    found = first_failure(range(begin, min(begin + CHUNK, SEEDS)))
    assert found is None, f"{found.error}; replay it: python -m tests.simulation {found.seed}"


def test_a_seed_repeats_exactly():
    """Played twice, a seed tells the same story to the last digit."""
    first, second = (Play(draw(12)).run().story for _ in range(2))
    assert len(first) > 50
    assert list(map(str, first)) == list(map(str, second))


def test_the_seeds_reach_everything():
    """A few hundred seeds meet every fate, and every kind of event of a list."""
    stories = [Play(draw(seed)).run().story for seed in range(300)]
    told = [one for story in stories for one in story if isinstance(one[1], str)]
    kinds = {"changed", "doubted", "ejected", "frozen", "offline", "panic", "restored", "signal"}
    assert kinds <= {one[1] for one in told}
    assert set(FATES) == {one[-1] for one in told if one[3:4] == ("attempt",)}


@pytest.mark.timeout(300)
def test_every_broken_rule_is_noticed():
    """Each rule of the core, broken on purpose, makes a seed fail."""
    assert len(MUTATIONS) >= 20
    found = attempt_all()
    assert [one.mutation.rule for one in found if not one.caught] == []


def test_a_failing_seed_shrinks_to_its_cause(monkeypatch, capsys):
    """With a broken rule, a scenario of dozens of parts comes down to the few that matter."""
    monkeypatch.setattr(Reactions, "_may_mark", lambda _self, _live, _now: True)
    found = first_failure(range(200))
    whole = draw(found.seed)
    smallest = shrink(whole)
    assert fails(smallest) is not None
    assert len(smallest.parts) <= 4 < len(whole.parts)
    with pytest.raises(Violation):
        replay(found.seed)
    assert "Violation" in capsys.readouterr().out


@pytest.mark.parametrize("case", CASES)
def test_what_was_found_stays_mended(case):
    """Each world in which something went wrong once is well now, and its calls are made."""
    world = Play(CASES[case]).run()
    begun = sum(isinstance(part, Begin) for part in CASES[case].parts)
    assert sum(one[1:2] == ("call",) and "attempt" in one for one in world.story) > begun > 0
