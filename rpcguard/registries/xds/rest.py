"""The registries `xds+http://` and `xds+https://`: EDS of an xDS control plane, over REST."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._core.policies.membership import OVERPROVISION
from rpcguard._version import __version__
from rpcguard.registries._shared.documents import MAX_BYTES, MOST_SERVICES
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.fields import part
from rpcguard.registries.xds.assignments import Object, field_of, nodes_of, objects_of

if TYPE_CHECKING:
    import ssl

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
_INVALID_ARGUMENT: Final = 3  # gRPC's code, which a rejected list is answered with


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

    overprovision: Final = OVERPROVISION
    """How much more than its part a level of priority bears, where the user does not say."""

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
        nodes = nodes_of(resource, where=where, faults=self._faults)
        return Snapshot(nodes, max_age=self._refresh)


@dataclass(slots=True)
class _Held:
    """What is known of one resource: its last good version, and why a later one was none."""

    snapshot: Snapshot
    version: str = ""
    fault: str = ""


def _resource(answer: HttpReply, name: str) -> tuple[str, Object | None]:
    """Give the version of an answer, and the resource of this name if it is in there."""
    document = answer.json()
    if not isinstance(document, Mapping):
        raise ValueError("an object is wanted")
    version = field_of(document, "version_info")
    for resource in objects_of(document, "resources"):
        if resource.get("@type") == _WRAPPER:
            resource = part(resource, "resource")
        if field_of(resource, "cluster_name") == name:
            return str(version or ""), resource
    return str(version or ""), None
