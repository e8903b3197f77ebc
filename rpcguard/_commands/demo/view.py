"""How a run is shown: a live table on a terminal, one line per event elsewhere."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Protocol

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rpcguard._commands.demo.board import Board, RecentCalls, Totals
    from rpcguard._commands.demo.recording import DemoEvent

_COLORS = {
    "available": "green",
    "warming": "yellow",
    "offline": "cyan",
    "ejected": "red",
    "draining": "magenta",
}

_WIDE = 128  # from here on there is room for the bars and for what happens to a node
_BAR = 16
"""Characters of a bar, so that a sixteenth of the traffic shows."""
_FATE = 27
"""Characters of what becomes of a node, the longest of the script's phrases."""
_OTHER_COLUMNS = 64
"""Characters that the other columns need."""


class View(Protocol):
    """What shows a run while it goes on; a context manager around the run."""

    def __enter__(self) -> View: ...

    def __exit__(self, *exception: object) -> None: ...

    def event(self, event: DemoEvent) -> None:
        """Show an event at once."""
        ...

    def draw(self, board: Board, now: float) -> None:
        """Show the figures as they are now."""
        ...


class PlainView:
    """A view of one line per event, with the seconds since the start."""

    def __enter__(self) -> View:
        return self

    def __exit__(self, *exception: object) -> None:
        sys.stdout.flush()

    def event(self, event: DemoEvent) -> None:
        """Print the event."""
        print(f"{clock_time(event.at)}  {event.node:<9} {event.text}", flush=True)

    def draw(self, board: Board, now: float) -> None:
        """Print nothing: the figures come at the end."""


class LiveView:
    """A view whose table is drawn anew some times per second."""

    def __init__(self) -> None:
        self._live = Live(auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> View:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def event(self, event: DemoEvent) -> None:
        """Leave it to the next drawing."""

    def draw(self, board: Board, now: float) -> None:
        """Draw all of it."""
        self._live.update(screen(board, now, width=self._live.console.width), refresh=True)


def clock_time(seconds: float) -> str:
    """Write seconds as 01:02.3."""
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"{int(minutes):02d}:{rest:04.1f}"


def screen(board: Board, now: float, *, width: int) -> Group:
    """Lay out what a terminal of this width shows at one moment."""
    head = Text.assemble(("rpcguard demo", "bold"), f"   {clock_time(now)}\n")
    return Group(head, _node_table(board, now, width), _totals(board), _events(board))


def _node_table(board: Board, now: float, width: int) -> Table:
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    names = max(map(len, board.nodes))
    taken = names + _OTHER_COLUMNS + (_BAR + _FATE if wide else 0)
    table.add_column("node", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=10)
    reason = max(6, min(40, width - taken))
    table.add_column("reason", no_wrap=True, width=reason, overflow="ellipsis")
    table.add_column("weight", no_wrap=True, min_width=8)
    table.add_column("traffic", no_wrap=True, min_width=_BAR + 7 if wide else 7)
    for name in ("in flight", "p50 ms", "p99 ms", "failures"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column(" what happens to it", no_wrap=True, width=_FATE, style="dim")
    recent = board.recent(now)
    for name in board.nodes:
        row = _node_row(board, name, recent[name], bar=_BAR if wide else 0)
        table.add_row(*row, *([f" {board.last_action[name]}"] if wide else []))
    return table


def _node_row(board: Board, name: str, recent: RecentCalls, *, bar: int) -> list[Text | str]:
    view = board.views.get(name)
    traffic = Text("█" * round(recent.share * bar), "blue")
    traffic.append(f"{' ' if bar else ''}{recent.share:.0%}", "default")
    ending: list[Text | str] = [_ms(recent.p50), _ms(recent.p99)]
    ending.append(_count(board.failures[name], "red"))
    if view is None:
        return [name, Text("not listed", "dim"), "", "", traffic, "", *ending]
    weight = f"{view.weight:.2g}"
    if view.effective_weight != view.weight:
        weight += f" → {view.effective_weight:.2f}"
    state = Text(view.state, _COLORS[view.state])
    return [name, state, view.reason or "", weight, traffic, str(view.in_flight), *ending]


def _totals(board: Board) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("\n")
    for name in ("calls", "retries", "saved calls", "failed calls", "could be saved"):
        table.add_column(f"\n{name}", justify="right")
    table.add_row(Text("rpcguard", "bold"), *_total_row(board.totals["rpcguard"]))
    table.add_row("plain httpx", *_total_row(board.totals["httpx"]))
    return table


def _total_row(totals: Totals) -> list[Text | str]:
    failed = [_count(totals.failed, "red"), _count(totals.could_be_saved, "bold red")]
    return [f"{totals.calls:,}", f"{totals.retries:,}", _count(totals.saved, "green"), *failed]


def _events(board: Board) -> Text:
    lines = [f"{clock_time(event.at)}  {event.node:<9} {event.text}" for event in board.events]
    return Text("\n" + "\n".join(lines), style="dim", no_wrap=True, overflow="ellipsis")


def _count(number: int, style: str) -> Text:
    return Text(f"{number:,}", style if number else "dim")


def _ms(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{seconds * 1000:.0f}"
