"""Where the events of one transport go: to counters, the log, and whoever listens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rpcguard._core.service.effects import Event, carry_out
from rpcguard._telemetry.hooks import Here, hooks
from rpcguard._telemetry.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._telemetry.telemetry import Telemetry


class Events:
    """The events of one transport, told once each; thread-safe.

    `listener` is the user's `on_event`: it is called in the thread in which something happened,
    without a lock held, and what it raises costs nothing. It is not told what its own calls cause:
    each would cause the next.
    """

    def __init__(self, telemetry: Telemetry, listener: Callable[[Event], object] | None) -> None:
        self._telemetry = telemetry
        self._log = EventLog()
        self._listener = listener
        self._here = Here()

    def tell(self, event: Event) -> None:
        """Count, log and pass on an event; raises what a handler of the log does."""
        try:
            self._telemetry.count(event)
        finally:
            try:
                self._log.record(event)
            finally:
                if self._listener is not None and not self._here.busy:
                    hooks.tell(partial(self._listen, self._listener, event))

    def _listen(self, listener: Callable[[Event], object], event: Event) -> None:
        self._here.busy = True
        try:
            listener(event)
        finally:
            self._here.busy = False

    def tell_of_call(self, event: Event) -> None:
        """The same in the middle of a call, which only an interrupt may cost anything."""
        interrupt = carry_out(partial(self.tell, event))
        if interrupt is not None:
            raise interrupt
