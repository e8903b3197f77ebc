"""Which calls a share takes, and when a guard withdraws it."""

from __future__ import annotations

import pytest

from rpcguard._core.policies.routing import Guard
from rpcguard._core.routing.guards import Watch
from rpcguard._core.routing.shares import Places, Share


def test_what_the_group_got_is_measured_over_the_last_thousand_calls() -> None:
    """Older calls are forgotten."""
    turns = Share()
    assert turns.measured is None
    for number in range(3000):
        turns.count(served=number >= 2500)
    assert turns.measured == 0.5


def test_calls_that_others_took_are_counted_too() -> None:
    """Before the first that it takes, between two, and after the last; the last 1,000 of all."""
    share = Share()
    share.passed += 3
    assert share.measured == 0.0
    share.count(served=True)
    assert share.measured == 0.25
    share.passed += 996
    share.count(served=True)
    assert share.measured == pytest.approx(0.002)
    share.passed += 5000
    assert share.measured == 0.0


def test_raising_a_share_keeps_those_who_are_in() -> None:
    """A user has one place, and a share takes all places below it."""
    orders = Places("orders", "canary")
    users = [f"user-{number}" for number in range(2000)]
    places = {user: orders.of(user) for user in users}
    assert all(0.0 <= place < 1.0 for place in places.values())
    few = sum(place < 0.05 for place in places.values())
    assert 60 <= few <= 140


def test_routes_do_not_take_the_same_users() -> None:
    """The name of the route and of the service are the salt."""
    users = [f"user-{number}" for number in range(4000)]

    def within(service: str, route: str) -> set[str]:
        places = Places(service, route)
        return {user for user in users if places.of(user) < 0.1}

    one = within("orders", "canary")
    for other in (within("orders", "beta"), within("billing", "canary")):
        assert len(one & other) < 0.03 * len(users)


def test_a_place_is_the_same_in_every_process() -> None:
    """It is part of the contract: another caller, in another language, finds the same."""
    assert Places("orders", "canary").of("user-1") == pytest.approx(PLACE)
    assert Places("orders", "canary").of("\ud800") < 1.0


PLACE = 0.6832369933341707


def watch(**fields: object) -> Watch:
    """Make the watch of a guard."""
    return Watch(Guard(**fields), 10.0, 0.0)  # type: ignore[arg-type]


def play(of: Watch, now: float, *, group: float, rest: float, calls: int = 60) -> str | None:
    """Let both sides have calls that fail at these rates; give what the guard said."""
    said = None
    for number in range(calls):
        of.count(now, group=False, failed=number < rest * calls)
    for number in range(calls):
        said = of.count(now, group=True, failed=number >= (1 - group) * calls) or said
    return said


def test_a_sick_group_loses_its_share_for_a_while() -> None:
    """And gets it back, for twice as long a hold if it is still sick."""
    guard = watch()
    assert not guard.holds(0.0)
    assert "no share for 60 s" in (play(guard, 1.0, group=0.2, rest=0.0) or "")
    assert guard.holds(60.9)
    assert not guard.holds(61.1)
    assert "no share for 120 s" in (play(guard, 62.0, group=0.2, rest=0.0) or "")
    assert guard.holds(181.0)
    assert not guard.holds(183.0)


def test_a_hold_has_a_longest_time_and_is_forgiven() -> None:
    """What did well for as long as it was held starts over."""
    guard, now = watch(max_hold=100.0), 1.0
    for hold in (60, 100, 100):
        assert f"no share for {hold} s" in (play(guard, now, group=0.5, rest=0.0) or "")
        now = guard.until + 1.0
    now = guard.until + 101.0
    assert "no share for 60 s" in (play(guard, now, group=0.5, rest=0.0) or "")


def test_a_cause_that_both_share_trips_nothing() -> None:
    """The group is compared with the rest in the same seconds, not with a number."""
    assert play(watch(), 1.0, group=0.5, rest=0.5) is None


def test_few_calls_or_few_failures_say_nothing() -> None:
    """Nor does a group without anything to be compared with."""
    assert play(watch(), 1.0, group=1.0, rest=0.0, calls=40) is None
    assert play(watch(), 1.0, group=0.06, rest=0.0) is None
    alone = watch()
    assert all(alone.count(1.0, group=True, failed=True) is None for _ in range(100))


def test_what_is_long_ago_does_not_count() -> None:
    """Failures of the window before are forgotten."""
    guard = watch()
    for _ in range(60):
        guard.count(0.0, group=True, failed=False)
        guard.count(0.0, group=False, failed=False)
    for second in range(30):
        guard.count(20.0 + 2.0 * second, group=True, failed=True)
    assert not guard.holds(80.0)


def test_a_guard_that_is_not_enforced_only_tells() -> None:
    """The share stays."""
    guard = watch(enforce=False)
    assert play(guard, 1.0, group=0.5, rest=0.0) is not None
    assert not guard.holds(2.0)
