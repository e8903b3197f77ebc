"""Which calls a share takes: turns, or a hash of what the call brings along."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_REMEMBERED: Final = 1000
"""Calls over which the share that a route really gets is shown."""

_HASHES: Final = 2.0**64  # how many values a hash of eight bytes has


def place_of(service: str, route: str, value: str) -> float:
    """Give a value's place between 0 and 1, the same in every process and language.

    The service and the route are the salt: else two routes would take the same users. A share takes
    the values below it, so that raising it keeps those who are in.
    """
    salted = f"{service}\n{route}\n{value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(salted, digest_size=8).digest()) / _HASHES


class Share:
    """The turns of one route in one process, and what came of the last calls.

    Not random: what is owed to the route adds up, and a call is taken when that makes a whole one.
    Drawn at random at 5 %, a third of the callers with 20 calls send none, and one of twenty sends
    three or more. The start is random, so that a thousand callers do not take turns together.
    Lives under the lock of its service.
    """

    __slots__ = ("_calls", "_last", "_owed", "_served")

    def __init__(self, random: Callable[[], float]) -> None:
        self._owed = random()
        self._last = bytearray()  # as long as there are calls: most of a thousand routes have few
        self._served = self._calls = 0

    def owe(self, share: float, *, take: bool = True) -> bool:
        """Count a call of which the route is owed a share; tell whether it takes that call.

        It does where a whole call is owed, unless another route has taken it.
        """
        self._owed += share
        if self._owed < 1.0 or not take or not share:
            return False
        self._owed -= 1.0
        return True

    def count(self, *, served: bool) -> None:
        """Note whether the route's nodes served a call that matched it."""
        last, place = self._last, self._calls % _REMEMBERED
        if place == len(last):
            last.append(served)
            self._served += served
        else:
            self._served += served - last[place]
            last[place] = served
        self._calls += 1

    @property
    def measured(self) -> float | None:
        """Give the share that its nodes got of the last 1,000 calls; None before the first."""
        return self._served / min(self._calls, _REMEMBERED) if self._calls else None
