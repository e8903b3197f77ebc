"""Transports in forked children: new locks for those that nobody gives back, and a new start."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rpcguard._transport.services import Follower, ServiceTable


class HasLocks(Protocol):
    """What can drop its locks for new ones."""

    def renew_locks(self) -> None:
        """Drop the locks that a thread of the parent may have held at a fork."""
        ...


_known: weakref.WeakSet[HasLocks] = weakref.WeakSet()


def renew_at_fork(one: HasLocks) -> None:
    """Renew the locks of this in each forked child, as long as it is there."""
    _known.add(one)


def _renew() -> None:
    for one in list(_known):
        one.renew_locks()


os.register_at_fork(after_in_child=_renew)


class Forkable:
    """What goes on in a forked child with the lists of its parent, and with nothing else of it."""

    _tables: list[ServiceTable]
    _followers: list[Follower]

    def _begin_here(self) -> None:
        self._forking = threading.RLock()
        self._pid = os.getpid()
        renew_at_fork(self)

    def _part_with_children(self) -> object:
        raise NotImplementedError

    def renew_locks(self) -> None:
        """Drop the locks that a thread of the parent may have held at a fork."""
        self._forking = threading.RLock()
        for table in self._tables:
            table.renew_locks()

    def _start_over_after_fork(self) -> None:
        # The parent's threads are gone and its sockets are still the parent's: keep them
        # untouched, take the lists over and begin anew.
        with self._forking:
            if self._pid == os.getpid():
                return
            self._inherited = self._part_with_children()
            for one in self._followers:
                one.renew()
            for table in self._tables:
                table.start_over()
            self._pid = os.getpid()
