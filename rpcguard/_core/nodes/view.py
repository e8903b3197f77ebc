"""How a node, a service and its connections are shown to people."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from rpcguard._core.nodes.node import Node, State
from rpcguard._text import plain, quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def as_html(fields: Mapping[str, object]) -> str:
    """Write a table of names and values that are known; what others chose is escaped."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(plain(str(value)))}</td></tr>"
        for name, value in fields.items()
        if value is not None
    )
    return f"<table>{rows}</table>"


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """The connections of a node: kept alive, busy (or being opened), and calls in line."""

    idle: int
    in_use: int
    waiting: int

    def __add__(self, other: ConnectionCounts) -> ConnectionCounts:
        return ConnectionCounts(
            self.idle + other.idle, self.in_use + other.in_use, self.waiting + other.waiting
        )


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node of the live list at the moment of asking.

    `until` is the seconds left of an ejection or a mark, None where there is no end in sight.
    `effective_weight` includes the slow-start ramp; `load` is what the balancer compares.
    `connections` has how many are `idle` and `in_use`, over all event loops, and how many calls are
    `waiting` for one; None before the first call to the node, and where they are not rpcguard's
    own: HTTP/2, or a `node_transport`. `event` is what last happened
    to the node, `event_age` seconds ago. `latencies` are the seconds to the headers of the last
    answers, at most 128, in no order; `p50` and `p99` are theirs.
    """

    node: Node
    state: State
    reason: str | None
    until: float | None
    weight: float
    effective_weight: float
    in_flight: int
    load: float
    successes: int
    failures: int
    connections: ConnectionCounts | None = None
    event: str | None = None
    event_age: float | None = None
    latencies: Sequence[float] = field(default=(), repr=False, compare=False)

    @property
    def p50(self) -> float | None:
        """Give the median of `latencies`, None without answers."""
        return quantile(sorted(self.latencies), 0.5) if self.latencies else None

    @property
    def p99(self) -> float | None:
        """Give the 99th percentile of `latencies`, None without answers."""
        return quantile(sorted(self.latencies), 0.99) if self.latencies else None

    def as_dict(self) -> dict[str, Any]:
        """Give the view as plain values that `json.dumps` takes."""
        names = [
            *(name for name in self.__slots__ if name not in ("node", "latencies")),
            "p50",
            "p99",
        ]
        view = {name: getattr(self, name) for name in names}
        node = {name: getattr(self.node, name) for name in Node.__slots__}
        view["connections"] = self.connections and asdict(self.connections)
        return {"node": {**node, "metadata": dict(self.node.metadata)}, **view}

    def _repr_html_(self) -> str:
        """Give the view as a table, for notebooks."""
        return as_html({**self.as_dict(), "node": f"{self.node.id} at {self.node.address}"})


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service that a transport follows, at the moment of asking.

    `ready` is true once there is a list, `known` says whether the registry knows the service,
    `age` is the seconds since the registry last answered (None before it and for a fixed list),
    `trouble` what is wrong with it, `refused` how many nodes it lists outside of the
    `allowed_networks`, `retries` how many were made in the last `budget_window` of the
    `RetryPolicy`, and `budget` how many it allows by the calls of that time. `rules_age` is the
    seconds since the source of its rules last had those in force (None without a source, and before
    it answered), `rules_trouble` why what it says now was not taken.
    """

    name: str
    registry: str
    ready: bool
    known: bool
    age: float | None
    trouble: str | None
    refused: int = 0
    retries: int = 0
    budget: int = 0
    rules_age: float | None = None
    rules_trouble: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the view as plain values that `json.dumps` takes."""
        return {name: getattr(self, name) for name in self.__slots__}

    def _repr_html_(self) -> str:
        """Give the view as a table, for notebooks."""
        return as_html(self.as_dict())


class Census(NamedTuple):
    """What the gauges tell of one service."""

    service: str
    """Its name."""

    nodes: Mapping[tuple[State, str | None], int]
    """How many nodes there are by state and group; None is no group, where lanes are not looked
    at."""

    age: float | None
    """Seconds since the registry answered."""

    rules_age: float | None
    """Seconds since its rules were last read."""


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route of a service at the moment of asking, and what it really gets."""

    name: str
    """Its name."""

    service: str
    """The service that was asked about."""

    share: float
    """The share that is asked for."""

    effective_share: float
    """The share while its nodes are warming, and while a guard holds it back: then 0."""

    measured: float | None
    """The share that its nodes got of the last 1,000 calls that matched; None before the first."""

    ramp: float
    """The mean of the slow-start ramps of its nodes."""

    strain: float
    """The share divided by its nodes' part of the weight: 2 is twice as much as they would bear."""

    nodes: int
    """How many listed nodes it leads to."""

    eligible: int
    """How many of them can be picked."""

    guard: float | None
    """Seconds for which its guard still holds the share back; None where it does not."""
