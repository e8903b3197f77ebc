"""What a registry says of a node, and how a node is shown to people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from rpcguard._checks import is_amount, is_whole, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rpcguard.stack import Counts

Status = Literal["up", "draining", "down"]
State = Literal["available", "warming", "ejected", "offline", "draining"]

_STATUSES = ("up", "draining", "down")
_LONGEST_NAME = 1024
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?!.{{254}}.)(?:{_LABEL}\.)*{_LABEL}\.?")
_DOTTED = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("the metadata of a node cannot be changed")


class _Metadata(dict[str, str]):
    """Be a dict that nobody changes; unlike a mapping proxy it can be copied and pickled."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Metadata, (dict(self),)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


_NO_METADATA = _Metadata()


@dataclass(frozen=True, slots=True)
class Node:
    """Describe one provider process of a service, as its registry lists it.

    Immutable and hashable. `host` is a name or an IP address (brackets around IPv6 are dropped,
    letters lowered, an international name is kept in its ASCII form), `id` defaults to `host:port`,
    `weight` 0 takes new calls off the node, `started_at` is epoch seconds by the provider's clock,
    `generation` changes when the same id registers anew, a lower `priority` is used first. TLS is
    used where the URL or `scheme` asks for it: a node with "http" never turns an https call into
    plain text. `id`, `zone`, `version` and `generation` are printable and at most 1024 characters
    long; `metadata`, of which a copy is kept, may hold anything. Raises `ValueError` naming the bad
    field.
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

    if TYPE_CHECKING:  # an `id` that is given may be None, the one that is read is not

        def __init__(
            self,
            host: str,
            port: int,
            *,
            id: str | None = None,
            scheme: str | None = None,
            weight: float = 1.0,
            status: Status = "up",
            zone: str | None = None,
            version: str | None = None,
            metadata: Mapping[str, str] = ...,
            started_at: float | None = None,
            generation: str | int | None = None,
            priority: int = 0,
        ) -> None: ...

    def __post_init__(self) -> None:
        host = _ascii(self.host)
        port, started = self.port, self.started_at
        require("host", self.host, "a host name or IP", _is_host(host))
        require("port", port, "1 to 65535", is_whole(port, least=1) and port < 65536)
        require("scheme", self.scheme, "http or https", self.scheme in (None, "http", "https"))
        require("weight", self.weight, "a finite number, 0 or more", is_amount(self.weight))
        require("status", self.status, "up, draining or down", self.status in _STATUSES)
        require("started_at", started, "epoch seconds", started is None or is_amount(started))
        require("priority", self.priority, "a whole number, 0 or more", is_whole(self.priority))
        metadata = self.metadata
        if type(metadata) is not _Metadata:
            require("metadata", metadata, "a mapping", isinstance(metadata, Mapping))
            object.__setattr__(self, "metadata", _Metadata(metadata) if metadata else _NO_METADATA)
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "id", str(self.id) if self.id else self.address)
        for name in ("id", "zone", "version", "generation"):
            value = getattr(self, name)
            if value is not None and not (name == "generation" and isinstance(value, int)):
                require(name, value, "printable text, at most 1024 characters", _is_name(value))

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
    interval in seconds that the registry advises, infinite for a list that never changes. Raises
    `ValueError` naming the bad field.
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
        require("nodes", nodes, "some of Node", isinstance(nodes, Iterable))
        for node in nodes:
            require("nodes", node, "of the class Node", isinstance(node, Node))
            unique.setdefault(node.id, node)
        # A number without sense is the registry's advice all the same, which nobody has to follow.
        advice = isinstance(max_age, (int, float)) and not isinstance(max_age, bool)
        require("max_age", max_age, "seconds or None", max_age is None or advice)
        object.__setattr__(self, "nodes", tuple(unique.values()))
        object.__setattr__(self, "authoritative", authoritative)
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "max_age", max_age)


@dataclass(frozen=True, slots=True)
class NodeView:
    """Show one node of the live list at the moment of asking.

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
    connections: Counts | None = None
    event: str | None = None
    event_age: float | None = None
    latencies: Sequence[float] = field(default=(), repr=False, compare=False)

    @property
    def p50(self) -> float | None:
        """Give the median of `latencies`, None without answers."""
        return _quantile(self.latencies, 0.5)

    @property
    def p99(self) -> float | None:
        """Give the 99th percentile of `latencies`, None without answers."""
        return _quantile(self.latencies, 0.99)

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


def _quantile(values: Sequence[float], share: float) -> float | None:
    if not values:
        return None
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def is_ipv6(text: str) -> bool:
    """Tell whether `text` is an IPv6 address without brackets and scope."""
    try:
        return IPv6Address(text).scope_id is None
    except ValueError:
        return False


def _ascii(host: object) -> object:
    if not isinstance(host, str):
        return host
    host = host.removeprefix("[").removesuffix("]").lower()
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return ""


def _is_host(host: object) -> bool:
    if not isinstance(host, str):
        return False
    if ":" in host:
        return is_ipv6(host)
    if _DOTTED.fullmatch(host):
        return _is_ipv4(host)
    # What the resolver does not take, it refuses by an error that is not one of the network.
    return _HOST.fullmatch(host) is not None


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()
