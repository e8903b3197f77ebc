"""Counts of a window, and what a node's last answers say."""

from __future__ import annotations

import pytest

from rpcguard import Node
from rpcguard._core.nodes.live import LiveNode
from rpcguard._core.nodes.window import RollingCounts


def test_rolling_counts_forget_bucket_by_bucket():
    """Counts leave after the window, whatever the gaps are; time never goes back."""
    counts = RollingCounts(10.0, 0.0)
    for second in range(10):
        counts.add(second, 1, second % 2)
    assert (counts.total, counts.marked) == (10, 5)
    counts.advance(9.99)
    assert counts.total == 10
    counts.advance(12.0)
    assert (counts.total, counts.marked) == (7, 4)
    counts.add(3.0, 1, 0)
    assert counts.total == 8
    counts.advance(1e9)
    assert (counts.total, counts.marked) == (0, 0)


@pytest.mark.parametrize(("weight", "turn"), [(1.0, 1.0), (4.0, 0.25), (0.0, 1.0)])
def test_a_pick_is_a_turn_by_weight(weight, turn):
    """A node that is only the last resort has one as any other."""
    live = LiveNode(Node("10.0.0.1", 80, weight=weight), 0.0)
    live.begin(0.0)
    assert live.turns == turn


def test_the_end_of_a_bucket_is_the_start_of_the_next():
    """What is counted at that moment lives as long as what comes right after it."""
    counts = RollingCounts(10.0, 0.0)
    counts.add(1.0, 1, 1)
    counts.advance(10.5)
    assert (counts.total, counts.marked) == (1, 1)
    counts = RollingCounts(10.0, 0.0)
    counts.add_total(1.0)
    counts.advance(10.5)
    assert counts.total == 1


def test_patience_goes_by_the_median_of_the_last_answers():
    """Four times as long, and no less than a second, whatever a failure has taken."""
    live = LiveNode(Node("10.0.0.1", 80), 0.0)
    assert live.patience() == 1.0
    for seconds in (0.5, 0.5, 9.0):
        live.succeed(seconds, 0.0)
    assert live.patience() == 2.0
    for seconds in (0.01, 0.01, 0.01):
        live.succeed(seconds, 0.0)
    assert live.patience() == 2.0
    live.succeed(0.01, 0.0)
    assert live.patience() == 1.0
