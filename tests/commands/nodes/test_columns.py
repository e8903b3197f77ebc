"""What of the table of nodes a terminal has room for, and how its rows are sorted."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rpcguard._commands.nodes.columns import ORDERS, columns, in_order, worst
from rpcguard._commands.nodes.table import LiveTable
from tests.support.rows import look, row

ALL = 250
"""Characters that are enough for every column."""
ROWS = [
    row("orders-7d9f8b6c5-abcd0", successes=9, latencies=(0.004, 0.0042, 0.12), in_flight=3),
    row("orders-7d9f8b6c5-abcd1", "ejected", "5 failures in a row", until=4.6, failures=9),
    row(
        *("orders-7d9f8b6c5-abcd2", "warming"),
        until=95.0,
        weight=2.0,
        effective_weight=0.5,
        in_flight=12,
    ),
]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (20, "node state"),
        (40, "node state good"),
        (50, "node state good p99"),
        (55, "node state left good p99"),
        (60, "node state left fly good p99"),
        (70, "node state left weight fly good p99"),
        (80, "node state why left weight fly good p50 p99"),
    ],
)
def test_a_narrow_terminal_has_what_tells_most(width, shown):
    """Columns go before any of them is cut."""
    assert " ".join(columns(width, ROWS)) == shown


def test_more_room_never_takes_a_column_away():
    """Each width has the columns of all smaller ones, in the same order."""
    whole = columns(ALL, ROWS)
    for width in range(ALL):
        less, more = columns(width, ROWS), columns(width + 1, ROWS)
        assert set(less) <= set(more)
        assert list(more) == [column for column in whole if column in more]


def test_a_column_of_nothing_is_left_out():
    """Zone and version are there if a node has one."""
    assert {"zone", "version"}.isdisjoint(columns(ALL, ROWS))
    assert "zone" in columns(ALL, [*ROWS, row("z", zone="east")])


@pytest.mark.parametrize("width", range(18, 81))
def test_what_is_shown_is_whole(width):
    """From the smallest terminal on no line is too long, and no state or figure is cut."""
    console = Console(file=io.StringIO(), width=width, height=40, record=True)
    console.print(LiveTable(console).drawn(look(*ROWS)))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    shown = columns(width, ROWS)
    wanted = {"state": "available ejected warming", "p99": "120ms", "left": "5s 1m35"}
    wanted |= {"weight": "2→0.50", "fly": "12", "p50": "4.2ms"}
    words = set("\n".join(lines).split())
    for column in shown:
        assert set(wanted.get(column, "").split()) <= words, column


def test_rows_are_sorted_by_what_wants_attention():
    """As listed, by state, by calls in flight, by p99: the worst on top."""
    sorted_ = {order: [row.id[-1] for row in in_order(ROWS, order)] for order in ORDERS}
    assert sorted_ == {
        "listed": [*"012"],
        "state": [*"120"],
        "in flight": [*"201"],
        "p99": [*"012"],
    }


def test_of_too_many_rows_those_on_top_are_kept():
    """By the order that is chosen; as listed, those out of the ordinary stay in their places."""
    assert [row.id[-1] for row in worst(ROWS, 2, "in flight")] == ["2", "0"]
    assert [row.id[-1] for row in worst(ROWS, 2, "listed")] == ["1", "2"]
