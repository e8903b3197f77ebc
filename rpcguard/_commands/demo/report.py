"""The picture of a run: one self-contained SVG, alone or in a page with the figures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from rpcguard._commands.demo import lanes, svg
from rpcguard._commands.demo.summary import counted, figures, rows, verdict
from rpcguard._commands.demo.traffic import HEIGHT, Span, traffic_panel

if TYPE_CHECKING:
    from pathlib import Path

    from rpcguard._commands.demo.recording import Recording

_WIDTH = 1280.0
"""Pixels: a report fits a laptop screen without scrolling sideways."""
_EDGE = 24.0
"""Pixels left free around the picture."""
_GUTTER = 62.0
"""Pixels for the names of the nodes, left of their lanes."""
_GAP = 28.0
"""Pixels between the two panels."""

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
<tr><th></th><th>rpcguard</th><th>plain httpx, round robin</th></tr>
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
    ours, plain = figures(recording, "rpcguard"), figures(recording, "httpx")
    story = (
        f"{len(recording.nodes)} real providers, {recording.rate:g} calls per second from each of "
        f"two clients at the same time, {recording.seconds:.0f} seconds. "
        f"{recording.story or _STORY} {verdict(recording)}"
    )
    table = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows(recording)
    )
    return _PAGE.format(
        headline=f"{counted(ours.failed, 'failed call')} with rpcguard, {plain.failed:,} without",
        story=escape(story),
        picture=picture(recording),
        table=table,
    )


def picture(recording: Recording) -> str:
    """Make the SVG of a run: both clients side by side, and under them the nodes."""
    seconds = max(recording.seconds, 1.0)
    width = (_WIDTH - 2 * _EDGE - _GAP) / 2 - _GUTTER
    left = Span(_EDGE + _GUTTER, width, seconds)
    right = Span(left.left + width + _GAP + _GUTTER, width, seconds)
    legend_y = _EDGE + HEIGHT + 20
    lanes_y = legend_y + 34 + 34
    height = lanes_y + lanes.height(len(recording.nodes)) + 10 + _EDGE
    upper = traffic_panel(recording, "httpx", left), traffic_panel(recording, "rpcguard", right)
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
