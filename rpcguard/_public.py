"""Public names say that they are of the module that users import them from."""

from __future__ import annotations

from typing import TypeVar

PublicT = TypeVar("PublicT")


def adopt(home: str, public: PublicT) -> PublicT:
    """Make a class or function say that it is of the module `home`, and give it back.

    Pickles, reprs and tracebacks then name a path that never moves, not the file of today.
    """
    public.__module__ = home
    return public
