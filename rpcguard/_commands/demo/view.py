"""How a run is shown: a live table on a terminal, one line per event elsewhere."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rpcguard._commands.demo.board import Board, RecentCalls, Totals
    from rpcguard._commands.demo.recording import Client, DemoEvent

_COLORS = {
    "available": "green",
    "warming": "yellow",
    "offline": "cyan",
    "ejected": "red",
    "draining": "magenta",
}

_WIDE = 128  # from here on there is room for the bars and for what happens to a node
_BAR, _LONGEST_BAR = 16, 64
"""Characters of a bar, so that a sixteenth of the traffic shows; more where there is room."""
_HIGH = 36
"""Lines from which on lost calls are drawn by second."""
_FEWEST_EVENTS = 6
"""Lines of events on a small terminal."""
_FATE = 27
"""Characters of what becomes of a node, the longest of the script's phrases."""
_OTHER_COLUMNS = 64
"""Characters that the other columns need."""


_NAMES = 20
"""Characters that the name of a client and the gaps beside it need."""
_NAMES_SHOWN: Final[dict[Client, str]] = {"httpx": "plain httpx"}
_STEPS: Final = "▁▂▃▄▅▆▇█"
"""From a few lost calls in a second to as many as there ever were."""


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
        width, height = self._live.console.size
        self._live.update(screen(board, now, width=width, height=height), refresh=True)


def clock_time(seconds: float) -> str:
    """Write seconds as 01:02.3."""
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"{int(minutes):02d}:{rest:04.1f}"


def screen(board: Board, now: float, *, width: int, height: int = 24) -> Group:
    """Lay out what a terminal of this size shows at one moment."""
    head = Text.assemble(("rpcguard demo", "bold"), f"   {clock_time(now)}\n")
    parts: list[Text | Table] = [head, _node_table(board, now, width), _totals(board)]
    lines = 3 + len(board.nodes) + 2 + len(board.totals) + 1
    if height >= _HIGH:
        parts.append(_lost_by_second(board, now, width))
        lines += 2 + len(board.totals)
    # The last line of a terminal is left free: a cursor stands there.
    return Group(*parts, _events(board, most=max(height - lines - 1, _FEWEST_EVENTS)))


def _node_table(board: Board, now: float, width: int) -> Table:
    wide = width >= _WIDE
    bar = min(_BAR + width - _WIDE, _LONGEST_BAR) if wide else 0
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    names = max(map(len, board.nodes))
    taken = names + _OTHER_COLUMNS + (bar + _FATE if wide else 0)
    table.add_column("node", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=10)
    reason = max(6, min(40, width - taken))
    table.add_column("reason", no_wrap=True, width=reason, overflow="ellipsis")
    table.add_column("weight", no_wrap=True, min_width=8)
    table.add_column("traffic", no_wrap=True, min_width=bar + 7 if wide else 7)
    for name in ("in flight", "p50 ms", "p99 ms", "failures"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column(" what happens to it", no_wrap=True, width=_FATE, style="dim")
    recent = board.recent(now)
    for name in board.nodes:
        row = _node_row(board, name, recent[name], bar=bar)
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
    for client, totals in board.totals.items():
        table.add_row(_name(client), *_total_row(totals))
    return table


def _lost_by_second(board: Board, now: float, width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("\n", no_wrap=True)
    table.add_column("\nlost calls, second by second", no_wrap=True)
    seconds = range(max(0, int(now) - (width - _NAMES)), int(now) + 1)
    worst = max((max(lost.values(), default=0) for lost in board.lost.values()), default=0)
    for client, lost in board.lost.items():
        table.add_row(_name(client), Text.assemble(*(_mark(lost[at], worst) for at in seconds)))
    return table


def _mark(lost: int, worst: int) -> tuple[str, str]:
    if not lost:
        return "·", "dim"
    return _STEPS[(len(_STEPS) * lost - 1) // worst], "red"


def _name(client: Client) -> Text:
    return Text(_NAMES_SHOWN.get(client, client), "bold" if client == "rpcguard" else "")


def _total_row(totals: Totals) -> list[Text | str]:
    failed = [_count(totals.failed, "red"), _count(totals.could_be_saved, "bold red")]
    return [f"{totals.calls:,}", f"{totals.retries:,}", _count(totals.saved, "green"), *failed]


def _events(board: Board, most: int) -> Text:
    events = list(board.events)[-most:]
    lines = [f"{clock_time(event.at)}  {event.node:<9} {event.text}" for event in events]
    return Text("\n" + "\n".join(lines), style="dim", no_wrap=True, overflow="ellipsis")


def _count(number: int, style: str) -> Text:
    return Text(f"{number:,}", style if number else "dim")


def _ms(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{seconds * 1000:.0f}"
