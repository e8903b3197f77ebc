"""A lock whose holder also does what those leave who must not wait for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Protocol, TypeVar

from rpcguard._core.nodes.live import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Counted(Protocol):
    """A call, or what stands for one, that knows whether it is counted."""

    counted: bool


class OneCall:
    """A call that is counted by hand."""

    __slots__ = ("counted",)

    def __init__(self, *, counted: bool) -> None:
        self.counted: bool = counted


class Turns:
    """The lock of a service, for code that may be interrupted while it holds it.

    A finalizer, a signal handler and a handler of the log run in the middle of whatever their
    thread does, while that holds the lock, maybe: to wait for it there is to wait for ever. So
    what needs no answer is left here, and done by whoever gives the lock back. What needs one asks
    `_is_nested`, and does without. What each call asks looks at `_holder` first, which is another's
    or nobody's: three calls of functions less.

    The lock is only ever taken by `with`, on the C object itself: anything else has a place where
    KeyboardInterrupt loses it. In each section the holder signs first and signs off last, whatever
    is raised in it, with a number that is at hand: a call might return to a signal handler, before
    the lock is signed. Who has not signed off is taken for the next one who has the lock.
    """

    __slots__ = ("_calls", "_holder", "_left", "_lock", "_sleepers", "closed")

    def __init__(self) -> None:
        self.closed: bool = False
        self._calls = 0
        self._lock = threading.Lock()
        self._holder = 0
        self._left: deque[Lease | Counted | Callable[[], object]] = deque()
        self._sleepers: dict[Callable[[], object], None] = {}

    @property
    def calls(self) -> int:
        """Count the calls under way, streams that are being read included."""
        self._catch_up()
        return self._calls

    def lose(self, call: Counted) -> None:
        """Count a call out that was dropped; a finalizer may, for nothing is told outside."""
        self._leave(call)

    def _is_nested(self) -> bool:
        """Tell whether this thread was interrupted while it held the lock."""
        return self._holder == get_ident() and self._lock.locked()

    def _leave(self, left: Lease | Counted | Callable[[], object]) -> None:
        self._left.append(left)
        self._catch_up()

    def _catch_up(self) -> None:
        """Do what was left, unless somebody holds the lock, who will look here after it."""
        me = get_ident()
        while self._left and not self._lock.locked():
            with self._lock:
                self._holder = me
                try:
                    self._empty()
                finally:
                    self._holder = 0
        if self._sleepers and self.closed and not self._calls:
            self.wake()

    def _empty(self) -> None:
        left = self._left
        while left:
            one = left[0]
            if isinstance(one, Lease):
                self._drop(one)
            elif callable(one):
                left.popleft()
                one()
                continue
            elif one.counted:
                # One statement: an interrupt finds it done or not begun, and it is done once.
                self._calls, one.counted = self._calls - 1, False
            left.popleft()  # only now, or an interrupt before would lose it

    def _alone(self, job: Callable[[], T]) -> T:
        """Do a job under the lock; amid another one where it interrupted that."""
        if self._is_nested():
            return job()
        me = get_ident()
        with self._lock:
            self._holder = me
            try:
                self._empty()
                done = job()
            finally:
                self._holder = 0
        if self._left or self._sleepers:  # others may have left something meanwhile
            self._catch_up()
        return done

    def _drop(self, lease: Lease) -> None:
        raise NotImplementedError

    # Waiting: no lock is involved, so that a finalizer may wake whoever waits

    def wake_with(self, wake: Callable[[], object]) -> None:
        """Have `wake` called, by any thread, when there may be something new; look after this."""
        self._sleepers[wake] = None

    def let_sleep(self, wake: Callable[[], object]) -> None:
        """Have `wake` called no longer."""
        self._sleepers.pop(wake, None)

    def wake(self) -> None:
        """Wake everybody who waits."""
        for wake in list(self._sleepers):
            wake()

    def wait_for(self, condition: Callable[[], object], timeout: float) -> bool:
        """Block until a condition holds that is looked at with each news; False if too late."""
        end = time.monotonic() + timeout
        while not condition():
            sleeper = threading.Lock()  # not an Event, whose own lock a finalizer could wait for
            sleeper.acquire()
            wake = _waker(sleeper)
            self.wake_with(wake)
            try:
                left = end - time.monotonic()
                if not condition() and (left <= 0.0 or not sleeper.acquire(timeout=left)):
                    return bool(condition())
            finally:
                self.let_sleep(wake)
        return True


def _waker(sleeper: threading.Lock) -> Callable[[], None]:
    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # it was woken before, by another thread maybe
            sleeper.release()

    return wake
