"""A process that did not run for a while: its lists are due, by whichever clock went on."""

from __future__ import annotations

import math
import time

import anyio
import pytest

from rpcguard import MembershipPolicy, Node, Snapshot
from rpcguard._clock import lasting
from rpcguard._discovery.due import DueTime
from rpcguard._discovery.feed import Feed
from rpcguard._discovery.resolver import BackgroundLoop
from rpcguard.testing import ManualClock
from tests.support.stage import Stage
from tests.support.virtual import run_by

HOUR = 3600.0


class Clocks:
    """The three clocks of a machine; only `monotonic` is the one of the event loop."""

    def __init__(self) -> None:
        self.monotonic = ManualClock(100.0)
        self.slept = self.set_by = 0.0

    def lasting(self) -> float:
        return self.monotonic() + self.slept

    def wall(self) -> float:
        return 1.7e9 + self.lasting() + self.set_by


class Asked:
    """A registry to be polled that notes when it was asked, and answers when `silent` is not."""

    def __init__(self, clocks: Clocks) -> None:
        self.clocks, self.times, self.silent = clocks, [], False

    async def fetch(self, service: str) -> Snapshot:
        self.times.append(self.clocks.monotonic())
        if self.silent:
            await anyio.sleep_forever()
        return Snapshot([Node("10.0.0.1", 80)])


class Watched(Asked):
    """A registry that is watched, whose watch has been silent since its first list."""

    async def watch(self, service: str):
        yield Snapshot([Node("10.0.0.1", 80)])
        await anyio.sleep_forever()


def play(registry, story) -> None:
    """Follow a list, and go through a story of what happens to the process."""
    policy = MembershipPolicy(poll_interval=30.0)
    clocks, stage = registry.clocks, Stage(membership=policy)
    feed = Feed(stage.service, registry, clock=clocks.lasting, wall=clocks.wall)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(feed.run)
            await anyio.sleep(1.0)
            await story(feed)
            group.cancel_scope.cancel()

    run_by(clocks.monotonic, main)


def sleeps(clocks: Clocks) -> None:
    """The lid is closed: the monotonic clock stands still."""
    clocks.slept += HOUR


def is_stopped(clocks: Clocks) -> None:
    """SIGSTOP, and SIGCONT: every clock goes on."""
    clocks.monotonic.advance(HOUR)


def is_paused(clocks: Clocks) -> None:
    """A virtual machine is paused: when it goes on, its wall clock is set."""
    clocks.set_by += HOUR


@pytest.mark.parametrize("kind", [Asked, Watched])
@pytest.mark.parametrize("stands_still", [sleeps, is_stopped, is_paused])
def test_a_list_is_asked_for_after_a_time_without_running(kind, stands_still):
    """Whatever kept the process from running, its list is due, until it is there once."""
    registry = kind(Clocks())

    async def story(feed: Feed) -> None:
        asked = len(registry.times)
        assert not feed.is_overdue
        stands_still(registry.clocks)
        assert feed.is_overdue
        await feed.catch_up()
        await anyio.sleep(0.1)
        assert len(registry.times) == asked + 1
        assert not feed.is_overdue
        await feed.catch_up()  # of a call that found it overdue just before the answer
        await anyio.sleep(20.0)  # less than until the next poll
        assert len(registry.times) == asked + 1

    play(registry, story)


def test_a_registry_that_is_silent_after_a_sleep_holds_calls_up_for_a_second():
    """The list counts as overdue until it was asked for a second, or until it failed."""
    registry = Asked(Clocks())

    async def story(feed: Feed) -> None:
        sleeps(registry.clocks)
        registry.silent = True
        await feed.catch_up()
        await anyio.sleep(0.5)
        assert feed.is_overdue
        await anyio.sleep(0.6)
        assert not feed.is_overdue
        await anyio.sleep(100.0)
        assert feed.trouble is not None
        assert not feed.is_overdue

    play(registry, story)


@pytest.mark.parametrize("step", [-HOUR, -30.0, -1.0, 1.0])
def test_a_wall_clock_that_is_set_does_no_harm(step):
    """Set back, or forward by a little, it neither asks nor delays: polls go by the other clock."""
    registry = Asked(Clocks())

    async def story(feed: Feed) -> None:
        registry.clocks.set_by += step
        assert not feed.is_overdue
        await anyio.sleep(70.0)
        assert len(registry.times) == 3
        sleeps(registry.clocks)
        assert feed.is_overdue

    play(registry, story)


def test_a_wall_clock_that_is_set_forward_costs_one_question():
    """It looks like a pause of the machine, and no call waits for longer than for one answer."""
    registry = Asked(Clocks())

    async def story(feed: Feed) -> None:
        for _ in range(5):
            registry.clocks.set_by += HOUR
            if feed.is_overdue:
                await feed.catch_up()
            await anyio.sleep(0.01)
        assert len(registry.times) == 6
        assert not feed.is_overdue

    play(registry, story)


def test_nothing_is_due_that_is_never_asked_for():
    """A list that is fixed is as good after a sleep as before it."""
    clocks = Clocks()
    due = DueTime(clocks.lasting, clocks.wall)
    assert not due.overdue
    due.put_off(math.inf)
    sleeps(clocks)
    assert not due.overdue
    due.put_off(1.0)
    clocks.slept += 2.5
    assert not due.overdue
    clocks.slept += 1.0
    assert due.overdue


def test_the_clock_of_lists_counts_sleep(monkeypatch):
    """On this system it is one that goes on in sleep, and timers of the background go by it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert lasting.args == (time.CLOCK_BOOTTIME,)
    loop = BackgroundLoop()
    try:
        before = lasting()
        assert before <= loop.time() <= lasting()
    finally:
        loop.close()


@pytest.mark.parametrize("missing", ["CLOCK_BOOTTIME", "both", "denied"])
def test_where_no_clock_counts_sleep_the_monotonic_one_is_used(missing, monkeypatch):
    """A system without such a clock, or a sandbox that denies it, costs nothing else."""
    from rpcguard import _clock

    def denied(number: int) -> float:
        raise OSError("not permitted")

    if missing == "denied":
        monkeypatch.setattr(_clock.time, "clock_gettime", denied)
    else:
        monkeypatch.delattr(_clock.time, "CLOCK_BOOTTIME", raising=False)
    if missing == "both":
        monkeypatch.delattr(_clock.time, "CLOCK_MONOTONIC", raising=False)
    found = _clock._lasting()
    assert (found is time.monotonic) == (missing != "CLOCK_BOOTTIME")
    assert found() <= found()
