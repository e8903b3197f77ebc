"""Endpoints as they are packed in a message: those of the list before are not read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rpcguard.registries._shared.nodes import nodes_from_json
from rpcguard.registries.xds.assignments import (
    Locality,
    PlacedEndpoint,
    placed,
    read_endpoint,
    weight_of,
)
from rpcguard.registries.xds.messages import LB_ENDPOINT

if TYPE_CHECKING:
    from rpcguard._core.nodes.node import Node
    from rpcguard.registries._shared.faults import FaultLog

Object = Mapping[str, Any]


class Known(NamedTuple):
    """What the bytes of an endpoint were read as."""

    node: Node
    """The node."""
    weight: float
    """What it weighs within its locality."""
    locality: Locality
    """What its locality said of it then."""


Kept = Mapping[bytes, Known]


class _Fresh(NamedTuple):
    """An endpoint that is to be read."""

    packed: bytes
    endpoint: PlacedEndpoint


def nodes_of_packed(
    assignment: Object, known: Kept, *, where: str, faults: FaultLog
) -> tuple[list[Node], Kept]:
    """Read the nodes of a `PACKED_ASSIGNMENT`, and what is known for the next one.

    State of the world sends ten thousand endpoints where one has changed. `known` is of the list
    before; what was read with a fault is not in it, so that the fault is told as long as it lasts.
    Raises `ValueError` where an endpoint is no message, or not one is good.
    """
    entries: dict[bytes, Object] = {}

    def weigh(packed: bytes) -> float:
        return known[packed].weight if packed in known else weight_of(entries[packed])

    localities: list[Object] = assignment.get("endpoints", [])
    every = [packed for some in localities for packed in _packed_in(some)]
    entries.update(_unpacked(packed for packed in every if packed not in known))
    found = list(placed(localities, _packed_in, weigh))
    moved = (
        packed for packed, place in found if packed in known and known[packed].locality != place
    )
    entries.update(_unpacked(moved))
    kept: dict[bytes, Known] = {}
    listed: list[object] = []
    for packed, place in found:
        if packed in entries:
            listed.append(_Fresh(packed, PlacedEndpoint(entries[packed], place)))
        else:
            kept[packed] = known[packed]
            listed.append(known[packed].node)

    def keep(fresh: _Fresh, node: Node) -> None:
        entry, place = fresh.endpoint.entry, fresh.endpoint.locality
        kept[fresh.packed] = Known(node, weight_of(entry), place)

    nodes = nodes_from_json(listed, where=where, faults=faults, read=_read, made=keep)
    return nodes, kept


def _packed_in(locality: Object) -> list[bytes]:
    packed: list[bytes] = locality.get("lb_endpoints", [])
    return packed


def _unpacked(several: Iterable[bytes]) -> Mapping[bytes, Object]:
    different = list(dict.fromkeys(several))
    return dict(zip(different, LB_ENDPOINT.decode_all(different), strict=True))


def _read(fresh: object) -> object:
    assert isinstance(fresh, _Fresh)
    return read_endpoint(fresh.endpoint)
