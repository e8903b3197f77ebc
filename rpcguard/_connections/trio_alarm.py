"""How the calls of one run of trio keep the time of what they wait for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class TimedWait:
    """One wait; `over` once its time is up."""

    __slots__ = ("due", "over", "ring")

    def __init__(self, seconds: float | None, ring: Callable[[], object]) -> None:
        self.due: float = math.inf if seconds is None else trio.current_time() + seconds
        self.over: bool = False
        self.ring = ring


class TrioAlarm:
    """The timeouts of all waits of one run of trio, by one system task that sleeps until the next.

    Nearly every wait ends before its time: a cancel scope for each took 5 µs, as long as all else
    that a wait does.
    """

    __slots__ = ("_scope", "_waits")

    def __init__(self) -> None:
        self._waits: dict[TimedWait, None] = {}
        self._scope = trio.CancelScope()

    def begin(self, wait: TimedWait) -> None:
        """Have `ring` called in the alarm's task, where it may not raise, unless it ends before."""
        self._waits[wait] = None
        if wait.due < self._scope.deadline:
            self._scope.deadline = wait.due

    def end(self, wait: TimedWait) -> None:
        """Take note that a wait is over."""
        self._waits.pop(wait, None)

    async def run(self) -> None:
        """Ring for whatever is due, for as long as trio runs."""
        while True:
            next_due = min((wait.due for wait in self._waits), default=math.inf)
            with trio.CancelScope(deadline=next_due) as self._scope:
                await trio.sleep_forever()
            now = trio.current_time()
            for wait in [wait for wait in self._waits if wait.due <= now]:
                del self._waits[wait]
                wait.over = True
                wait.ring()


_of_run: trio.lowlevel.RunVar[TrioAlarm] = trio.lowlevel.RunVar("rpcguard_alarm")


def alarm_of_run() -> TrioAlarm:
    """Give the alarm of this run of trio, begun by the first who asks."""
    try:
        return _of_run.get()
    except LookupError:
        alarm = TrioAlarm()
        _of_run.set(alarm)
        trio.lowlevel.spawn_system_task(alarm.run)
        return alarm
