"""What a route wants of a call or of a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Wanted = str | Sequence[str] | None


class Conditions(Mapping[str, Wanted]):
    """Conditions that must all hold: a text, several (any of them), `"*"` (present), None (absent).

    Immutable and hashable; the order in which they were written is no part of them. A copy or
    pickle of them alone is an ordinary dict.
    """

    __slots__ = ("_items",)

    def __init__(self, given: Mapping[str, Wanted] | None = None) -> None:
        frozen = ((key, _frozen(value)) for key, value in sorted((given or {}).items()))
        self._items: tuple[tuple[str, Wanted], ...] = tuple(frozen)

    def __getitem__(self, key: str) -> Wanted:
        for name, value in self._items:
            if name == key:
                return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Conditions):
            return self._items == other._items
        return super().__eq__(other)

    def __repr__(self) -> str:
        return repr(dict(self._items))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self._items,)


NO_CONDITIONS: Final = Conditions()
"""Nothing is wanted."""


def _frozen(value: Wanted) -> Wanted:
    return value if value is None or isinstance(value, str) else tuple(value)
