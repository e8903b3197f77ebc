"""What the books of a node's connections share, whatever a connection carries; no I/O, no lock."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Waiter(Protocol):
    """What a waiting call sleeps on: `threading.Event` or `anyio.Event`."""

    def set(self) -> object:
        """Wake whoever waits."""


class Kept(Protocol):
    """An idle connection, as far as all books look at it."""

    name: str | None
    """The TLS name that it was verified for; None without TLS."""
    expires: float
    """When it is closed if it stays idle; kept by the books."""
    idle_since: float
    """When its last call ended; kept by the books."""


class Claim(Protocol):
    """What a call holds in line."""

    event: Any


class StackClosed(Exception):  # noqa: N818
    """The end of a call whose node's connections were closed; nothing was sent."""


ClaimT = TypeVar("ClaimT", bound=Claim)
KeptT = TypeVar("KeptT", bound=Kept)


class Books(Generic[ClaimT, KeptT]):
    """The idle connections of a node and the calls in line, with an upper limit.

    A subclass says what a claim is granted. A connection to be closed is put on `doomed`, and the
    caller closes it, outside its lock if it has one. Not thread-safe by itself, but for `dropped`,
    to which anybody, a finalizer too, may append claims that are not released, and for `reap`.
    """

    def __init__(
        self,
        *,
        max_connections: int | None,
        max_idle: int | None,
        keepalive_expiry: float | None,
        clock: Callable[[], float],
        event: Callable[[], Waiter],
    ) -> None:
        self._max = math.inf if max_connections is None else max_connections
        self._max_idle = math.inf if max_idle is None else max_idle
        self._expiry = math.inf if keepalive_expiry is None else keepalive_expiry
        self._clock = clock
        self._event = event
        self._idle: deque[KeptT] = deque()
        self._waiting: OrderedDict[ClaimT, None] = OrderedDict()
        self.dropped: deque[ClaimT] = deque()
        self.doomed: deque[Any] = deque()
        self.closed: bool = False

    @property
    def idle(self) -> list[Any]:
        """The connections that no call uses, the one that was used last at the end."""
        return list(self._idle)

    def serve(self) -> None:
        """Give out what has come free, first come, first served."""
        while self._waiting:
            claim = next(iter(self._waiting))
            if not self._grant(claim):
                return
            del self._waiting[claim]
            claim.event.set()

    def close_idle(self) -> None:
        """Doom every idle connection."""
        self.doomed.extend(self._idle)
        self._idle.clear()

    def close(self) -> list[Any]:
        """Refuse all further claims, send the line away and return the connections in use."""
        self.closed = True
        self.close_idle()
        for claim in self._waiting:
            claim.event.set()
        self._waiting.clear()
        return self._in_use()

    def reap(self) -> Iterator[Any]:
        """Take over, one by one, what is to be closed; any thread may, and a finalizer.

        No lock is needed for that: one that is held by the caller's own thread would be for good.
        """
        while self.doomed:
            try:
                connection = self.doomed.popleft()
            except IndexError:  # another thread was faster
                return
            yield connection

    def _lay_by(self, connection: KeptT) -> None:
        connection.idle_since = now = self._clock()
        connection.expires = now + self._expiry
        self._idle.append(connection)

    def _grant(self, claim: ClaimT, /) -> bool:
        raise NotImplementedError

    def _in_use(self) -> list[Any]:
        raise NotImplementedError
