"""The children that are kept: one for each node and scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, cast

from rpcguard._connections.children import Children, ChildT
from rpcguard._core.nodes.view import ConnectionCounts
from rpcguard._text import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import httpx

    from rpcguard._connections.library import Library
    from rpcguard._core.nodes.live import LiveNode

ChildKey = tuple["LiveNode", str]
"""A node and a scheme."""

SWEEP_EVERY = 1.0
"""Seconds between two looks at the idle connections: as late is one closed that has expired."""


class KeptChildren(Generic[ChildT]):
    """What finds the child of an attempt in a family of children, and makes what is missing.

    A family is a dictionary that belongs to a thread-safe transport, or to one event loop. Once
    `cut`, no child is given out any more.
    """

    def __init__(self, library: Library) -> None:
        self.cut: bool = False
        self.library: Library = library

    def of_node(
        self,
        children: dict[ChildKey, ChildT],
        make: Children[ChildT],
        live: LiveNode,
        scheme: str,
        url: httpx.URL,
    ) -> ChildT:
        """Give the child of a node for http or https."""
        child = children.get((live, scheme))
        if child is None and not self.cut:
            made = make.child(live.node, scheme, url.host)
            child = children.setdefault((live, scheme), made)
            if child is not made:  # another thread was faster; tasks are not
                attempt_to(cast("httpx.BaseTransport", made).close)
        if child is None or self.cut:
            raise self.library.transport_closed(
                "the transport was closed before the call was answered"
            )
        return child


def sweep(live: LiveNode, child: object) -> None:
    """Close the idle connections of a child that have expired, or that the node has closed.

    All of them where the node is outside of the caller's subset. A user's own child is let alone.
    """
    for name in ("sweep", "close_idle") if live.outside else ("sweep",):
        close = getattr(child, name, None)
        if close is not None:
            close()


def attempt_to(close: Callable[[], object]) -> None:
    """Close a child; what it raises is logged."""
    try:
        close()
    except Exception:  # the user's own child may raise anything, and the others are still open
        logger.warning("a node's connections did not close", exc_info=True)


def counts_of(families: Iterable[dict[ChildKey, Any]], live: LiveNode) -> ConnectionCounts | None:
    """Add up the connections of a node; None where there are none, or none of rpcguard's own."""
    keys = (live, "http"), (live, "https")
    found = [getattr(family.get(key), "counts", None) for family in families for key in keys]
    counts = [one for one in found if isinstance(one, ConnectionCounts)]  # not a user's own
    return sum(counts, ConnectionCounts(0, 0, 0)) if counts else None
