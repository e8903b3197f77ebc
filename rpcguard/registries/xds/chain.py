"""From a service to its nodes: listener, routes, clusters, endpoints; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.registries.xds.books import Missing
from rpcguard.registries.xds.messages import (
    CLUSTER_TYPE,
    ENDPOINT_TYPE,
    LISTENER_TYPE,
    ROUTE_TYPE,
)
from rpcguard.registries.xds.resources import Assignment, Cluster, Listener, RouteTable
from rpcguard.registries.xds.routes import RoutePlan, cluster_key, default_of, host_for, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rpcguard._core.policies.routing import Route
    from rpcguard.registries._shared.faults import FaultLog
    from rpcguard.registries.xds.resources import Resource, VirtualHosts

Start = Literal["listener", "cluster", "endpoints"]

_DEEPEST: Final = 16
"""How deep aggregate clusters may be nested, as gRPC allows (A37)."""

FoundT = TypeVar("FoundT")

Leaves = list[Sequence[Node]]
"""The nodes of a cluster: of itself, or of those that it is made of, one after the other."""

PRIORITIES: Final = 1024
"""Priorities of one cluster in an aggregate: 0 to 128, and as many for those that are degraded,
with room; those of the next cluster come after all of them."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is known of a service: its list, and its routes, which go together."""

    snapshot: Snapshot
    routes: tuple[Route, ...] = ()


_UNKNOWN: Final = Resolved(Snapshot((), known=False))
_NOWHERE: Final = RoutePlan((), ())


class Pending(Exception):  # noqa: N818
    """The end of a walk at something that is missing and may still come."""


class Chain:
    """The way of one service through the resources.

    `name` is that of the resource to begin with, of the kind `start`. `routed` says that somebody
    looks at routes: then the list has the nodes of all clusters, each with a mark that the routes
    lead to, else only of those that a call without anything special goes to. `limited` says that
    routes bring their timeouts and numbers of retries.
    """

    def __init__(
        self, service: str, name: str, *, start: Start, faults: FaultLog, limited: bool = False
    ) -> None:
        self.routed: bool = False
        self._service = service
        self._name = name
        self._start = start
        self._faults = faults
        self._limited = limited
        self._hosts: object = None
        self._found: Mapping[str, Any] | None = None
        self._host: object = None
        self._plan: RoutePlan | None = None
        self._last: tuple[RoutePlan, bool, list[Leaves], list[str]] | None = None
        self._resolved: Resolved | None = None

    def walk(self, find: Callable[[str, str], Resource | Missing]) -> Resolved | None:
        """Go the whole way; None while something is missing that may still come.

        `find` gives a resource, and hears by that which ones are wanted: all of one step before any
        of the next. Gives the very same as before where nothing has changed.
        """
        walk = _Walk(find)
        try:
            plan = self._plan_of(walk)
            if plan is None:
                return _UNKNOWN
            if self._start == "endpoints":
                leaves = walk.endpoints(self._name)
            else:
                leaves = walk.clusters(plan.clusters if self.routed else plan.default)
        except Pending:
            return None
        if self._start == "endpoints" and walk.absent:
            return _UNKNOWN
        if self._resolved is None or not self._is_same(plan, leaves, walk.absent):
            self._last = plan, self.routed, leaves, walk.absent
            self._resolved = self._resolve(plan, leaves, walk.absent)
        return self._resolved

    def _is_same(self, plan: RoutePlan, leaves: list[Leaves], absent: list[str]) -> bool:
        if self._last is None:
            return False
        old, routed, before, missed = self._last
        if plan is not old or routed != self.routed or absent != missed:
            return False
        return [list(map(id, each)) for each in leaves] == [list(map(id, each)) for each in before]

    def _resolve(self, plan: RoutePlan, leaves: list[Leaves], absent: list[str]) -> Resolved:
        clusters = plan.clusters if self.routed else plan.default
        routes = plan.routes if self.routed else ()
        found = [_in_turn(each) for each in leaves]
        if routes or len(clusters) > 1:
            nodes = _merged(clusters, found)
        else:
            nodes = [node for each in found for node in each]
        left_out = f"there is no {', no '.join(absent)}" if absent else ""
        return Resolved(Snapshot(nodes, left_out=left_out), routes)

    def _plan_of(self, walk: _Walk) -> RoutePlan | None:
        """Give where calls go; None where the control plane does not know the service."""
        if self._start != "listener":
            self._plan = self._plan or RoutePlan((self._name,), (self._name,))
            return self._plan
        hosts = walk.hosts(self._name)
        if hosts is None:
            return None
        if hosts is not self._hosts:  # a table may have every host of a mesh
            names = self._name, self._name.rpartition(":")[0], self._service
            self._hosts, self._found = hosts, host_for(hosts, names)
        host = self._found
        if host is None:
            walk.absent.append(f"virtual host for {self._name!r}")
            return _NOWHERE
        if host is not self._host:
            self._host, self._plan = host, self._read(host)
        return self._plan

    def _read(self, host: Mapping[str, Any]) -> RoutePlan:
        where = f"xDS routes of service {self._service!r}"
        try:
            plan = plan_of(self._service, host, limited=self._limited)
        except ValueError as error:
            self._faults.report(where, f"{error}; the last routes stay")
            default = default_of(host)  # known all the same, and better than every cluster
            return self._plan or RoutePlan(default, default)
        self._faults.report(where, None)
        return plan


class _Walk:
    """One walk, and what it found to be absent."""

    def __init__(self, find: Callable[[str, str], Resource | Missing]) -> None:
        self.absent: list[str] = []
        self._find = find

    def hosts(self, listener: str) -> VirtualHosts | None:
        """Give the virtual hosts that a listener leads to; None where there is no listener."""
        found = self._get(LISTENER_TYPE, listener)
        if found is None:
            return None
        assert isinstance(found, Listener)
        if found.hosts is not None:
            return found.hosts
        table = self._get(ROUTE_TYPE, found.route_name)
        if table is None:
            self.absent.append(f"route configuration {found.route_name!r}")
            return []
        assert isinstance(table, RouteTable)
        return table.hosts

    def clusters(self, names: Sequence[str]) -> list[Leaves]:
        """Give the nodes of each cluster; all of them are asked for before one is waited for."""
        return self._all(names, lambda name: self._leaves(name, 0, set()))

    def endpoints(self, name: str) -> list[Leaves]:
        """Give the nodes of an assignment, as those of a cluster."""
        found = self._get(ENDPOINT_TYPE, name)
        if found is None:
            self.absent.append(f"endpoints {name!r}")
            return []
        assert isinstance(found, Assignment)
        return [[found.nodes]]

    def _leaves(self, name: str, depth: int, met: set[str]) -> Leaves:
        """Give the nodes of a cluster, or of those that it is made of, one after the other.

        Each has its place where it is `met` first (A37): it could be named by each of those that it
        is part of, again and again, and by itself.
        """
        if name in met or depth >= _DEEPEST:
            return []
        met.add(name)
        found = self._get(CLUSTER_TYPE, name)
        if found is None:
            self.absent.append(f"cluster {name!r}")
            return []
        assert isinstance(found, Cluster)
        if found.children:
            each = self._all(found.children, lambda child: self._leaves(child, depth + 1, met))
            return [leaf for leaves in each for leaf in leaves]
        if not found.assignment:
            return [found.nodes]
        return [leaf for leaves in self.endpoints(found.assignment) for leaf in leaves]

    def _all(self, names: Sequence[str], find: Callable[[str], FoundT]) -> list[FoundT]:
        found: list[FoundT] = []
        for name in names:
            with suppress(Pending):
                found.append(find(name))
        if len(found) < len(names):
            raise Pending
        return found

    def _get(self, url: str, name: str) -> Resource | None:
        found = self._find(url, name)
        if found is Missing.PENDING:
            raise Pending
        return None if isinstance(found, Missing) else found


def _merged(clusters: Sequence[str], found: Sequence[list[Node]]) -> list[Node]:
    """Make one list of those of some clusters; a node of several has the mark of each."""
    merged: dict[str, Node] = {}
    marks: dict[str, dict[str, str]] = {}
    for cluster, nodes in zip(clusters, found, strict=True):
        for node in nodes:
            merged.setdefault(node.id, node)
            marks.setdefault(node.id, {})[cluster_key(cluster)] = "yes"
    return [
        replace(node, metadata={**node.metadata, **marks[name]}) for name, node in merged.items()
    ]


def _in_turn(leaves: Leaves) -> list[Node]:
    return [
        replace(node, priority=node.priority + number * PRIORITIES) if number else node
        for number, leaf in enumerate(leaves)
        for node in leaf
    ]
