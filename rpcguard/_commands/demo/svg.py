"""The few SVG words that the picture is made of, and its colours for light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

STYLE = """
.picture { --page: #ffffff; --ink: #1c2430; --soft: #66707f; --line: #dde2ea; --band: #f4f6f9;
  --good: #13795b; --bad: #d0312d; --warm: #e9b949; --away: #46b1c9; --late: #d0312d;
  --draining: #a07cc5; --up: #8fc9a5; --down: #e6e9ef; --on-lane: #10202c;
  --n0: #2f6db3; --n1: #43a6a0; --n2: #7b6cc4; --n3: #8fb04a; --n4: #5b7fa6; --n5: #3fae7c;
  --n6: #a58bd6; --n7: #6fb7d8; }
@media (prefers-color-scheme: dark) {
  .picture { --page: #12161d; --ink: #e8ecf2; --soft: #98a3b3; --line: #2b333f; --band: #191f28;
    --good: #58d0a3; --bad: #ff6b60; --warm: #d9a52f; --away: #2f93ab; --late: #ff6b60;
    --draining: #8d68b5; --up: #3f8f68; --down: #262d38; --on-lane: #f3f6fa;
    --n0: #3d7fcb; --n1: #2f8f8a; --n2: #7a6bcb; --n3: #7d9c3b; --n4: #587396; --n5: #2f8f67;
    --n6: #8d74c2; --n7: #4d93b5; } }
.picture text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "DejaVu Sans", sans-serif; fill: var(--ink); font-size: 12px; }
.picture .soft { fill: var(--soft); }
.picture .small { font-size: 11px; }
.picture .title { font-size: 19px; font-weight: 650; }
.picture .big { font-size: 30px; font-weight: 700; }
.picture .good { fill: var(--good); }
.picture .bad { fill: var(--bad); }
.picture .on { fill: var(--on-lane); font-size: 10.5px; }
.picture .middle { text-anchor: middle; }
.picture .end { text-anchor: end; }
.picture .grid { stroke: var(--line); stroke-width: 1; }
.picture .page { fill: var(--page); }
.picture .band { fill: var(--band); }
.picture .area { stroke: var(--page); stroke-width: 0.8; stroke-linejoin: round; }
.picture .failed { fill: var(--bad); }
.picture .mark { stroke: var(--bad); stroke-width: 1.4; stroke-opacity: 0.75; }
.picture .unsafe { fill: var(--page); stroke: var(--bad); stroke-width: 1.6; }
.picture .saved { stroke: var(--good); stroke-width: 1.6; }
.picture .stale { stroke: var(--late); stroke-width: 2; stroke-dasharray: 3 2; }
.picture .event { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
"""

COLORS = 8
"""As many as can be told apart side by side; more nodes repeat them."""


def text(x: float, y: float, words: str, *, look: str = "") -> str:
    """Write words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{look}">{escape(words)}</text>'


def rect(
    x: float, y: float, width: float, height: float, *, fill: str, look: str = "", tip: str = ""
) -> str:
    """Draw a rectangle, with words that show when the pointer is over it."""
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}" '
        f'rx="2" class="{look}" style="fill:{fill}">{title}</rect>'
    )


def line(x1: float, y1: float, x2: float, y2: float, *, look: str) -> str:
    """Draw a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{look}"/>'


def diamond(x: float, y: float, size: float, *, look: str, tip: str = "") -> str:
    """Draw a small diamond around a place."""
    corners = [(x, y - size), (x + size, y), (x, y + size), (x - size, y)]
    return polygon(corners, look=look, tip=tip)


def polygon(
    corners: Iterable[tuple[float, float]], *, look: str, fill: str = "", tip: str = ""
) -> str:
    """Draw a filled outline."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    title = f"<title>{escape(tip)}</title>" if tip else ""
    style = f' style="fill:{fill}"' if fill else ""
    return f'<polygon points="{points}" class="{look}"{style}>{title}</polygon>'
