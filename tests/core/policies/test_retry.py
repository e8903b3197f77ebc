"""When a call goes again."""

from __future__ import annotations

import random

from rpcguard import RetryPolicy


def test_the_pause_before_a_retry():
    """None before the first retry, then full jitter up to 25 ms · 2ⁿ and at most a second."""
    policy, rng = RetryPolicy(), random.Random(1)
    assert policy.delay(1, rng) == 0.0
    for retry, longest in ((2, 0.05), (3, 0.1), (9, 1.0), (50, 1.0)):
        pauses = [policy.delay(retry, rng) for _ in range(300)]
        assert 0.9 * longest < max(pauses) <= longest
        assert min(pauses) < 0.1 * longest
