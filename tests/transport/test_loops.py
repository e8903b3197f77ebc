"""What an async transport keeps on an event loop, and that nothing of it is left there."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING

import anyio
import pytest
import trio

from rpcguard._transport.loops import LoopChildren, current_loop
from tests.support.calls import FLAVOURS, each, soon
from tests.support.interleavings import interleavings

if TYPE_CHECKING:
    from collections.abc import Callable


class Child:
    """A child that notes how often its idle connections were looked at, and its end."""

    def __init__(self) -> None:
        self.swept, self.closed = 0, False

    def sweep(self) -> None:
        self.swept += 1

    async def aclose(self) -> None:
        self.closed = True

    def shut(self) -> None:
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


def home_of_a_closed_loop(
    *children: Child, before: Callable[[LoopChildren], object] = lambda _: None
) -> LoopChildren:
    """Give what is left of a loop that was closed by hand, and what happened before."""
    loop = asyncio.new_event_loop()

    async def begun() -> LoopChildren:
        home = LoopChildren(current_loop(), lambda _: None)
        await home.begin()
        return home

    home = loop.run_until_complete(begun())
    home.children.update(zip([(None, "http"), (None, "https")], children, strict=False))
    before(home)
    loop.close()
    return home


def test_a_node_that_left_while_its_loop_stood_still_is_shut_with_it():
    """A loop that is closed by hand has not come to close what it was asked to."""
    child = Child()
    home = home_of_a_closed_loop(child, before=lambda home: home.retire(None))
    home.abandon()
    assert child.closed


def test_what_is_left_of_a_closed_loop_is_shut_whoever_finds_it_too():
    """A node leaves while another loop begins its first call, and takes in that this one ended."""
    families: list[list[Child]] = []

    def scene():
        families.append([Child(), Child()])
        home = home_of_a_closed_loop(*families[-1])
        return functools.partial(home.retire, None), home.abandon

    for where, raised in interleavings(scene, lambda name: name.endswith("/_transport/loops.py")):
        assert not raised, where
        assert [child.closed for child in families[-1]] == [True, True], where


def test_a_child_that_cannot_be_shut_holds_up_no_other(caplog):
    """The user's own child may have a `shut` of another meaning."""

    class Odd(Child):
        def shut(self) -> None:
            raise ValueError

    children = [Child(), Odd(), Child()]
    home = home_of_a_closed_loop(*children[1:])
    home.children[None, "ws"] = children[0]
    home.abandon()
    assert [child.closed for child in children] == [True, False, True]
    assert "did not close" in caplog.text


class Lasting(Child):
    """A child whose end takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.closing, self.goes_on = anyio.Event(), anyio.Event()

    async def aclose(self) -> None:
        self.closing.set()
        await self.goes_on.wait()
        self.closed = True


@each(FLAVOURS[1:])
async def test_whoever_wants_its_end_while_it_ends_raises_nothing(flavour):
    """Another loop closes the transport while this one ends by itself, say."""
    home, child = LoopChildren(current_loop(), lambda _: None), Lasting()
    await home.begin()
    home.children[None, "a"] = child
    async with anyio.create_task_group() as group:
        group.start_soon(home.end)
        await child.closing.wait()
        try:
            await home.end()
        finally:
            child.goes_on.set()
    assert child.closed


async def test_an_end_that_is_cancelled_leaves_no_child_open():
    """Whoever waits for it goes, and the loop goes on to close what is left."""
    home, children = LoopChildren(current_loop(), lambda _: None), [Lasting(), Lasting()]
    await home.begin()
    home.children.update({(None, str(number)): one for number, one in enumerate(children)})
    ending = asyncio.ensure_future(home.end())
    await children[1].closing.wait()
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    children[0].goes_on.set()
    await soon(lambda: children[0].closed, "a child was left open")


def test_a_run_of_trio_that_is_at_its_end_is_not_broken_by_what_others_ask_of_it():
    """A node is retired by another thread, or the transport closed, while the run closes all."""
    homes = []

    class Last(Child):
        async def aclose(self) -> None:
            homes[0].run_soon(homes[0].end)
            homes[0].retire(None)
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            self.closed = True

    children = [Last(), Last()]

    async def main() -> None:
        home = LoopChildren(current_loop(), lambda _: None)
        homes.append(home)
        await home.begin()
        home.children.update({(None, str(number)): one for number, one in enumerate(children)})

    trio.run(main)
    assert all(child.closed for child in children)
