"""EndpointSlices as the API server lists and streams them, merged into nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rpcguard.registries._shared.documents import json_from_bytes
from rpcguard.registries._shared.fields import listed, mapping, objects, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpcguard._core.nodes.node import Status

_SCHEMES: Final = {"https": "https", "http": "http", "kubernetes.io/h2c": "http"}
_USUAL_PORTS: Final = ("http", "https")
_RANKS: Final = ("up", "draining", "down")


class ExpiredError(Exception):
    """The error of a history that is asked for and gone."""


class EndpointSlices:
    """The slices of one service by name, and the version they have."""

    def __init__(self, document: object) -> None:
        items = map(mapping, listed(mapping(document), "items"))
        self.by_name: dict[str, Mapping[str, object]] = {
            str(part(item, "metadata").get("name")): item for item in items
        }
        self.version: str = self._version_of(document)

    def take(self, line: bytes) -> bool:
        """Take in an event: whether it changed a slice; raise `ValueError` for what is none."""
        event = json_from_bytes(line)
        kind, entry = mapping(event).get("type"), part(event, "object")
        if kind == "ERROR":
            if entry.get("code") == 410:
                raise ExpiredError
            raise ValueError(f"the watch failed: {str(entry.get('message'))[:200]}")
        self.version = self._version_of(entry)
        name = str(part(entry, "metadata").get("name"))
        if kind == "DELETED":
            self.by_name.pop(name, None)
        elif kind in ("ADDED", "MODIFIED"):
            self.by_name[name] = entry
        return kind != "BOOKMARK"

    def nodes(self, port: str | None) -> tuple[list[object], str | None]:
        """Give the nodes as JSON has them, the best of each id, and what is wrong with the port.

        Raises `ValueError` where a slice has another shape.
        """
        found: list[tuple[tuple[int, ...], object]] = []
        lacking = 0
        for entry in self.by_name.values():
            chosen = _port(entry, port)
            if chosen is not None:
                found += _endpoints(entry, chosen)
            else:
                lacking += len(listed(entry, "endpoints"))
        found.sort(key=lambda pair: pair[0])
        best: dict[str, object] = {}
        for number, (_, endpoint) in enumerate(found):
            key = str(endpoint["id"]) if isinstance(endpoint, Mapping) else f"no object {number}"
            best.setdefault(key, endpoint)
        what = f"the port {port}" if port else "a port"
        return list(best.values()), f"{lacking} endpoints without {what}" if lacking else None

    @staticmethod
    def _version_of(document: object) -> str:
        version = part(document, "metadata").get("resourceVersion")
        if not isinstance(version, str) or not version:
            raise ValueError("there is no resourceVersion: is this Kubernetes?")
        return version


def _port(entry: Mapping[str, object], wanted: str | None) -> Mapping[str, object] | None:
    ports = [port for port in objects(entry, "ports") if port.get("protocol") in (None, "TCP")]
    if entry.get("addressType") == "FQDN":
        return None
    if wanted is not None and wanted.isdecimal():
        # A port that is null stands for every port.
        same = (port for port in ports if port.get("port") in (None, int(wanted)))
        return next(({**port, "port": int(wanted)} for port in same), None)
    ports = [port for port in ports if port.get("port") is not None]
    names = _USUAL_PORTS if wanted is None else (wanted,)
    named = [port for name in names for port in ports if port.get("name") == name]
    return next(iter(named or (ports if wanted is None else [])), None)


def _endpoints(
    entry: Mapping[str, object], port: Mapping[str, object]
) -> Iterator[tuple[tuple[int, ...], object]]:
    """Give the endpoints of a slice as JSON nodes, each with its rank among others of its id."""
    version = str(part(entry, "metadata").get("resourceVersion"))
    changed = int(version) if version.isdecimal() else 0
    protocol = port.get("appProtocol") or port.get("name")
    for endpoint in listed(entry, "endpoints"):
        if not isinstance(endpoint, Mapping):
            yield (len(_RANKS),), endpoint
            continue
        addresses = endpoint.get("addresses")
        host = addresses[0] if isinstance(addresses, list) and addresses else None
        target = part(endpoint, "targetRef")
        pod = target.get("name") if target.get("kind") == "Pod" else None
        status = _status(part(endpoint, "conditions"))
        zones = (str(zone.get("name")) for zone in objects(part(endpoint, "hints"), "forZones"))
        metadata = {"node": endpoint.get("nodeName"), "hints": ",".join(zones)}
        rank = (_RANKS.index(status), entry.get("addressType") != "IPv4", -changed)
        yield (
            rank,
            {
                "host": host,
                "port": port["port"],
                "id": pod or f"{host}:{port['port']}",
                "scheme": _SCHEMES.get(str(protocol)),
                "generation": target.get("uid"),
                "status": status,
                "zone": endpoint.get("zone"),
                "metadata": {key: value for key, value in metadata.items() if value},
            },
        )


def _status(conditions: Mapping[str, object]) -> Status:
    serving = conditions.get("serving") is not False
    if conditions.get("terminating") is True:
        return "draining" if serving else "down"
    return "up" if conditions.get("ready") is not False else "down"
