"""What is told of a node, and what counts as a change."""

from __future__ import annotations

import dataclasses

import pytest

from rpcguard._commands.nodes.rows import RecentChanges, Row, changes, tally
from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.view import NodeView
from tests.support.rows import row


def test_a_row_reads_every_view():
    """What `NodeView.as_dict` gives is understood, and what an older program lacks is left open."""
    node = Node("::1", 80, zone="east", version="2")
    view = NodeView(
        *(node, "ejected", "ConnectError", 3.0, 2.0, 0.5, 4, 0.25, 90, 10),
        event="ejected: ConnectError",
        event_age=2.0,
        latencies=(0.1, 0.2),
    ).as_dict()
    read = Row.of(view)
    assert dataclasses.astuple(read) == (
        *("[::1]:80", "[::1]:80", "ejected", "ConnectError", 3.0, 2.0, 0.5, 4, 0.25, 90, 10),
        *(pytest.approx(0.2), pytest.approx(0.2), "ejected: ConnectError", 2.0, "east", "2"),
    )
    assert read.good == 0.9
    at_socket = dataclasses.asdict(Node("localhost", 80, id="a", uds="/orders.sock"))
    assert Row.of({**view, "node": at_socket}).address == "unix:/orders.sock"
    for name in ("p50", "p99", "event", "event_age"):
        del view[name]
    old = Row.of(view)
    assert (old.p50, old.p99, old.event, old.event_age) == (None, None, "", None)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([], [row()], [("a", "joined the list: available")]),
        ([row()], [], [("a", "left the list")]),
        ([row()], [row(in_flight=3, load=2.0, successes=9, latencies=(0.1,))], []),
        (
            [row()],
            [row(state="ejected", reason="ConnectError", until=5.2)],
            [("a", "available -> ejected: ConnectError (5 s left)")],
        ),
        (
            [row(state="warming", until=3.0, effective_weight=0.2)],
            [row(state="warming", until=2.0, effective_weight=0.4)],
            [],
        ),
        ([row()], [row(weight=2.0)], [("a", "weight 1 -> 2")]),
        ([row()], [row(port=81)], [("a", "address 10.0.0.1:80 -> 10.0.0.1:81")]),
        (
            [row()],
            [row(event="ejected (not enforced): 5 failures in a row", event_age=0.1)],
            [("a", "ejected (not enforced): 5 failures in a row")],
        ),
    ],
)
def test_changes_are_told_and_what_moves_all_the_time_is_not(before, after, told):
    """A line for what an operator wants to know; counts, loads and ramps are no change."""
    assert changes(before, after) == told


def test_recent_counts_over_the_last_seconds_only():
    """Rate and share are those of 30 s; what was before the watch says nothing."""
    recent = RecentChanges()
    recent.see([row(successes=1000, failures=1000)], 0.0)
    assert (recent.rate("a"), recent.good("a")) == (None, None)
    recent.see([row(successes=1006, failures=1002)], 4.0)
    assert (recent.rate("a"), recent.good("a")) == (2.0, 0.75)
    recent.see([row(successes=1006, failures=1002)], 20.0)
    recent.see([row(successes=1016, failures=1002)], 34.0)
    assert recent.good("a") == 1.0
    assert recent.rate("a") == pytest.approx(10 / 30)


def test_recent_starts_over_with_the_node():
    """Counts that have fallen are those of a new registration, or of a program that restarted."""
    recent = RecentChanges()
    recent.see([row(successes=50)], 0.0)
    recent.see([row(successes=3)], 1.0)
    assert recent.rate("a") is None
    recent.see([row(successes=5)], 2.0)
    assert recent.rate("a") == 2.0
    recent.see([], 3.0)
    assert recent.rate("a") is None


def test_states_are_counted_the_best_first():
    """The head of the list in words."""
    rows = [row("a"), row("b", "ejected"), row("c"), row("d", "warming")]
    assert tally(rows) == "2 available, 1 warming, 1 ejected"


def test_a_load_that_was_never_measured_is_none():
    """What a balancer assumes of a node before its first answer is not shown as if it were seen."""
    assert row(load=0.001).load is None
    assert row(load=0.001, failures=1).load == 0.001
    assert row(load=0.001, successes=1).load == 0.001
