"""Whose turn it is at the books of a node's connections, among threads."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._connections.stack import Slot, Stack


class LineBell:
    """What a call in line sleeps on: an event that is rung once.

    Not that of `threading`, whose own lock the sleeper holds for moments: a signal handler that
    came then and whoever rings would wait for each other.
    """

    __slots__ = ("_silence",)

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def set(self) -> None:
        """Wake the call; more than once is the same."""
        with contextlib.suppress(RuntimeError):  # it has just been rung
            self._silence.release()

    def wait(self, timeout: float | None) -> None:
        """Sleep until it rings, for so many seconds at most."""
        self._silence.acquire(timeout=-1.0 if timeout is None else max(timeout, 0.0))


class BookKeeping:
    """The part of a node's connections that keeps their books, one thread at a time.

    A signal handler that makes a call may have interrupted such a section of its own thread: to
    wait for the lock there is to wait for ever. In each section the holder signs first and signs
    off last, whatever is raised in it, by a number that is at hand, as in the service's own
    `Turns`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0
        self._left: deque[Callable[[], object]] = deque()
        self._guarded: tuple[Stack, ...] = ()
        self._due: tuple[deque[Any], ...] = (self._left,)

    def _guard(self, stack: Stack) -> None:
        """Keep these books by the one lock, too; nobody else knows of them yet."""
        self._guarded += (stack,)
        self._due += (stack.dropped,)

    def _is_nested(self) -> bool:
        """Tell whether this thread was interrupted in a section of the books."""
        return self._lock.locked() and self._holder == get_ident()

    def _is_granted(self, stack: Stack, slot: Slot) -> bool:
        """Ask for a connection; a call that interrupted the books opens its own beside them."""
        me = get_ident()
        if self._holder == me and self._is_nested():  # mostly it is nobody's: two calls less
            return True
        with self._lock:
            self._holder = me
            try:
                granted = stack.request(slot)
            finally:
                self._holder = 0
        if any(self._due):
            self._catch_up()
        return granted

    def _alone(self, job: Callable[[], object]) -> None:
        """Do something with the books; after the section that this has interrupted, if any."""
        if self._is_nested():
            self._left.append(job)
            return
        me = get_ident()
        with self._lock:
            self._holder = me
            try:
                job()
            finally:
                self._holder = 0
        self._catch_up()

    def _catch_up(self) -> None:
        """Do what is left, unless somebody holds the lock, who will look here after it.

        An answer that is collected as garbage may be released amid a section of this very thread,
        and a signal handler, or another thread, may close everything amid one. They do not wait, so
        whoever does it for them also closes what it has doomed.
        """
        me, closes = get_ident(), False
        while any(self._due) and not self._lock.locked():
            with self._lock:
                self._holder = me
                try:
                    for stack in self._guarded:
                        stack.settle_dropped()
                    while self._left:
                        closes = True
                        self._left[0]()
                        self._left.popleft()  # only now, or an interrupt before would lose it
                finally:
                    self._holder = 0
        if closes:
            self._reap()

    def _reap(self) -> None:
        """Close what is doomed, without the lock, and what is doomed meanwhile."""
        while True:
            for stack in self._guarded:
                for connection in stack.reap():
                    connection.close()
            self._catch_up()
            if not any(stack.doomed for stack in self._guarded):
                return
