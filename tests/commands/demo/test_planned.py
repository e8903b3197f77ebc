"""A release by the batches of a plan: what was rehearsed is what real providers do."""

from __future__ import annotations

import json

import pytest

from rpcguard import cli
from rpcguard._commands.demo.planned import read_plan
from rpcguard._planning.batches import Batch
from rpcguard._planning.dialects import as_dict
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout
from rpcguard._planning.plan import plan_release
from rpcguard._planning.rehearsal import rehearse

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
    """Batches by number, the capacity of a node, and the load that goes with them."""
    plan = read_plan(write(tmp_path / "plan.json"))
    assert plan.batches == ((0,), (1,), (2,), (3,))
    assert plan.rate == pytest.approx(0.5 * 4 * 2 / 0.1)
    script = plan.script(seconds=30.0)
    assert [step.action for step in script.steps[:5]] == [
        *("leave", "stop", "forget", "start", "list")
    ]
    assert {step.providers for step in script.steps} == {(0,), (1,), (2,), (3,)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"order": []}, "1 to 20 nodes"),
        ({"order": None}, "plan-release --json"),
        ({"workers": "many"}, "plan-release --json"),
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
    assert cli.main(["demo", "--plan", str(write(tmp_path / "good.json")), *SHORT]) == 0
    assert "No call of rpcguard failed" in capfd.readouterr().out

    batches = [Batch(FLEET.nodes[:3]), Batch(FLEET.nodes[3:])]
    order = [[node.id for node in batch.nodes] for batch in batches]
    assert rehearse(FLEET, ROLLOUT, batches, seed=1).lost > 0
    bad = write(tmp_path / "bad.json", order=order)
    cli.main(["demo", "--plan", str(bad), *SHORT])
    assert "No call of rpcguard failed" not in capfd.readouterr().out


SHORT = ["--seconds", "20", "--plain"]
