"""EndpointSlices as the API server lists and streams them, merged into nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rpcguard.registries._shared.documents import json_from_bytes
from rpcguard.registries._shared.fields import part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpcguard._core.nodes.node import Status

_SCHEMES: Final = {"https": "https", "http": "http", "kubernetes.io/h2c": "http"}
_USUAL_PORTS: Final = ("http", "https")
_RANKS: Final = ("up", "draining", "down")


class ExpiredError(Exception):
    """Tell that the history which is asked for is gone."""


class EndpointSlices:
    """Keep the slices of one service by name, and the version they have."""

    def __init__(self, document: object) -> None:
        items = _objects(part({"list": document}, "list"), "items")
        self.by_name = {str(part(item, "metadata").get("name")): item for item in items}
        self.version = self._version_of(document)

    def take(self, line: bytes) -> bool:
        """Take in an event: whether it changed a slice; raise `ValueError` for what is none."""
        event = json_from_bytes(line)
        kind, entry = part({"event": event}, "event").get("type"), part(event, "object")
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
        found: list[tuple[tuple[int, ...], dict[str, object]]] = []
        lacking = None
        for entry in self.by_name.values():
            chosen = _port(entry, port)
            if chosen is not None:
                found += _endpoints(entry, chosen)
            elif entry.get("endpoints"):
                lacking = f"there are endpoints without {f'the port {port}' if port else 'a port'}"
        found.sort(key=lambda pair: pair[0])
        best: dict[str, object] = {}
        for _, endpoint in found:
            best.setdefault(str(endpoint["id"]), endpoint)
        return list(best.values()), lacking

    @staticmethod
    def _version_of(document: object) -> str:
        version = part(document, "metadata").get("resourceVersion")
        if not isinstance(version, str) or not version:
            raise ValueError("there is no resourceVersion: is this Kubernetes?")
        return version


def _port(entry: Mapping[str, object], wanted: str | None) -> Mapping[str, object] | None:
    ports = [port for port in _objects(entry, "ports") if port.get("protocol") in (None, "TCP")]
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
) -> Iterator[tuple[tuple[int, ...], dict[str, object]]]:
    """Give the endpoints of a slice as JSON nodes, each with its rank among others of its id."""
    version = str(part(entry, "metadata").get("resourceVersion"))
    changed = int(version) if version.isdecimal() else 0
    protocol = port.get("appProtocol") or port.get("name")
    for endpoint in _objects(entry, "endpoints"):
        addresses = endpoint.get("addresses")
        host = addresses[0] if isinstance(addresses, list) and addresses else None
        target = part(endpoint, "targetRef")
        pod = target.get("name") if target.get("kind") == "Pod" else None
        status = _status(part(endpoint, "conditions"))
        zones = (str(zone.get("name")) for zone in _objects(part(endpoint, "hints"), "forZones"))
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


def _objects(entry: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    values = entry.get(name)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
        raise ValueError(f"{name} must be a list of objects")
    return values
