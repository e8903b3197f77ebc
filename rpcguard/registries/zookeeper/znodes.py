"""What the frameworks write into ZooKeeper, read as nodes: one layout each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote_plus, urlsplit

from rpcguard.registries._shared.documents import json_from_bytes
from rpcguard.registries._shared.fields import (
    Fields,
    flag,
    mapping,
    number,
    objects,
    part,
    started_at,
)

if TYPE_CHECKING:
    from collections import Counter

    from rpcguard._core.nodes.node import Status

_STATUSES: Final[Mapping[str, Status]] = {"UP": "up", "OUT_OF_SERVICE": "draining"}
_ANY_HOST: Final = ("", "0.0.0.0", "anyhost")
_NORMAL_WEIGHT: Final = 100.0
"""What a provider of Dubbo weighs that says nothing."""
_ANY: Final = "*"
_NO_VERSION: Final = "0.0.0"
_NO_PROVIDERS: Final = ("override", "absent", "empty", "route", "script", "condition")
"""Protocols of what else stands beside the providers of an interface."""


@dataclass(frozen=True, slots=True)
class Znode:
    """One znode: `made_by` is the transaction that made it, `made_at` in epoch seconds."""

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
    """The form in which one framework registers.

    `root` is where services are registered by default, `folders` are what is to be read below a
    service, the first one to exist at least; `has_data` tells whether the znodes have content.
    """

    root: ClassVar[str] = "services"
    folders: ClassVar[tuple[str, ...]] = ("",)
    has_data: ClassVar[bool] = True

    protocols: tuple[str, ...]
    group: str | None
    version: str | None

    def chosen(self, znodes: list[Znode], left_out: Counter[str] | None = None) -> list[object]:
        """Leave out what is not asked for; the rest is for `node`.

        What each of the options took is counted in `left_out`.
        """
        return list(znodes)

    def node(self, entry: object) -> Fields:
        """Read the fields of one node; raise `ValueError` or `TypeError` naming what is wrong."""
        raise NotImplementedError


class Curator(Layout):
    """Curator's service discovery, as Spring Cloud ZooKeeper uses it."""

    __slots__ = ()

    def node(self, entry: object) -> Fields:
        """Read Curator's JSON, with metadata in the payload, which may hold anything else."""
        assert isinstance(entry, Znode)
        document = mapping(json_from_bytes(entry.data))
        payload = document.get("payload")
        metadata = part(payload, "metadata") if isinstance(payload, Mapping) else {}
        secure = number(document.get("sslPort"))
        registered = number(document.get("registrationTimeUTC"))
        return {
            "host": document.get("address"),
            "port": int(secure) if secure else document.get("port"),
            "scheme": "https" if secure else None,
            "id": entry.name,
            "generation": entry.made_by,
            "weight": metadata.get("weight"),
            "zone": metadata.get("zone"),
            "version": metadata.get("version"),
            "status": _status(document, metadata),
            "started_at": registered / 1000.0 if registered else entry.made_at,
            "metadata": metadata,
        }


class DubboApplication(Curator):
    """Dubbo 3: applications, by Curator's JSON, with the ports of their protocols in metadata."""

    __slots__ = ()

    def node(self, entry: object) -> Fields:
        """Read Curator's JSON; port and scheme are those of the first protocol that is wanted.

        Where the endpoints cannot be read, the port of the registration is the node's.
        """
        fields = super().node(entry)
        metadata = part(fields, "metadata")
        fields = {**fields, "started_at": started_at(metadata) or fields["started_at"]}
        ports = _ports_of_protocols(metadata.get("dubbo.endpoints"))
        if not ports:
            return fields
        for protocol in self.protocols:
            port = ports.get(protocol)
            if port is not None:
                return {**fields, "port": port, "scheme": _secure_of(protocol)}
        offered, wanted = ", ".join(ports), " or ".join(self.protocols)
        raise ValueError(f"its protocols are {offered}, wanted is {wanted}")


def _ports_of_protocols(endpoints: object) -> dict[str, int]:
    try:
        listed = json_from_bytes(endpoints.encode()) if isinstance(endpoints, str) else endpoints
    except ValueError:
        return {}
    some = objects({"endpoints": listed if isinstance(listed, list) else [listed]}, "endpoints")
    ports = {str(one.get("protocol")): number(one.get("port")) for one in some}
    return {protocol: int(port) for protocol, port in ports.items() if port}


def _secure_of(protocol: str) -> str | None:
    return "https" if protocol == "https" else None


class DubboInterface(Layout):
    """Dubbo 2: interfaces, each provider a URL in the name of a znode without content."""

    __slots__ = ()

    root = "dubbo"
    folders: ClassVar[tuple[str, ...]] = ("/providers", "/configurators")
    has_data = False

    def chosen(self, znodes: list[Znode], left_out: Counter[str] | None = None) -> list[object]:
        """Give the newest provider of each address, changed as the configurators say."""
        urls = [_DubboURL.from_name(znode.name) for znode in znodes]
        overrides = [url for url in urls if url.protocol == "override" and url.is_for_callers()]
        overrides.sort(key=lambda url: url.host not in _ANY_HOST)  # the special ones come last
        providers = [url for url in urls if url.protocol not in _NO_PROVIDERS]
        newest: dict[tuple[str, int | None], _DubboURL] = {}
        for url in sorted(providers, key=lambda url: number(url.param("timestamp")) or 0.0):
            unwanted = self._unwanted(url)
            if unwanted is None:
                newest[url.host, url.port] = url
            elif left_out is not None:
                left_out[unwanted] += 1
        return [url.changed_by(overrides) for url in newest.values()]

    def node(self, entry: object) -> Fields:
        """Read the URL of a provider."""
        assert isinstance(entry, _DubboURL)
        weight = number(entry.param("weight"))
        disabled = flag(entry.param("disabled")) or flag(entry.param("enabled")) is False
        secure = entry.protocol == "https" or flag(entry.param("ssl-enabled"))
        return {
            "host": entry.host,
            "port": entry.port,
            "scheme": "https" if secure else None,
            "generation": entry.param("timestamp"),
            "weight": None if weight is None else weight / _NORMAL_WEIGHT,
            "zone": entry.param("zone") or entry.param("region"),
            "version": entry.param("version"),
            "status": "draining" if disabled else "up",
            "started_at": started_at({**entry.params, "timestamp": entry.param("timestamp")}),
            "metadata": {**entry.params, "protocol": entry.protocol},
        }

    def _unwanted(self, url: _DubboURL) -> str | None:
        """Give the option that does not want a provider."""
        if url.protocol not in self.protocols:
            return f"protocols={','.join(self.protocols)}"
        if not _fits(self.group, url.param("group") or "", several=True):
            return f"group={self.group}"
        if not _fits(_version(self.version), _version(url.param("version")) or ""):
            return f"version={self.version}"
        return None


def _fits(wanted: str | None, offered: str, *, several: bool = False) -> bool:
    """Match a group or version as Dubbo does: `*` is any, and a group may be one of several."""
    if wanted in (None, _ANY) or wanted == offered:
        return True
    return several and offered in [one.strip() for one in (wanted or "").split(",")]


def _version(text: str | None) -> str | None:
    # To Dubbo a service of version 0.0.0 is one that has no version.
    return "" if text == _NO_VERSION else text


@dataclass(frozen=True, slots=True)
class _DubboURL:
    """The address and the parameters of a provider, as Dubbo 2 writes them in a name."""

    protocol: str
    host: str = ""
    port: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_name(cls, name: str) -> _DubboURL:
        """Read the name of a znode; what is no address leaves host or port out."""
        text = unquote_plus(name)
        protocol = text.partition("://")[0]
        try:
            url = urlsplit(text)
            # Encoded as a whole and once: a '+' in here is one, as in the version 1.0.0+5.
            pairs = (pair.partition("=") for pair in url.query.split("&") if pair)
            params = {key: value for key, _, value in pairs}
            return cls(protocol, url.hostname or "", url.port, params)
        except ValueError:
            return cls(protocol)

    def param(self, name: str) -> str | None:
        """Give a parameter, its own or the default that `<dubbo:provider>` has set for all."""
        return self.params.get(name) or self.params.get(f"default.{name}")

    def is_for_callers(self) -> bool:
        """Tell whether this configurator is in force for any caller."""
        anybody = self.params.get("application", "*") in ("", _ANY)
        return anybody and self.params.get("enabled", "true") == "true"

    def is_for(self, provider: _DubboURL) -> bool:
        """Tell whether this configurator speaks of a provider: of its address and service."""
        return (
            self.host in (*_ANY_HOST, provider.host)
            and self.port in (None, 0, provider.port)
            and _fits(self.param("group"), provider.param("group") or "", several=True)
            and _fits(_version(self.param("version")), _version(provider.param("version")) or "")
        )

    def changed_by(self, overrides: list[_DubboURL]) -> _DubboURL:
        """Apply what configurators may say of a provider: its weight, and whether to use it."""
        changes = {
            name: override.params[name]
            for override in overrides
            if override.is_for(self)
            for name in ("weight", "disabled")
            if name in override.params
        }
        return replace(self, params={**self.params, **changes})


def _status(document: Mapping[str, object], metadata: Mapping[str, object]) -> Status:
    if flag(document.get("enabled")) is False:
        return "draining"
    told = metadata.get("instance_status")
    return _STATUSES.get(told.upper(), "down") if isinstance(told, str) else "up"


LAYOUTS: Final[Mapping[str, type[Layout]]] = {
    "curator": Curator,
    "spring": Curator,
    "dubbo": DubboInterface,
    "dubbo-app": DubboApplication,
}
