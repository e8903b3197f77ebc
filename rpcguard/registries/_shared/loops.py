"""What belongs to one event loop, for registries that are used from several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One of something for each event loop: who waits on one loop is not woken from another."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._here: RunVar[T | None] = RunVar("rpcguard registry per loop", None)

    def here(self) -> T:
        """Give that of the running event loop, made where there is none yet."""
        one = self._here.get()
        if one is None:
            one = self._make()
            self._here.set(one)
        return one

    def part(self) -> T | None:
        """Give that of the running event loop away, None where there is none."""
        one = self._here.get()
        self._here.set(None)
        return one
