"""The log lines about what happens to lists, calls and the configuration."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from rpcguard._text import about, logger, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.service.effects import Event


_Key = tuple[str, str, str | None]
_LOUD = ("baseless", "doubted", "frozen", "guarded", "panic", "refused", "strained", "strange")
_REPEATED = ("panic", "refused")
_QUIET = ("denied",)
"""Told at DEBUG: an overloaded service would fill the log with what its metric counts."""

_MOST_KEYS = 1024
"""Repeated lines that are remembered: names come from outside, and there may be any number."""


class EventLog:
    """The log of events; what can repeat with every call is told once per `interval` seconds.

    Those are panics, refused nodes and what is not enforced. Thread-safe, and without a lock: it
    is called by finalizers, and by the children of a fork. `clock` is monotonic.
    """

    def __init__(
        self, *, interval: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = interval
        self._clock = clock
        self._told: dict[_Key, tuple[float]] = {}

    def record(self, event: Event) -> None:
        """Log an event."""
        repeated = event.kind in _REPEATED or not event.enforced
        if repeated and event.kind != "config" and self._is_old(event):
            return
        node = f" node {event.node}" if event.node else ""
        held_back = "" if event.enforced or event.kind == "config" else " (not enforced)"
        logger.log(
            _level(event),
            "%s%s %s%s: %s",
            f"service {plain(event.service)}:" if event.service else "all services:",
            plain(node),
            event.kind,
            held_back,
            plain(event.reason),
            extra=about(event.service or None, event.node, event.reason),
        )

    def _is_old(self, event: Event) -> bool:
        key = event.service, event.kind, None if event.kind == "panic" else event.node
        told, now = self._told, self._clock()
        mine = (now,)
        last = told.setdefault(key, mine)
        if last is mine:
            if len(told) > _MOST_KEYS:
                recent = {one: at for one, at in told.copy().items() if self._is_recent(at, now)}
                self._told = recent if len(recent) <= _MOST_KEYS else {key: mine}
            return False
        # Of two threads that find it expired only one takes it out, and tells it.
        if self._is_recent(last, now) or told.pop(key, None) is not last:
            return True
        told[key] = mine
        return False

    def _is_recent(self, at: tuple[float], now: float) -> bool:
        return now - at[0] < self._interval


def _level(event: Event) -> int:
    if event.kind in _LOUD or event.code == "rejected":
        return logging.WARNING
    return logging.DEBUG if event.kind in _QUIET else logging.INFO
