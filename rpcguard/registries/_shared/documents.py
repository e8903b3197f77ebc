"""JSON documents, bounded, and the lists of services in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._text import host_name
from rpcguard.registries._shared.nodes import nodes_from_json

if TYPE_CHECKING:
    from rpcguard.registries._shared.faults import FaultLog

MAX_BYTES = 32 * 1024 * 1024
"""How long a document may be: 25,000 nodes with a kilobyte of metadata each fit."""
ODD_TAGS = (LookupError, AttributeError, TypeError)
"""What PyYAML raises for a value that is none of the kind that it is marked as, `!!int ""`."""
MOST_SERVICES = 1024
"""The number of services that a registry remembers: their names may come from anywhere."""
MOST_PARTS = 2_000_000
"""How many commas a document may have: of empty objects alone, 32 MiB would become a gigabyte."""


def json_from_bytes(body: bytes, *, unique: bool = False) -> object:
    """Read JSON; raise `ValueError` for whatever is none, deep nesting and bad UTF-8 included.

    More than two million commas are refused as well, and with `unique` a key that is there twice.
    """
    if body.count(b",") > MOST_PARTS:
        raise ValueError(f"it has more than {MOST_PARTS} parts")
    try:
        document: object = json.loads(body, object_pairs_hook=_unique if unique else None)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"key {twice[:100]!r} is there twice")
    return found


Services = Mapping[str, tuple[str, object]]
"""The services of a document by their names in one spelling: each as it is written, with what is
listed for it."""


def services_from_json(document: object) -> Services:
    """Read `{"services": {"orders": [NODE, ...]}}`; of two spellings of a name the first counts.

    Raises `ValueError` when the document has another shape.
    """
    services = document.get("services") if isinstance(document, Mapping) else None
    if not isinstance(services, Mapping):
        raise ValueError('an object with "services" is wanted')
    found: dict[str, tuple[str, object]] = {}
    for name, entries in services.items():
        found.setdefault(host_name(name), (name, entries))
    return found


def snapshot_of(
    services: Services, service: str, *, where: str, faults: FaultLog | None = None
) -> Snapshot:
    """Read the list of one service, its name in any spelling; one that is not there is unknown.

    Raises `ValueError` when its list has another shape.
    """
    name, entries = services.get(host_name(service), (None, None))
    if name is None:
        return Snapshot((), known=False)
    return Snapshot(nodes_from_json(entries, where=f"{where}, service {name!r}", faults=faults))


def names_of(services: Services) -> list[str]:
    """Give the names as the document writes them."""
    return [name for name, _ in services.values()]
