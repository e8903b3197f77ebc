"""The log lines about lists."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from cachetools import TTLCache

from rpcguard._text import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.service.effects import Event


_LOUD = ("baseless", "doubted", "frozen", "guarded", "panic", "refused", "strained")
_REPEATED = ("panic", "refused")
_MOST_KEYS = 1024
"""Repeated lines that are remembered: names come from outside, and there may be any number."""


class EventLog:
    """Log events of lists; what can repeat with every call is told once per `interval` seconds.

    Those are panics, refused nodes and what is not enforced. Thread-safe. `clock` is monotonic.
    """

    def __init__(
        self, *, interval: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lock = threading.Lock()
        self._told: TTLCache[tuple[str, str, str | None], bool] = TTLCache(
            _MOST_KEYS, interval, timer=clock
        )

    def record(self, event: Event) -> None:
        """Log an event."""
        if (event.kind in _REPEATED or not event.enforced) and self._is_old(event):
            return
        about = f" node {event.node}" if event.node else ""
        held_back = "" if event.enforced else " (not enforced)"
        logger.log(
            logging.WARNING if event.kind in _LOUD else logging.INFO,
            "service %s:%s %s%s: %s",
            event.service,
            about,
            event.kind,
            held_back,
            event.reason,
        )

    def _is_old(self, event: Event) -> bool:
        key = event.service, event.kind, None if event.kind == "panic" else event.node
        with self._lock:
            old = key in self._told
            if not old:
                self._told[key] = True
            return old
