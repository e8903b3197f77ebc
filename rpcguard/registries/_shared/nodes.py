"""Nodes as registries write them: an address that must be right, and parts that may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from rpcguard._core.nodes.node import Node
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.fields import number

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_NODES = 25_000
"""How many entries a list may have: of so many that are all out, a pick still takes 5 ms."""
_LONGEST_FAULT = 200
"""Letters of a fault that are shown: what is wrong may be a megabyte long."""
_LONGEST_NAME = 1024
"""Letters of an id, a zone, a version or a generation, as `Node` has it."""
_STATUSES: Final = ("up", "draining", "down")
_SCHEMES: Final = ("http", "https")

Read = Callable[[object], object]
Made = Callable[[Any, Node], None]


def nodes_from_json(
    entries: object,
    *,
    where: str,
    faults: FaultLog | None = None,
    read: Read | None = None,
    made: Made | None = None,
) -> list[Node]:
    """Read a list of JSON nodes; leave the bad ones out with one warning that counts them.

    Unknown fields are ignored, and so is a known one, the address apart, of a shape that is of no
    use: it costs the field and never the node.

    Args:
        entries: The list as it was read; one may be a node already.
        where: The source, as the warning names it.
        faults: Keeps the same warning from being repeated for every poll.
        read: Makes the fields of a node, or a node, of an entry of another form; it may raise
            `ValueError` or `TypeError`.
        made: Hears of each node that was made without a fault, after its entry.

    Raises `ValueError` when `entries` is no list, has more than 25,000 entries, or has some and not
    one is good: such a list is broken, not empty.
    """
    if not isinstance(entries, list):
        raise ValueError(f"a list of nodes is wanted, not {type(entries).__name__}")
    if len(entries) > MOST_NODES:
        raise ValueError(f"a list of {len(entries)} nodes is too long, the most is {MOST_NODES}")
    bad, ignored = FirstOf(), FirstOf()
    nodes = _good_ones(entries, read, made, bad, ignored)
    if bad.count and not nodes:
        raise ValueError(f"none of {bad.count} nodes can be used, first: {bad.first}")
    told = [
        f"{some.count} {what}, first: {some.first}"
        for some, what in ((bad, "bad nodes left out"), (ignored, "odd fields ignored"))
        if some.count
    ]
    (faults or FaultLog()).report(where, "; ".join(told) or None)
    return nodes


def _good_ones(
    entries: list[object],
    read: Read | None,
    made: Made | None,
    bad: FirstOf,
    ignored: FirstOf,
) -> list[Node]:
    nodes: dict[str, Node] = {}
    for entry in entries:
        odd = ignored.count
        try:
            found = entry if read is None or isinstance(entry, Node) else read(entry)
            node = found if isinstance(found, Node) else node_from_json(found, ignored=ignored)
            if node.id in nodes:
                raise ValueError(f"id {node.id!r} is listed twice")
            nodes[node.id] = node
            if made is not None and node is not entry and ignored.count == odd:
                made(entry, node)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            bad.append(str(error)[:_LONGEST_FAULT])
    return list(nodes.values())


class FirstOf:
    """Faults of one kind: how many, and the first; a list may have nothing else in it."""

    def __init__(self) -> None:
        self.count: int = 0
        self.first: str = ""

    def append(self, fault: str) -> None:
        """Count one more."""
        self.first = self.first or fault
        self.count += 1


def node_from_json(entry: object, *, ignored: FirstOf | None = None) -> Node:
    """Read one JSON node; raise `ValueError` or `TypeError` without an address to call.

    A number as `id`, `zone`, `version` or value of `metadata` is taken as text, and a number as
    text where one is wanted as a number. What is ignored is told to `ignored`.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"a node must be an object, not {type(entry).__name__}")
    for name in ("host", "port"):
        if entry.get(name) is None:
            raise ValueError(f"{name} is missing")
    fields: dict[str, Any] = dict(_optional(entry, FirstOf() if ignored is None else ignored))
    return Node(entry["host"], entry["port"], **fields)


def _optional(entry: Mapping[str, object], ignored: FirstOf) -> Iterator[tuple[str, object]]:
    for name, read in _FIELDS.items():
        value = entry.get(name)
        if value is None:
            continue
        try:
            yield name, read(value)
        except (ValueError, TypeError, OverflowError) as error:
            ignored.append(f"{name} {error}")


def _name(value: object) -> str:
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"must be text, not {type(value).__name__}")
    text = str(value)
    if len(text) > _LONGEST_NAME or not text.isprintable():
        raise ValueError("must be printable text, at most 1024 characters")
    return text


def _generation(value: object) -> str | int:
    if isinstance(value, float):
        raise ValueError("must be text or a whole number")
    return value if isinstance(value, int) else _name(value)


def _amount(value: object) -> float:
    found = number(value)
    if found is None:
        raise ValueError(f"must be a finite number, 0 or more, not {_shown(value)}")
    return found


def _whole(value: object) -> int:
    found = _amount(value)
    if not found.is_integer():
        raise ValueError(f"must be a whole number, not {_shown(value)}")
    return int(found)


def _one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and value.lower() in words:
            return value.lower()
        raise ValueError(f"must be {' or '.join(words)}, not {_shown(value)}")

    return read


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object, not {type(value).__name__}")
    texts = {str(key): str(one) for key, one in value.items() if one is not None}
    # JSON can spell half a surrogate pair, which no log, header or file can hold.
    return {key: text for key, text in texts.items() if _is_unicode(key + text)}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    return repr(value)[:_LONGEST_FAULT]


_FIELDS: Final[Mapping[str, Callable[[object], object]]] = {
    "id": _name,
    "scheme": _one_of(_SCHEMES),
    "weight": _amount,
    "status": _one_of(_STATUSES),
    "zone": _name,
    "version": _name,
    "metadata": _metadata,
    "started_at": _amount,
    "generation": _generation,
    "priority": _whole,
}
