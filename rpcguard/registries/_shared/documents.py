"""JSON documents, bounded, and the lists of services in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.registries._shared.nodes import nodes_from_json

if TYPE_CHECKING:
    from rpcguard.registries._shared.faults import FaultLog

MAX_BYTES = 32 * 1024 * 1024
"""How long a document may be: 25,000 nodes with a kilobyte of metadata each fit."""
MOST_SERVICES = 1024
"""The number of services that a registry remembers: their names may come from anywhere."""
MOST_PARTS = 2_000_000
"""How many commas a document may have: of empty objects alone, 32 MiB would become a gigabyte."""


def json_from_bytes(body: bytes) -> object:
    """Read JSON; raise `ValueError` for whatever is none, deep nesting and bad UTF-8 included.

    More than two million commas are refused as well.
    """
    if body.count(b",") > MOST_PARTS:
        raise ValueError(f"it has more than {MOST_PARTS} parts")
    try:
        document: object = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return document


def snapshot_from_services(
    document: object, service: str, *, where: str, faults: FaultLog | None = None
) -> Snapshot:
    """Read one service of `{"services": {"orders": [NODE, ...]}}`, its name in any case.

    A service that is not listed gives a snapshot with `known=False`. Raises `ValueError` when the
    document, or the list of this service, has another shape.
    """
    services = document.get("services") if isinstance(document, Mapping) else None
    if not isinstance(services, Mapping):
        raise ValueError('an object with "services" is wanted')
    for name, entries in services.items():
        if name.lower() == service.lower():
            where = f"{where}, service {name!r}"
            return Snapshot(nodes_from_json(entries, where=where, faults=faults))
    return Snapshot((), known=False)
