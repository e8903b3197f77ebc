"""The picture of a run: one self-contained SVG, alone or in a page with the figures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from rpcguard._commands.demo import lanes, svg
from rpcguard._commands.demo.summary import counted, figures, rows, verdict
from rpcguard._commands.demo.traffic import HEIGHT, Span, traffic_panel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rpcguard._commands.demo.recording import Recording

_WIDTH = 1280.0
"""Pixels: a report fits a laptop screen without scrolling sideways."""
_EDGE = 24.0
"""Pixels left free around the picture."""
_GUTTER = 62.0
"""Pixels for the names of the nodes, left of their lanes."""
_GAP = 28.0
"""Pixels between two panels."""
_NUMBERS = {2: "two", 3: "three"}
"""As a sentence has them: with httpx-retries, or without it."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>rpcguard demo: {headline}</title>
<style>
:root {{ color-scheme: light dark; --page: #ffffff; --ink: #1c2430; --soft: #66707f;
  --line: #dde2ea; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #12161d; --ink: #e8ecf2; --soft: #98a3b3; --line: #2b333f; }} }}
body {{ margin: 0 auto; max-width: 1320px; padding: 28px 20px 40px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "DejaVu Sans", sans-serif; }}
h1 {{ margin: 0 24px 2px; font-size: 26px; }}
p {{ margin: 0 24px 18px; color: var(--soft); max-width: 62em; }}
svg {{ width: 100%; height: auto; display: block; }}
table {{ margin: 22px 24px 0; border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 5px 0 5px 44px; text-align: right; border-bottom: 1px solid var(--line); }}
th:first-child, td:first-child {{ padding-left: 0; text-align: left; white-space: pre; }}
</style>
</head>
<body>
<h1>{headline}</h1>
<p>{story}</p>
{picture}
<table>
{table}
</table>
</body>
</html>
"""


_STORY = (
    "Every provider in turn leaves, stops and comes back cold; then one is killed, one freezes and "
    "one answers 500."
)


def write_report(recording: Recording, path: Path) -> None:
    """Write the picture of a run: the bare SVG for a name that ends in .svg, a page for others."""
    content = picture(recording) if path.suffix.lower() == ".svg" else page(recording)
    path.write_text(content, encoding="utf-8")


def page(recording: Recording) -> str:
    """Make the HTML page of a run; it loads nothing."""
    callers = f"{_NUMBERS[len(recording.clients)]} clients at the same time"
    story = (
        f"{len(recording.nodes)} real providers, {recording.rate:g} calls per second from each of "
        f"{callers}, {recording.seconds:.0f} seconds. "
        f"{recording.story or _STORY} {verdict(recording)}"
    )
    head, *body = rows(recording)
    table = "\n".join([_row(head, "th"), *(_row(cells, "td") for cells in body)])
    return _PAGE.format(
        headline=_headline(recording),
        story=escape(story),
        picture=picture(recording),
        table=table,
    )


def _headline(recording: Recording) -> str:
    failed = {client: figures(recording, client).failed for client in recording.clients}
    between = "".join(
        f", {failed[client]:,} with {client}" for client in recording.clients[1:-1][::-1]
    )
    ours = counted(failed["rpcguard"], "failed call")
    return f"{ours} with rpcguard{between}, {failed['httpx']:,} without"


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _side_by_side(count: int, seconds: float) -> list[Span]:
    width = (_WIDTH - 2 * _EDGE - (count - 1) * _GAP) / count - _GUTTER
    lefts = (_EDGE + _GUTTER + number * (width + _GAP + _GUTTER) for number in range(count))
    return [Span(left, width, seconds) for left in lefts]


def picture(recording: Recording) -> str:
    """Make the SVG of a run: the clients side by side, and under them the nodes."""
    seconds = max(recording.seconds, 1.0)
    panels = zip(recording.clients, _side_by_side(len(recording.clients), seconds), strict=True)
    left, right = _side_by_side(2, seconds)
    legend_y = _EDGE + HEIGHT + 20
    lanes_y = legend_y + 34 + 34
    height = lanes_y + lanes.height(len(recording.nodes)) + 10 + _EDGE
    upper = [traffic_panel(recording, client, span) for client, span in panels]
    lower = lanes.fate_lanes(recording, left), lanes.state_lanes(recording, right)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" role="img" '
            f'viewBox="0 0 {_WIDTH:.0f} {height:.0f}" aria-label="{escape(verdict(recording))}">',
            f"<style>{svg.STYLE}</style>",
            f'<rect width="{_WIDTH:.0f}" height="{height:.0f}" class="page"/>',
            f'<g transform="translate(0 {_EDGE:.0f})">{"".join(upper)}</g>',
            f'<g transform="translate(0 {legend_y:.0f})">',
            f"{lanes.legend(recording.nodes, left.left)}</g>",
            f'<g transform="translate(0 {lanes_y:.0f})">{"".join(lower)}</g>',
            "</svg>",
        ]
    )
