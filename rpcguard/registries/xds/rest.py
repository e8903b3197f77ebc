"""The registries `xds+http://` and `xds+https://`: EDS of an xDS control plane, over REST."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._version import __version__
from rpcguard.registries._shared.documents import MAX_BYTES, MOST_SERVICES
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.fields import Fields, number, part, started_at
from rpcguard.registries._shared.nodes import nodes_from_json

if TYPE_CHECKING:
    import ssl

    from rpcguard._core.nodes.node import Status
    from rpcguard.registries._shared.client import HttpReply

_FORM: Final = URLForm(
    example="xds+http://user:password@10.0.0.1:18000?node=orders-1&refresh=1",
    ports={"xds+http": 80, "xds+https": 443},  # those of HTTP: xDS has none of its own
    options=("node", "cluster", "resource", "refresh", "timeout"),
)
_PLACE: Final = "{service}"
_TARGET: Final = "/v3/discovery:endpoints"
_TYPE: Final = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
_WRAPPER: Final = "type.googleapis.com/envoy.service.discovery.v3.Resource"
_STATUSES: Final[Mapping[str, Status]] = {  # in the order of their numbers
    "UNKNOWN": "up",
    "HEALTHY": "up",
    "UNHEALTHY": "down",
    "DRAINING": "draining",
    "TIMEOUT": "down",
    "DEGRADED": "up",
}
_PRIORITIES: Final = 129  # 0 to 128 are allowed; degraded nodes come after all of them
_INVALID_ARGUMENT: Final = 3  # gRPC's code, which a rejected list is answered with

Object = Mapping[str, object]


class XdsRegistry:
    """A registry that polls the endpoints (EDS) of an xDS control plane by REST, in JSON.

    URL form: `xds+http://user:password@h1:18000,h2:18000` or `xds+https://`; `docs/registries/xds`
    has the options and where each field of a node comes from. Several addresses are one control
    plane: the next is asked when one fails.

    Live: each request, every second by default, names the version that it has, and 304 says that
    there is none newer. What cannot be understood is refused with `error_detail` in the next
    request, and the version before it stays. A resource that the control plane never named is an
    unknown service; one that is no longer named keeps its last list, as xDS wants it. Works on
    asyncio and trio; `aclose` it in the event loop that used it.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        endpoint = _FORM.read(url, ssl_context)
        parsed = endpoint.url
        self._resource = parsed.query.get("resource", _PLACE)
        if _PLACE not in self._resource:
            raise parsed.invalid(f"option 'resource' must have {_PLACE} in it")
        self._refresh = parsed.number("refresh", 1.0)
        self._node = {
            "id": parsed.query.get("node", socket.gethostname()),
            "cluster": parsed.query.get("cluster", "rpcguard"),
            "user_agent_name": "rpcguard",
            "user_agent_version": __version__,
        }
        self._shown = endpoint.shown
        self._client = endpoint.client(timeout=parsed.number("timeout", 10.0), max_bytes=max_bytes)
        self._held: LRUCache[str, _Held] = LRUCache(MOST_SERVICES)
        self._faults = FaultLog()

    @classmethod
    def from_url(cls, url: str) -> XdsRegistry:
        """Read an `xds+http(s)://` URL; raise `InvalidRegistryURL` naming what is wrong."""
        return cls(url)

    async def fetch(self, service: str) -> Snapshot:
        """Ask for the list now; raise `RegistryError` where there is no usable answer."""
        unknown = Snapshot((), known=False, max_age=self._refresh)
        held = self._held.setdefault(service, _Held(unknown))
        name = self._resource.replace(_PLACE, service)
        request: dict[str, object] = {
            "node": self._node,
            "resource_names": [name],
            "type_url": _TYPE,
        }
        if held.version:
            request["version_info"] = held.version
        if held.fault:
            request["error_detail"] = {"code": _INVALID_ARGUMENT, "message": held.fault}
        answer = await self._client.request("POST", _TARGET, json=request)
        if answer.status == 304 and held.version:
            return held.snapshot
        if answer.status != 200:
            raise answer.error()
        try:
            version, resource = _resource(answer, name)
            if resource is not None:
                held.snapshot = self._snapshot(resource, f"{answer.url}, service {service!r}")
        except ValueError as error:
            held.fault = str(error)
            raise answer.error(str(error)) from error
        held.version, held.fault = version, ""
        return held.snapshot

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"XdsRegistry({self._shown!r})"

    def _snapshot(self, resource: Object, where: str) -> Snapshot:
        entries = list(_endpoints(_objects(resource, "endpoints")))
        nodes = nodes_from_json(entries, where=where, faults=self._faults, read=_node)
        return Snapshot(nodes, max_age=self._refresh)


@dataclass(slots=True)
class _Held:
    """What is known of one resource: its last good version, and why a later one was none."""

    snapshot: Snapshot
    version: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One endpoint with what its locality says of it."""

    entry: Object
    locality: Object = field(default_factory=dict)
    priority: int = 0
    share: float = 1.0  # its part of the weight of its locality


def _resource(answer: HttpReply, name: str) -> tuple[str, Object | None]:
    """Give the version of an answer, and the resource of this name if it is in there."""
    document = answer.json()
    if not isinstance(document, Mapping):
        raise ValueError("an object is wanted")
    version = _get(document, "version_info")
    for resource in _objects(document, "resources"):
        if resource.get("@type") == _WRAPPER:
            resource = part(resource, "resource")
        if _get(resource, "cluster_name") == name:
            return str(version or ""), resource
    return str(version or ""), None


def _endpoints(localities: list[Object]) -> Iterator[_Endpoint]:
    filled = [some for some in localities if _get(some, "lb_endpoints")]
    weights: dict[int, list[float | None]] = {}
    for some in filled:
        own = number(_get(some, "load_balancing_weight"))
        weights.setdefault(_priority(some), []).append(own)
    weighed = {level for level, peers in weights.items() if len(peers) > 1 and all(peers)}
    for some in filled:
        priority, entries = _priority(some), _objects(some, "lb_endpoints")
        share = 1.0
        if priority in weighed:
            own = number(_get(some, "load_balancing_weight")) or 0.0
            share = own / (sum(map(_weight, entries)) or 1.0)
        for entry in entries:
            yield _Endpoint(entry, part(some, "locality"), priority, share)


def _priority(locality: Object) -> int:
    priority = number(_get(locality, "priority"))
    return int(priority) if priority is not None and priority.is_integer() else 0


def _node(endpoint: object) -> Fields:
    assert isinstance(endpoint, _Endpoint)
    entry, locality = endpoint.entry, endpoint.locality
    described = part(entry, "endpoint")
    place = _part(part(described, "address"), "socket_address")
    if place.get("protocol") not in (None, 0, "TCP"):
        raise ValueError("an endpoint has another protocol than TCP")
    health = _health(_get(entry, "health_status"))
    labels = part(_part(part(entry, "metadata"), "filter_metadata"), "envoy.lb")
    more = {
        "region": locality.get("region"),
        "sub_zone": _get(locality, "sub_zone"),
        "hostname": described.get("hostname"),
    }
    return {
        "host": place.get("address"),
        "port": _get(place, "port_value"),
        "weight": _weight(entry) * endpoint.share,
        "priority": endpoint.priority + (_PRIORITIES if health == "DEGRADED" else 0),
        "status": _STATUSES[health],
        "zone": locality.get("zone") or locality.get("region") or None,
        "version": labels.get("version"),
        "started_at": started_at(labels),
        "metadata": {**{key: value for key, value in more.items() if value}, **labels},
    }


def _weight(entry: Object) -> float:
    weight = number(_get(entry, "load_balancing_weight"))
    return 1.0 if weight is None else weight


def _health(status: object) -> str:
    """Give the name of a status; one that is not known yet is the healthy UNKNOWN, as in xDS."""
    names = list(_STATUSES)
    if isinstance(status, int) and 0 <= status < len(names):
        return names[status]
    return status if isinstance(status, str) and status in names else names[0]


def _get(entry: Object, name: str) -> object:
    """Give a field, spelled as in the protocol or as in JSON: `port_value` or `portValue`."""
    first, *others = name.split("_")
    return entry.get(name, entry.get(first + "".join(map(str.capitalize, others))))


def _part(entry: Object, name: str) -> Object:
    return part({name: _get(entry, name)}, name)


def _objects(entry: Object, name: str) -> list[Object]:
    values = _get(entry, name)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
        raise ValueError(f"{name} must be a list of objects")
    return values
