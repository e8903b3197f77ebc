"""Real calls over a real list, in thousands of made-up worlds that each seed draws anew."""

from __future__ import annotations

import os

import pytest

from rpcguard import Node
from rpcguard.health import Health
from tests.simulation.__main__ import replay
from tests.simulation.driver import Play
from tests.simulation.faults import FATES
from tests.simulation.mutations import MUTATIONS, attempt_all
from tests.simulation.run import fails, first_failure
from tests.simulation.scenario import Begin, Scenario, draw
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
    monkeypatch.setattr(Health, "_may_mark", lambda _self, _live: True)
    found = first_failure(range(200))
    whole = draw(found.seed)
    smallest = shrink(whole)
    assert fails(smallest) is not None
    assert len(smallest.parts) <= 4 < len(whole.parts)
    with pytest.raises(Violation):
        replay(found.seed)
    assert "Violation" in capsys.readouterr().out


def play(names, *parts):
    """Let this happen to nodes of these names; give what came of it."""
    nodes = [Node(f"10.0.0.{ord(name) - 96}", 80, id=name, generation=1) for name in names]
    return Play(Scenario(1, "RoundRobin", tuple(nodes), parts)).run().story


def sent(story):
    """Count the attempts of a story."""
    return sum("attempt" in what for what in story)


def test_a_date_to_come_back_at_is_read_by_the_clock_of_the_service():
    """A node that asks to be left alone until a date is, by a wall clock that is not real."""
    story = play("ab", Begin(0.1, fates=("pause until",)))
    assert [kind for _, kind, *_ in story if kind == "offline"]


def test_a_call_in_panic_does_not_end_the_trial_of_another():
    """While a half-open node has its one trial, nothing else makes it ready for a second."""
    story = play(
        "ab",
        Begin(1.0, fates=("bad certificate", "stale, but run")),
        Begin(30.0, fates=("unreachable",)),
        Begin(30.1, fates=("slow", "stale"), timeout=0.1),
        Begin(34.0, fates=("bad certificate",)),
    )
    assert sent(story) >= 7


def test_no_answer_is_drained_into_the_time_of_the_next_attempt():
    """A third attempt begins within the deadline, though the answer before it is slow to drain."""
    short = {"attempts": 4, "deadline": 0.05}
    calls = (
        Begin(float(at), fates=("pool full", "502", "ok"), options=short) for at in range(1, 200, 9)
    )
    assert sent(play("abcd", *calls)) >= 3 * 23
