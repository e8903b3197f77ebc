"""The registries `consul://` and `consul+https://`: Consul's health of a service, long-polled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import anyio

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.registries._shared.documents import MAX_BYTES
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.fields import Fields, mapping, objects, part, scheme
from rpcguard.registries._shared.nodes import nodes_from_json

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Collection, Mapping

    from rpcguard._core.nodes.node import Status
    from rpcguard.registries._shared.client import HttpReply
    from rpcguard.registries._shared.urls import RegistryURL

_PASSED_ON: Final = ("dc", "ns", "partition", "peer", "near", "filter", "tag")
_WHERE: Final = ("dc", "ns", "partition", "peer")
"""What of it says whose services are meant, and not which nodes of one."""
_FORM: Final = URLForm(
    example="consul+https://:TOKEN@10.0.0.1:8501,10.0.0.2:8501?dc=dc1&ca=/etc/ca.pem",
    ports={"consul": 8500, "consul+https": 8501},  # where agents listen by default
    options=(*_PASSED_ON, "consistency", "port", "wait"),
    credentials="token",
)
_CONSISTENCIES: Final = ("stale", "default", "consistent")

_WAIT, _LONGEST_WAIT = 30.0, 600.0  # seconds; Consul itself waits ten minutes at most
_SLACK = 5.0  # seconds beyond the wait, which Consul stretches by a sixteenth
_STALE_MS = 10_000  # a follower so far behind its leader may lack nodes
_BURST, _PERIOD = 5, 0.2  # queries, and seconds: a service that flaps is not asked without end


class ConsulRegistry:
    """A registry that follows Consul's health of a service by blocking queries.

    URL form: `consul://:TOKEN@h1:8500,h2:8500`, or `consul+https://`; `docs/registries/consul` has
    the options and where each field of a node comes from. Several addresses are agents or servers
    of one cluster: the next is asked when one fails.

    Live: each query of `/v1/health/service/NAME` blocks until something about the service changes
    or `wait` is over, and an agent that says nothing for longer than that counts as broken. Queries
    are held to 5 a second. Consul answers alike for an unknown service and an empty one: `known` is
    False until this object has seen a node of it. An answer that the token may not see in full, of
    a server that lost its leader or that lags more than 10 s is not authoritative. Works on asyncio
    and trio; `aclose` it in the event loop that used it.
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
        self._wait = min(parsed.number("wait", _WAIT), _LONGEST_WAIT)
        self._port_name = parsed.query.get("port")
        self._query = _query(parsed)
        self._place = urlencode({k: parsed.query[k] for k in _WHERE if k in parsed.query})
        self._timeout = timeout
        self._shown = endpoint.shown
        self._client = endpoint.client(
            headers={"X-Consul-Token": endpoint.token} if endpoint.token else None,
            timeout=timeout,
            max_bytes=max_bytes,
        )
        self._seen: set[str] = set()
        self._faults = FaultLog()

    @classmethod
    def from_url(cls, url: str) -> ConsulRegistry:
        """Read a `consul://` URL; raise `InvalidRegistryURL` naming the part that is wrong."""
        return cls(url)

    async def fetch(self, service: str) -> Snapshot:
        """Ask for the list now; raise `RegistryError` where there is no usable answer."""
        answer = await self._ask(service, 0)
        return self._snapshot(service, answer)

    async def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield the list at once, after each change, and whenever `wait` is over."""
        index = 0
        listed: set[str] = set()
        filtered = False
        pace = _Pace()
        while True:
            await pace.wait()
            answer = await self._ask(service, index)
            index = _next_index(index, answer)
            snapshot = self._snapshot(service, answer)
            before, listed = listed, {node.id for node in snapshot.nodes}
            if not _is_streamed(answer):
                filtered = _is_filtered(answer)
            elif filtered or before - listed:
                # What a token may not see leaves a stream in silence; a query tells of it.
                whole = await self._ask(service, 0)
                filtered = _is_filtered(whole)
                snapshot = self._snapshot(service, whole) if filtered else snapshot
            yield snapshot

    async def services(self) -> Collection[str]:
        """Return the names that the token may see; raise `RegistryError` without an answer."""
        answer = await self._client.request("GET", f"/v1/catalog/services?{self._place}")
        if answer.status != 200:
            raise answer.error()
        try:
            return mapping(answer.json()).keys()
        except ValueError as error:
            raise answer.error(str(error)) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"ConsulRegistry({self._shown!r})"

    async def _ask(self, service: str, index: int) -> HttpReply:
        target = f"/v1/health/service/{quote(service, safe='')}?{self._query}"
        timeout = self._timeout
        if index:
            target += f"&index={index}&wait={self._wait:g}s"
            # Consul adds up to a sixteenth, so that not all its clients come back at once.
            timeout = self._wait * 17 / 16 + _SLACK
        answer = await self._client.request("GET", target, timeout=timeout)
        if answer.status != 200:
            raise answer.error()
        return answer

    def _snapshot(self, service: str, answer: HttpReply) -> Snapshot:
        where = f"{answer.url}, service {service!r}"
        try:
            nodes = nodes_from_json(
                answer.json(), where=where, faults=self._faults, read=self._node
            )
        except ValueError as error:
            raise answer.error(str(error)) from error
        filtered = _is_filtered(answer)
        if nodes:
            self._seen.add(service)
        elif filtered:
            raise answer.error("the token may not see this service: it needs service:read")
        return Snapshot(
            nodes, authoritative=not filtered and _is_fresh(answer), known=service in self._seen
        )

    def _node(self, entry: object) -> Fields:
        node, service = part(entry, "Node"), part(entry, "Service")
        checks = objects(mapping(entry), "Checks")
        weights, meta = part(service, "Weights"), part(service, "Meta")
        warning = any(check.get("Status") == "warning" for check in checks)
        told = service.get("Tags")
        tags = ",".join(map(str, told)) if isinstance(told, list) else ""
        return {
            "host": service.get("Address") or node.get("Address"),
            "port": service.get("Port") or _named_port(service, self._port_name),
            "id": f"{node.get('Node')}/{service.get('ID')}",
            "generation": service.get("CreateIndex"),
            "weight": weights.get("Warning" if warning else "Passing"),
            "status": _status(checks),
            "zone": _zone(node, service),
            "version": meta.get("version"),
            "scheme": scheme(meta),
            "started_at": meta.get("started_at"),
            "metadata": {**({"tags": tags} if tags else {}), **meta},
        }


class _Pace:
    """A pace of one query every `_PERIOD` seconds, after a burst."""

    def __init__(self) -> None:
        self._due = 0.0

    async def wait(self) -> None:
        now = time.monotonic()
        self._due = max(self._due, now - _BURST * _PERIOD) + _PERIOD
        await anyio.sleep(max(0.0, self._due - now))


def _query(parsed: RegistryURL) -> str:
    consistency = parsed.query.get("consistency", "stale")
    if consistency not in _CONSISTENCIES:
        raise parsed.invalid(f"option 'consistency' must be one of {', '.join(_CONSISTENCIES)}")
    passed_on = {name: parsed.query[name] for name in _PASSED_ON if name in parsed.query}
    mode = "" if consistency == "default" else consistency
    return "&".join(filter(None, (mode, urlencode(passed_on))))


def _next_index(last: int, answer: HttpReply) -> int:
    text = answer.headers.get("x-consul-index", "")
    if not text.isascii() or not text.isdigit():
        raise answer.error("the answer has no X-Consul-Index: is this Consul?")
    index = int(text)
    # Backwards: a restored or emptied server. From 0 the next query does not block, and asks anew.
    return 0 if index < last else max(index, 1)


def _is_filtered(answer: HttpReply) -> bool:
    return str(answer.headers.get("x-consul-results-filtered-by-acls")).lower() == "true"


def _is_streamed(answer: HttpReply) -> bool:
    return bool(answer.headers.get("x-consul-query-backend") == "streaming")


def _is_fresh(answer: HttpReply) -> bool:
    if _is_streamed(answer):
        return True  # such an answer never knows its leader; a stream that broke is an error
    contact = answer.headers.get("x-consul-lastcontact", "")
    lag = int(contact) if contact.isascii() and contact.isdigit() else 0
    return answer.headers.get("x-consul-knownleader") != "false" and lag <= _STALE_MS


def _status(checks: list[Mapping[str, object]]) -> Status:
    critical = [str(check.get("CheckID")) for check in checks if check.get("Status") == "critical"]
    if any(name.startswith(("_service_maintenance:", "_node_maintenance")) for name in critical):
        return "draining"
    return "down" if critical else "up"


def _zone(node: Mapping[str, object], service: Mapping[str, object]) -> object:
    places = (
        part(service, "Meta").get("zone"),
        part(service, "Locality").get("Zone"),
        part(node, "Locality").get("Zone"),
        part(node, "Meta").get("zone"),
    )
    return next(filter(None, places), node.get("Datacenter") or None)


def _named_port(service: Mapping[str, object], wanted: str | None) -> object:
    ports = objects(service, "Ports")
    for port in ports:
        if port.get("name") == wanted if wanted else port.get("default"):
            return port.get("port")
    return ports[0].get("port") if ports and wanted is None else None
