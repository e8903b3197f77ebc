"""How a list is shown: JSON, plain text, or a table on a terminal."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from rpcguard._commands.nodes.rows import changes, clock, trouble
from rpcguard._text import percent, seconds

if TYPE_CHECKING:
    from rpcguard._commands.nodes.keys import Wish
    from rpcguard._commands.nodes.rows import Row
    from rpcguard._commands.nodes.sources import Look

_HEADS = (
    "NODE",
    "ADDRESS",
    "STATE",
    "REASON",
    "WEIGHT",
    "IN-FLIGHT",
    "LOAD",
    "GOOD",
    "P50",
    "P99",
    "ZONE",
    "VERSION",
    "LAST-EVENT",
)


class Screen(Protocol):
    """What shows one look after the other."""

    def show(self, look: Look) -> None:
        """Show a look, or what it has of news."""
        ...


class WatchScreen(Screen, Protocol):
    """A screen before which somebody may sit."""

    def note(self, text: str) -> None:
        """Show a line that is about no node."""
        ...

    async def wait(self, seconds: float) -> Wish | None:
        """Wait until the next look is due, or somebody wishes something else."""
        ...


def screen(*, as_json: bool) -> Screen:
    """Choose how to show a list once: a table on a terminal, where rich is installed."""
    if as_json:
        return JsonLines()
    if not _draws():
        return PlainLines()
    from rpcguard._commands.nodes.table import OneTable

    return OneTable()


def watch_screen(*, as_json: bool) -> AbstractContextManager[WatchScreen]:
    """Choose how to show a list that moves, likewise."""
    if as_json:
        return nullcontext(JsonLines())
    if not _draws():
        return nullcontext(PlainLines())
    from rpcguard._commands.nodes.table import LiveTable

    return LiveTable()


def _draws() -> bool:
    return sys.stdout.isatty() and importlib.util.find_spec("rich") is not None


class JsonLines:
    """A screen of JSON lines: the list, and the list again when it has changed."""

    def __init__(self) -> None:
        self._last: object = None
        self._trouble: str | None = None

    def show(self, look: Look) -> None:
        """Print a line where there is news; trouble goes to standard error."""
        # Ramps, counts and remaining times move all the time; they are no change of the list.
        essence = [(v["node"], v["state"], v["reason"], v["weight"]) for v in look.views]
        if essence != self._last:
            self._last = essence
            print(json.dumps(look.views), flush=True)
        if look.trouble != self._trouble:
            self._trouble = look.trouble
            self.note(trouble(look.trouble))

    def note(self, text: str) -> None:
        """Print it to standard error, which is for people."""
        print(f"rpcguard: {text}", file=sys.stderr, flush=True)

    async def wait(self, seconds: float) -> Wish | None:
        """Wait; nobody presses keys."""
        await asyncio.sleep(seconds)
        return None


class PlainLines:
    """A screen of plain lines: the list once, then a line for each change."""

    def __init__(self) -> None:
        self._last: Look | None = None

    def show(self, look: Look) -> None:
        """Print what is new."""
        last, self._last = self._last, look
        if last is None:
            print_aligned([_HEADS, *map(_cells, look.rows)])
            last_trouble = None
        else:
            last_trouble = last.trouble
            for name, news in changes(last.rows, look.rows):
                print(f"{clock()}  {name}  {news}")
        if look.trouble != last_trouble:
            self.note(trouble(look.trouble))
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print it with the time of day."""
        print(f"{clock()}  {text}", flush=True)

    async def wait(self, seconds: float) -> Wish | None:
        """Wait; nobody presses keys."""
        await asyncio.sleep(seconds)
        return None


def print_aligned(lines: list[tuple[str, ...]]) -> None:
    """Print lines with their columns under each other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def _cells(row: Row) -> tuple[str, ...]:
    left = f" ({row.until:.0f} s left)" if row.until is not None else ""
    weight = f"{row.weight:g}"
    if row.effective_weight != row.weight:
        weight += f" -> {row.effective_weight:.2f}"
    event = f"{row.event}, {row.event_age or 0:.0f} s ago" if row.event else ""
    cells = (
        row.id,
        row.address,
        row.state,
        row.reason + left,
        weight,
        str(row.in_flight),
        seconds(row.load),
        percent(row.good),
        seconds(row.p50),
        seconds(row.p99),
        row.zone,
        row.version,
        event,
    )
    return tuple(cell.strip() or "-" for cell in cells)
