"""The registry `static://`: a fixed list, for tests, scripts and services that never move."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from rpcguard._core.nodes.node import Node, spelt
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._text import host_name
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.urls import RegistryURL, parse_url

_EXAMPLE: Final = (
    "static://10.0.0.1:8080,10.0.0.2:8080?weight=2,1 "
    "or static:///orders=10.0.0.1:8080,10.0.0.2:8080;billing=10.0.0.3:80"
)
_SOCKET: Final = "unix:"
_ANY_PORT: Final = 80
"""What the node of a socket has in place of a port: nothing goes there."""
_SIGNS: Final = frozenset(".:")
"""What names of services in a cluster are without: a dot of a domain, a colon of an address."""
_SHOWN: Final = 3
"""Addresses in an error, which shows a form and not the list."""
Address = tuple[str, int, str | None]
"""A host, a port, and the path of a Unix domain socket that takes their place."""
_UNKNOWN: Final = Snapshot((), known=False, max_age=math.inf)


class StaticRegistry:
    """A registry of lists that never change.

    Nodes alone answer for every service, but see `objection`; a mapping of service to nodes answers
    for those, their names in any spelling, and any other service is unknown. URL forms:
    `static://h1:80,h2:80` and
    `static:///orders=h1:80,h2:80;billing=unix:/run/billing.sock`. The options `weight`, `zone` and
    `scheme` take one value for all nodes, or one per node, in the order written, separated by
    commas. Needs no network, no polling (`max_age` is infinite) and no closing; safe from any
    thread.
    """

    def __init__(self, nodes: Sequence[Node] | Mapping[str, Sequence[Node]]) -> None:
        self._for_all: Snapshot | None = None
        self._by_service: dict[str, Snapshot] = {}
        if isinstance(nodes, Mapping):
            self._by_service = {host_name(name): _fixed(some) for name, some in nodes.items()}
        else:
            self._for_all = _fixed(nodes)

    @classmethod
    def from_url(cls, url: str) -> StaticRegistry:
        """Read a `static://` URL; raise `InvalidRegistryURL` naming the part that is wrong."""
        parsed = parse_url(url, example=_EXAMPLE, options=("weight", "zone", "scheme"))
        if parsed.username is not None or parsed.password is not None:
            raise parsed.invalid("a static list has no user or password")
        path = unquote(parsed.path).strip("/")
        if parsed.hosts and path:
            raise parsed.invalid("give addresses for every service, or services, not both")
        if parsed.hosts:
            return cls(_nodes(parsed, [(host, port, None) for host, port in parsed.hosts]))
        if path:
            return cls(_services(parsed, path))
        raise parsed.invalid("no address is given")

    async def fetch(self, service: str) -> Snapshot:
        """Return the fixed list; `known=False` for a service that the mapping lacks."""
        if self._for_all is not None:
            return self._for_all
        return self._by_service.get(host_name(service), _UNKNOWN)

    def objection(self, host: str) -> str | None:
        """Say why calls to a host may not go to these nodes without TLS; None where they may.

        A list without names serves names without a dot, and the addresses in it: what a client
        sends to some other host, a token say, is not for these nodes. Over TLS a certificate
        proves that they are that host.
        """
        host = host.removesuffix(".")
        if self._for_all is None or not _SIGNS.intersection(host):
            return None
        nodes = self._for_all.nodes
        if all(node.scheme == "https" for node in nodes):
            return None
        if spelt(host) in {spelt(node.host) for node in nodes}:
            return None
        addresses = [node.address for node in nodes]
        some = ",".join([*addresses[:_SHOWN], "..."] if len(nodes) > _SHOWN else addresses)
        return (
            "over plain http a static list without names serves only hosts without a dot, since"
            f" nothing proves that its nodes are {host}: write static:///{host}={some}"
        )

    async def services(self) -> Collection[str]:
        """Return the names; raise `RegistryError` where one list is for all of them."""
        if self._for_all is not None:
            raise RegistryError("this list is that of every service; give the name of one")
        return self._by_service.keys()

    def __repr__(self) -> str:
        if self._for_all is not None:
            return f"StaticRegistry({len(self._for_all.nodes)} nodes)"
        services = (f"{name}: {len(some.nodes)} nodes" for name, some in self._by_service.items())
        return f"StaticRegistry({', '.join(services)})"


def _fixed(nodes: Sequence[Node]) -> Snapshot:
    return Snapshot(nodes, max_age=math.inf)


def _services(parsed: RegistryURL, path: str) -> dict[str, list[Node]]:
    counts: dict[str, int] = {}
    addresses: list[Address] = []
    for entry in filter(None, path.split(";")):
        name, equals, listed = entry.partition("=")
        if not name or not equals:
            raise parsed.invalid(f"{entry!r} is not service=host:port,...")
        service = host_name(name)
        if service in counts:
            raise parsed.invalid(f"service {name!r} is given twice")
        found = [_address(one) for one in listed.split(",") if one]
        if not found:
            raise parsed.invalid(f"service {name!r} has no address")
        counts[service] = len(found)
        addresses += found
    nodes = iter(_nodes(parsed, addresses))
    return {name: [next(nodes) for _ in range(count)] for name, count in counts.items()}


def _address(text: str) -> Address:
    if text.startswith(_SOCKET):
        return "localhost", _ANY_PORT, text.removeprefix(_SOCKET)
    ((host, port),) = parse_url(f"static://{text}", example=_EXAMPLE).hosts
    return host, port, None


def _nodes(parsed: RegistryURL, addresses: Sequence[Address]) -> list[Node]:
    count = len(addresses)
    weights = _spread(parsed, "weight", "1", count)
    zones = _spread(parsed, "zone", "", count)
    schemes = _spread(parsed, "scheme", "", count)
    try:
        return [
            Node(
                host,
                port,
                uds=uds,
                weight=_number(weight),
                zone=zone or None,
                scheme=scheme or None,
            )
            for (host, port, uds), weight, zone, scheme in zip(
                addresses, weights, zones, schemes, strict=True
            )
        ]
    except ValueError as error:
        raise parsed.invalid(str(error)) from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"option 'weight' must be numbers, not {text!r}") from None


def _spread(parsed: RegistryURL, option: str, default: str, count: int) -> list[str]:
    values = parsed.query.get(option, default).split(",")
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise parsed.invalid(f"option {option!r} has {len(values)} values for {count} nodes")
    return values
