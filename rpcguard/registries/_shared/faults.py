"""The warnings about lists and files that are partly or wholly of no use."""

from __future__ import annotations

from typing import Final

from rpcguard._text import logger, plain

_MOST_PLACES: Final = 1024  # faults that are remembered; names of nodes come from outside


class FaultLog:
    """Warnings of faults, each once, and again when it has changed or was gone in between.

    Remembers the faults of the last thousand places. Thread-safe.
    """

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def report(self, where: str, fault: str | None) -> None:
        """Log a warning for a new `fault` of `where`; None says that all is well there."""
        last = self._last.pop(where, None)
        if fault is not None:
            if len(self._last) >= _MOST_PLACES:
                self._last = {}  # some are told once more, which costs less than a lock at a fork
            self._last[where] = fault
        if fault not in (None, last):
            logger.warning("%s: %s", plain(where), plain(fault))
