"""The whole list of a service at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rpcguard._checks import require
from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.view import as_html_rows


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole list of one service at one moment.

    Raises `ValueError` naming the bad field.
    """

    nodes: tuple[Node, ...]
    """The nodes; the first of two with one id counts."""
    authoritative: bool = field(default=True, kw_only=True)
    """False for an answer that may lack nodes (a stale replica, a self-protecting registry): it
    adds and changes, and removes nothing."""
    known: bool = field(default=True, kw_only=True)
    """False where the registry has never heard of the service."""
    max_age: float | None = field(default=None, kw_only=True)
    """Seconds until the next poll that the registry advises; infinite for a list that never
    changes."""
    left_out: str = field(default="", kw_only=True)
    """What the registry lists and options have left out, and which of them, in words, so that an
    empty list explains itself."""

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        *,
        authoritative: bool = True,
        known: bool = True,
        max_age: float | None = None,
        left_out: str = "",
    ) -> None:
        unique: dict[str, Node] = {}
        require("nodes", nodes, "some of Node", isinstance(nodes, Iterable))
        for node in nodes:
            require("nodes", node, "of the class Node", isinstance(node, Node))
            unique.setdefault(node.id, node)
        # A number without sense is the registry's advice all the same, which nobody has to follow.
        advice = isinstance(max_age, (int, float)) and not isinstance(max_age, bool)
        require("max_age", max_age, "seconds or None", max_age is None or advice)
        object.__setattr__(self, "nodes", tuple(unique.values()))
        object.__setattr__(self, "authoritative", authoritative)
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "max_age", max_age)
        object.__setattr__(self, "left_out", left_out)

    def _repr_html_(self) -> str | None:
        """Give the nodes as a table, for notebooks."""
        return as_html_rows(
            [{name: getattr(node, name) for name in Node.__slots__} for node in self.nodes]
        )
