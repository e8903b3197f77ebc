"""The registries `eureka+http://` and `eureka+https://`: Netflix' and Spring Cloud's Eureka."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from cachetools import LRUCache

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.documents import MAX_BYTES, MOST_SERVICES
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.fields import (
    Fields,
    flag,
    mapping,
    number,
    objects,
    part,
    started_at,
)
from rpcguard.registries._shared.nodes import node_from_json, nodes_from_json

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection

    from rpcguard._core.nodes.node import Node, Status
    from rpcguard.registries._shared.client import HttpReply

_FORM: Final = URLForm(
    example="eureka+http://user:password@10.0.0.1:8761,10.0.0.2:8761/eureka?interval=5",
    ports={"eureka+http": 8761, "eureka+https": 8761},  # that of Spring Cloud's server
    options=("address", "interval", "secure"),
    path="any",
)
_ADDRESSES: Final = {"ip": ("ipAddr", "hostName"), "hostname": ("hostName", "ipAddr")}
_STATUSES: Final[Mapping[str, Status]] = {"UP": "up", "OUT_OF_SERVICE": "draining"}


class EurekaRegistry:
    """A registry that polls Eureka by `GET /apps/NAME`, the name in capitals.

    URL form: `eureka+http://user:password@h1:8761,h2:8761/eureka`, or `eureka+https://`;
    `docs/registries/eureka` has the options and where each field of a node comes from. Several
    addresses are peers of one registry: one is asked until it fails, then the next.

    Live: Eureka pushes nothing, and its lists are up to 30 s old. What it says of one node is not,
    so `check` asks about a node that was ejected. Eureka answers 404 alike for an unknown service
    and an empty one: `known` is False until this object has seen a node of it. The first answer of
    a peer other than the last is not authoritative, since peers disagree for a while. Works on
    asyncio and trio; `aclose` it in the event loop that used it.
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
        parsed = endpoint.url
        path = parsed.path.rstrip("/") or "/eureka"
        # One client for each peer, since 403 of one means: ask another.
        self._peers = [
            endpoint.client([base], prefix=path, timeout=timeout, max_bytes=max_bytes)
            for base in endpoint.bases
        ]
        self._preferred = 0
        self._interval = parsed.number("interval", 0.0) or None
        self._secure = parsed.choice("secure", ("true", "false"), "false") == "true"
        self._address = _ADDRESSES[parsed.choice("address", tuple(_ADDRESSES), "ip")]
        self._shown = endpoint.at(path)
        self._told: LRUCache[str, int] = LRUCache(MOST_SERVICES)
        self._seen: set[str] = set()
        self._faults = FaultLog()

    @classmethod
    def from_url(cls, url: str) -> EurekaRegistry:
        """Read an `eureka+http(s)://` URL; raise `InvalidRegistryURL` naming what is wrong."""
        return cls(url)

    async def fetch(self, service: str) -> Snapshot:
        """Ask for the list now; raise `RegistryError` where there is no usable answer."""
        if not service.strip("."):
            return Snapshot((), known=False)  # "." and ".." would walk up the path
        peer, answer = await self._ask(_path(service))
        nodes = self._read(service, answer) if answer.status == 200 else []
        if nodes:
            self._seen.add(service)
        same = self._told.setdefault(service, peer) == peer
        self._told[service] = peer
        return Snapshot(
            nodes,
            authoritative=same,
            known=answer.status == 200 or service in self._seen,
            max_age=self._interval,
        )

    async def check(self, service: str, node: Node) -> Node | None:
        """Ask for one node by `GET /apps/NAME/ID`; None if Eureka has it no more.

        That does not come out of the server's cache. Only the peer of the last list is asked:
        another may not have heard of the node yet.
        """
        peer = self._peers[self._told.get(service, self._preferred)]
        answer = await peer.request("GET", f"{_path(service)}/{quote(node.id, safe=':')}")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise _error(answer)
        try:
            return node_from_json(self._node(part(answer.json(), "instance")))
        except (ValueError, TypeError, OverflowError) as error:
            raise answer.error(str(error)) from error

    async def services(self) -> Collection[str]:
        """Return the names, in capitals; raise `RegistryError` without an answer."""
        _, answer = await self._ask("/apps")
        try:
            listed = objects(part(answer.json(), "applications"), "application")
        except ValueError as error:
            raise answer.error(str(error)) from error
        return [str(one["name"]) for one in listed if "name" in one]

    async def aclose(self) -> None:
        """Close the connections."""
        for peer in self._peers:
            await peer.aclose()

    def __repr__(self) -> str:
        return f"EurekaRegistry({self._shown!r})"

    async def _ask(self, target: str) -> tuple[int, HttpReply]:
        errors: list[RegistryError] = []
        first = self._preferred
        for turn in range(len(self._peers)):
            index = (first + turn) % len(self._peers)
            try:
                answer = await self._peers[index].request("GET", target)
            except RegistryError as error:
                errors.append(error)
                continue
            if answer.status in (200, 404):
                self._preferred = index
                return index, answer
            errors.append(_error(answer))
        if len(errors) == 1:
            raise errors[0]
        raise RegistryError("; ".join(map(str, errors)))

    def _read(self, service: str, answer: HttpReply) -> list[Node]:
        where = f"{answer.url}, service {service!r}"
        try:
            application = part(answer.json(), "application")
            entries = application.get("instance", [])
            if not application or entries is None:
                raise ValueError('an object "application" with "instance" is wanted')
            if isinstance(entries, Mapping):
                entries = [entries]  # so did old servers write a list of one
            return nodes_from_json(entries, where=where, faults=self._faults, read=self._node)
        except ValueError as error:
            raise answer.error(str(error)) from error

    def _node(self, entry: object) -> Fields:
        entry = mapping(entry)
        port, secure = _port(entry, "port", used=True), _port(entry, "securePort", used=False)
        metadata = {k: v for k, v in part(entry, "metadata").items() if k != "@class"}
        center = part(part(entry, "dataCenterInfo"), "metadata")
        is_secure = _enabled(secure) and (self._secure or not _enabled(port))
        dirty = number(entry.get("lastDirtyTimestamp"))
        found = number((secure if is_secure else port).get("$"))
        host = next(filter(None, map(entry.get, self._address)), None)
        return {
            "host": host,
            "port": int(found) if found else None,
            "id": _id(entry, center),
            "scheme": "https" if is_secure else None,
            "weight": metadata.get("weight"),
            "status": _STATUSES.get(str(entry.get("status")).upper(), "down"),
            "zone": metadata.get("zone") or center.get("availability-zone"),
            "version": metadata.get("version"),
            "started_at": started_at(metadata) or (dirty and dirty / 1000),
            "generation": entry.get("lastDirtyTimestamp"),
            "metadata": metadata,
        }


def _path(service: str) -> str:
    return f"/apps/{quote(service.upper(), safe='')}"


def _id(entry: Mapping[str, object], center: Mapping[str, object]) -> object:
    # As the server finds it, for which an instance of old may have no id of its own.
    return entry.get("instanceId") or center.get("instance-id") or entry.get("hostName")


def _port(entry: Mapping[str, object], name: str, *, used: bool) -> Mapping[str, object]:
    """Give a port with its `@enabled`, which a server that writes a bare number leaves open."""
    bare = number(entry.get(name))
    return part(entry, name) if bare is None else {"$": bare, "@enabled": used}


def _enabled(port: Mapping[str, object]) -> bool:
    return flag(port.get("@enabled")) is True


def _error(answer: HttpReply) -> RegistryError:
    if answer.status == 403:
        return answer.error(
            "status 403: this peer has no list yet, or the credentials are not enough"
        )
    return answer.error()
