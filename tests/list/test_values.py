"""The values that users make and are given: what they refuse, and what can be done with them."""

from __future__ import annotations

import pytest

from rpcguard import EjectionPolicy, MembershipPolicy, OfflinePolicy, RetryPolicy


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
