"""The value checks that nodes and policies share."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Final

_SHOWN: Final = 300
"""Characters of a name and of a value in an error: values may come from outside, by the megabyte,
and go into a log."""


def require(name: str, value: object, wanted: str, good: object) -> None:
    """Raise `ValueError` naming the field and the value given, unless `good`."""
    if not good:
        raise ValueError(f"{_short(name)} must be {wanted}, not {_short(repr(value))}")


def _short(text: str) -> str:
    size = len(text)
    return text if size <= _SHOWN else f"{text[:_SHOWN]}... ({size} characters)"


def require_unseen(name: str, value: object, wanted: str, good: object) -> None:
    """Do the same for what may hold a password: only what has no text is quoted."""
    if not good:
        bare = not value or isinstance(value, int | float | type)
        told = repr(value) if bare else f"a value of the class {type(value).__name__}"
        raise ValueError(f"{name} must be {wanted}, not {told}")


def require_bools(policy: object, *names: str) -> None:
    """Raise `ValueError` for the first field that is not a bool."""
    for name in names:
        value = getattr(policy, name)
        require(name, value, "True or False", isinstance(value, bool))


def is_several(value: object, kind: type) -> bool:
    """Tell whether `value` holds things of one kind; a text, which holds its letters, does not."""
    if not isinstance(value, Collection) or isinstance(value, (str, bytes)):
        return False
    return all(isinstance(one, kind) and not isinstance(one, bool) for one in value)


def is_whole(value: object, *, least: int = 0) -> bool:
    """Tell whether `value` is an int of at least `least`; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_amount(value: object) -> bool:
    """Tell whether `value` is a finite number, 0 or more; a whole one too large for a float is not.

    What is counted with it is counted in floats.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return 0 <= value <= sys.float_info.max


def is_registry(value: object) -> bool:
    """Tell whether `value` is a registry URL or an object that fetches; a class does not."""
    fetches = callable(getattr(value, "fetch", None)) and not isinstance(value, type)
    return fetches or isinstance(value, str)


def require_amounts(policy: object, *names: str) -> None:
    """Raise `ValueError` for the first field that is not a finite number, 0 or more."""
    for name in names:
        value = getattr(policy, name)
        require(name, value, "a finite number, 0 or more", is_amount(value))


def require_positive(policy: object, *names: str) -> None:
    """Raise `ValueError` for the first field that is not a finite number above 0."""
    for name in names:
        value = getattr(policy, name)
        require(name, value, "a finite number above 0", is_amount(value) and value > 0)


def require_shares(policy: object, *names: str) -> None:
    """Raise `ValueError` for the first field that is not from 0 to 1."""
    for name in names:
        value = getattr(policy, name)
        require(name, value, "from 0 to 1", is_amount(value) and value <= 1)
