"""The shape of a ramp."""

from __future__ import annotations

import math

import pytest

from rpcguard import SlowStart


def test_the_shape_of_the_ramp():
    """(age / window) squared, never under the floor, 1 at the end of the window."""
    policy = SlowStart()
    assert [policy.ramp(age, 0) for age in (-5, 0, 12, 37)] == [0.1] * 4
    assert policy.ramp(60, 0) == pytest.approx(0.25)
    assert policy.ramp(119.9, 0) == pytest.approx(1.0, abs=0.01)
    assert policy.ramp(120, 0) == 1.0
    assert SlowStart(curve=1.0, floor=0.2, window=10).ramp(5, 0) == 0.5
    assert SlowStart(window=0).ramp(0, 0) == 1.0


def test_a_node_without_a_start_time_has_no_head_start():
    """Nor has one whose time is none."""
    assert SlowStart().head_start(math.inf, 0.0) == 0.0
    assert SlowStart().head_start(None, 0.0) == 0.0
