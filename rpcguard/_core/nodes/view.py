"""How a node, a service and its connections are shown to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, NamedTuple

from rpcguard._core.nodes.node import Node, State
from rpcguard._text import plain, quantile


def as_html(fields: Mapping[str, object]) -> str:
    """Write a table of names and values that are known; what others chose is escaped."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(plain(str(value)))}</td></tr>"
        for name, value in fields.items()
        if value is not None
    )
    return f"<table>{rows}</table>"


def as_html_rows(rows: Sequence[Mapping[str, object]]) -> str | None:
    """Write a table of things of one kind; columns in which nothing is known are left out.

    None where there are no rows: then a notebook shows the text.
    """
    if not rows:
        return None
    names = [name for name in rows[0] if any(row[name] not in (None, "", {}) for row in rows)]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(row[name])}</td>' for name in names)}</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    return "" if value is None else escape(plain(str(value)))


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """The connections of a node, and the calls that wait for one, over all event loops."""

    idle: int
    """Connections that are kept alive."""
    in_use: int
    """Connections that are busy, or being opened."""
    waiting: int
    """Calls in line."""

    def __add__(self, other: ConnectionCounts) -> ConnectionCounts:
        return ConnectionCounts(
            self.idle + other.idle, self.in_use + other.in_use, self.waiting + other.waiting
        )


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node of the live list at the moment of asking."""

    node: Node
    """What the registry says of it."""
    state: State
    """Where it stands: "available", "warming", "ejected", "offline" or "draining"."""
    reason: str | None
    """Why it stands there, where it is not available."""
    until: float | None
    """Seconds left of an ejection or a mark; None where there is no end in sight."""
    weight: float
    """What it has by the registry."""
    effective_weight: float
    """The weight with the slow-start ramp, by which it is drawn."""
    in_flight: int
    """Calls that it has now."""
    load: float
    """What the balancer compares."""
    successes: int
    """Good answers since it was listed."""
    failures: int
    """Failures since it was listed."""
    connections: ConnectionCounts | None = None
    """Its connections; None before the first call, and where a `node_transport` has them."""
    event: str | None = None
    """What last happened to it."""
    event_age: float | None = None
    """Seconds since then."""
    latencies: Sequence[float] = field(default=(), repr=False, compare=False)
    """Seconds to the headers of the last answers, at most 128, in no order."""

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
        return as_html(self._shown())

    def _shown(self) -> dict[str, object]:
        return {**self.as_dict(), "node": f"{self.node.id} at {self.node.address}"}


class NodeViews(list[NodeView]):
    """The live list of a service at the moment of asking, one table in a notebook."""

    def _repr_html_(self) -> str | None:
        """Give the list as a table, for notebooks."""
        return as_html_rows([view._shown() for view in self])


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service that a transport follows, at the moment of asking."""

    name: str
    """Its name, as the URL has it."""
    registry: str
    """Where its list comes from."""
    ready: bool
    """Whether there is a list."""
    known: bool
    """Whether the registry knows the service."""
    age: float | None
    """Seconds since the registry last answered; None before it and for a fixed list."""
    trouble: str | None
    """What is wrong with the registry."""
    refused: int = 0
    """Nodes that it lists outside of the `allowed_networks`."""
    retries: int = 0
    """Retries in the last `budget_window` of the `RetryPolicy`."""
    budget: int = 0
    """Retries that the calls of that time allow."""
    rules_age: float | None = None
    """Seconds since the source of its rules last had those in force; None without a source, and
    before it answered."""
    rules_trouble: str | None = None
    """Why what the source of its rules says now was not taken."""
    limit: int | None = None
    """Calls that may be under way by `OverloadPolicy`; None without a limit."""
    throttled: float = 0.0
    """The share of its calls that the throttle refuses now."""
    hedge_delay: float | None = None
    """Seconds after which a call is hedged; None where none is, and while the service is slow."""
    hedges: Mapping[str, int] | None = None
    """Late calls so far, by what came of them: `won`, `lost`, or why there was no hedge, such as
    `cap`; None where no call is hedged."""

    def as_dict(self) -> dict[str, Any]:
        """Give the view as plain values that `json.dumps` takes."""
        return {name: getattr(self, name) for name in self.__slots__}

    def _repr_html_(self) -> str:
        """Give the view as a table, for notebooks."""
        return as_html(self.as_dict())


class ServiceViews(list[ServiceView]):
    """The services of a transport at the moment of asking, one table in a notebook."""

    def _repr_html_(self) -> str | None:
        """Give the services as a table, for notebooks."""
        return as_html_rows([view.as_dict() for view in self])


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
