"""A release by the batches of a plan: what was rehearsed is what real providers do."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from statistics import fmean, pstdev

import pytest

from rpcguard import cli
from rpcguard._commands.demo.options import DemoOptions
from rpcguard._commands.demo.planned import read_plan
from rpcguard._commands.demo.script import BOOT
from rpcguard._commands.demo.work import Capacity
from rpcguard._planning.batches import Batch
from rpcguard._planning.dialects import as_dict
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout
from rpcguard._planning.plan import plan_release
from rpcguard._planning.rehearsal import rehearse, shortened

ROLLOUT = Rollout(away=4.0, cold=2.0, watch=1.0, canary=0)
BOUNDS = Bounds(p99=5.0)  # two workers of four nodes wait for each other now and then
FLEET = Fleet(
    nodes=tuple(PlannedNode(id=f"n{number}") for number in range(4)),
    load=0.5,
    workers=2,
    service_time=0.1,
    callers=1,
)


def write(path, **changes):
    """Write a plan of four nodes, changed."""
    document = as_dict(plan_release(FLEET, ROLLOUT, BOUNDS)) | changes
    path.write_text(json.dumps(document))
    return path


def test_a_plan_is_read_as_it_was_written(tmp_path):
    """Batches by number, the capacity of a node, the load, and the time line of the rehearsal."""
    plan = read_plan(write(tmp_path / "plan.json"))
    assert plan.batches == ((0,), (1,), (2,), (3,))
    assert plan.rate == pytest.approx(0.5 * 4 * 2 / 0.1)
    script = plan.script(seconds=30.0)
    assert [step.action for step in script.steps[:5]] == [
        *("leave", "stop", "forget", "start", "list")
    ]
    assert {step.providers for step in script.steps} == {(0,), (1,), (2,), (3,)}
    assert plan.rollout == shortened(ROLLOUT)
    assert plan.capacity == Capacity(width=2, seconds=0.1, cold_factor=3.0)


@pytest.mark.parametrize("seconds", [20.0, 60.0, 200.0])
def test_the_script_takes_as_long_as_was_asked(tmp_path, seconds):
    """Whatever its length, times are in the proportions of the rehearsal; a start takes its own."""
    script = read_plan(write(tmp_path / "plan.json")).script(seconds=seconds)
    starts = sum(step.action == "start" for step in script.steps)
    total = sum(step.pause for step in script.steps) + script.tail + BOOT * starts
    assert total == pytest.approx(seconds, rel=0.01)
    assert all(step.pause >= 0 for step in script.steps)


def test_nodes_that_say_nothing_are_killed(tmp_path):
    """Without a signal they are gone at once, and listed for the lag of the registry."""
    silent = replace(ROLLOUT, signal=False, lag=1.5)
    document = as_dict(plan_release(FLEET, silent, BOUNDS))
    script = read_plan(write(tmp_path / "plan.json", rehearsed=document["rehearsed"])).script(
        seconds=60.0
    )
    assert [step.action for step in script.steps[:4]] == ["kill", "forget", "start", "list"]
    assert script.steps[1].pause == pytest.approx(1.5 * script.pace)


def test_calls_of_a_plan_come_at_random(tmp_path):
    """As in the rehearsal, and at its rate: calls that come in step wait for none."""
    options = DemoOptions(plan=read_plan(write(tmp_path / "plan.json")))
    rng = random.Random(1)
    gaps = [options.gap(rng) for _ in range(4000)]
    assert fmean(gaps) == pytest.approx(1 / 40, rel=0.05)
    assert pstdev(gaps) == pytest.approx(1 / 40, rel=0.1)
    assert {DemoOptions().gap(rng) for _ in range(3)} == {0.01}


def test_a_cold_provider_of_a_plan_gets_warm_by_and_by():
    """Exponential times around the plan's, so many times as long at first."""
    capacity, rng = Capacity(width=2, seconds=0.1, cold_factor=3.0), random.Random(1)
    for ahead, mean in ((1.0, 0.3), (0.5, 0.2), (0.0, 0.1)):
        drawn = [capacity.draw(rng, ahead) for _ in range(4000)]
        assert fmean(drawn) == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"order": []}, "advises no batches"),
        ({"order": [[str(number)] for number in range(21)]}, "at most 20 nodes"),
        ({"order": None}, "plan-release --json"),
        ({"workers": "many"}, "plan-release --json"),
        ({"rehearsed": {"way": 4.0}}, "plan-release --json"),
    ],
)
def test_a_bad_plan_is_told(tmp_path, changes, said, capsys):
    """In one line, with exit status 2."""
    path = write(tmp_path / "plan.json", **changes)
    assert cli.main(["demo", "--plan", str(path)]) == 2
    assert said in capsys.readouterr().err


def test_no_plan_at_all_is_told(tmp_path, capsys):
    """A path that is none, and a file that is no JSON."""
    assert cli.main(["demo", "--plan", str(tmp_path / "none")]) == 2
    assert "must be a JSON file" in capsys.readouterr().err


@pytest.mark.timeout(180)
def test_real_providers_do_what_was_rehearsed(tmp_path, capfd):
    """The advised batches lose nothing; three of four at once lose calls, here as there."""
    advised = plan_release(FLEET, ROLLOUT, BOUNDS).advised
    assert advised is not None
    assert (advised.size, advised.lost) == (1, 0.0)
    assert failed_calls(write(tmp_path / "good.json"), capfd) == 0

    batches = [Batch(FLEET.nodes[:3]), Batch(FLEET.nodes[3:])]
    order = [[node.id for node in batch.nodes] for batch in batches]
    assert rehearse(FLEET, ROLLOUT, batches, seed=1).lost > 0
    assert failed_calls(write(tmp_path / "bad.json", order=order), capfd) > 0


def failed_calls(plan, capfd) -> int:
    """Play a plan on real providers, and give how many calls of rpcguard failed, for any reason."""
    cli.main(["demo", "--plan", str(plan), *SHORT])
    told = re.search(r"^failed calls +([\d,]+)", capfd.readouterr().out, re.MULTILINE)
    assert told
    return int(told[1].replace(",", ""))


SHORT = ["--seconds", "20", "--plain"]
