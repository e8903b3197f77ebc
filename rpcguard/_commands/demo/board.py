"""What the live view shows: the last seconds of each node, and the totals."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpcguard._commands.demo.recording import CallRecord, DemoEvent, Sighting
from rpcguard._commands.demo.summary import is_saved
from rpcguard._text import quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rpcguard._commands.demo.clients import Attempted
    from rpcguard._commands.demo.recording import Client
    from rpcguard._core.nodes.view import NodeView

_WINDOW = 4.0
"""Seconds of calls that "now" means on the screen: long enough for a share, short enough to see a
fault."""
_EVENTS = 60
"""Events that are kept for a terminal that is high."""


@dataclass(frozen=True, slots=True)
class RecentCalls:
    """What one node did within the last seconds; latencies in seconds."""

    share: float
    p50: float
    p99: float


@dataclass(slots=True)
class Totals:
    """The calls of one client since the start, counted."""

    calls: int = 0
    retries: int = 0
    saved: int = 0
    failed: int = 0
    could_be_saved: int = 0

    def add(self, call: CallRecord) -> None:
        """Count one call that has ended."""
        self.calls += 1
        self.retries += call.attempts - 1
        self.saved += is_saved(call)
        self.failed += call.error is not None
        self.could_be_saved += call.saveable


class Board:
    """The figures of a run while it goes on; `lost` counts failed calls by second."""

    def __init__(
        self, nodes: Sequence[str], clients: Sequence[Client] = ("httpx", "rpcguard")
    ) -> None:
        self.nodes: tuple[str, ...] = tuple(nodes)
        self.totals: dict[Client, Totals] = {client: Totals() for client in reversed(clients)}
        self.lost: dict[Client, Counter[int]] = {client: Counter() for client in self.totals}
        self.failures: dict[str, int] = dict.fromkeys(nodes, 0)
        self.views: dict[str, NodeView] = {}
        self.last_action: dict[str, str] = dict.fromkeys(nodes, "")
        self.events: deque[DemoEvent] = deque(maxlen=_EVENTS)
        self._recent: defaultdict[str, deque[tuple[float, float]]] = defaultdict(deque)

    def call(self, call: CallRecord, attempts: Sequence[Attempted]) -> None:
        """Take in one call that has ended."""
        self.totals[call.client].add(call)
        self.lost[call.client][int(call.at)] += call.error is not None
        if call.client != "rpcguard":
            return
        for attempt in attempts:
            self._recent[attempt.node].append((call.at + call.duration, attempt.duration))

    def event(self, event: DemoEvent) -> None:
        """Take in one event."""
        self.events.append(event)
        if event.kind not in ("state", "failed"):
            self.last_action[event.node] = event.text

    def see(self, views: Sequence[NodeView], now: float) -> list[Sighting]:
        """Take in rpcguard's list and give what has changed on it since the last time."""
        fresh = {view.node.id: view for view in views}
        for name, view in fresh.items():
            known = self.views[name].failures if name in self.views else 0
            # A node that registered anew starts to count at 0.
            self.failures[name] += view.failures - (known if known <= view.failures else 0)
        changes = [
            Sighting(now, name, *_state(fresh.get(name)))
            for name in self.nodes
            if _state(fresh.get(name)) != _state(self.views.get(name))
        ]
        self.views = fresh
        return changes

    def recent(self, now: float) -> dict[str, RecentCalls]:
        """Give each node's last seconds."""
        for attempts in self._recent.values():
            while attempts and attempts[0][0] < now - _WINDOW:
                attempts.popleft()
        total = sum(map(len, self._recent.values())) or 1
        recent = {}
        for name in self.nodes:
            times = sorted(duration for _, duration in self._recent[name])
            share = len(times) / total
            recent[name] = RecentCalls(share, quantile(times, 0.5), quantile(times, 0.99))
        return recent


def _state(view: NodeView | None) -> tuple[str | None, str | None]:
    return (None, None) if view is None else (view.state, view.reason)
