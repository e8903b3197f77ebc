"""What a share is owed and has got, and the places of users in a sticky one."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_REMEMBERED: Final = 1000
"""Calls over which the share that a route really gets is shown."""

_HASHES: Final = 2.0**64  # how many values a hash of eight bytes has


class Places:
    """The places of what calls bring along in one sticky share, between 0 and 1.

    The same in every process and language: a hash of service, route and value. The first two are
    the salt: else two routes would take the same users. A share takes the values below it, so that
    raising it keeps those who are in.
    """

    __slots__ = ("_salted",)

    def __init__(self, service: str, route: str) -> None:
        # Hashed once for all calls, which takes half of the time.
        self._salted = blake2b(_bytes(f"{service}\n{route}\n"), digest_size=8)

    def of(self, value: str) -> float:
        """Give the place of a value."""
        hashed = self._salted.copy()
        hashed.update(_bytes(value))
        return int.from_bytes(hashed.digest()) / _HASHES


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class Share:
    """What a route is owed in one process, and what came of the last calls.

    `due` is in calls, less those that it has taken; `Rota` says when it takes one. `passed` counts
    the calls that others have taken since its last one. Lives under the lock of its service.
    """

    __slots__ = ("_last", "due", "passed")

    def __init__(self) -> None:
        self.due: float = 0.0
        self.passed: int = 0
        self._last = bytearray()  # as long as there are calls: most of a thousand routes have few

    def count(self, *, served: bool) -> None:
        """Note whether the route's nodes served a call that it took."""
        if self.passed:
            self._note_passed()
        last = self._last
        last.append(served)
        if len(last) > _REMEMBERED:
            del last[0]

    def _note_passed(self) -> None:
        # All at once: a call is taken by one share, and passes many.
        self._last += bytes(min(self.passed, _REMEMBERED))
        del self._last[:-_REMEMBERED]
        self.passed = 0

    @property
    def measured(self) -> float | None:
        """Give the share that its nodes got of the last 1,000 calls; None before the first."""
        self._note_passed()
        return self._last.count(True) / len(self._last) if self._last else None
