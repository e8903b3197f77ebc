"""Lists of nodes written as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.registries._shared.faults import FaultLog

MAX_BYTES = 32 * 1024 * 1024
MOST_SERVICES = 1024
"""The number of services that a registry remembers: their names may come from anywhere."""
MOST_NODES = 25_000
"""How many entries a list may have: of so many that are all out, a pick still takes 5 ms."""
MOST_PARTS = 2_000_000
"""How many commas a document may have: of empty objects alone, 32 MiB would become a gigabyte."""
_NODE_FIELDS = frozenset(Node.__slots__)
_LONGEST_FAULT = 200


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


def nodes_from_json(
    entries: object,
    *,
    where: str,
    faults: FaultLog | None = None,
    read: Callable[[object], Node] | None = None,
) -> list[Node]:
    """Read a list of JSON nodes; leave the bad ones out with one warning that counts them.

    Unknown fields are ignored. `where` names the source in the warning; with `faults` the same
    warning is not repeated for every poll. `read` makes a node of an entry of another form; it
    may raise `ValueError` or `TypeError`, as `node_from_json` does. Raises `ValueError` when
    `entries` is no list, has more than 25,000 entries, or has some and not one is good: such a
    list is broken, not empty.
    """
    if not isinstance(entries, list):
        raise ValueError(f"a list of nodes is wanted, not {type(entries).__name__}")
    if len(entries) > MOST_NODES:
        raise ValueError(f"a list of {len(entries)} nodes is too long, the most is {MOST_NODES}")
    read = read or node_from_json
    nodes: dict[str, Node] = {}
    bad, first = 0, ""
    for entry in entries:
        try:
            node = read(entry)
            if nodes.setdefault(node.id, node) is not node:
                raise ValueError(f"id {node.id!r} is listed twice")
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            bad, first = bad + 1, first or str(error)[:_LONGEST_FAULT]
    if bad and not nodes:
        raise ValueError(f"none of {bad} nodes can be used, first: {first}")
    fault = f"{bad} bad nodes left out, first: {first}" if bad else None
    (faults or FaultLog()).report(where, fault)
    return list(nodes.values())


def node_from_json(entry: object) -> Node:
    """Read one JSON node; raise `ValueError` or `TypeError` naming what is wrong.

    A number as `id`, `zone` or `version` is taken as text, and so is every value of `metadata`.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"a node must be an object, not {type(entry).__name__}")
    values = {
        key: value for key, value in entry.items() if key in _NODE_FIELDS and value is not None
    }
    for name in ("host", "port"):
        if name not in values:
            raise ValueError(f"{name} is missing")
    for name in values.keys() & {"id", "zone", "version"}:
        values[name] = _text(name, values[name])
    if not isinstance(values.get("generation", 0), (str, int)):
        raise ValueError("generation must be text or a whole number")
    metadata = values.get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise ValueError("metadata must be an object")
    values["metadata"] = {str(key): str(value) for key, value in metadata.items()}
    node = Node(**values)
    _refuse_odd_text(node)
    return node


def _text(name: str, value: object) -> str:
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"{name} must be text, not {type(value).__name__}")
    return str(value)


def _refuse_odd_text(node: Node) -> None:
    texts = (node.host, node.id, node.zone, node.version, node.generation, *node.metadata)
    try:
        # JSON can spell half a surrogate pair, which no log, header or file can hold.
        "".join(map(str, (*texts, *node.metadata.values()))).encode()
    except UnicodeEncodeError:
        raise ValueError("a field has text that is no Unicode") from None
