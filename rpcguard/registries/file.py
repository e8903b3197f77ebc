"""The registry `file://`: lists in a JSON file, read again whenever it changes."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote

import anyio
from anyio import to_thread
from anyio.lowlevel import RunVar
from cachetools import LRUCache

from rpcguard._files import signature_of
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries._shared.documents import (
    MAX_BYTES,
    MOST_SERVICES,
    Services,
    json_from_bytes,
    names_of,
    services_from_json,
    snapshot_of,
)
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.urls import parse_url

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Collection

    from rpcguard._core.nodes.snapshot import Snapshot

_EXAMPLE: Final = "file:///etc/services.json?interval=0.5"
T = TypeVar("T")


@dataclass(slots=True)
class _FileState:
    """What is known of a file on one event loop, where one watch looks at it for all of them."""

    signature: tuple[int, ...] | None = None
    content: Services | str | None = None
    """The services, or what is wrong with the file."""
    version: int = 0
    """Counts the contents so far."""
    watched: bool = False
    news: anyio.Event = field(default_factory=anyio.Event)
    told: LRUCache[str, str] = field(default_factory=lambda: LRUCache(MOST_SERVICES))
    """The fault that the watch of a service has ended with last."""

    def tell(self) -> None:
        """Wake every watch that waits."""
        self.news.set()
        self.news = anyio.Event()


class FileRegistry:
    """A registry in a JSON file: `{"services": {"orders": [NODE, ...]}}`.

    URL form: `file:///etc/services.json`, the path absolute and percent-encoded where needed;
    option `interval`: seconds between two looks at the file (0.2), one for all services. A service
    is found in any case of its name; one that the file lacks is unknown.

    A file that is gone, half written, too large (`max_bytes`) or otherwise wrong keeps the last
    list and raises `RegistryError`. Replace the file by a rename to never be seen half-way. Files
    are read in worker threads; nothing is held open, so there is nothing to close.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, interval: float = 0.2, max_bytes: int = MAX_BYTES
    ) -> None:
        if not interval > 0:
            raise ValueError(f"interval must be above 0, not {interval!r}")
        self._path = Path(path)
        self._interval = interval
        self._max_bytes = max_bytes
        self._faults = FaultLog()
        self._known: RunVar[_FileState] = RunVar("rpcguard registry file")

    def __reduce__(self) -> tuple[Any, ...]:
        # What it has read belongs to this process and its event loops.
        made = partial(type(self), interval=self._interval, max_bytes=self._max_bytes)
        return made, (str(self._path),)

    @classmethod
    def from_url(cls, url: str) -> FileRegistry:
        """Read a `file://` URL; raise `InvalidRegistryURL` naming the part that is wrong."""
        if not url.partition("://")[2].startswith("/"):
            raise InvalidRegistryURL(
                "registry URL: the path must be absolute, after three slashes; "
                f"a right one looks like {_EXAMPLE}"
            )
        parsed = parse_url(url, example=_EXAMPLE, options=("interval",))
        path = unquote(parsed.path)
        if path.endswith("/") or "\0" in path:
            raise parsed.invalid("the path names no file")
        return cls(path, interval=parsed.number("interval", 0.2))

    async def fetch(self, service: str) -> Snapshot:
        """Look at the file now; raise `RegistryError` that names it and what is wrong with it."""
        state = self._state()
        await self._look(state)
        return self._list(state, service)

    async def services(self) -> Collection[str]:
        """Return the names in the file; raise `RegistryError` for what is wrong with it."""
        state = self._state()
        await self._look(state)
        if isinstance(state.content, str):
            raise RegistryError(f"{self._path}: {state.content}")
        return names_of(state.content or {})

    async def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield the list of a good file, then whenever it differs or a fault is over.

        Raises `RegistryError` for a fault, and once for each: a watch that starts over waits until
        something else is wrong or nothing is.
        """
        state = self._state()
        seen, last = 0, None
        while True:
            await self._news(state, seen)
            seen = state.version
            try:
                fresh = self._list(state, service)
            except RegistryError as error:
                if state.told.get(service) == str(error):
                    continue
                state.told[service] = str(error)
                raise
            state.told.pop(service, None)
            if fresh != last:
                last = fresh
                yield fresh

    async def aclose(self) -> None:
        """Do nothing: no file is held open."""

    def __repr__(self) -> str:
        return f"FileRegistry({str(self._path)!r})"

    def _state(self) -> _FileState:
        state = self._known.get(None)
        if state is None:
            state = _FileState()
            self._known.set(state)
        return state

    async def _news(self, state: _FileState, seen: int) -> None:
        """Return once there is another version than `seen`: one of all watches looks for it."""
        if state.version != seen:
            return
        if state.watched:
            await state.news.wait()
            return
        state.watched = True
        try:
            while state.version == seen:
                if state.version:
                    await anyio.sleep(self._interval)
                await self._look(state)
        finally:
            state.watched = False
            state.tell()  # if this watch ends here, another one has to look

    async def _look(self, state: _FileState) -> None:
        signature: tuple[int, ...] | None = None
        try:
            signature = await _in_thread(self._signature)
            if signature == state.signature:
                return
            fresh: Services | str = await _in_thread(self._read)
        except (OSError, ValueError) as error:
            fresh = _reason(error)
            if isinstance(error, OSError):
                signature = None  # such as no free descriptor: to be tried again as it is
        state.signature = signature
        if fresh != state.content:
            state.content = fresh
            state.version += 1
            state.tell()

    def _list(self, state: _FileState, service: str) -> Snapshot:
        where, content = str(self._path), state.content
        if isinstance(content, str):
            raise RegistryError(f"{where}: {content}")
        try:
            return snapshot_of(content or {}, service, where=where, faults=self._faults)
        except ValueError as error:
            raise RegistryError(f"{where}: {error}") from error

    def _signature(self) -> tuple[int, ...]:
        return signature_of(self._path.stat())

    def _read(self) -> Services:
        if not stat.S_ISREG(self._path.stat().st_mode):
            raise ValueError("it is not a regular file")
        with self._path.open("rb") as file:
            body = file.read(self._max_bytes + 1)
        if len(body) > self._max_bytes:
            raise ValueError(f"it has more than {self._max_bytes} bytes")
        if not body:
            raise ValueError("it is empty")
        return services_from_json(json_from_bytes(body))


async def _in_thread(read: Callable[[], T]) -> T:
    # Abandoned when cancelled: a hanging network file system must not hold up the close.
    return await to_thread.run_sync(read, abandon_on_cancel=True)


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
