"""Where the events of one transport go: to counters, the log, and whoever listens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rpcguard._core.service.effects import Event, carry_out
from rpcguard._telemetry.hooks import hooks
from rpcguard._telemetry.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._telemetry.telemetry import Telemetry


class Events:
    """The events of one transport, told once each; thread-safe.

    `listener` is the user's `on_event`: it is called in the thread in which something happened,
    without a lock held, and what it raises costs nothing.
    """

    def __init__(self, telemetry: Telemetry, listener: Callable[[Event], object] | None) -> None:
        self._telemetry = telemetry
        self._log = EventLog()
        self._listener = listener

    def tell(self, event: Event) -> None:
        """Count, log and pass on an event; raises what a handler of the log does."""
        try:
            self._telemetry.count(event)
        finally:
            try:
                self._log.record(event)
            finally:
                if self._listener is not None:
                    hooks.tell(partial(self._listener, event))

    def tell_of_call(self, event: Event) -> None:
        """The same in the middle of a call, which only an interrupt may cost anything."""
        interrupt = carry_out(partial(self.tell, event))
        if interrupt is not None:
            raise interrupt
