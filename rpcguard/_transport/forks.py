"""Locks that a thread of the parent may hold at a fork, and that nobody gives back in the child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


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
