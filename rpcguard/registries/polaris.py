"""The registries `polaris://` and `polaris+https://`: Polaris' discovery by revision."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.registries._rules.polaris import routes_of_polaris
from rpcguard.registries._rules.polaris_lanes import LaneSide, routes_of_lanes
from rpcguard.registries._shared.documents import MAX_BYTES, json_from_bytes
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.fields import (
    Fields,
    flag,
    listed,
    mapping,
    number,
    part,
    started_at,
)
from rpcguard.registries._shared.fields import scheme as scheme_of
from rpcguard.registries._shared.nodes import nodes_from_json

if TYPE_CHECKING:
    import ssl

    from rpcguard._core.nodes.node import Status
    from rpcguard._core.policies.routing import Route
    from rpcguard.errors import RegistryError
    from rpcguard.registries._shared.client import HttpReply

_FORM: Final = URLForm(
    example="polaris://:TOKEN@10.0.0.1:8090,10.0.0.2:8090/default?interval=2",
    ports={"polaris": 8090, "polaris+https": 8090},  # that of Polaris' HTTP API
    options=("caller", "interval"),
    path="name",
    credentials="token",
)

_OK, _SAME, _UNKNOWN = 200000, 200001, 400202  # Polaris' own codes, see docs/registries/polaris.md
_NO_SUCH_TYPE: Final = (400001, 400004)
"""What a server says that does not know a type of question: it cannot read it, or has no answer."""

_INTERVAL: Final = 2.0  # seconds: an answer by revision is cheap where nothing has changed
_FULL_WEIGHT: Final = 100.0  # what Polaris gives a node of normal weight
_LONGEST_INFO: Final = 200  # characters of what the server says


@dataclass(frozen=True, slots=True)
class _LastRevision:
    """The last answer of a service, which the next one may only confirm."""

    revision: str
    snapshot: Snapshot


class PolarisRegistry:
    """A registry that polls Polaris by `POST /v1/Discover`, which answers by revision.

    URL form: `polaris://:TOKEN@h1:8090,h2:8090/NAMESPACE`, or `polaris+https://`;
    `docs/registries/polaris` has the options and where each field of a node comes from. Several
    addresses are one cluster: the next is asked when one fails.

    Live: Polaris pushes nothing to clients; each poll, every 2 s as in its own clients, carries the
    last revision, and the answer is empty where nothing has changed. An unknown service or
    namespace gives `known=False`. Works on asyncio and trio; `aclose` it in the event loop that
    used it.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 10.0,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        endpoint = _FORM.read(url, ssl_context)
        self._namespace = endpoint.name or "default"
        self._interval = endpoint.url.number("interval", _INTERVAL)
        self._caller = endpoint.url.query.get("caller")
        self._shown = endpoint.at(f"/{self._namespace}")
        self._client = endpoint.client(
            headers={"X-Polaris-Token": endpoint.token} if endpoint.token else None,
            timeout=timeout,
            max_bytes=max_bytes,
        )
        self._last: dict[str, _LastRevision] = {}
        self._faults = FaultLog()
        # Until the server says that it does not: it would log each question.
        self._knows_lanes = True

    @classmethod
    def from_url(cls, url: str) -> PolarisRegistry:
        """Read a `polaris://` URL; raise `InvalidRegistryURL` naming the part that is wrong."""
        return cls(url)

    async def fetch(self, service: str) -> Snapshot:
        """Ask for the list now; raise `RegistryError` where there is no usable answer."""
        last = self._last.get(service)
        answer = await self._client.request(
            "POST", "/v1/Discover", json=self._question(service, last)
        )
        document = _document(answer)
        code = document.get("code")
        if code == _SAME and last is not None:
            return last.snapshot
        self._last.pop(service, None)
        if code == _UNKNOWN:
            return Snapshot((), known=False, max_age=self._interval)
        if code != _OK:
            raise _error(answer, document)
        return self._keep(service, answer, document)

    async def routes(self, service: str) -> list[Route]:
        """Read the lanes and the routing rules for calls to a service now, lanes first.

        Raises `RegistryError` where there is no answer, and `ValueError` for a rule that cannot be
        a route.
        """
        code, document = await self._discover("ROUTING", service)
        if code == _UNKNOWN:
            return []
        side = LaneSide(
            service=service, namespace=self._namespace, caller=self._caller, now=time.time()
        )
        lanes = routes_of_lanes(await self._lane_groups(service), side)
        rules = routes_of_polaris(
            part(document, "routing"),
            service=service,
            namespace=self._namespace,
            caller=self._caller,
        )
        return [*lanes, *rules]

    async def _lane_groups(self, service: str) -> list[object]:
        """Give the lane groups that the service is in, and those that the caller is an entry of."""
        groups: dict[object, object] = {}
        for name in (service, self._caller):
            if name and self._knows_lanes:
                _, document = await self._discover("LANE", name)
                for group in listed(document, "lanes"):
                    groups.setdefault(mapping(group).get("name"), group)
        return list(groups.values())

    async def _discover(self, kind: str, service: str) -> tuple[object, Mapping[str, object]]:
        about = {"namespace": self._namespace, "name": service}
        answer = await self._client.request(
            "POST", "/v1/Discover", json={"type": kind, "service": about}
        )
        document = _document(answer)
        code = document.get("code")
        if kind == "LANE" and code in _NO_SUCH_TYPE:
            self._knows_lanes = False
        elif code not in (_OK, _UNKNOWN):
            raise _error(answer, document)
        return code, document

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"PolarisRegistry({self._shown!r})"

    def _question(self, service: str, last: _LastRevision | None) -> dict[str, object]:
        about = {"namespace": self._namespace, "name": service}
        if last is not None:
            about["revision"] = last.revision
        return {"type": "INSTANCE", "service": about}

    def _keep(self, service: str, answer: HttpReply, document: Mapping[str, object]) -> Snapshot:
        where = f"{answer.url}, service {service!r}"
        try:
            nodes = nodes_from_json(
                document.get("instances"), where=where, faults=self._faults, read=_node
            )
            revision = part(document, "service").get("revision")
        except ValueError as error:
            raise answer.error(str(error)) from error
        snapshot = Snapshot(nodes, max_age=self._interval)
        if isinstance(revision, str) and revision:
            self._last[service] = _LastRevision(revision, snapshot)
        return snapshot


def _document(answer: HttpReply) -> Mapping[str, object]:
    try:
        document = json_from_bytes(answer.body)
    except ValueError as error:
        if answer.status != 200:
            raise answer.error() from error
        raise answer.error(f"the answer is no JSON: {error}") from error
    if not isinstance(document, Mapping):
        raise answer.error("the answer is no object: is this Polaris?")
    return document


def _error(answer: HttpReply, document: Mapping[str, object]) -> RegistryError:
    code, info = (str(document.get(name))[:_LONGEST_INFO] for name in ("code", "info"))
    if answer.status in (401, 403):
        return answer.error(
            f"code {code}, {info}: the credentials are missing, wrong or not enough"
        )
    return answer.error(f"status {answer.status}, code {code}, {info}")


def _node(entry: object) -> Fields:
    entry, metadata, location = mapping(entry), part(entry, "metadata"), part(entry, "location")
    weight = number(entry.get("weight"))
    protocol = {"scheme": entry.get("protocol") or ""}
    return {
        "host": entry.get("host"),
        "port": entry.get("port"),
        "id": entry.get("id"),
        "scheme": scheme_of(protocol) or scheme_of(metadata),
        "weight": None if weight is None else weight / _FULL_WEIGHT,
        "status": _status(entry),
        "zone": location.get("zone") or metadata.get("zone") or None,
        "version": entry.get("version") or metadata.get("version") or None,
        "started_at": started_at(metadata),
        "generation": entry.get("ctime"),
        "metadata": metadata,
    }


def _status(entry: Mapping[str, object]) -> Status:
    if flag(entry.get("isolate")):
        return "draining"
    return "down" if flag(entry.get("healthy")) is False else "up"
