"""The event loop of the background thread: it resolves names for as long as the program runs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import selectors
import socket
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from rpcguard._clock import lasting
from rpcguard._text import logger

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_THREADS = 8
"""Names resolved at a time: getaddrinfo blocks, and a broken resolver holds each for 30 s or
more."""


class DaemonThreads:
    """An executor of blocking functions in daemon threads.

    An executor of the standard library takes nothing more once the main thread has returned,
    though other threads of the program may go on for days; and its threads hold up the exit.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]]
        self._jobs = queue.SimpleQueue()
        self._pending: set[Future[Any]] = set()
        self._threads = 0
        self._start()

    def submit(self, call: Callable[..., Any], *args: object) -> Future[Any]:
        """Run a function soon; not thread-safe."""
        future: Future[Any] = Future()
        if self._threads <= len(self._pending) < _MOST_THREADS:
            with contextlib.suppress(RuntimeError):  # at exit no thread starts; those there do it
                self._start()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        self._jobs.put((future, call, args))
        return future

    def _start(self) -> None:
        threading.Thread(target=self._work, name="rpcguard-resolver", daemon=True).start()
        self._threads += 1

    def _work(self) -> None:
        while True:
            future, call, args = self._jobs.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(*args))
                except BaseException as error:  # it is the caller's, whatever it is
                    future.set_exception(error)
            del future, call, args


class _ModestSelector(selectors.DefaultSelector):
    """A selector that waits with the running loop that was there before its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = weakref.ref(loop)
        self._other: asyncio.AbstractEventLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until a file is ready."""
        asyncio._set_running_loop(self._other)
        try:
            return super().select(timeout)
        finally:
            self._other = asyncio._get_running_loop()
            asyncio._set_running_loop(self._loop())


class BackgroundLoop(asyncio.SelectorEventLoop):
    """An event loop whose names are resolved in daemon threads of its own.

    While it waits, the thread that it runs in has no running loop as far as asyncio is concerned:
    with gevent all threads of Python are greenlets of one, which asyncio takes for one thread, and
    the program may have a loop of its own in it.
    """

    _threads: DaemonThreads | None = None

    def __init__(self) -> None:
        super().__init__(_ModestSelector(self))

    def time(self) -> float:
        """Give the time of timers: what the machine slept through is due when it wakes up."""
        return lasting()

    def run_forever(self) -> None:
        """Run until stopped: what a task raises to end the program ends that task alone.

        Ctrl-C comes to the main thread. Here it is code of others that has called `sys.exit`, and
        asyncio would end the loop, and with it the lists of all transports.
        """
        while True:
            try:
                return super().run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                logger.error("a background task of rpcguard failed", exc_info=error)

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Resolve a name, as every event loop does."""
        if self._threads is None:
            self._threads = DaemonThreads()
        look_up = functools.partial(socket.getaddrinfo, host, port, **options)
        return await asyncio.wrap_future(self._threads.submit(look_up), loop=self)
