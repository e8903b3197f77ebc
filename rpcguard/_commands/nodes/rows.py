"""What is shown of each node, and what has changed since the last look."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpcguard._text import address_of

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 30.0
"""Seconds over which a watch counts calls."""

STATES = ("ejected", "offline", "draining", "warming", "available")
"""Those that want attention first."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown of one node; times in seconds."""

    id: str
    address: str
    state: str
    reason: str
    until: float | None
    weight: float
    effective_weight: float
    in_flight: int
    load: float | None
    successes: int
    failures: int
    p50: float | None
    p99: float | None
    event: str
    event_age: float | None
    zone: str
    version: str

    @classmethod
    def of(cls, view: dict[str, Any]) -> Row:
        """Read a view as `NodeView.as_dict` gives it.

        What a program with an older rpcguard does not tell is left open, so is a load that nobody
        has measured yet, and what would draw on a terminal is a question mark. Raises `KeyError`
        or `TypeError` for what is no view.
        """
        node = view["node"]
        return cls(
            id=printable(node["id"]),
            address=printable(address_of(node["host"], node["port"], node.get("uds"))),
            state=printable(view["state"]),
            reason=printable(view["reason"]),
            until=view["until"],
            weight=view["weight"],
            effective_weight=view["effective_weight"],
            in_flight=view["in_flight"],
            load=view["load"] if view["successes"] or view["failures"] else None,
            successes=view["successes"],
            failures=view["failures"],
            p50=view.get("p50"),
            p99=view.get("p99"),
            event=printable(view.get("event")),
            event_age=view.get("event_age"),
            zone=printable(node.get("zone")),
            version=printable(node.get("version")),
        )

    @property
    def good(self) -> float | None:
        """Give the share of all its calls that were good, None without calls."""
        calls = self.successes + self.failures
        return self.successes / calls if calls else None


class RecentChanges:
    """The calls to each node within the last seconds of a watch."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, deque[tuple[float, int, int]]] = defaultdict(deque)

    def see(self, rows: Sequence[Row], now: float) -> None:
        """Take in a look."""
        for name in self._seen.keys() - {row.id for row in rows}:
            del self._seen[name]
        for row in rows:
            seen = self._seen[row.id]
            if seen and (row.successes < seen[-1][1] or row.failures < seen[-1][2]):
                seen.clear()  # it registered anew, or the program started again
            seen.append((now, row.successes, row.failures))
            while seen[0][0] < now - WINDOW:
                seen.popleft()

    def rate(self, name: str) -> float | None:
        """Give a node's calls per second, None with nothing to compare."""
        seen = self._seen[name]
        if len(seen) < 2:
            return None
        (start, *first), (end, *last) = seen[0], seen[-1]
        return (sum(last) - sum(first)) / (end - start)

    def good(self, name: str) -> float | None:
        """Give the share of a node's calls that were good, None without calls."""
        seen = self._seen[name]
        if not seen:
            return None
        (_, good, bad), (_, more_good, more_bad) = seen[0], seen[-1]
        calls = more_good - good + more_bad - bad
        return (more_good - good) / calls if calls else None


def changes(before: Sequence[Row], after: Sequence[Row]) -> list[tuple[str, str]]:
    """Tell what has changed between two looks: pairs of a node and what became of it."""
    known = {row.id: row for row in before}
    listed = {row.id for row in after}
    told = [(name, "left the list") for name in known if name not in listed]
    for row in after:
        old = known.get(row.id)
        if old is None:
            told.append((row.id, f"joined the list: {standing(row)}"))
        elif (old.state, old.reason) != (row.state, row.reason):
            told.append((row.id, f"{old.state} -> {standing(row)}"))
        elif old.event != row.event:
            told.append((row.id, row.event))
        if old is not None and old.address != row.address:
            told.append((row.id, f"address {old.address} -> {row.address}"))
        if old is not None and old.weight != row.weight:
            told.append((row.id, f"weight {old.weight:g} -> {row.weight:g}"))
    return told


def standing(row: Row) -> str:
    """Tell the state of a node, why, and for how long."""
    reason = f": {row.reason}" if row.reason else ""
    left = f" ({row.until:.0f} s left)" if row.until is not None else ""
    return f"{row.state}{reason}{left}"


def printable(text: str | None) -> str:
    """Put a question mark for each character that is not to be seen."""
    return "".join(char if char.isprintable() else "?" for char in text or "")


def tally(rows: Sequence[Row]) -> str:
    """Count nodes by state, in words."""
    count = Counter(row.state for row in rows)
    return ", ".join(f"{count[state]} {state}" for state in reversed(STATES) if count[state])


def clock() -> str:
    """Give the time of day."""
    return time.strftime("%H:%M:%S")


def trouble(fault: str | None) -> str:
    """Tell what is wrong with the source of a list, in one line."""
    if fault is None:
        return "the list is kept up to date again"
    return f"the list is not kept up to date: {printable(' '.join(fault.split()))}"
