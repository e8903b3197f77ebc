"""One question for many who want the same answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
from anyio.lowlevel import RunVar
from cachetools import LRUCache

from rpcguard.errors import RegistryError
from rpcguard.registries._shared.documents import MOST_SERVICES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


@dataclass(slots=True)
class _Flights(Generic[T]):
    """The questions of one event loop, of which one is on its way at a time."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    """Held by whoever asks."""
    number: int = 0
    """How many answers there were."""
    outcome: T | RegistryError | None = None
    """What the last one was."""
    seen: LRUCache[str, int] = field(default_factory=lambda: LRUCache(MOST_SERVICES))
    """The number of the answer that each of those who asked had last."""


class SharedQuestion(Generic[T]):
    """An answer that everybody wants, asked for as often as the most eager one asks.

    Who asks gets what another has asked for since his own last answer, or else asks himself; who
    comes while a question is on its way waits for its outcome. So a hundred services of one
    document cost one question per poll interval, and nobody's answer is older than his own pause.
    Each event loop has its own, so that a fork leaves no lock behind. `ask` raises `RegistryError`.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._here: RunVar[_Flights[T]] = RunVar("rpcguard registry shared question")

    async def answer(self, who: str) -> T:
        """Give an answer that `who` has not had yet."""
        flights = self._flights()
        begun = flights.number
        async with flights.lock:
            told = flights.seen.get(who, 0)
            landed = flights.number > begun
            failed = isinstance(flights.outcome, RegistryError)
            # A failure is news for those alone who waited for it: it may be over by now.
            if not landed and (failed or flights.number <= told):
                await self._fly(flights)
            flights.seen[who] = flights.number
            outcome = flights.outcome
        if isinstance(outcome, RegistryError):
            raise RegistryError(*outcome.args) from outcome.__cause__  # a trace of one's own
        assert outcome is not None
        return outcome

    async def _fly(self, flights: _Flights[T]) -> None:
        try:
            flights.outcome = await self._ask()
        except RegistryError as error:
            flights.outcome = error
        flights.number += 1

    def _flights(self) -> _Flights[T]:
        flights = self._here.get(None)
        if flights is None:
            flights = _Flights[T]()
            self._here.set(flights)
        return flights
