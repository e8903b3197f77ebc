"""`rpcguard plan-release` as its user runs it."""

from __future__ import annotations

import json

import pytest

from rpcguard import cli
from rpcguard._commands.nodes.sources import Look
from rpcguard._commands.plan import run

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


def test_the_list_of_a_registry_is_rehearsed(capsys):
    """Without --fast too: nodes have addresses for ids, as with most registries."""
    url = "static:///orders=10.0.0.1:80,10.0.0.2:80"
    assert cli.main(["plan-release", url, "orders", "--load", "0.1"]) == 0
    assert "simulated" in capsys.readouterr().out


PAGE = "status+http://127.0.0.1:1/status"


def seen(monkeypatch, *nodes, trouble=None):
    """Let a status page show nodes of (id, state, weight, in flight)."""
    views = [
        {"node": {"id": name, "zone": None}, "state": state, "weight": weight, "in_flight": calls}
        for name, state, weight, calls in nodes
    ]

    async def look(url, service):
        return Look(service, url, trouble, views, [])

    monkeypatch.setattr(run, "_look", look)


def test_nodes_that_are_out_already_bear_nothing(monkeypatch, capsys):
    """They are told, and no part of the fleet: two of four bear it all, so that none may go."""
    nodes = [("a", "available", 1, 3), ("b", "warming", 1, 3)]
    out = [("c", "ejected", 1, 0), ("d", "offline", 1, 0), ("e", "draining", 0, 0)]
    seen(monkeypatch, *nodes, *out)
    assert cli.main(["plan-release", PAGE, "orders", "--workers", "6", "--fast"]) == 1
    said = capsys.readouterr().out
    assert "2 nodes at 50% load" in said
    assert "not counted, since they take no calls: c, d, e" in said


def test_a_fleet_that_is_all_out_is_no_wrong_usage(monkeypatch, capsys):
    """Exit status 1, as where there is no list."""
    seen(monkeypatch, ("a", "ejected", 1, 0))
    assert cli.main(["plan-release", PAGE, "orders", "--load", "0.5"]) == 1
    assert "no node that takes calls" in capsys.readouterr().err


def test_weights_of_a_hundred_are_no_capacity_of_a_hundred(monkeypatch, capsys):
    """Six calls in flight at two nodes of four workers are 75 % of what they can do."""
    seen(monkeypatch, ("a", "available", 100, 3), ("b", "available", 100, 3))
    assert cli.main(["plan-release", PAGE, "orders", "--fast"]) == 1
    assert "2 nodes at 75% load" in capsys.readouterr().out


def test_an_idle_page_is_no_idle_fleet(monkeypatch, capsys):
    """Else every node would be advised to go at once because one caller rests."""
    seen(monkeypatch, ("a", "available", 1, 0))
    assert cli.main(["plan-release", PAGE, "orders", "--fast"]) == 2
    assert "no call in flight just now: give --load" in capsys.readouterr().err


def test_what_a_page_names_is_printable(monkeypatch, capsys):
    """No id moves the cursor of a terminal, and an old list is said to be one."""
    seen(monkeypatch, ("a\x1b[2J", "available", 1, 1), trouble="gone for 40 s")
    cli.main(["plan-release", PAGE, "orders", "--load", "0", "--fast"])
    told = capsys.readouterr()
    assert "\x1b" not in told.out
    assert "the list may be old: gone for 40 s" in told.err


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
        (["consul://127.0.0.1", "--nodes", "3", "--load", "0.5"], "give URL and SERVICE, or"),
        (["--nodes", "200000", "--load", "0.5"], "--nodes must be 1 to 100000"),
        (["--nodes", "3", "--rate", "-1"], "rate must be"),
        (["--nodes", "3", "--rate", "1", "--workers", "0"], "workers must be"),
        (["--nodes", "3", "--load", "1e308", "--peak", "9"], "load times peak must be"),
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
