"""`rpcguard plan-release` as its user runs it."""

from __future__ import annotations

import json

import pytest

from rpcguard import cli

NODES = ["plan-release", "--nodes", "12", "--load", "0.5", "--fast"]


def test_the_table_the_advice_and_the_room(capsys):
    """What is printed answers the question in its first lines, and says how it is known."""
    assert cli.main(NODES) == 0
    out = capsys.readouterr().out
    assert "Advice: 4 at a time" in out
    for part in ("by formula", "minReadySeconds", "setWeight", "In this order:", "Room"):
        assert part in out


def test_json_is_one_document(capsys):
    """A pipeline reads the plan as JSON."""
    assert cli.main([*NODES, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["advised"] == 4
    assert sum(map(len, document["order"])) == 12


def test_no_plan_is_exit_status_1(capsys):
    """A script can stop there; the way out is told."""
    assert cli.main(["plan-release", "--nodes", "3", "--load", "0.6", "--fast"]) == 1
    assert "Add 1 node(s)" in capsys.readouterr().out


def test_the_load_from_figures_of_a_dashboard(capsys):
    """Calls a second, their length and the workers of a node say how busy a fleet is."""
    figures = ["--rate", "480", "--service-time", "0.05", "--workers", "4"]
    assert cli.main(["plan-release", "--nodes", "12", *figures, "--fast"]) == 0
    assert "12 nodes at 50% load" in capsys.readouterr().out


def test_the_list_of_a_registry(capsys):
    """Nodes, weights and zones come from where callers get them."""
    url = "static:///orders=10.0.0.1:80,10.0.0.2:80,10.0.0.3:80,10.0.0.4:80"
    assert cli.main(["plan-release", url, "orders", "--load", "0.3", "--fast"]) == 0
    assert "10.0.0.3:80" in capsys.readouterr().out


def test_the_page_stands_alone(tmp_path, capsys):
    """The report has the batches, the table and the dialects, and loads nothing."""
    path = tmp_path / "plan.html"
    assert cli.main([*NODES, "--report", str(path)]) == 0
    page = path.read_text()
    assert "4 at a time" in page
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give URL and SERVICE, or --nodes N"),
        (["--nodes", "3"], "how busy is the fleet"),
        (["--nodes", "0", "--load", "0.5"], "nodes must be"),
        (["--nodes", "3", "--load", "0.5", "--report", "x.png"], "--report writes .html"),
        (["nonsense://x", "orders", "--load", "0.5"], "nonsense"),
        (["--nodes", "3", "--load", "0.5", "--ceiling", "0"], "ceiling must be"),
    ],
)
def test_wrong_usage_is_one_line(arguments, said, capsys):
    """Exit status 2, and a sentence that names the way out."""
    assert cli.main(["plan-release", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", ["60x0.5", "x", "60xfast"])
def test_a_cold_time_has_a_form(text, capsys):
    """`--cold 60x3`: seconds and factor."""
    with pytest.raises(SystemExit, match="2"):
        cli.main([*NODES, "--cold", text])
    assert "60x3" in capsys.readouterr().err
