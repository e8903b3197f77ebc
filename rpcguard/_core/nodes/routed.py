"""Which nodes an attempt was meant for, and which it got."""

from __future__ import annotations

from typing import NamedTuple


class Routed(NamedTuple):
    """What lanes and routes made of an attempt."""

    route: str | None
    """The name of the route that took the call."""

    lane: str | None
    """The mark that goes out with it."""

    group: str
    """The nodes it went to: the name of a route or lane, `base`, or `any`."""

    fallback: str | None
    """`base` or `any` where it was meant for other nodes."""

    declined: tuple[str, ...] = ()
    """The routes whose share did not take the call."""

    first: bool = True
    """False for an attempt after the first."""
