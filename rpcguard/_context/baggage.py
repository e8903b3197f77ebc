"""The `baggage` header of W3C: one member read, set or taken out of it, the others left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import MutableMapping

HEADER = "baggage"


def member(header: str, key: str) -> str | None:
    """Give the value of a member, decoded; None where there is none."""
    for part in header.split(","):
        name, equals, value = part.partition(";")[0].partition("=")
        if equals and name.strip() == key:
            return unquote(value.strip())
    return None


def with_member(header: str, key: str, value: str | None) -> str:
    """Give the header with a member set to `value`, or without it for None."""
    kept = [part for part in header.split(",") if part.strip() and _name(part) != key]
    if value is not None:
        kept.append(f"{key}={quote(value, safe='')}")
    # Space may follow a comma, and may not begin a header.
    return ",".join(kept).strip(" \t")


def set_member(headers: MutableMapping[str, str], key: str, value: str | None) -> None:
    """Set a member in the headers of a request, or for None take it out."""
    given = headers.get(HEADER)
    if given is None and value is None:
        return
    header = with_member(given or "", key, value)
    if header:
        headers[HEADER] = header
    else:
        del headers[HEADER]


def _name(part: str) -> str:
    return part.partition(";")[0].partition("=")[0].strip()
