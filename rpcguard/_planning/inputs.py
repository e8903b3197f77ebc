"""What a release plan is made from: a fleet, how its nodes restart, and what may be lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rpcguard._checks import is_amount, is_whole, require, require_amounts, require_positive

Zones = Literal["mixed", "one-at-a-time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNode:
    """A node of the fleet that is to be released."""

    id: str
    weight: float = 1.0
    """Its share of the traffic, and of the capacity, beside the others."""
    zone: str | None = None

    def __post_init__(self) -> None:
        require_positive(self, "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The nodes of a service and how busy they are."""

    nodes: tuple[PlannedNode, ...]
    load: float
    """Utilisation of the whole fleet before the release: calls in work / calls it can work on."""
    peak: float = 1.0
    """How many times as large the load may become while the release lasts."""
    workers: int = 4
    """Calls that a node of average weight works on at a time: threads, processes or tasks.

    Of average weight, since registries count weights in units of their own: a fleet of nodes that
    all have 100 can do what one can of nodes that all have 1."""
    service_time: float = 0.05
    """Seconds that a warm node takes for a call."""
    callers: int = 40
    """Processes that call; each judges nodes by its own calls alone."""
    out: tuple[str, ...] = ()
    """Ids of nodes that are listed and take no calls, so that they are no part of the fleet."""
    weight: float = field(init=False, repr=False)
    """The capacity of the whole fleet, in the registry's units of weight."""

    def __post_init__(self) -> None:
        require("nodes", self.nodes, "at least one node", self.nodes)
        object.__setattr__(self, "weight", sum(node.weight for node in self.nodes))
        require("load", self.load, "0 or more; 1 is all the nodes can do", is_amount(self.load))
        require_positive(self, "peak", "service_time")
        require("load times peak", self.expected, "a finite number", is_amount(self.expected))
        for name in ("workers", "callers"):
            value = getattr(self, name)
            require(name, value, "a whole number, 1 or more", is_whole(value, least=1))

    @property
    def expected(self) -> float:
        """The utilisation that the release has to bear."""
        return self.load * self.peak

    @property
    def zones(self) -> dict[str | None, list[PlannedNode]]:
        """The nodes by zone, in the order of the list."""
        found: dict[str | None, list[PlannedNode]] = {}
        for node in self.nodes:
            found.setdefault(node.zone, []).append(node)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How a node is restarted, and how the callers hear of it; all times in seconds."""

    away: float = 20.0
    """From the moment at which a node takes no calls to its first answer afterwards."""
    cold: float = 60.0
    """How long a node that came back is slow."""
    cold_factor: float = 3.0
    """How many times as long a cold node takes at first; it falls to 1 over `cold`."""
    slow_start: float = 120.0
    """The window of the callers' slow start."""
    signal: bool = True
    """Whether a node says that it leaves before it does (`OfflineASGI`, a preStop hook)."""
    lag: float = 0.5
    """How long the registry still lists a node that is gone; Eureka up to 120, Nacos some 50."""
    surge: int = 0
    """New nodes that are started before old ones of a batch are stopped."""
    canary: int = 1
    """Nodes of the first batch, which is never larger than the others; 0 for none."""
    watch: float = 300.0
    """How long the canary is watched before the next batch, besides the pause after every one."""
    pause: float | None = None
    """From the last node's return to the next batch; None waits until it is warm again."""

    def __post_init__(self) -> None:
        require_amounts(self, "away", "cold", "slow_start", "lag", "watch")
        factor = self.cold_factor
        require("cold_factor", factor, "1 or more", is_amount(factor) and factor >= 1)
        for name in ("surge", "canary"):
            value = getattr(self, name)
            require(name, value, "a whole number, 0 or more", is_whole(value))
        require("pause", self.pause, "seconds or None", self.pause is None or is_amount(self.pause))

    @property
    def between(self) -> float:
        """The seconds from the return of a batch to the start of the next one."""
        return self.cold if self.pause is None else self.pause

    def wait_after(self, batch: int) -> float:
        """Give the seconds from the return of a batch, by its number, to the start of the next."""
        return self.between + (self.watch if self.canary and not batch else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a plan may cost."""

    ceiling: float = 0.8
    """Utilisation of the nodes that stay. Above it p99 passes 2.5 times calm in the simulation."""
    p99: float = 2.0
    """p99 during the release, divided by p99 in calm."""
    lose: float = 0.0
    """Calls of a million that may fail."""
    zones: Zones = "mixed"
    """"mixed": a batch never takes all nodes of a zone; "one-at-a-time": zone after zone."""
    largest: int = field(default=0)
    """Nodes of a batch at the most; 0 for no such bound."""

    def __post_init__(self) -> None:
        require_positive(self, "ceiling", "p99")
        require_amounts(self, "lose")
        require("zones", self.zones, "mixed or one-at-a-time", self.zones in _ZONES)
        require("largest", self.largest, "a whole number, 0 or more", is_whole(self.largest))


_ZONES = ("mixed", "one-at-a-time")


def load_of(*, rate: float, service_time: float, workers: int, nodes: int) -> float:
    """Compute the utilisation of a fleet from its calls a second (Little's law)."""
    require("rate", rate, "a finite number, 0 or more", is_amount(rate))
    require("workers", workers, "a whole number, 1 or more", is_whole(workers, least=1))
    return rate * service_time / (workers * nodes)
