"""The one event loop per process on which lists are followed and nodes are probed."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import anyio

from rpcguard._discovery.resolver import BackgroundLoop
from rpcguard._text import logger
from rpcguard.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


_EXIT_TIMEOUT = 2.0
"""Seconds that the end of a program may wait for watches to stop; a registry may not answer."""


class Background:
    """An event loop in a daemon thread of its own, for coroutines of any thread.

    An httpx client may never be entered, be closed from another task, or block its loop: nothing
    of the caller's loop can carry the list. Any thread may call, this one too, and so may a
    finalizer. Raises `RegistryError` where this machine keeps the loop from starting; the next one
    may start.
    """

    def __init__(self) -> None:
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._stopping: asyncio.Event
        self._context: contextvars.Context
        self._running: set[Future[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="rpcguard-discovery", daemon=True)
        try:
            self._thread.start()
            self._loop = self._started.result()
        except (OSError, RuntimeError) as error:
            raise RegistryError(
                f"the thread that follows lists did not start: {error}; the limits of threads and"
                " open files of this process want to be higher"
            ) from error

    def _run(self) -> None:
        try:
            anyio.run(self._main, backend_options={"loop_factory": BackgroundLoop})
        except Exception as error:
            # Out of file descriptors, for one: whoever waits for the start is to know.
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _main(self) -> None:
        # Here, since importing it takes longer than importing rpcguard may take.
        from rpcguard._telemetry.telemetry import suppress_instrumentation

        suppress_instrumentation()
        self._stopping = asyncio.Event()
        self._context = contextvars.copy_context()
        self._started.set_result(asyncio.get_running_loop())
        await self._stopping.wait()

    def spawn(self, task: Callable[..., Coroutine[Any, Any, Any]], *args: object) -> Future[Any]:
        """Start a task; cancelling the future cancels it. A loop that has ended starts nothing."""
        coroutine = task(*args)
        try:
            # In the loop's own context: the caller's says which event loop runs it, and more.
            future = self._context.copy().run(
                asyncio.run_coroutine_threadsafe, coroutine, self._loop
            )
        except RuntimeError:
            coroutine.close()
            future = Future()
            future.cancel()
            return future
        self._running.add(future)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Any]) -> None:
        self._running.discard(future)
        error = None if future.cancelled() else future.exception()
        if error is not None:
            logger.error("a background task of rpcguard failed", exc_info=error)

    def stop(self) -> None:
        """Cancel every task and end the thread; bounded in time."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_EXIT_TIMEOUT)


_guard = threading.RLock()  # a finalizer or a signal handler may come in the middle of a start
_background: Background | None = None


def background() -> Background:
    """Give the discovery loop of this process, started on first use and stopped at exit."""
    global _background
    running = _background
    if running is not None:
        # Without the lock: a finalizer may call in the middle of what follows.
        return running
    with _guard:
        return _background or _adopted(Background())


def _adopted(made: Background) -> Background:
    global _background
    if _background is None:  # else a finalizer in the middle of the start has been quicker
        _background = made
    atexit.register(made.stop)
    return _background


def _forget() -> None:
    # Threads do not survive a fork, and the lock may have been held by one of them.
    global _background, _guard
    _guard = threading.RLock()
    if _background is not None:
        atexit.unregister(_background.stop)
    _background = None


os.register_at_fork(after_in_child=_forget)
