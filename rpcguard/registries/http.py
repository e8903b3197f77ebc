"""The registries `http://` and `https://`: lists as JSON from any web server."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from cachetools import LRUCache

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._text import host_name
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.documents import (
    MAX_BYTES,
    MOST_SERVICES,
    Services,
    names_of,
    services_from_json,
    snapshot_of,
)
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.flights import SharedQuestion
from rpcguard.registries._shared.tls import TLS_OPTIONS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Mapping

    from rpcguard.registries._shared.client import HttpReply
    from rpcguard.registries._shared.urls import RegistryURL

_FORM: Final = URLForm(
    example="https://user:password@registry.local/v1/services/{service}?ca=/etc/ca.pem",
    ports={"http": 80, "https": 443},  # RFC 9110 §4.2
    options=None,
    path="any",
)
_PLACE: Final = "{service}"
_SHORTEST_AGE, _LONGEST_AGE = 1.0, 300.0  # seconds: what a max-age may make of the poll interval
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?([0-9]{1,10})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Document:
    """The last good answer of a URL: its services, or that it knows none of that name."""

    url: str
    services: Services
    etag: bytes | None = None
    max_age: float | None = None


class HttpRegistry:
    """A registry of JSON that any web server has, polled.

    URL form: `http(s)://user:password@h1:80,h2:80/path/{service}?query`. `{service}` is replaced by
    the name, and 404 means that the service is unknown; without it one document for all services is
    asked for, once for all of them. `docs/registries` has the documents and options. Several
    addresses are one registry: the next is asked when one fails.

    Live: an `ETag` is sent back, and 304 gives the last list again; `Cache-Control: max-age` is the
    advised interval, held between 1 and 300 s. Whatever else is answered raises `RegistryError`:
    another status, a redirect, a wrong body, one over `max_bytes` after decompression, or one that
    is not complete within `timeout` seconds. Works on asyncio and trio; `aclose` it in the event
    loop that used it.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 10.0,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        endpoint = _FORM.read(url, ssl_context)
        self._target = _target(endpoint.url)
        self._per_service = _PLACE in self._target
        self._shown = endpoint.shown
        self._client = endpoint.client(headers=headers, timeout=timeout, max_bytes=max_bytes)
        self._last: LRUCache[str, _Document] = LRUCache(MOST_SERVICES)
        self._read: LRUCache[str, tuple[Services, Snapshot]] = LRUCache(MOST_SERVICES)
        self._for_all = SharedQuestion(lambda: self._ask(self._target, None))
        self._faults = FaultLog()

    @classmethod
    def from_url(cls, url: str) -> HttpRegistry:
        """Read an `http(s)://` URL; raise `InvalidRegistryURL` naming the part that is wrong."""
        return cls(url)

    async def fetch(self, service: str) -> Snapshot:
        """Ask for the list now; raise `RegistryError` where there is no usable answer."""
        if self._per_service and not service.strip("."):
            return Snapshot((), known=False)  # "." and ".." would walk up the path
        if self._per_service:
            target = self._target.replace(_PLACE, quote(service, safe=""))
            document = await self._ask(target, service)
        else:
            document = await self._for_all.answer(service)
        return replace(self._snapshot(document, service), max_age=document.max_age)

    async def services(self) -> Collection[str]:
        """Return the names in the document of all; raise `RegistryError` where there is none."""
        if self._per_service:
            raise RegistryError(f"{self._shown} is asked for one service at a time; give its name")
        return names_of((await self._for_all.answer("")).services)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"HttpRegistry({self._shown!r})"

    async def _ask(self, target: str, service: str | None) -> _Document:
        last = self._last.get(target)
        headers = {"If-None-Match": last.etag} if last is not None and last.etag else None
        answer = await self._client.request("GET", target, headers=headers)
        if answer.status == 304 and last is not None:
            last = replace(last, max_age=_max_age(answer) or last.max_age)
        elif answer.status == 404 and service is not None:
            last = _Document(answer.url, {}, max_age=_max_age(answer))
        elif answer.status == 200:
            services = _services(answer, service)
            last = _Document(answer.url, services, answer.etag, _max_age(answer))
        else:
            raise answer.error()
        self._last[target] = last
        return last

    def _snapshot(self, document: _Document, service: str) -> Snapshot:
        services, snapshot = self._read.get(service, (None, None))
        if snapshot is None or services is not document.services:
            try:
                snapshot = snapshot_of(
                    document.services, service, where=document.url, faults=self._faults
                )
            except ValueError as error:
                raise RegistryError(f"{document.url}: {error}") from error
            self._read[service] = document.services, snapshot
        return snapshot


def _services(answer: HttpReply, service: str | None) -> Services:
    document = answer.json()
    if service is not None and isinstance(document, dict) and "nodes" in document:
        return {host_name(service): (service, document["nodes"])}
    try:
        return services_from_json(document)
    except ValueError as error:
        raise answer.error(str(error)) from error


def _target(parsed: RegistryURL) -> str:
    if re.search(r"[{}]", f"{parsed.path}{parsed.raw_query}".replace(_PLACE, "")):
        raise parsed.invalid(f"the only place to fill in is {_PLACE}")
    parts = parsed.raw_query.split("&")
    query = "&".join(part for part in parts if part.partition("=")[0] not in TLS_OPTIONS)
    path = parsed.path or "/"
    return f"{path}?{query}" if query else path


def _max_age(answer: HttpReply) -> float | None:
    match = _MAX_AGE.search(answer.headers.get("cache-control", ""))
    if match is None:
        return None
    return min(max(float(match[1]), _SHORTEST_AGE), _LONGEST_AGE)
