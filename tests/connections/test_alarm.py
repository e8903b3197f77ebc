"""One timer of the loop serves many waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from rpcguard._connections.alarm import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A timer that rings when the clock is moved past it."""

    def __init__(self, at: float, ring: Callable[[], object]) -> None:
        self.at = at
        self.ring = ring
        self.cancelled = False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """A loop, as far as its clock goes."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, ring: Callable[[], object]) -> Timer:
        self.timers.append(Timer(at, ring))
        return self.timers[-1]

    def move(self, seconds: float) -> None:
        self.now += seconds
        for timer in [one for one in self.timers if one.at <= self.now]:
            self.timers.remove(timer)
            if not timer.cancelled:
                timer.ring()


@pytest.fixture(name="clock")
def made_clock() -> Clock:
    return Clock()


@pytest.fixture(name="alarm")
def made_alarm(clock: Any) -> Alarm:
    return Alarm(clock, LookupError)


@pytest.fixture(name="waits")
def made_waits() -> list[Any]:
    loop = asyncio.new_event_loop()
    waits = [loop.create_future() for _ in range(3)]
    loop.close()
    return waits


def test_a_wait_fails_when_its_time_is_up(alarm, clock, waits):
    """Neither before nor not at all."""
    alarm.set(waits[0], 5.0)
    clock.move(4.9)
    assert not waits[0].done()
    clock.move(0.2)
    assert isinstance(waits[0].exception(), LookupError)


def test_many_waits_have_one_timer(alarm, clock, waits):
    """Those that ended in time leave nothing in the loop's heap."""
    for wait in waits:
        alarm.set(wait, 5.0)
        wait.cancel()
        clock.move(0.1)
    assert len(clock.timers) == 1
    clock.move(5.0)
    assert clock.timers == []


def test_a_wait_has_all_of_its_own_time(alarm, clock, waits):
    """The timer of the wait before, which ended early, does not cut it."""
    alarm.set(waits[0], 5.0)
    waits[0].cancel()
    clock.move(3.0)
    alarm.set(waits[1], 5.0)
    clock.move(4.9)
    assert not waits[1].done()
    clock.move(0.2)
    assert isinstance(waits[1].exception(), LookupError)


def test_a_shorter_wait_is_not_kept_waiting(alarm, clock, waits):
    """It does not wait for the timer of a longer one before it."""
    alarm.set(waits[0], 60.0)
    waits[0].cancel()
    alarm.set(waits[1], 1.0)
    clock.move(1.1)
    assert isinstance(waits[1].exception(), LookupError)


def test_a_stopped_alarm_leaves_no_timer(alarm, clock, waits):
    """A connection that is closed has nothing to wait for."""
    alarm.set(waits[0], 5.0)
    alarm.stop()
    assert [one.cancelled for one in clock.timers] == [True]
    clock.move(6.0)
    assert not waits[0].done()
