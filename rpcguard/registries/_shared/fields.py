"""What registries write about a node in places and forms of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

_STARTED_AT: Final = (
    ("started_at", 1.0),
    ("timestamp", 1e-3),  # Dubbo
    ("sermant.grace.warmup.inject.time", 1e-3),
)


def part(entry: object, name: str) -> Mapping[str, object]:
    """Give an object within an object, empty where it is missing; else raise `ValueError`."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"an object is wanted, not {type(entry).__name__}")
    value = entry.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be an object, not {type(value).__name__}")
    return value


def number(value: object) -> float | None:
    """Read a number of 0 or more, written as such or as text; None for whatever is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found < math.inf else None


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
    return "https" if str(metadata.get("secure", "")).lower() == "true" else None
