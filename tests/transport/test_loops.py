"""What an async transport keeps on an event loop, and that nothing of it is left there."""

from __future__ import annotations

import asyncio
import contextlib

from rpcguard._transport.loops import LoopChildren, current_loop
from tests.support.calls import FLAVOURS, each


class Child:
    """A child that notes how often its idle connections were looked at, and its end."""

    def __init__(self) -> None:
        self.swept, self.closed = 0, False

    def sweep(self) -> None:
        self.swept += 1

    async def aclose(self) -> None:
        self.closed = True


def running(flavour) -> int:
    """Count the tasks and timers on this loop."""
    if flavour.kind == "asyncio":
        loop = asyncio.get_running_loop()
        timers = [one for one in loop._scheduled if not one.cancelled()]  # type: ignore[attr-defined]
        return len(asyncio.all_tasks()) + len(timers)
    import trio

    return trio.lowlevel.current_statistics().tasks_living


@each(FLAVOURS[1:])
async def test_nothing_runs_on_once_it_has_ended(flavour):
    """Who looks at idle connections has stopped when `end` returns, not at some later turn."""
    before, forgotten, child = running(flavour), [], Child()
    home = LoopChildren(current_loop(), forgotten.append)
    await home.begin()
    assert running(flavour) == before + 1
    home.children[None, "http://orders"] = child
    await home.end()
    assert running(flavour) == before
    assert (child.closed, home.children, forgotten) == (True, {}, [current_loop()])


@each(FLAVOURS[1:])
async def test_a_child_that_cannot_close_holds_up_no_other(flavour, caplog):
    """The user's own child may raise anything."""
    home, child = LoopChildren(current_loop(), lambda _: None), Child()
    await home.begin()
    home.children[None, "a"] = contextlib.nullcontext()  # has no aclose
    home.children[None, "b"] = child
    await home.end()
    assert child.closed
    assert "did not close" in caplog.text
