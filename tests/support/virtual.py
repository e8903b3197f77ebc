"""An event loop whose time is a test's clock: nothing waits, and hours pass in a moment."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rpcguard.testing import ManualClock


class _Jumping(selectors.DefaultSelector):
    """A selector that never waits: what it would have waited goes by on the clock."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0.0)
        if timeout is None:
            return ready or super().select(None)
        if not ready:
            self._clock.advance(max(timeout, 0.0))
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__(_Jumping(clock))
        self._told = clock
        # What is due within a tick of the clock is due; sums of steps are never exact.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._told()


def run_by(clock: ManualClock, main: Callable[[], Awaitable[object]]) -> None:
    """Run a program of asyncio whose time is this clock."""
    anyio.run(
        main, backend="asyncio", backend_options={"loop_factory": lambda: _VirtualLoop(clock)}
    )
