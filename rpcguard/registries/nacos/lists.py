"""Lists of Nacos as nodes, by whichever way they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rpcguard.registries._shared.fields import (
    Fields,
    flag,
    mapping,
    number,
    part,
    scheme,
    started_at,
)
from rpcguard.registries._shared.nodes import nodes_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpcguard._core.nodes.node import Node, Status
    from rpcguard.registries._shared.faults import FaultLog

# Seconds: what `cacheMillis` may make of the poll interval.
_SHORTEST_INTERVAL, _LONGEST_INTERVAL = 1.0, 60.0
_DEFAULT_CLUSTER: Final = "DEFAULT"


@dataclass(frozen=True, slots=True)
class NacosList:
    """What either generation says of a service; `lies` if `healthy` is not to be believed."""

    hosts: object
    interval: float | None = None
    lies: bool = False
    complete: bool = True

    def nodes(self, where: str, faults: FaultLog) -> list[Node]:
        """Read the nodes; raise `ValueError` where not one of them is good."""
        return nodes_from_json(
            self.hosts,
            where=where,
            faults=faults,
            read=lambda entry: _node(entry, lies=self.lies),
        )


def list_of(service: Mapping[str, object]) -> NacosList:
    """Read what v1 and the push say of a service."""
    hosts = service.get("hosts")
    return NacosList(
        hosts or [],
        interval=_interval(service.get("cacheMillis")),
        lies=service.get("reachProtectionThreshold") is True,
        complete=hosts is not None,  # null is no list, as Nacos' own client has it
    )


def _interval(milliseconds: object) -> float | None:
    advised = number(milliseconds)
    if not advised:
        return None
    return min(max(advised / 1000, _SHORTEST_INTERVAL), _LONGEST_INTERVAL)


def _node(entry: object, *, lies: bool) -> Fields:
    entry, metadata = mapping(entry), part(entry, "metadata")
    cluster = entry.get("clusterName") or _DEFAULT_CLUSTER
    started = started_at(metadata)
    return {
        "host": entry.get("ip"),
        "port": entry.get("port"),
        "id": f"{entry.get('ip')}#{entry.get('port')}#{cluster}",
        "scheme": scheme(metadata),
        "weight": entry.get("weight"),
        "status": _status(entry, lies=lies),
        "zone": metadata.get("zone") or (None if cluster == _DEFAULT_CLUSTER else cluster),
        "version": metadata.get("version"),
        "started_at": started,
        "generation": None if started is None else f"{started:.3f}",
        "metadata": metadata,
    }


def _status(entry: Mapping[str, object], *, lies: bool) -> Status:
    if flag(entry.get("enabled")) is False:
        return "draining"  # not listed by Nacos itself, but by servers that only speak like it
    return "down" if flag(entry.get("healthy")) is False and not lies else "up"
