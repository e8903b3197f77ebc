"""The books of one node's connections: which are idle, in use and waited for; no I/O, no lock."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Protocol

from rpcguard._core.nodes.view import ConnectionCounts

if TYPE_CHECKING:
    from collections.abc import Callable


class Waiter(Protocol):
    """Be what a waiting call sleeps on: `threading.Event` or `anyio.Event`."""

    def set(self) -> object:
        """Wake whoever waits."""


class StackClosed(Exception):  # noqa: N818
    """Report that the connections of a node were closed; nothing was sent."""


class Connection:
    """Hold one open connection: httpcore's, its stream, and the TLS name it was verified for.

    `headers` are those of the last request, `checked` the same once h11 has approved them.
    """

    __slots__ = ("checked", "expires", "headers", "http", "name", "stream")

    def __init__(self, http: Any, stream: Any, name: str | None) -> None:
        self.http: Any = http
        self.stream: Any = stream
        self.name: str | None = name
        self.expires: float = math.inf
        self.headers: list[tuple[bytes, bytes]] = []
        self.checked: Any = None


class Slot:
    """Stand for one call's claim to a connection, from the queue to the end of the response.

    `connection` is None until one is there: a granted lease without one opens its own.
    """

    __slots__ = ("connection", "event", "name", "reused")

    def __init__(self, name: str | None) -> None:
        self.name: str | None = name
        self.connection: Connection | None = None
        self.reused: bool = False
        self.event: Any = None


class Stack:
    """Keep the books of a LIFO stack of connections with an upper limit and a queue.

    The last one returned is the first one used, so load decides how many stay warm and the bottom
    of the stack ages out. Nothing here does I/O: a connection to be closed is put on `doomed` and
    the caller closes it, outside its lock if it has one. Not thread-safe by itself.
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
        self._idle: deque[Connection] = deque()
        self._waiting: OrderedDict[Slot, None] = OrderedDict()
        self.in_use: set[Slot] = set()
        self.doomed: list[Connection] = []
        self.closed: bool = False

    @property
    def counts(self) -> ConnectionCounts:
        """Count what is there now."""
        return ConnectionCounts(len(self._idle), len(self.in_use), len(self._waiting))

    def request(self, lease: Slot) -> bool:
        """Grant the lease and return True, or put it in line; `lease.event` tells when to look."""
        if self.closed:
            raise StackClosed("the connections of this node are closed")
        idle, now = self._idle, self._clock()
        while idle and idle[0].expires <= now:
            self.doomed.append(idle.popleft())
        if not self._waiting and self._grant(lease):
            return True
        lease.event = self._event()
        self._waiting[lease] = None
        return False

    def replace(self, lease: Slot) -> None:
        """Give up the lease's dead connection for the next idle one, or for none."""
        if lease.connection is not None:
            self.doomed.append(lease.connection)
        lease.connection = self._pop(lease.name)
        lease.reused = lease.connection is not None

    def release(self, lease: Slot, *, keep: bool) -> None:
        """End the lease, wherever it stands; its connection is kept, or doomed, and passed on."""
        if self._waiting:
            self._waiting.pop(lease, None)
        self.in_use.discard(lease)
        connection, lease.connection = lease.connection, None
        if connection is not None:
            if keep and not self.closed:
                connection.expires = self._clock() + self._expiry
                self._idle.append(connection)
            else:
                self.doomed.append(connection)
        if self._waiting:
            self._serve()
        if len(self._idle) > self._max_idle:
            self.doomed.append(self._idle.popleft())

    def close_idle(self) -> None:
        """Doom every idle connection."""
        self.doomed.extend(self._idle)
        self._idle.clear()

    def close(self) -> list[Connection]:
        """Refuse all further leases, send the queue away and return the connections in use."""
        self.closed = True
        self.close_idle()
        for lease in self._waiting:
            lease.event.set()
        self._waiting.clear()
        return [lease.connection for lease in self.in_use if lease.connection is not None]

    def reap(self) -> list[Connection]:
        """Take over the duty to close what is doomed."""
        doomed, self.doomed = self.doomed, []
        return doomed

    def _grant(self, lease: Slot) -> bool:
        connection = self._pop(lease.name)
        if connection is None and len(self._idle) + len(self.in_use) >= self._max:
            if not self._idle:
                return False
            self.doomed.append(self._idle.popleft())
        # One step adds it: whatever interrupts us, `release` finds it and nothing is counted twice.
        self.in_use.add(lease)
        lease.connection = connection
        lease.reused = connection is not None
        return True

    def _pop(self, name: str | None) -> Connection | None:
        idle = self._idle
        if idle and idle[-1].name == name:
            return idle.pop()
        for connection in reversed(idle):
            if connection.name == name:
                idle.remove(connection)
                return connection
        return None

    def _serve(self) -> None:
        while self._waiting:
            lease = next(iter(self._waiting))
            if not self._grant(lease):
                return
            del self._waiting[lease]
            lease.event.set()
