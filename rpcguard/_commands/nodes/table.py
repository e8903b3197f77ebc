"""The table of nodes on a terminal, as wide as there is room."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rpcguard._commands.nodes.columns import (
    ORDERS,
    WIDE,
    Column,
    Order,
    columns,
    in_order,
    longest_name,
    worst,
)
from rpcguard._commands.nodes.keys import NEXT, QUIT, SORT, Keys, Wish
from rpcguard._commands.nodes.rows import (
    RecentChanges,
    changes,
    clock,
    printable,
    tally,
    trouble,
)
from rpcguard._text import percent, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from rpcguard._commands.nodes.rows import Row
    from rpcguard._commands.nodes.sources import Look

_COLORS = {
    "available": "green",
    "warming": "yellow",
    "ejected": "red",
    "offline": "cyan",
    "draining": "magenta",
}
_EVENTS = 6
"""Lines of events below the table, which leave room for the nodes of a small service."""
_OTHER_LINES = _EVENTS + 5
"""Besides: the head of the screen and of the table, what has no room, the gap above the events."""
_EVENT, _EVENT_FROM = 30, 132
"""Characters of an event in the table, on a terminal of so many; the lines below have it whole."""
_BAR, _SHORT_BAR = 10, 4
"""Characters of a ramp bar, with room and without."""


class OneTable:
    """A screen of one table, printed once."""

    def show(self, look: Look) -> None:
        """Print it; the share of good calls is that of all calls."""
        console = Console()
        good = {row.id: row.good for row in look.rows}
        console.print(_table(look.rows, console.width, good, {}))


class LiveTable:
    """A table that is drawn anew with each look; a context manager around the watch.

    Its keys sort it, go on to the next service, and end the watch.
    """

    def __init__(
        self,
        console: Console | None = None,
        now: Callable[[], float] = time.monotonic,
        keys: Keys | None = None,
    ) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._now = now
        self._keys = keys or Keys()
        self._order: Order = ORDERS[0]
        self._recent = RecentChanges()
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._last: Look | None = None

    def __enter__(self) -> LiveTable:
        self._keys.__enter__()
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()
        self._keys.__exit__(kind, error, traceback)

    def show(self, look: Look) -> None:
        """Draw all of it."""
        last, self._last = self._last, look
        if last is None or last.service != look.service:
            self._recent = RecentChanges()
            self._events.clear()
        else:
            news = changes(last.rows, look.rows)
            self._events.extend(f"{clock()}  {name}  {told}" for name, told in news)
        self._recent.see(look.rows, self._now())
        self._draw(look)

    def note(self, text: str) -> None:
        """Put it below the table, with the time of day."""
        self._events.append(f"{clock()}  {printable(text)}")

    async def wait(self, seconds: float) -> Wish | None:
        """Wait until the next look is due, or a key asks for something; one sorts at once."""
        key = await self._keys.pressed(seconds)
        if key == SORT:
            self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
            if self._last is not None:
                self._draw(self._last)
        wishes: dict[str, Wish] = {NEXT: "next", QUIT: "quit"}
        return wishes.get(key)

    def _draw(self, look: Look) -> None:
        self._live.update(self.drawn(look), refresh=True)

    def drawn(self, look: Look) -> Group:
        """Lay out what the terminal has room for."""
        width, height = self._console.size
        room = max(height - _OTHER_LINES - self._keys.are_there, 3)
        fits = len(look.rows) <= room
        rows = in_order(look.rows, self._order) if fits else worst(look.rows, room, self._order)
        good = {row.id: self._recent.good(row.id) for row in rows}
        rates = {row.id: self._recent.rate(row.id) for row in rows}
        parts: list[Text | Table] = [_head(look), _table(rows, width, good, rates)]
        if not fits:
            hidden = [row for row in look.rows if row not in rows]
            parts.append(_line(f"and {len(hidden)} more: {tally(hidden)}", "dim"))
        parts += [_line(event, "dim") for event in ("", *self._events) if self._events]
        if self._keys.are_there:
            told = f"{SORT} sort: {self._order}  {NEXT} next service  {QUIT} quit"
            parts.append(_line(told, "dim"))
        return Group(*parts)


def _head(look: Look) -> Text:
    count = f"{len(look.rows)} node{'' if len(look.rows) == 1 else 's'}"
    head = Text.assemble((look.service, "bold"), f"  {count}: {tally(look.rows)}  ")
    head.append(printable(look.registry), "dim")
    if look.trouble is not None:
        head.append(f"\n{trouble(look.trouble)}", "red")
    head.no_wrap, head.overflow = True, "ellipsis"
    return head


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _table(
    rows: Sequence[Row],
    width: int,
    good: dict[str, float | None],
    rates: dict[str, float | None],
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    shown = columns(width, rows)
    for column in shown:
        _add(table, column, width)
    table.expand = "why" in shown and any(row.reason for row in rows)
    for row in rows:
        cells = _cells(row, width, good[row.id], rates.get(row.id))
        table.add_row(*(cells[column] for column in shown))
    return table


def _add(table: Table, column: Column, width: int) -> None:
    match column:
        case "node":
            table.add_column(column, no_wrap=True, max_width=longest_name(width))
        case "why":
            table.add_column(column, no_wrap=True, ratio=1, min_width=6)
        case "last event":
            most = _EVENT + (width - _EVENT_FROM) // 2
            table.add_column(column, no_wrap=True, max_width=most)
        case "state" | "weight" | "zone" | "version":
            table.add_column(column, no_wrap=True)
        case _:
            table.add_column(column, justify="right", no_wrap=True)


def _cells(row: Row, width: int, good: float | None, rate: float | None) -> dict[Column, Text]:
    event = f"{_left(row.event_age)} ago: {row.event}" if row.event else ""
    return {
        "node": Text(_tail(row.id, longest_name(width))),
        "state": Text(row.state, _COLORS.get(row.state, "")),
        "why": Text(row.reason, overflow="ellipsis"),
        "left": Text(_left(row.until)),
        "weight": _weight(row, _BAR if width >= WIDE else _SHORT_BAR),
        "fly": Text(str(row.in_flight), "" if row.in_flight else "dim"),
        "load": Text(seconds(row.load)),
        "per s": Text("" if rate is None else f"{rate:.1f}"),
        "good": Text(percent(good), "red" if good is not None and good < 0.99 else ""),
        "p50": Text(seconds(row.p50)),
        "p99": Text(seconds(row.p99)),
        "last event": Text(event, "dim", overflow="ellipsis"),
        "zone": Text(row.zone, overflow="ellipsis"),
        "version": Text(row.version, overflow="ellipsis"),
    }


def _weight(row: Row, bar: int) -> Text:
    if row.state != "warming" or not row.weight:
        return Text(f"{row.weight:g}")
    filled = round(row.effective_weight / row.weight * bar * 2)
    arrow = " → " if bar == _BAR else "→"
    text = Text(f"{row.weight:g}{arrow}{row.effective_weight:.2f} ")
    text.append("█" * (filled // 2) + "▌" * (filled % 2), "yellow")
    return text.append("░" * (bar - (filled + 1) // 2), "dim")


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}" if minutes else f"{rest}s"


def _tail(text: str, width: int) -> str:
    # The end of an id is what tells it from the others.
    return text if len(text) <= width else f"…{text[1 - width :]}"
