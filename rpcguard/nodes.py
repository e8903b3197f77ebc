"""What a registry says of a node, and how a node is shown to people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Status = Literal["up", "draining", "down"]
State = Literal["available", "warming", "ejected", "offline", "draining"]

_NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Node:
    """Describe one provider process of a service, as its registry lists it.

    Immutable and hashable. `host` is a name or an IP address (brackets around IPv6 are dropped,
    letters lowered), `id` defaults to `host:port`, `weight` 0 takes new calls off the node,
    `started_at` is epoch seconds by the provider's clock, `generation` changes when the same id
    registers anew, a lower `priority` is used first. Raises `ValueError` naming the bad field.
    """

    host: str
    port: int
    id: str = field(default="", kw_only=True)
    scheme: str | None = field(default=None, kw_only=True)
    weight: float = field(default=1.0, kw_only=True)
    status: Status = field(default="up", kw_only=True)
    zone: str | None = field(default=None, kw_only=True)
    version: str | None = field(default=None, kw_only=True)
    metadata: Mapping[str, str] = field(
        default_factory=lambda: _NO_METADATA, kw_only=True, hash=False
    )
    started_at: float | None = field(default=None, kw_only=True)
    generation: str | int | None = field(default=None, kw_only=True)
    priority: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        host = self.host
        if isinstance(host, str):
            host = host.removeprefix("[").removesuffix("]").lower()
        _check(isinstance(host, str) and _is_host(host), "host", self.host, "a host name or IP")
        _check(_is_int(self.port) and 0 < self.port < 65536, "port", self.port, "1 to 65535")
        _check(self.scheme in (None, "http", "https"), "scheme", self.scheme, "http or https")
        _check(_is_amount(self.weight), "weight", self.weight, "a finite number, 0 or more")
        _check(
            self.status in ("up", "draining", "down"), "status", self.status, "up, draining, down"
        )
        _check(
            self.started_at is None or _is_amount(self.started_at),
            "started_at",
            self.started_at,
            "epoch seconds",
        )
        _check(_is_int(self.priority) and self.priority >= 0, "priority", self.priority, "0 or more")
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "id", str(self.id) if self.id else self.address)

    @property
    def address(self) -> str:
        """Give `host:port`, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Hold the whole list of one service at one moment.

    The first of two nodes with one id counts. `authoritative=False` marks an answer that may lack
    nodes (a stale replica, a self-protecting registry): it adds and changes, and removes nothing.
    `known=False` says that the registry has never heard of the service. `max_age` is the poll
    interval in seconds that the registry advises.
    """

    nodes: tuple[Node, ...]
    authoritative: bool = field(default=True, kw_only=True)
    known: bool = field(default=True, kw_only=True)
    max_age: float | None = field(default=None, kw_only=True)

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        *,
        authoritative: bool = True,
        known: bool = True,
        max_age: float | None = None,
    ) -> None:
        unique: dict[str, Node] = {}
        for node in nodes:
            unique.setdefault(node.id, node)
        object.__setattr__(self, "nodes", tuple(unique.values()))
        object.__setattr__(self, "authoritative", authoritative)
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "max_age", max_age)


@dataclass(frozen=True, slots=True)
class NodeView:
    """Show one node of the live list at the moment of asking.

    `until` is the seconds left of an ejection or a mark, None where there is no end in sight.
    `effective_weight` includes the slow-start ramp; `load` is what the balancer compares.
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

    def as_dict(self) -> dict[str, Any]:
        """Give the view as plain values that `json.dumps` takes."""
        view = {name: getattr(self, name) for name in self.__slots__ if name != "node"}
        node = {name: getattr(self.node, name) for name in Node.__slots__}
        return {"node": {**node, "metadata": dict(self.node.metadata)}, **view}


def _check(good: bool, name: str, value: object, wanted: str) -> None:  # noqa: FBT001
    if not good:
        raise ValueError(f"{name} must be {wanted}, not {value!r}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_amount(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )


def _is_host(host: str) -> bool:
    return 0 < len(host) <= 255 and not any(
        c in "/?#@\\[]%" or c <= " " or c == "\x7f" for c in host
    )
