"""What the frameworks write into ZooKeeper, read as nodes: one layout each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from rpcguard.registries._shared.documents import json_from_bytes, node_from_json
from rpcguard.registries._shared.fields import number, part, started_at

if TYPE_CHECKING:
    from rpcguard._core.nodes.node import Node, Status

_STATUSES: Final[Mapping[str, Status]] = {"UP": "up", "OUT_OF_SERVICE": "draining"}
_ANY_HOST: Final = ("", "0.0.0.0", "anyhost")
_NORMAL_WEIGHT: Final = 100.0  # Dubbo's


@dataclass(frozen=True, slots=True)
class Znode:
    """Hold one znode: `made_by` is the transaction that made it, `made_at` in epoch seconds."""

    path: str
    data: bytes = b""
    made_by: int = 0
    made_at: float = 0.0

    @property
    def name(self) -> str:
        """Give the last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Layout:
    """Read the znodes of one framework.

    `root` is where services are registered by default, `folders` are what is to be read below a
    service, the first one to exist at least; `has_data` tells whether the znodes have content.
    """

    root: ClassVar[str] = "services"
    folders: ClassVar[tuple[str, ...]] = ("",)
    has_data: ClassVar[bool] = True

    protocols: tuple[str, ...]
    group: str | None
    version: str | None

    def chosen(self, znodes: list[Znode]) -> list[object]:
        """Leave out what is no node that speaks HTTP; the rest is for `node`."""
        return list(znodes)

    def node(self, entry: object) -> Node:
        """Read one node; raise `ValueError` or `TypeError` naming what is wrong."""
        raise NotImplementedError


class Curator(Layout):
    """Curator's service discovery, as Spring Cloud ZooKeeper uses it."""

    __slots__ = ()

    def node(self, entry: object) -> Node:
        """Read Curator's JSON, with metadata in the payload."""
        assert isinstance(entry, Znode)
        document = json_from_bytes(entry.data)
        metadata = part(part(document, "payload"), "metadata")
        assert isinstance(document, Mapping)  # `part` raises for anything else
        secure = document.get("sslPort")
        registered = number(document.get("registrationTimeUTC"))
        return node_from_json(
            {
                "host": document.get("address"),
                "port": secure or document.get("port"),
                "scheme": "https" if secure else None,
                "id": entry.name,
                "generation": entry.made_by,
                "weight": number(metadata.get("weight")),
                "zone": metadata.get("zone"),
                "version": metadata.get("version"),
                "status": _status(document, metadata),
                "started_at": registered / 1000.0 if registered else entry.made_at,
                "metadata": metadata,
            }
        )


class DubboApplication(Curator):
    """Dubbo 3: applications, by Curator's JSON, with the ports of their protocols in metadata."""

    __slots__ = ()

    def node(self, entry: object) -> Node:
        """Read Curator's JSON; port and scheme are those of the first protocol that is wanted."""
        node = super().node(entry)
        text = node.metadata.get("dubbo.endpoints")
        node = replace(node, started_at=started_at(node.metadata) or node.started_at)
        if text is None:
            return node
        ports = {}
        listed = json_from_bytes(text.encode())
        for endpoint in listed if isinstance(listed, list) else []:
            if isinstance(endpoint, Mapping):
                ports[str(endpoint.get("protocol"))] = endpoint.get("port")
        for protocol in self.protocols:
            port = ports.get(protocol)
            if isinstance(port, int):
                return replace(node, port=port, scheme="https" if protocol == "https" else None)
        offered = ", ".join(ports) or "none"
        raise ValueError(f"its protocols are {offered}, wanted is {' or '.join(self.protocols)}")


class DubboInterface(Layout):
    """Dubbo 2: interfaces, each provider a URL in the name of a znode without content."""

    __slots__ = ()

    root = "dubbo"
    folders = ("/providers", "/configurators")
    has_data = False

    def chosen(self, znodes: list[Znode]) -> list[object]:
        """Give the newest provider of each address, changed as the configurators say."""
        urls = [_DubboURL.from_name(znode.name) for znode in znodes]
        overrides = [url for url in urls if url.protocol == "override" and url.is_for_callers()]
        overrides.sort(key=lambda url: url.host not in _ANY_HOST)  # the special ones come last
        newest: dict[tuple[str, int | None], _DubboURL] = {}
        for url in sorted(urls, key=lambda url: number(url.params.get("timestamp")) or 0.0):
            if self._wants(url):
                newest[url.host, url.port] = url
        return [url.changed_by(overrides) for url in newest.values()]

    def node(self, entry: object) -> Node:
        """Read the URL of a provider."""
        assert isinstance(entry, _DubboURL)
        params = entry.params
        weight = number(params.get("weight"))
        disabled = params.get("disabled") == "true" or params.get("enabled") == "false"
        secure = entry.protocol == "https" or params.get("ssl-enabled") == "true"
        return node_from_json(
            {
                "host": entry.host,
                "port": entry.port,
                "scheme": "https" if secure else None,
                "generation": params.get("timestamp"),
                "weight": None if weight is None else weight / _NORMAL_WEIGHT,
                "zone": params.get("zone") or params.get("region"),
                "version": params.get("version"),
                "status": "draining" if disabled else "up",
                "started_at": started_at(params),
                "metadata": {**params, "protocol": entry.protocol},
            }
        )

    def _wants(self, url: _DubboURL) -> bool:
        return (
            url.protocol in self.protocols
            and self.group in (None, url.params.get("group"))
            and self.version in (None, url.params.get("version"))
        )


@dataclass(frozen=True, slots=True)
class _DubboURL:
    protocol: str
    host: str = ""
    port: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_name(cls, name: str) -> _DubboURL:
        """Read the name of a znode; what is no address leaves host or port out."""
        text = unquote(name)
        protocol = text.partition("://")[0]
        try:
            url = urlsplit(text)
            params = dict(parse_qsl(url.query, keep_blank_values=True))
            return cls(protocol, url.hostname or "", url.port, params)
        except ValueError:
            return cls(protocol)

    def is_for_callers(self) -> bool:
        """Tell whether this configurator is in force for any caller."""
        anybody = self.params.get("application", "*") in ("", "*")
        return anybody and self.params.get("enabled", "true") == "true"

    def changed_by(self, overrides: list[_DubboURL]) -> _DubboURL:
        """Apply what configurators may say of a provider: its weight, and whether to use it."""
        changes = {
            name: override.params[name]
            for override in overrides
            if override.host in (*_ANY_HOST, self.host) and override.port in (None, 0, self.port)
            for name in ("weight", "disabled")
            if name in override.params
        }
        return replace(self, params={**self.params, **changes})


def _status(document: Mapping[str, object], metadata: Mapping[str, object]) -> Status:
    if document.get("enabled") is False:
        return "draining"
    return _STATUSES.get(str(metadata.get("instance_status", "UP")).upper(), "down")


LAYOUTS: Final[Mapping[str, type[Layout]]] = {
    "curator": Curator,
    "spring": Curator,
    "dubbo": DubboInterface,
    "dubbo-app": DubboApplication,
}
