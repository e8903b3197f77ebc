"""Rules are followed here: documents of routes in a file, at a URL, or beside the list."""

from __future__ import annotations

import stat
import threading
import time
import tomllib
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, unquote

import anyio
from anyio import to_thread

from rpcguard._core.routing.documents import MOST_BYTES, routes_of
from rpcguard._discovery.background import background as background
from rpcguard._files import signature_of
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries._shared.documents import MAX_BYTES, json_from_bytes
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.tls import TLS_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from rpcguard._core.policies.routing import Route, Routing
    from rpcguard._core.service.service import Service

_FORM: Final = URLForm(
    example="https://user:password@rules.local/v1/{service}.json?ca=/etc/ca.pem",
    ports={"http": 80, "https": 443},  # RFC 9110 §4.2
    options=None,
    path="any",
)
_PLACE: Final = "{service}"
_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at a file: whoever edits it waits for the effect."""

_ASK_EVERY: Final = 5.0
"""Seconds between two requests, as lists are polled by default."""


class Document(Protocol):
    """Where a document of rules is read."""

    interval: float
    """Seconds between two looks."""

    async def read(self) -> object | None:
        """Give the document if it may have changed since, else None.

        Raises `RegistryError`, `OSError` or `ValueError` where there is none.
        """
        ...


class DocumentFile:
    """A document in a file, JSON, or TOML by its name."""

    def __init__(self, url: str, *, most: int) -> None:
        path = unquote(url.partition("://")[2].partition("?")[0])
        if not path.startswith("/") or path.endswith("/"):
            raise InvalidRegistryURL(
                f"rules: {url!r} names no file; a right one looks like file:///etc/routes.json"
            )
        self.interval: float = _LOOK_EVERY
        self._path = Path(path)
        self._most = most
        self._seen: tuple[int, ...] | None = None

    async def read(self) -> object | None:
        """Read the file where it looks different from what was read before."""
        return await to_thread.run_sync(self._read, abandon_on_cancel=True)

    def _read(self) -> object | None:
        try:
            found = self._path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("it is not a regular file")
            seen = signature_of(found)
            if seen == self._seen:
                return None
            with self._path.open("rb") as file:
                body = file.read(self._most + 1)
        except OSError:
            self._seen = None
            raise
        self._seen = seen
        return _parsed(body, self._most, toml=self._path.suffix == ".toml")


class DocumentURL:
    """A document at a URL, asked for with the `ETag` of the last answer."""

    def __init__(self, url: str, *, service: str, most: int) -> None:
        endpoint = _FORM.read(url)
        parsed = endpoint.url
        parts = parsed.raw_query.split("&")
        query = "&".join(part for part in parts if part.partition("=")[0] not in TLS_OPTIONS)
        path = parsed.path or "/"
        target = f"{path}?{query}" if query else path
        self.interval: float = _ASK_EVERY
        self._target = target.replace(_PLACE, quote(service, safe=""))
        self._toml = path.endswith(".toml")
        self._client = endpoint.client(max_bytes=most)
        self._most = most
        self._etag: str | None = None

    async def read(self) -> object | None:
        """Ask for the document; 304 is none that has changed, 404 and all else is no document."""
        headers = {"If-None-Match": self._etag} if self._etag else None
        answer = await self._client.request("GET", self._target, headers=headers)
        if answer.status == 304:
            return None
        if answer.status != 200:
            raise answer.error()
        self._etag = answer.headers.get("etag")
        return _parsed(answer.body, self._most, toml=self._toml)


def _parsed(body: bytes, most: int, *, toml: bool) -> object:
    if len(body) > most:
        raise ValueError(f"it has more than {most} bytes")
    if not toml:
        return json_from_bytes(body)
    return tomllib.loads(body.decode())


async def read_rules(source: str, service: str, *, beside_list: bool = False) -> list[Route]:
    """Read the rules of a service once; `beside_list` allows a document without any.

    Raises `RegistryError`, `OSError` or `ValueError` where there is no document.
    """
    most = MAX_BYTES if beside_list else MOST_BYTES
    found = await _document_at(source, service, most).read()
    if beside_list and isinstance(found, dict):
        found.setdefault("routes", [])
    return list(routes_of(found, may_fail=True))


def _document_at(url: str, service: str, most: int) -> Document:
    if url.startswith("file:"):
        return DocumentFile(url, most=most)
    return DocumentURL(url, service=service, most=most)


class Rules:
    """The rules of one transport, followed from their source.

    Thread-safe. `listed` is the URL of the registry, for the source `"registry"`. `on_refresh`
    hears what came of each look: `"changed"`, `"same"`, `"rejected"` or `"failed"`. A document that
    is rejected, gone or out of reach leaves the last good one in force.
    """

    def __init__(
        self, routing: Routing, listed: object, *, on_refresh: Callable[[str], None]
    ) -> None:
        source = routing.source
        self._beside_list = source == "registry"
        if self._beside_list:
            source = listed if isinstance(listed, str) else ""
            if not source.startswith(("file://", "http://", "https://")):
                raise ValueError(
                    'source "registry" must be beside a registry of file:// or http(s)://,'
                    " whose documents have room for rules"
                )
        self._url = source
        self._may_fail = routing.may_fail
        self._per_service = source is not None and _PLACE in source
        self._on_refresh = on_refresh
        self._faults = FaultLog()
        self._begin()
        if source is not None:
            self._document(source, "any")  # what is wrong with it is told here

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, tuple[Route, ...]] = {}
        self._services: weakref.WeakValueDictionary[str, Service] = weakref.WeakValueDictionary()
        self._tasks: dict[str, Future[None]] = {}
        self.refreshed_at: float | None = None

    def ready(self, service: str) -> bool:
        """Tell whether the rules of a service have been read once, or need not be."""
        return self._url is None or self._key(service) in self._routes

    def _key(self, service: str) -> str:
        return service if self._per_service else ""

    def follow(self, service: Service) -> None:
        """Apply the rules to a service from now on."""
        if self._url is None:
            return
        key = self._key(service.name)
        with self._lock:
            self._services[service.name] = service
            if key in self._routes:
                service.go_by(self._routes[key])
            if key not in self._tasks:
                self._tasks[key] = background().spawn(self._follow, key, self._url)

    def forget(self, service: str) -> None:
        """Follow the rules of a service no longer."""
        with self._lock:
            self._services.pop(service, None)
            if self._per_service and service in self._tasks:
                self._routes.pop(service, None)
                self._tasks.pop(service).cancel()

    def renew(self) -> None:
        """Start over in a forked child; what the services went by stays until it is read anew."""
        self._begin()

    def stop(self) -> None:
        """Follow nothing any more."""
        with self._lock:
            while self._tasks:
                self._tasks.popitem()[1].cancel()

    def _document(self, url: str, service: str) -> Document:
        return _document_at(url, service, MAX_BYTES if self._beside_list else MOST_BYTES)

    async def _follow(self, key: str, url: str) -> None:
        document = self._document(url, key)
        where = f"rules of {url.partition('?')[0].rpartition('@')[2]}{key and f', service {key}'}"
        while True:
            self._on_refresh(await self._look(key, document, where))
            await anyio.sleep(document.interval)

    async def _look(self, key: str, document: Document, where: str) -> str:
        try:
            found = await document.read()
        except (OSError, RegistryError) as error:
            self._faults.report(where, f"{error}; the last rules stay")
            return "failed"
        except ValueError as error:
            self._faults.report(where, f"{error}; the last rules stay")
            return "rejected"
        self.refreshed_at = time.monotonic()
        if found is None:
            return "same"
        return self._take(key, found, where)

    def _take(self, key: str, found: object, where: str) -> str:
        if self._beside_list and isinstance(found, dict):
            found.setdefault("routes", [])
        try:
            routes = routes_of(found, may_fail=self._may_fail)
        except ValueError as error:
            self._faults.report(where, f"{error}; the last rules stay")
            return "rejected"
        self._faults.report(where, None)
        if routes == self._routes.get(key):
            return "same"
        self._routes[key] = routes
        for service in list(self._services.values()):
            if self._key(service.name) == key:
                with self._lock:
                    service.go_by(self._routes[key])
        return "changed"
