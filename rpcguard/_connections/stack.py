"""The books of one node's connections: which are idle, in use and waited for; no I/O, no lock."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol

from rpcguard._connections.books import Books, Kept, StackClosed
from rpcguard._core.nodes.view import ConnectionCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._connections.books import Waiter


class KeptConnection(Kept, Protocol):
    """What the books need of a connection that carries one call at a time."""

    def close(self) -> object:
        """Close it."""


UNUSED: Final = -1.0
"""Seconds of idleness that no connection is below: the call gets one that was never used."""


class Slot:
    """One call's claim to a connection, from the queue to the end of the response.

    `connection` is None until one is there: a granted slot without one opens its own.
    """

    __slots__ = ("connection", "event", "keep", "name", "oldest", "reused")

    def __init__(self, name: str | None, oldest: float = math.inf) -> None:
        self.name: str | None = name
        self.oldest: float = oldest
        """Seconds that its connection may have been idle."""
        self.connection: Any = None
        self.reused: bool = False
        self.keep: bool = False
        """Whether its connection may serve another call, once the slot is in `Stack.dropped`."""
        self.event: Any = None


class Stack(Books[Slot, KeptConnection]):
    """The books of a LIFO stack of connections with an upper limit and a queue.

    The last one returned is the first one used, so load decides how many stay warm and the bottom
    of the stack ages out. Nothing here does I/O: a connection to be closed is put on `doomed` and
    the caller closes it, outside its lock if it has one. Not thread-safe by itself, but for
    `dropped`, to which anybody, a finalizer too, may append the slots that are to be released.
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
        self.in_use: set[Slot] = set()

    @property
    def counts(self) -> ConnectionCounts:
        """How many there are now."""
        in_use = max(len(self.in_use) - len(self.dropped), 0)
        return ConnectionCounts(len(self._idle), in_use, len(self._waiting))

    def request(self, slot: Slot) -> bool:
        """Grant the slot and return True, or put it in line; `slot.event` tells when to look."""
        if self.closed:
            raise StackClosed("the connections of this node are closed")
        if self.dropped:
            self.settle_dropped()
        if self._idle and self._idle[0].expires <= self._clock():
            self.expire()
        if not self._waiting and self._grant(slot):
            return True
        slot.event = self._event()
        self._waiting[slot] = None
        return False

    def replace(self, slot: Slot) -> None:
        """Give up the slot's dead connection for the next idle one, or for none."""
        if slot.connection is not None:
            self.doomed.append(slot.connection)
        slot.connection = self._pop(slot)
        slot.reused = slot.connection is not None

    def release(self, slot: Slot, *, keep: bool) -> None:
        """End the claim, wherever it stands; its connection is kept, or doomed, and passed on."""
        if self._waiting:
            self._waiting.pop(slot, None)
        self.in_use.discard(slot)
        connection, slot.connection = slot.connection, None
        if connection is not None:
            # One that was opened beside the books may be one too many.
            fits = len(self._idle) + len(self.in_use) < self._max
            if keep and fits and not self.closed:
                self._lay_by(connection)
            else:
                self.doomed.append(connection)
        if self._waiting:
            self.serve()
        if len(self._idle) > self._max_idle:
            self.doomed.append(self._idle.popleft())

    def settle_dropped(self) -> None:
        """Release what was dropped, or given back while somebody else held the books."""
        dropped = self.dropped
        while dropped:
            slot = dropped[0]
            self.release(slot, keep=slot.keep)
            dropped.popleft()  # only now, or an interrupt before would lose it

    def expire(self) -> None:
        """Doom the idle connections whose time is up."""
        idle, now = self._idle, self._clock()
        while idle and idle[0].expires <= now:
            self.doomed.append(idle.popleft())

    def adopt(self, connection: KeptConnection) -> None:
        """Take in a connection that was opened elsewhere, for the next call that asks."""
        if self.closed or len(self._idle) + len(self.in_use) >= self._max:
            self.doomed.append(connection)
        else:
            self._lay_by(connection)

    def discard(self, connection: KeptConnection) -> bool:
        """Doom a connection if it is idle; tell whether it was."""
        if connection not in self._idle:
            return False
        self._idle.remove(connection)
        self.doomed.append(connection)
        return True

    def _grant(self, slot: Slot) -> bool:
        connection = self._pop(slot)
        if connection is None and len(self._idle) + len(self.in_use) >= self._max:
            if not self._idle:
                return False
            self.doomed.append(self._idle.popleft())
        # One step adds it: whatever interrupts us, `release` finds it and nothing is counted twice.
        self.in_use.add(slot)
        slot.connection = connection
        slot.reused = connection is not None
        return True

    def _pop(self, slot: Slot) -> KeptConnection | None:
        idle, name = self._idle, slot.name
        if idle and slot.oldest != math.inf and self._clock() - idle[-1].idle_since > slot.oldest:
            return None  # the others are older still
        if idle and idle[-1].name == name:
            return idle.pop()
        for connection in reversed(idle):
            if connection.name == name:
                idle.remove(connection)
                return connection
        return None

    def _in_use(self) -> list[Any]:
        return [slot.connection for slot in self.in_use if slot.connection is not None]
