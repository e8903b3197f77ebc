"""What the fields of policies take, and how they refuse the rest: by name, with the value."""

from __future__ import annotations

import math

import pytest

from rpcguard import (
    DeadlinePolicy,
    EjectionPolicy,
    MembershipPolicy,
    OfflinePolicy,
    RetryPolicy,
    SlowStart,
    ZonePolicy,
)


@pytest.mark.parametrize(
    ("policy", "field", "value"),
    [
        (DeadlinePolicy, "total", 0),
        (DeadlinePolicy, "attempt", -1),
        (DeadlinePolicy, "write", "a b"),
        (DeadlinePolicy, "margin", -1),
        (DeadlinePolicy, "mark_retries", 1),
        (EjectionPolicy, "consecutive", 0),
        (EjectionPolicy, "min_calls", True),
        (EjectionPolicy, "forgive_after", 1.5),
        (EjectionPolicy, "failure_rate", 0),
        (EjectionPolicy, "failure_rate", 1.1),
        (EjectionPolicy, "window", -1),
        (EjectionPolicy, "duration", math.inf),
        (EjectionPolicy, "max_duration", 0),
        (EjectionPolicy, "jitter", 2),
        (EjectionPolicy, "max_share", -0.1),
        (EjectionPolicy, "probe_interval", 0),
        (EjectionPolicy, "probe_max_interval", None),
        (EjectionPolicy, "probe_timeout", 0),
        (MembershipPolicy, "first_snapshot_timeout", -1),
        (MembershipPolicy, "poll_interval", 0),
        (MembershipPolicy, "resync_interval", math.nan),
        (MembershipPolicy, "shrink_hold", math.inf),
        (MembershipPolicy, "shrink_share", 1.5),
        (MembershipPolicy, "empty_hold", "soon"),
        (OfflinePolicy, "ttl", 0),
        (OfflinePolicy, "max_ttl", -1),
        (OfflinePolicy, "max_retry_after", "x"),
        (OfflinePolicy, "max_share", 2),
        (RetryPolicy, "attempts", 0),
        (RetryPolicy, "prefetch", -1),
        (RetryPolicy, "budget_ratio", -1),
        (RetryPolicy, "budget_window", 0),
        (SlowStart, "window", -1),
        (SlowStart, "curve", 0),
        (SlowStart, "floor", 0),
        (SlowStart, "floor", 1.5),
        (SlowStart, "calls", 0),
        (ZonePolicy, "zone", ""),
        (ZonePolicy, "spill", 0),
        (ZonePolicy, "strict", 1),
        (ZonePolicy, "enforce", "no"),
    ],
)
def test_a_wrong_value_is_refused_by_name(policy, field, value):
    """A value that makes no sense is refused when the policy is made, naming field and value."""
    with pytest.raises(ValueError, match=f"{field} must be .*{value}"):
        policy(**{field: value})


@pytest.mark.parametrize(
    ("policy", "name", "value"),
    [
        (RetryPolicy, "methods", "GET"),
        (RetryPolicy, "methods", None),
        (RetryPolicy, "methods", [1]),
        (RetryPolicy, "statuses", "503"),
        (RetryPolicy, "statuses", 503),
        (RetryPolicy, "statuses", ["503"]),
        (EjectionPolicy, "enforce", "no"),
        (EjectionPolicy, "enforce", None),
        (EjectionPolicy, "probe", "no"),
        (EjectionPolicy, "probe", 1),
        (OfflinePolicy, "enforce", 0),
        (MembershipPolicy, "cache_dir", 3),
        (MembershipPolicy, "cache_dir", True),
    ],
)
def test_a_field_of_another_kind_is_named(policy, name, value):
    """A text is no set of its letters, and a flag is True or False."""
    with pytest.raises(ValueError, match=f"^{name} must be .*, not ") as caught:
        policy(**{name: value})
    assert repr(value) in str(caught.value)


def test_methods_and_statuses_take_any_collection():
    """A list does as well as a set, in letters of any case."""
    policy = RetryPolicy(methods=["get", "PUT"], statuses=[503])  # type: ignore[arg-type]
    assert policy.methods == {"GET", "PUT"}
    assert policy.statuses == {503}
