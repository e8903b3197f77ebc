"""The lower half of the picture: what happened to each node, and what rpcguard knew of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpcguard._commands.demo import svg
from rpcguard._commands.demo.script import WHAT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rpcguard._commands.demo.recording import DemoEvent, Recording, Sighting
    from rpcguard._commands.demo.traffic import Span

PITCH = 26.0
"""Pixels from one lane to the next: a label in 11 px type with air around it."""
_THICK = 16.0
"""Pixels of a lane, so that neighbours are told apart."""
_HEAD = 30.0
"""Pixels above the lanes for their title."""

_FATES = {
    "leave": "leaving",
    "stop": "down",
    "kill": "down",
    "start": "down",
    "freeze": "frozen",
    "sick": "answers 500",
    "falter": "answers 500",
    "thaw": "up",
    "well": "up",
}
_FATE_FILL = {
    "up": "var(--up)",
    "leaving": "var(--away)",
    "down": "var(--down)",
    "cold": "var(--warm)",
    "frozen": "var(--draining)",
    "answers 500": "var(--bad)",
}
_STATE_FILL = {
    "available": "var(--up)",
    "warming": "var(--warm)",
    "offline": "var(--away)",
    "ejected": "var(--bad)",
    "draining": "var(--draining)",
    "not listed": "var(--down)",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of one lane."""

    start: float
    end: float
    name: str
    fill: str
    tip: str


def height(nodes: int) -> float:
    """Give the height of the lanes of so many nodes, heading included."""
    return _HEAD + PITCH * nodes + 8


def fate_lanes(recording: Recording, span: Span) -> str:
    """Draw what the script did to each node, and for how long the registry listed it in vain."""
    parts = [svg.text(span.left, 12, "What happened to the nodes", look="title")]
    for number, node in enumerate(recording.nodes):
        events = [event for event in recording.events if event.node == node]
        y = _HEAD + PITCH * number
        parts += _lane(node, fates(events, recording.seconds, cold=recording.cold), y, span)
        parts += [
            svg.line(span.x(start), y + _THICK + 3, span.x(end), y + _THICK + 3, look="stale")
            for start, end in stale_spans(events)
        ]
    parts += _key(_FATE_FILL, span.left, height(len(recording.nodes)))
    return "\n".join(parts)


def state_lanes(recording: Recording, span: Span) -> str:
    """Draw the state that rpcguard had for each node."""
    parts = [svg.text(span.left, 12, "What rpcguard knew of them", look="title")]
    for number, node in enumerate(recording.nodes):
        seen = [sighting for sighting in recording.sightings if sighting.node == node]
        y = _HEAD + PITCH * number
        parts += _lane(node, states(seen, recording.seconds), y, span)
    parts += _key(_STATE_FILL, span.left, height(len(recording.nodes)))
    return "\n".join(parts)


def fates(events: Iterable[DemoEvent], seconds: float, *, cold: float) -> list[Segment]:
    """Cut a run into what one node was: up, leaving, down, cold, frozen, answering 500."""
    changes = [(0.0, "up")]
    before = ""
    for event in events:
        if event.kind not in WHAT:
            continue
        if event.kind == "list" and before == "start":
            changes += [(event.at, "cold"), (event.at + cold, "up")]
        elif event.kind in _FATES:
            while changes and changes[-1][0] > event.at:
                changes.pop()
            changes.append((event.at, _FATES[event.kind]))
        before = event.kind
    ends = [min(at, seconds) for at, _ in changes[1:]] + [seconds]
    return [
        Segment(at, end, fate, _FATE_FILL[fate], f"{fate}, {at:.1f} to {end:.1f} s")
        for (at, fate), end in zip(changes, ends, strict=True)
        if end > at
    ]


def stale_spans(events: Iterable[DemoEvent]) -> list[tuple[float, float]]:
    """Give the times in which the registry listed a node that did not serve."""
    spans = []
    since: float | None = None
    for event in events:
        if event.kind in ("stop", "kill", "freeze"):
            since = event.at
        elif event.kind == "forget" and since is not None:
            spans.append((since, event.at))
            since = None
    return spans


def states(sightings: Sequence[Sighting], seconds: float) -> list[Segment]:
    """Cut a run into the states that rpcguard had for one node."""
    edges = [*(max(0.0, sighting.at) for sighting in sightings), seconds]
    segments = []
    for sighting, start, end in zip(sightings, edges, edges[1:], strict=False):
        name = sighting.state or "not listed"
        tip = f"{name}{f': {sighting.reason}' if sighting.reason else ''}, from {sighting.at:.1f} s"
        fill = _STATE_FILL[name]
        segments.append(Segment(start, end, name, fill, tip))
    return [segment for segment in segments if segment.end > segment.start]


def _lane(node: str, segments: Iterable[Segment], y: float, span: Span) -> list[str]:
    parts = [svg.text(span.left - 8, y + 12, node, look="small end")]
    for segment in segments:
        x, width = span.x(segment.start), span.x(segment.end) - span.x(segment.start)
        parts.append(svg.rect(x, y, width - 0.6, _THICK, fill=segment.fill, tip=segment.tip))
        if width > 6.2 * len(segment.name) + 6 and segment.name not in ("up", "available"):
            parts.append(svg.text(x + width / 2, y + 12, segment.name, look="on middle"))
    return parts


def _key(fills: Mapping[str, str], left: float, y: float) -> list[str]:
    parts = []
    x = left
    for name, fill in fills.items():
        parts.append(svg.rect(x, y, 10, 10, fill=fill))
        parts.append(svg.text(x + 14, y + 9, name, look="soft small"))
        x += 14 + 6.4 * len(name) + 16
    return parts


def legend(nodes: Sequence[str], left: float) -> str:
    """Explain the colours of the traffic and the marks, in two rows."""
    parts = []
    x = left
    for number, node in enumerate(nodes[: svg.COLORS]):
        words = node if number else f"answered by {node}"
        parts.append(svg.rect(x, 0, 12, 12, fill=f"var(--n{number})"))
        parts.append(svg.text(x + 17, 10, words))
        x += 17 + 7 * len(words) + 14
    parts += [svg.rect(x, 0, 12, 12, fill="var(--bad)"), svg.text(x + 17, 10, "failed")]
    marks = [
        (0, svg.line(left + 6, 22, left + 6, 34, look="mark"), "failed, could have been saved"),
        (240, svg.diamond(left + 246, 28, 4.5, look="unsafe"), "failed, not safe to send again"),
        (480, svg.line(left + 486, 22, left + 486, 34, look="saved"), "saved by a retry"),
        (630, svg.line(left + 620, 28, left + 642, 28, look="stale"), "down, yet on the registry"),
    ]
    for offset, mark, words in marks:
        parts += [mark, svg.text(left + offset + 17, 32, words)]
    return "\n".join(parts)
