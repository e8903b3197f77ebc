"""What an async transport keeps on each event loop that it is used from."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any, cast

import anyio

from rpcguard._text import logger
from rpcguard._transport.kept import SWEEP_EVERY, attempt_to, sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import AsyncGeneratorType

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.service import Service


class LoopChildren:
    """What an async transport keeps for one event loop: the children that live there.

    Closes them when the loop ends: an async generator that was begun on a loop is closed by it
    (`loop.shutdown_asyncgens`, trio likewise), which needs no cooperation of the caller.
    """

    def __init__(self, loop: Any, forget: Callable[[Any], object]) -> None:
        self.loop = loop
        self.children: dict[tuple[LiveNode, str], Any] = {}
        self._leaving: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_sweeping: list[Callable[[], Awaitable[None]]] = []
        ends = _until_loop_ends(
            self.children, self._leaving, self._stop_sweeping, lambda: forget(loop)
        )
        self._end = cast("AsyncGeneratorType[None, None]", ends)

    async def begin(self) -> None:
        """Tie the children to the loop that runs this."""
        await anext(self._end)
        if isinstance(self.loop, asyncio.AbstractEventLoop):
            _sweep_later(weakref.ref(self))
        else:
            import trio

            home: weakref.ref[LoopChildren] = weakref.ref(self)
            scope, ended = anyio.CancelScope(), anyio.Event()
            self._stop_sweeping[:] = [functools.partial(_stop_task, scope, ended)]
            trio.lowlevel.spawn_system_task(_sweep_on_trio, home, scope, ended)

    @property
    def ended(self) -> bool:
        """Whether the loop is closed, so that nothing can be awaited on it any more."""
        return isinstance(self.loop, asyncio.AbstractEventLoop) and self.loop.is_closed()

    def abandon(self) -> None:
        """Close the sockets of children whose loop has ended, which needs no loop.

        Those of nodes that left while it stood still, too; several threads may call at once.
        """
        for key in list(self.children):
            child = self.children.pop(key, None)  # another loop may close them as well
            if child is not None:
                self._leaving.append(child)
        while self._leaving:
            with contextlib.suppress(IndexError):  # another thread took the last one
                shut = getattr(self._leaving.pop(), "shut", None)
                if shut is not None:
                    attempt_to(shut)

    def sweep(self) -> None:
        """Close the idle connections that have expired."""
        for (live, _), child in list(self.children.items()):
            sweep(live, child)

    async def end(self) -> None:
        """Close all children, unless that is under way: the loop may be ending by itself."""
        if self._end.ag_running:
            return
        try:
            await self._end.aclose()
        finally:
            if self._leaving:  # whoever waits was cancelled, and the others are still open
                self.run_soon(self._close_leaving)

    def retire(self, live: LiveNode) -> None:
        """Close the children of a node soon; any thread may call."""
        for scheme in ("http", "https"):
            child = self.children.pop((live, scheme), None)
            if child is not None:
                self._leaving.append(child)
        if self._leaving:
            self.run_soon(self._close_leaving)

    async def _close_leaving(self) -> None:
        await _close_all(self._leaving)

    def run_soon(self, task: Callable[[], Any]) -> None:
        """Run a coroutine function on this loop, from any thread; a closed one is abandoned."""
        try:
            if isinstance(self.loop, asyncio.AbstractEventLoop):
                self.loop.call_soon_threadsafe(self._start_task, task)
            else:
                self.loop.run_sync_soon(_start_on_trio, task)
        except RuntimeError:
            logger.debug("the event loop of a leaving node's connections has ended")
            if self.ended:  # trio closes all there is by itself
                self.abandon()

    def _start_task(self, task: Callable[[], Any]) -> None:
        started = self.loop.create_task(task())
        self._tasks.add(started)
        started.add_done_callback(self._tasks.discard)


def _start_on_trio(task: Callable[[], Any]) -> None:
    import trio

    # At its end a run takes no more tasks, and what is raised here would end it with an error of
    # trio's own; it closes all children there is by itself.
    with contextlib.suppress(RuntimeError):
        trio.lowlevel.spawn_system_task(task)


def _sweep_later(home: weakref.ref[LoopChildren]) -> None:
    here = home()
    if here is not None and not here.ended:
        here.sweep()
        timer = here.loop.call_later(SWEEP_EVERY, _sweep_later, home)
        here._stop_sweeping[:] = [functools.partial(_stop_timer, timer)]


async def _stop_timer(timer: asyncio.TimerHandle) -> None:
    timer.cancel()


async def _sweep_on_trio(
    home: weakref.ref[LoopChildren], scope: anyio.CancelScope, ended: anyio.Event
) -> None:
    try:
        with scope:
            while True:
                await anyio.sleep(SWEEP_EVERY)
                here = home()
                if here is None:
                    return
                here.sweep()
                del here
    finally:
        ended.set()


async def _stop_task(scope: anyio.CancelScope, ended: anyio.Event) -> None:
    # Waited for: closing may await nothing else, and then a task of ours would outlive it.
    scope.cancel()
    await ended.wait()


async def _until_loop_ends(
    children: dict[Any, Any],
    leaving: list[Any],
    stop_sweeping: list[Callable[[], Awaitable[None]]],
    forget: Callable[[], object],
) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        forget()
        leaving += children.values()
        children.clear()
        with anyio.CancelScope(shield=True):
            for stop in stop_sweeping:
                await stop()
            await _close_all(leaving)


async def _close_all(children: list[Any]) -> None:
    while children:
        try:
            await children.pop().aclose()
        except Exception:  # the user's own child may raise anything, and the others are still open
            logger.warning("a node's connections did not close", exc_info=True)


async def wait_for(service: Service, condition: Callable[[], object], timeout: float) -> None:
    """Wait until a condition holds that the service wakes for; asks nothing in the meantime."""
    loop = current_loop()
    with anyio.move_on_after(timeout):
        while not condition():
            news = anyio.Event()
            wake = functools.partial(_call_soon, loop, news.set)
            service.wake_with(wake)
            try:
                if not condition():
                    await news.wait()
            finally:
                service.let_sleep(wake)


def _call_soon(loop: Any, job: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and whoever waited with it
        if isinstance(loop, asyncio.AbstractEventLoop):
            loop.call_soon_threadsafe(job)
        else:
            loop.run_sync_soon(job)


def current_loop() -> Any:
    """Give the running event loop, or what stands for it on trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return sys.modules["trio"].lowlevel.current_trio_token()
