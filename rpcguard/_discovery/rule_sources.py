"""Where routes are read: a file, a URL, beside a list, or the rules that a registry has."""

from __future__ import annotations

import stat
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, unquote

from anyio import to_thread

from rpcguard._core.policies.routing import checked_routes
from rpcguard._core.routing.documents import MOST_BYTES, routes_of, without_failing
from rpcguard._discovery.adapters import close_stream
from rpcguard._files import signature_of
from rpcguard._text import host_name
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries._shared.documents import MAX_BYTES, json_from_bytes
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.methods import answer_of, stream_of
from rpcguard.registries._shared.tls import TLS_OPTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from rpcguard._core.policies.routing import Route
    from rpcguard.registries.base import RuledRegistry, RuleWatchableRegistry

_FORM: Final = URLForm(
    example="https://user:password@rules.local/v1/{service}.json?ca=/etc/ca.pem",
    ports={"http": 80, "https": 443},  # RFC 9110 §4.2
    options=None,
    path="any",
)
PLACE: Final = "{service}"
"""Stands in a URL for the name of the service whose rules are wanted."""

_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at a file: whoever edits it waits for the effect."""

_ASK_EVERY: Final = 5.0
"""Seconds between two requests, as lists are polled by default."""


class RuleSource(Protocol):
    """Where the routes of a service are read."""

    interval: float
    """Seconds between two looks."""

    async def read(self) -> tuple[Route, ...] | None:
        """Give the routes if they may have changed since, else None.

        Raises `RegistryError` or `OSError` where there is no answer, and `ValueError` for one that
        is no good.
        """
        ...


class Document(Protocol):
    """Where a document of rules is read."""

    interval: float
    """Seconds between two looks."""

    async def read(self) -> object | None:
        """Give the document if it may have changed since, else None."""
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
        self.written_at: float = 0.0
        self._path = Path(path)
        self._most = most
        self._seen: tuple[int, ...] | None = None

    async def read(self) -> object | None:
        """Read the file where it looks different from what was read before."""
        return await to_thread.run_sync(self.read_now, abandon_on_cancel=True)

    def read_now(self) -> object | None:
        """Do the same in the thread that calls; `written_at` is then when the file was written."""
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
        self._seen, self.written_at = seen, found.st_mtime
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
        self._target = target.replace(PLACE, quote(service, safe=""))
        self._toml = path.endswith(".toml")
        self._client = endpoint.client(max_bytes=most)
        self._most = most
        self._etag: bytes | None = None

    async def read(self) -> object | None:
        """Ask for the document; 304 is none that has changed, 404 and all else is no document."""
        headers = {"If-None-Match": self._etag} if self._etag else None
        answer = await self._client.request("GET", self._target, headers=headers)
        if answer.status == 304:
            return None
        if answer.status != 200:
            raise answer.error()
        self._etag = answer.etag
        return _parsed(answer.body, self._most, toml=self._toml)


def _parsed(body: bytes, most: int, *, toml: bool) -> object:
    if len(body) > most:
        raise ValueError(f"it has more than {most} bytes")
    if not toml:
        return json_from_bytes(body, unique=True)  # as TOML and YAML want it
    try:
        return tomllib.loads(body.decode("utf-8-sig"))  # editors of Windows write a mark before it
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class DocumentRules:
    """The routes of a document at a URL; `beside_list` allows one without any."""

    def __init__(self, url: str, service: str, *, may_fail: bool, beside_list: bool) -> None:
        most = MAX_BYTES if beside_list else MOST_BYTES
        self._document: Document
        if url.startswith("file:"):
            self._document = DocumentFile(url, most=most)
        else:
            self._document = DocumentURL(url, service=service, most=most)
        self.interval: float = self._document.interval
        self._may_fail = may_fail
        self._beside_list = beside_list

    async def read(self) -> tuple[Route, ...] | None:
        """Read the document and what it says."""
        found = await self._document.read()
        if found is None:
            return None
        if self._beside_list and isinstance(found, dict):
            found.setdefault("routes", [])
        return routes_of(found, may_fail=self._may_fail)


class RegistryRules:
    """The rules that a registry has of a service, by the name that it has there."""

    def __init__(
        self, registry: RuledRegistry, service: str, listed_as: str, *, may_fail: bool
    ) -> None:
        self.interval: float = _ASK_EVERY
        self._registry = registry
        self._service = service
        self._listed_as = listed_as
        self._may_fail = may_fail

    async def read(self) -> tuple[Route, ...]:
        """Ask the registry."""
        found = await answer_of(self._registry, "routes", self._listed_as)
        routes = _by_its_name(self._service, self._listed_as, found)
        return without_failing(routes, may_fail=self._may_fail)


class WatchedRules:
    """The rules that a registry pushes: each reading waits for the next ones."""

    def __init__(
        self, registry: RuleWatchableRegistry, service: str, listed_as: str, *, may_fail: bool
    ) -> None:
        self.interval: float = 0.0
        self._registry = registry
        self._service = service
        self._listed_as = listed_as
        self._may_fail = may_fail
        self._pushed: AsyncIterator[Sequence[Route]] | None = None

    async def read(self) -> tuple[Route, ...]:
        """Wait for rules; a watch that broke is begun anew by the next reading, after a pause."""
        if self._pushed is None:
            self._pushed = aiter(stream_of(self._registry, "watch_routes", self._listed_as))
        watched, whole = self._pushed, False
        try:
            found = await anext(watched, None)
            whole = found is not None
        finally:
            if not whole:
                self._pushed = None
                await close_stream(watched)
            self.interval = 0.0 if whole else _ASK_EVERY
        if found is None:
            raise RegistryError("the watch of the rules ended")
        routes = _by_its_name(self._service, self._listed_as, found)
        return without_failing(routes, may_fail=self._may_fail)


def _by_its_name(service: str, listed_as: str, found: Iterable[Route]) -> tuple[Route, ...]:
    """Check what a registry has of a service; its name there is none that calls know."""
    routes, here, there = checked_routes(tuple(found)), host_name(service), host_name(listed_as)
    if here == there:
        return routes
    return tuple(replace(one, service=here) if one.service == there else one for one in routes)


async def read_rules(source: str, service: str, *, beside_list: bool = False) -> list[Route]:
    """Read the rules of a service once; `beside_list` allows a document without any.

    Raises `RegistryError`, `OSError` or `ValueError` where there is no document.
    """
    rules = DocumentRules(source, service, may_fail=True, beside_list=beside_list)
    return list(await rules.read() or ())
