"""What a person sees of a list: on terminals of every width, in a pipe, and as JSON."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from rpcguard._commands.nodes.show import JsonLines, PlainLines
from rpcguard._commands.nodes.table import LiveTable
from rpcguard.testing import ManualClock
from tests.support.rows import look, row

LONG = "orders-7d9f8b6c5-abcd"
LIST = [
    row(f"{LONG}0", successes=900, latencies=(0.004, 0.0042, 1.5), version="1.4.2", zone="east"),
    row(f"{LONG}1", "ejected", "5 failures in a row", until=4.6, effective_weight=0.0, failures=9),
    row(f"{LONG}2", "warming", "slow start", until=95.0, weight=2.0, effective_weight=0.5),
    row(f"{LONG}3", "offline", "X-RpcGuard-Offline", event="offline: said so", event_age=7.0),
]


class Terminal:
    """Show looks on a terminal of this size and read its last picture."""

    def __init__(self, width: int, height: int = 40) -> None:
        self.out = io.StringIO()
        self.clock = ManualClock()
        console = Console(file=self.out, width=width, height=height, force_terminal=False)
        self.table = LiveTable(console, self.clock)
        self.console = console

    def show(self, *looks) -> list[str]:
        for one in looks:
            self.table.show(one)
            self.clock.advance(1.0)
        self.out.seek(0)
        self.out.truncate()
        self.console.print(self.table.drawn(looks[-1]))
        return self.out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 132, 180, 250])
def test_every_width_shows_each_node_on_a_line(width):
    """No line is broken or too long, and states, bars and latencies are all there."""
    shown = Terminal(width).show(look(*LIST), look(*LIST))
    assert all(len(line) <= width for line in shown)
    assert shown[0].startswith("orders  4 nodes: 1 available, 1 warming, 1 offline, 1 ejected")
    nodes = [line for line in shown if "abcd" in line]
    assert [line.split()[1] for line in nodes] == ["available", "ejected", "warming", "offline"]
    assert "4.2ms" in nodes[0]
    assert "1.5s" in nodes[0]
    assert " 5s " in nodes[1]
    assert "1m35" in nodes[2]
    bar = "█" * 2 + "▌" + "░" * 7 if width >= 100 else "█░░░"
    assert nodes[2].count(bar) == 1
    arrow = " → " if width >= 100 else "→"
    assert f"2{arrow}0.50 {bar}" in nodes[2]
    assert ("load" in shown[1]) == (width >= 100)
    assert ("7s ago: offline: said so" in nodes[3]) == (width >= 132)
    assert ("1.4.2" in nodes[0]) == (width >= 168)


def test_the_share_of_good_calls_is_that_of_the_watch():
    """Calls from before it do not count, and failures of now do."""
    before = row("a", successes=1000, failures=500)
    after = row("a", successes=1030, failures=510)
    (line,) = [
        line for line in Terminal(120).show(look(before), look(after)) if line.startswith("a ")
    ]
    assert "75.0%" in line
    assert "40.0" in line


def test_news_are_kept_below_the_table():
    """The last changes stay to be read, with the time of day."""
    ejected = row("a", "ejected", "ConnectError", until=5.0)
    shown = Terminal(80).show(look(row("a")), look(ejected), look(ejected), look(row("a")))
    assert shown[-2].endswith("a  available -> ejected: ConnectError (5 s left)")
    assert shown[-1].endswith("a  ejected -> available")


def test_of_a_long_list_the_troubled_nodes_are_shown():
    """Where not all fit, the rest is a count."""
    rows = [row(f"n{number}") for number in range(500)]
    rows[400] = row("n400", "ejected", "ConnectError")
    shown = Terminal(80, height=20).show(look(*rows))
    assert len(shown) < 20
    assert any(line.startswith("n400 ") for line in shown)
    assert shown[-1] == "and 491 more: 491 available"


def test_trouble_is_told_above_the_table():
    """A registry that is gone is seen at once."""
    shown = Terminal(80).show(look(row("a"), trouble="ConnectError: no route"))
    assert shown[1].startswith("the list is not kept up to date: ConnectError: no route")


def test_nothing_of_a_registry_is_markup():
    """Brackets in names are text, and control codes do nothing."""
    evil = row("[bold]x[/bold]\x1b[2J", "ejected", "[red]why[/red]")
    shown = "\n".join(Terminal(120).show(look(evil)))
    assert "[bold]x[/bold]" in shown
    assert "[red]why[/red]" in shown
    assert "\x1b[2J" not in shown


def test_plain_lines_tell_the_list_once_and_then_each_change(capsys):
    """A pipe gets a table and then a line per change, with the time."""
    plain = PlainLines()
    ejected = row("a", "ejected", "ConnectError", until=5.0)
    for one in (look(row("a")), look(row("a")), look(ejected, trouble="gone"), look(ejected)):
        plain.show(one)
    head, first, *news = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "NODE"
    assert first.split()[:3] == ["a", "10.0.0.1:80", "available"]
    assert [line.split("  ", 1)[1] for line in news] == [
        "a  available -> ejected: ConnectError (5 s left)",
        "the list is not kept up to date: gone",
        "the list is kept up to date again",
    ]


def test_plain_text_has_no_control_codes(capsys):
    """What a registry says cannot draw on the terminal of who reads the log."""
    PlainLines().show(look(row("a\x1b[2J", "ejected", "why\nnot")))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


def test_json_is_a_line_per_change(capsys):
    """Only what is a change of the list, and trouble elsewhere."""
    lines = JsonLines()
    view = {"node": {"id": "a"}, "state": "available", "reason": None, "weight": 1.0, "load": 1.0}
    busy, ejected = view | {"load": 9.0}, view | {"state": "ejected"}
    for views, trouble in (([view], None), ([busy], None), ([ejected], "gone"), ([ejected], None)):
        shown = look(trouble=trouble)
        shown.views.extend(views)
        lines.show(shown)
    told = capsys.readouterr()
    assert [json.loads(line) for line in told.out.splitlines()] == [[view], [ejected]]
    assert told.err.splitlines() == [
        "rpcguard: the list is not kept up to date: gone",
        "rpcguard: the list is kept up to date again",
    ]
