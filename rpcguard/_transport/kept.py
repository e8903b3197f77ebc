"""The children that are kept: one for each node and scheme, and for each host called directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from rpcguard._connections.children import PORTS, SCHEMES, Children, ChildT
from rpcguard._core.nodes.view import ConnectionCounts

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx

    from rpcguard._connections.library import Library
    from rpcguard._core.nodes.live import LiveNode

ChildKey = tuple["LiveNode | None", str]
"""A node and a scheme; or None and the origin of a host that is called directly."""

SWEEP_EVERY = 1.0
"""Seconds between two looks at the idle connections: as late is one closed that has expired."""

MOST_ORIGINS = 256
"""Hosts called directly whose connections are kept track of: their names may come from anywhere."""


class KeptChildren(Generic[ChildT]):
    """What finds the child of an attempt in a family of children, and makes what is missing.

    A family is a dictionary that belongs to a thread-safe transport, or to one event loop. Once
    `cut`, no child is given out any more.
    """

    def __init__(self, make: Children[ChildT], library: Library) -> None:
        self.make: Children[ChildT] = make
        self.cut: bool = False
        self.library: Library = library

    def of_node(
        self, children: dict[ChildKey, ChildT], live: LiveNode, scheme: str, url: httpx.URL
    ) -> ChildT:
        """Give the child of a node for http or https."""
        child = children.get((live, scheme))
        if child is None:
            made = self.make.child(live.node, scheme, url.host)
            child = children.setdefault((live, scheme), made)
        if self.cut:
            raise self.library.transport_closed(
                "the transport was closed before the call was answered"
            )
        return child

    def of_host(self, children: dict[ChildKey, ChildT], url: httpx.URL) -> ChildT:
        """Give the child of a host that is called directly."""
        scheme, host = SCHEMES[url.scheme], url.raw_host.decode("ascii")
        port = url.port or PORTS[scheme]
        key = None, f"{scheme}://{host}:{port}"
        child = children.get(key)
        if child is None:
            _drop_unused(children)
            child = children.setdefault(key, self.make.direct(scheme, host, port))
        return child


def sweep(live: LiveNode | None, child: object) -> None:
    """Close the idle connections of a child that have expired, or that the node has closed.

    All of them where the node is outside of the caller's subset. A user's own child is let alone.
    """
    outside = live is not None and live.outside
    for name in ("sweep", "close_idle") if outside else ("sweep",):
        close = getattr(child, name, None)
        if close is not None:
            close()


def counts_of(families: Iterable[dict[ChildKey, Any]], live: LiveNode) -> ConnectionCounts | None:
    """Add up the connections of a node; None where there are none, or none of rpcguard's own."""
    keys = (live, "http"), (live, "https")
    found = [getattr(family.get(key), "counts", None) for family in families for key in keys]
    counts = [one for one in found if isinstance(one, ConnectionCounts)]  # not a user's own
    return sum(counts, ConnectionCounts(0, 0, 0)) if counts else None


def _drop_unused(children: dict[ChildKey, Any]) -> None:
    """Part with direct hosts to which nothing is open, once there are many."""
    origins = [key for key in list(children) if key[0] is None]
    if len(origins) < MOST_ORIGINS:
        return
    for key in origins:
        child = children.get(key)
        if child is not None and child.counts == ConnectionCounts(0, 0, 0):
            children.pop(key, None)
