"""Counts of a window."""

from __future__ import annotations

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
