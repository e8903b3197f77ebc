"""What a node offers to routes: its lane, and whether it has what a destination asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rpcguard._context.lane import BASE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rpcguard._core.nodes.node import Node
    from rpcguard._core.policies.conditions import Wanted

_NO_LANE: Final = ("", BASE)


class Target:
    """A destination of routes: which nodes it leads to, told from the values that nodes have.

    Equal targets of the old rules and the new are one, so that editing a share moves no node.
    """

    __slots__ = ("_conditions", "_hash", "names_lane")

    def __init__(self, to: Mapping[str, Wanted]) -> None:
        pairs = ((key, _lane_free(value) if key == "lane" else value) for key, value in to.items())
        self._conditions: tuple[tuple[str, Wanted], ...] = tuple(pairs)
        self._hash = hash(self._conditions)
        self.names_lane: bool = "lane" in to

    @property
    def keys(self) -> tuple[str, ...]:
        """Give the keys that it looks at."""
        return tuple(key for key, _ in self._conditions)

    @property
    def exact(self) -> tuple[str, tuple[str, ...]] | None:
        """Give a key and the values of which a node must have one; None where any may do."""
        for key, wanted in self._conditions:
            if wanted is not None and wanted != "*":
                return key, (wanted,) if isinstance(wanted, str) else tuple(wanted)
        return None

    def admits(self, values: Mapping[str, str | None]) -> bool:
        """Tell whether a node with these values, by key, is one of its nodes."""
        return all(holds(values[key], wanted) for key, wanted in self._conditions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Target) and self._conditions == other._conditions

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Target({dict(self._conditions)!r})"


class CellKey(NamedTuple):
    """What tells a cell from the others: the lane of its nodes, and the targets that admit them."""

    lane: str | None
    targets: frozenset[Target]

    def and_by(self, other: CellKey) -> CellKey:
        """Give the cell of the same nodes where other rules tell them apart as well."""
        return self if self == other else CellKey(self.lane, self.targets | other.targets)


ONE_CELL: Final = CellKey(None, frozenset())
"""The cell of every node where lanes are not looked at."""


def holds(value: str | None, wanted: Wanted) -> bool:
    """Tell whether a value is what a condition wants."""
    if wanted is None or value is None:
        return wanted is value
    if isinstance(wanted, str):
        return wanted in ("*", value)
    return value in wanted


def lane_of(node: Node, lane_keys: Sequence[str]) -> str | None:
    """Give a node's lane: the first value under the keys that is not empty; "base" is none."""
    metadata = node.metadata
    for key in lane_keys:
        value = metadata.get(key)
        if value:
            return None if value == BASE else value
    return None


def values_of(node: Node, keys: Sequence[str], lane_keys: Sequence[str]) -> tuple[str | None, ...]:
    """Give what a node has under some keys of `Route.to`."""
    return tuple(_value(node, key, lane_keys) for key in keys)


def _value(node: Node, key: str, lane_keys: Sequence[str]) -> str | None:
    if key == "lane":
        return lane_of(node, lane_keys)
    if key == "id":
        return node.id
    if key == "version":
        return node.version
    if key == "zone":
        return node.zone
    if key == "host":
        return node.host
    if key == "port":
        return str(node.port)
    if key == "address":
        return node.address
    return node.metadata.get(key.partition(".")[2])


def _lane_free(wanted: Wanted) -> Wanted:
    return None if wanted in _NO_LANE else wanted
