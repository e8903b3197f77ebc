"""Timeouts on trio are kept by one task for all waits."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rpcguard._connections import stand_in
from rpcguard._connections.http2.trio_channel import TrioChannel
from rpcguard._connections.trio_alarm import TimedWait, TrioAlarm, alarm_of_run
from rpcguard._connections.trio_stream import TrioStream
from rpcguard._wire.h2_session import Http2Session
from rpcguard._wire.h2_streams import Http2Stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run on a clock that leaps to whatever is next once all tasks wait."""
    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_each_wait_is_rung_for_when_its_time_is_up() -> None:
    """In order of time, whichever began first; not one that has ended, nor one without limit."""
    rung: list[tuple[str, float]] = []

    def wait(name: str, seconds: float | None) -> TimedWait:
        return TimedWait(seconds, lambda: rung.append((name, trio.current_time() - began)))

    async def main() -> None:
        nonlocal began
        began = trio.current_time()
        alarm = alarm_of_run()
        late, ended = wait("late", 30.0), wait("ended", 2.0)
        for one in (late, ended, wait("endless", None)):
            alarm.begin(one)
        await wait_all_tasks_blocked()
        soon = wait("soon", 1.0)
        alarm.begin(soon)
        alarm.end(ended)
        await trio.sleep(60.0)
        assert rung == [("soon", 1.0), ("late", 30.0)]
        assert (soon.over, late.over, ended.over) == (True, True, False)

    began = 0.0
    run(main)


def test_a_run_has_one_alarm() -> None:
    """Shared by all that wait in it, and gone with it."""
    seen: list[TrioAlarm] = []

    async def main() -> None:
        seen.append(alarm_of_run())
        assert alarm_of_run() is seen[-1]

    run(main)
    run(main)
    assert seen[0] is not seen[1]


def test_the_time_of_one_wait_ends_no_other_on_the_same_socket() -> None:
    """Of two tasks that share a connection, the one that reads is late and the other writes on."""

    async def main() -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        body = bytes(1 << 22)  # more than both buffers take
        stream = TrioStream(near, stand_in)
        with far:
            async with trio.open_nursery() as nursery:
                written = trio.Event()

                async def write() -> None:
                    await stream.write(body, timeout=100.0)
                    written.set()

                nursery.start_soon(write)
                await wait_all_tasks_blocked()
                with pytest.raises(stand_in.ReadTimeout):
                    await stream.read(1, timeout=0.01)
                assert not written.is_set()
                left = len(body)
                while left:
                    await trio.lowlevel.wait_readable(far)
                    left -= len(far.recv(1 << 20))
            stream.close()

    trio.run(main)


def test_the_time_of_a_call_ends_no_other_that_is_being_sent() -> None:
    """Over HTTP/2 one task writes what the system did not take at once, and another one reads."""

    async def main() -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        session = Http2Session()
        channel = TrioChannel(TrioStream(near, stand_in), session)
        left = 1 << 22  # bytes, more than both buffers take
        channel.push(bytes(left))
        with far:
            assert channel.full
            await channel.wait(Http2Stream(1, 0.0, bodiless=False, sent_end=True), 0.01)
            while left:
                await trio.lowlevel.wait_readable(far)
                left -= len(far.recv(1 << 20))
            assert await channel.drained(10.0)
            channel.abort()

    trio.run(main)
