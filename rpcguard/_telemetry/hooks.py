"""What is told to tracers, meters, propagators and listeners costs no call anything."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, ParamSpec

from rpcguard._text import logger

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

_WARN_EVERY: Final = 60.0
"""Seconds between two warnings: a hook that fails would fail with each call."""

_MOST_LATE: Final = 1000
"""What is kept for later at most; a thread comes back to it within its next call."""


class Here(threading.local):
    """What this thread is in the middle of; a fork leaves that of no other thread."""

    busy: bool = False
    """Whether it calls what belongs to others."""


class Hooks:
    """Where code of others is called that only watches: processors, samplers, `on_event`.

    What they raise is logged once a minute. One that is called in the middle of another, by a
    finalizer or a signal handler in the same thread, waits until that one is done: an SDK holds
    locks, and would wait for itself. Thread-safe, without a lock of its own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._warn_again = 0.0
        self._here = Here()
        self._late: deque[Callable[[], object]] = deque(maxlen=_MOST_LATE)

    @property
    def nested(self) -> bool:
        """Tell whether this thread is in the middle of one."""
        return self._here.busy

    def tell(self, hook: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call a hook; after the one that this has interrupted, where there is one."""
        here = self._here
        if here.busy:
            self._late.append(functools.partial(hook, *args, **kwargs))
            return
        try:
            here.busy = True
            try:
                hook(*args, **kwargs)
            except Exception:  # the call of the user has no part in it
                self._warn()
            while self._late:
                self._catch_up()
        finally:
            here.busy = False

    def _catch_up(self) -> None:
        try:
            hook = self._late.popleft()
        except IndexError:  # another thread was quicker
            return
        try:
            hook()
        except Exception:
            self._warn()

    def _warn(self) -> None:
        now = self._clock()
        if now >= self._warn_again:
            self._warn_again = now + _WARN_EVERY
            logger.warning("telemetry failed, and the call went on", exc_info=True)


hooks: Final = Hooks()
"""One for all transports, as the SDK is one for all of them."""


def told(method: Callable[P, Any]) -> Callable[P, None]:
    """Make a method that tells something one that never raises."""

    @functools.wraps(method)
    def tell(*args: P.args, **kwargs: P.kwargs) -> None:
        hooks.tell(method, *args, **kwargs)

    return tell
