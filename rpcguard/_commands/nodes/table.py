"""The table of nodes on a terminal, as wide as there is room."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rpcguard._commands.nodes.rows import (
    STATES,
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
_WIDE, _WIDER, _WIDEST = 100, 132, 168  # room for load and rate, for events, for zone and version
_EVENTS = 6
"""Lines of events below the table, which leave room for the nodes of a small service."""
_OTHER_LINES = _EVENTS + 5
"""Besides: the head of the screen and of the table, what has no room, the gap above the events."""
_EVENT = 30
"""Characters of an event in the table; the lines below have it whole."""
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
    """A table that is drawn anew with each look; a context manager around the watch."""

    def __init__(
        self, console: Console | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._now = now
        self._recent = RecentChanges()
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._rows: Sequence[Row] | None = None

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, look: Look) -> None:
        """Draw all of it."""
        self._recent.see(look.rows, self._now())
        news = [] if self._rows is None else changes(self._rows, look.rows)
        self._events.extend(f"{clock()}  {name}  {told}" for name, told in news)
        self._rows = look.rows
        self._live.update(self.drawn(look), refresh=True)

    def drawn(self, look: Look) -> Group:
        """Lay out what the terminal has room for."""
        width, height = self._console.size
        room = max(height - _OTHER_LINES, 3)
        rows = look.rows if len(look.rows) <= room else _worst(look.rows, room)
        good = {row.id: self._recent.good(row.id) for row in rows}
        rates = {row.id: self._recent.rate(row.id) for row in rows}
        parts: list[Text | Table] = [_head(look), _table(rows, width, good, rates)]
        if len(rows) < len(look.rows):
            hidden = [row for row in look.rows if row not in rows]
            parts.append(_line(f"and {len(hidden)} more: {tally(hidden)}", "dim"))
        parts += [_line(event, "dim") for event in ("", *self._events) if self._events]
        return Group(*parts)


def _worst(rows: Sequence[Row], room: int) -> list[Row]:
    ranked = sorted(rows, key=lambda row: STATES.index(row.state) if row.state in STATES else 0)
    kept = {row.id for row in ranked[:room]}
    return [row for row in rows if row.id in kept]


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
    table.add_column("node", no_wrap=True, max_width=_names(width))
    table.add_column("state", no_wrap=True)
    table.add_column("why", no_wrap=True, ratio=1, min_width=6)
    table.add_column("left", justify="right", no_wrap=True)
    table.add_column("weight", no_wrap=True)
    for name in ("fly", *(("load", "per s") if width >= _WIDE else ()), "good", "p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    table.expand = any(row.reason for row in rows)
    if width >= _WIDER:
        table.add_column("last event", no_wrap=True, max_width=_EVENT + (width - _WIDER) // 2)
    about = [name for name in ("zone", "version") if any(getattr(row, name) for row in rows)]
    for name in about if width >= _WIDEST else ():
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, width, good[row.id], rates.get(row.id), about))
    return table


def _cells(
    row: Row, width: int, good: float | None, rate: float | None, about: list[str]
) -> list[Text]:
    cells = [
        Text(_tail(row.id, _names(width))),
        Text(row.state, _COLORS.get(row.state, "")),
        Text(row.reason, overflow="ellipsis"),
        Text(_left(row.until)),
        _weight(row, _BAR if width >= _WIDE else _SHORT_BAR),
        Text(str(row.in_flight), "" if row.in_flight else "dim"),
    ]
    if width >= _WIDE:
        cells += [Text(seconds(row.load)), Text("" if rate is None else f"{rate:.1f}")]
    style = "red" if good is not None and good < 0.99 else ""
    cells += [Text(percent(good), style), Text(seconds(row.p50)), Text(seconds(row.p99))]
    if width >= _WIDER:
        event = f"{_left(row.event_age)} ago: {row.event}" if row.event else ""
        cells.append(Text(event, "dim", overflow="ellipsis"))
    if width >= _WIDEST:
        cells += [Text(getattr(row, name), overflow="ellipsis") for name in about]
    return cells


def _weight(row: Row, bar: int) -> Text:
    if row.state != "warming" or not row.weight:
        return Text(f"{row.weight:g}")
    filled = round(row.effective_weight / row.weight * bar * 2)
    arrow = " → " if bar == _BAR else "→"
    text = Text(f"{row.weight:g}{arrow}{row.effective_weight:.2f} ")
    text.append("█" * (filled // 2) + "▌" * (filled % 2), "yellow")
    return text.append("░" * (bar - (filled + 1) // 2), "dim")


def _names(width: int) -> int:
    return max(20, width // 5)


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}" if minutes else f"{rest}s"


def _tail(text: str, width: int) -> str:
    # The end of an id is what tells it from the others.
    return text if len(text) <= width else f"…{text[1 - width :]}"
