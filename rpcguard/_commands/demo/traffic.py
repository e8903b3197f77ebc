"""The upper half of the picture: one client's calls per node over time, failed calls on top."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpcguard._commands.demo import svg
from rpcguard._commands.demo.recording import TITLES
from rpcguard._commands.demo.summary import counted, figures, is_saved, milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rpcguard._commands.demo.recording import CallRecord, Client, DemoEvent, Recording

HEIGHT = 360.0
"""Pixels of a panel: two of them and the lanes fit a page."""
_TOP, _BOTTOM = 124.0, 302.0
"""Pixels: between these the traffic is drawn, below the headline and above the axis."""
# The words for a wide band and for a narrow one.
_PHASES = {
    "leave": ("{} leaves", "{}"),
    "kill": ("kill {}", "kill"),
    "freeze": ("freeze {}", "freeze"),
    "sick": ("500s {}", "500s"),
}


@dataclass(frozen=True, slots=True)
class Span:
    """Where times stand on the picture: `seconds` of a run between `left` and `left + width`."""

    left: float
    width: float
    seconds: float

    def x(self, at: float) -> float:
        """Give the place of a moment."""
        return self.left + self.width * min(max(at / self.seconds, 0.0), 1.0)


def traffic_panel(recording: Recording, client: Client, span: Span) -> str:
    """Draw one client's panel from its headline down to the marks of failed and saved calls."""
    calls = recording.of(client)
    parts = [*_headline(recording, client, span), *_bands(recording.events, span)]
    parts += _axes(recording.rate, span)
    parts += _areas(calls, recording, span)
    parts += _marks(calls, span)
    return "\n".join(parts)


def _headline(recording: Recording, client: Client, span: Span) -> list[str]:
    seen = figures(recording, client)
    left = span.left
    look = "big bad" if seen.could_be_saved else "big"
    amount = f"of {seen.calls:,} calls · {seen.could_be_saved:,} could have been saved"
    latency = f"latency p50 {milliseconds(seen.p50)} · p99 {milliseconds(seen.p99)}"
    saved = f"{seen.saved:,} were saved by a retry" if client != "httpx" else ""
    return [
        svg.text(left, 16, TITLES[client], look="title"),
        svg.text(
            left, 48, counted(seen.failed, "failed call"), look=look if seen.failed else "big good"
        ),
        svg.text(left, 67, amount, look="soft"),
        svg.text(left, 83, f"{latency} · slowest {milliseconds(seen.slowest)}", look="soft"),
        svg.text(left, 99, saved, look="soft"),
    ]


def _bands(events: Sequence[DemoEvent], span: Span) -> list[str]:
    starts = [event for event in events if event.kind in _PHASES]
    edges = [*(event.at for event in starts), span.seconds]
    parts = []
    for number, (event, end) in enumerate(zip(starts, edges[1:], strict=True)):
        x, width = span.x(event.at), span.x(end) - span.x(event.at)
        if number % 2 == 0:
            parts.append(svg.rect(x, _TOP - 18, width, _BOTTOM - _TOP + 18, fill="", look="band"))
        parts.append(svg.line(x, _TOP - 18, x, _BOTTOM + 40, look="event"))
        words = _PHASES[event.kind][0 if width > 52 else 1]
        label = words.format(event.node.rpartition("-")[2])
        parts.append(svg.text(x + 4, _TOP - 6, label, look="soft small"))
    return parts


def _areas(calls: Sequence[CallRecord], recording: Recording, span: Span) -> list[str]:
    bins = max(8, min(120, int(span.seconds / 0.5)))
    width = span.seconds / bins
    counts: defaultdict[str | None, list[int]] = defaultdict(lambda: [0] * bins)
    for call in calls:
        layer = None if call.error else call.node
        counts[layer][min(bins - 1, int(call.at / width))] += 1
    parts = []
    base = [0.0] * bins
    for number, name in enumerate([*recording.nodes, None]):
        top = [low + count / width for low, count in zip(base, counts[name], strict=True)]
        look, fill = "area", f"var(--n{number % svg.COLORS})"
        if name is None:
            look, fill = "area failed", ""
        if any(counts[name]):
            outline = _outline(base, top, recording.rate, span)
            tip = name or "failed calls"
            parts.append(svg.polygon(outline, look=look, fill=fill, tip=tip))
        base = top
    return parts


def _outline(
    base: Sequence[float], top: Sequence[float], rate: float, span: Span
) -> list[tuple[float, float]]:
    width = span.seconds / len(base)
    edges = [(span.x(n * width), span.x((n + 1) * width)) for n in range(len(base))]
    upper = [(x, _y(v, rate)) for xs, v in zip(edges, top, strict=True) for x in xs]
    lower = [(x, _y(v, rate)) for xs, v in zip(edges, base, strict=True) for x in xs]
    return upper + lower[::-1]


def _y(per_second: float, rate: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * min(1.0, per_second / (rate * 1.12))


def _axes(rate: float, span: Span) -> list[str]:
    right = span.left + span.width
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _y(rate * share, rate)
        parts.append(svg.line(span.left, y, right, y, look="grid"))
        parts.append(svg.text(span.left - 8, y + 4, f"{rate * share:g}", look="soft small end"))
    parts.append(svg.text(span.left - 8, _TOP - 6, "calls/s", look="soft small end"))
    step = next((s for s in (1, 2, 5, 10, 15, 30, 60) if span.seconds / s <= 10), 300)
    for tick in range(0, math.floor(span.seconds) + 1, step):
        words = f"{tick} s" if tick else "0"
        parts.append(svg.text(span.x(tick), HEIGHT, words, look="soft small middle"))
    return parts


def _marks(calls: Sequence[CallRecord], span: Span) -> list[str]:
    failed_y, saved_y = _BOTTOM + 16, _BOTTOM + 36
    parts = [svg.text(span.left - 8, failed_y + 4, "failed", look="soft small end")]
    if any(call.client != "httpx" for call in calls):
        parts.append(svg.text(span.left - 8, saved_y + 4, "saved", look="soft small end"))
    for call in calls:
        x = span.x(call.at)
        if is_saved(call):
            parts.append(svg.line(x, saved_y - 6, x, saved_y + 6, look="saved"))
        if not call.error:
            continue
        if call.saveable:
            parts.append(svg.line(x, failed_y - 6, x, failed_y + 6, look="mark"))
        else:
            tip = f"{call.method} {call.error} at {call.at:.1f} s"
            parts.append(svg.diamond(x, failed_y, 4.5, look="unsafe", tip=tip))
    return parts
