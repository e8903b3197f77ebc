"""The books of one node's connections where each may carry several calls; no I/O, no lock."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from rpcguard._connections.books import Books, Kept, StackClosed
from rpcguard._core.nodes.view import ConnectionCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._connections.books import Waiter


class Shareable(Kept, Protocol):
    """A connection as far as the books look at it."""

    calls: int
    """How many places are taken; kept by the books."""
    opened_at: float
    """When it was opened; kept by the books."""

    @property
    def usable(self) -> bool:
        """Tell whether it takes further calls at all."""
        ...

    @property
    def ready(self) -> bool:
        """Tell whether the node has said how many calls it takes."""
        ...

    @property
    def capacity(self) -> int:
        """Give how many calls it may carry at once."""
        ...


class Place:
    """One call's claim to a place on a connection, from the line to the end of the response.

    A granted place without a connection opens one, for itself and for those who wait for it.
    `failure` is why the connection that it waited for could not be made.
    """

    __slots__ = (
        "connection",
        "event",
        "failure",
        "frames_before",
        "name",
        "oldest",
        "opened",
        "reused",
        "since",
        "stream",
    )

    def __init__(self, name: str | None, oldest: float = math.inf) -> None:
        self.name: str | None = name
        self.oldest: float = oldest
        """Seconds that its connection may have been idle."""
        self.since: float = -math.inf
        """Its connection was opened no sooner: an older one may be as near to its end as the one
        that the call was lost on. Those that come in one moment still share one."""
        self.connection: Any = None
        self.opened: bool = False
        """Whether its call opens the connection, or has opened it."""
        self.reused: bool = False
        """Whether the connection was idle before."""
        self.stream: Any = None
        """The `Http2Stream` of its call, while there is one."""
        self.frames_before: int = 0
        """How many frames had come on the connection when the stream was opened."""
        self.failure: Exception | None = None
        self.event: Any = None

    def renew(self, now: float) -> None:
        """Want a connection that is opened from now on."""
        self.since, self.oldest = now, math.inf


class PlaceBooks(Books[Place, Shareable]):
    """Who sits on which connection, who opens one, who waits, with an upper limit.

    A connection serves only the TLS name that it was verified for. While one is being opened, or
    has not said yet how many calls it takes, the others of its name wait for it; what it cannot
    take goes to another one, up to `max_connections`. Idle ones are taken last in, first out. A
    connection to be closed is put on `doomed`, and the caller closes it. Not thread-safe by itself,
    but for `dropped`, to which anybody, a finalizer too, may append places that are not released.
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
        super().__init__(
            max_connections=max_connections,
            max_idle=max_idle,
            keepalive_expiry=keepalive_expiry,
            clock=clock,
            event=event,
        )
        self._busy: list[Shareable] = []
        self._opening: dict[str | None, Place] = {}

    @property
    def counts(self) -> ConnectionCounts:
        """Count the connections that are there now, and the calls in line."""
        busy = len(self._busy) + len(self._opening)
        return ConnectionCounts(len(self._idle), busy, len(self._waiting))

    def request(self, place: Place) -> bool:
        """Grant the place and return True, or put it in line; `place.event` tells when to look."""
        if self.closed:
            raise StackClosed("the connections of this node are closed")
        self.expire()
        if not self._waiting and self._grant(place):
            return True
        place.event = self._event()
        self._waiting[place] = None
        return False

    def waits(self, place: Place) -> bool:
        """Tell whether the place is still in line; its event is renewed then."""
        if place not in self._waiting:
            return False
        place.event = self._event()
        return True

    def expects(self, name: str | None) -> bool:
        """Tell whether a connection is being set up that may have room."""
        return name in self._opening or any(
            one.usable and not one.ready for one in self._busy if one.name == name
        )

    def opens(self, name: str | None) -> bool:
        """Tell whether a connection is being opened."""
        return name in self._opening

    def opened(self, place: Place, connection: Shareable) -> None:
        """Take in the connection that a granted place has opened, with its first call."""
        self._opening.pop(place.name, None)
        connection.calls, connection.opened_at = 1, self._clock()
        self._busy.append(connection)
        place.connection = connection
        self._look_again()

    def failed(self, place: Place, failure: Exception) -> None:
        """Take in that a granted place could not open its connection: nor can those who wait."""
        self._opening.pop(place.name, None)
        if not any(one.usable for one in self._busy if one.name == place.name):
            for other in list(self._waiting):
                if other.name == place.name:
                    other.failure = failure
                    del self._waiting[other]
                    other.event.set()
        self._look_again()

    def release(self, place: Place) -> None:
        """End the claim, wherever it stands; its connection is kept or doomed, and passed on."""
        self._waiting.pop(place, None)
        if self._opening.get(place.name) is place:
            del self._opening[place.name]
            self._look_again()
        connection, place.connection = place.connection, None
        if connection is not None:
            connection.calls -= 1
            if not connection.calls:
                self._rest(connection)
        self.serve()
        if len(self._idle) > self._max_idle:
            self.doomed.append(self._idle.popleft())

    def expire(self) -> None:
        """Doom what has been idle for too long, or has ended meanwhile."""
        now, idle = self._clock(), self._idle
        while idle and idle[0].expires <= now:
            self.doomed.append(idle.popleft())
        for ended in [one for one in idle if not one.usable]:
            idle.remove(ended)
            self.doomed.append(ended)

    def _grant(self, place: Place) -> bool:
        connection = self._with_room(place, place.since)
        if connection is None:
            if self.expects(place.name):
                return False
            if not self._may_open():
                connection = self._with_room(place, -math.inf)  # an old one is better than none
                if connection is None:
                    return False
        if connection is None:
            self._opening[place.name] = place
            place.opened, place.reused = True, False
        else:
            place.opened, place.reused = False, not connection.calls
            connection.calls += 1
        place.connection = connection
        return True

    def _may_open(self) -> bool:
        """Tell whether there may be another connection; an idle one makes room for it."""
        if len(self._idle) + len(self._busy) + len(self._opening) < self._max:
            return True
        if self._idle:
            self.doomed.append(self._idle.popleft())
            return True
        return False

    def _with_room(self, place: Place, since: float) -> Shareable | None:
        name = place.name
        for one in self._busy:
            if one.name == name and one.calls < one.capacity and one.opened_at >= since:
                return one
        idle_since = self._clock() - place.oldest
        for one in reversed(self._idle):
            young = one.opened_at >= since and one.idle_since >= idle_since
            if one.name == name and one.usable and young:
                self._idle.remove(one)
                self._busy.append(one)
                return one
        return None

    def _rest(self, connection: Shareable) -> None:
        self._busy.remove(connection)
        if connection.usable and not self.closed:
            self._lay_by(connection)
        else:
            self.doomed.append(connection)

    def _look_again(self) -> None:
        self.serve()
        for place in self._waiting:
            place.event.set()  # what it waits for, and for how long, may have changed

    def _in_use(self) -> list[Any]:
        return list(self._busy)
