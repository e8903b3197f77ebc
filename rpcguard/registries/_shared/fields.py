"""What registries write about a node in places and forms of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

_STARTED_AT: Final = (
    ("started_at", 1.0),
    ("timestamp", 1e-3),
    ("sermant.grace.warmup.inject.time", 1e-3),
)
"""Keys of metadata that tell when a node has started, and their unit in seconds: rpcguard's own,
then Dubbo's and Sermant's, which Java's clock gives in milliseconds."""


Fields = Mapping[str, object]
"""The fields of a node by our names, of which those of another shape are ignored later on."""


def part(entry: object, name: str) -> Mapping[str, object]:
    """Give an object within an object, empty where it is missing or something else.

    Raises `ValueError` where `entry` itself is no object.
    """
    value = mapping(entry).get(name)
    return value if isinstance(value, Mapping) else {}


def mapping(entry: object) -> Mapping[str, object]:
    """Give a JSON object as it is; raise `ValueError` for anything else."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"an object is wanted, not {type(entry).__name__}")
    return entry


def listed(entry: Mapping[str, object], name: str) -> list[object]:
    """Give a list that makes up an answer, empty for null; raise `ValueError` for anything else."""
    value = entry.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, not {type(value).__name__}")
    return value


def objects(entry: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """Give the objects of a list that says more; whatever else there is counts for nothing."""
    value = entry.get(name)
    some = value if isinstance(value, list) else []
    return [one for one in some if isinstance(one, Mapping)]


def number(value: object) -> float | None:
    """Read a number of 0 or more, written as such or as text; None for whatever is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found < math.inf else None


def flag(value: object) -> bool | None:
    """Read true or false, written as such or as text; None for whatever is neither."""
    return {"true": True, "false": False}.get(str(value).lower())


def started_at(metadata: Mapping[str, object]) -> float | None:
    """Find the epoch seconds of a start in metadata.

    `started_at` has seconds; Dubbo's `timestamp` and Sermant's `sermant.grace.warmup.inject.time`
    have milliseconds. The first that is a number counts.
    """
    for name, unit in _STARTED_AT:
        found = number(metadata.get(name))
        if found:
            return found * unit
    return None


def scheme(metadata: Mapping[str, object]) -> str | None:
    """Find the scheme in metadata: `scheme` itself, or https where `secure` is `true`."""
    named = str(metadata.get("scheme", "")).lower()
    if named in ("http", "https"):
        return named
    return "https" if flag(metadata.get("secure")) else None
