"""The event loop of the background thread: it resolves names for as long as the program runs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_THREADS = 8
"""Names resolved at a time: getaddrinfo blocks, and a broken resolver holds each for 30 s or
more."""


class DaemonThreads:
    """Run blocking functions in daemon threads.

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


class BackgroundLoop(asyncio.SelectorEventLoop):
    """Be an event loop whose names are resolved in daemon threads of its own."""

    _threads: DaemonThreads | None = None

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Resolve a name, as every event loop does."""
        if self._threads is None:
            self._threads = DaemonThreads()
        look_up = functools.partial(socket.getaddrinfo, host, port, **options)
        return await asyncio.wrap_future(self._threads.submit(look_up), loop=self)
