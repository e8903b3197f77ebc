"""The registry `file://`: lists in a JSON file, read again whenever it changes."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote

import anyio
from anyio import to_thread

from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries._shared.documents import MAX_BYTES, json_from_bytes, snapshot_from_services
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.urls import parse_url

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable

    from rpcguard._core.nodes.snapshot import Snapshot

_EXAMPLE: Final = "file:///etc/services.json?interval=0.5"
_SETTLED_NS: Final = 1_000_000_000

T = TypeVar("T")


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
        """Read the file now; raise `RegistryError` that names it and what is wrong with it."""
        try:
            return await _in_thread(lambda: self._read(service))
        except (OSError, ValueError) as error:
            raise RegistryError(f"{self._path}: {_reason(error)}") from error

    async def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield the list of a good file, then whenever it differs or a fault is over."""
        seen: tuple[int, ...] | None = None
        last: Snapshot | None = None
        while True:
            fresh: Snapshot | None = None
            try:
                signature = await _in_thread(self._signature)
                if signature != seen:
                    seen = signature
                    fresh = await _in_thread(lambda: self._read(service))
                    self._faults.report(str(self._path), None)
            except (OSError, ValueError) as error:
                self._faults.report(str(self._path), f"{_reason(error)}; the last list stays")
                last = None
                if isinstance(error, OSError):
                    seen = None
            if fresh is not None and fresh != last:
                last = fresh
                yield fresh
            await anyio.sleep(self._interval)

    async def aclose(self) -> None:
        """Do nothing: no file is held open."""

    def __repr__(self) -> str:
        return f"FileRegistry({str(self._path)!r})"

    def _signature(self) -> tuple[int, ...]:
        found = self._path.stat()
        # Two writes within one tick of the file system's clock look alike. A young file therefore
        # has a signature of its own: it is read once more when it has settled.
        settled = time.time_ns() - found.st_mtime_ns > _SETTLED_NS
        return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, settled)

    def _read(self, service: str) -> Snapshot:
        if not stat.S_ISREG(self._path.stat().st_mode):
            raise ValueError("it is not a regular file")
        with self._path.open("rb") as file:
            body = file.read(self._max_bytes + 1)
        if len(body) > self._max_bytes:
            raise ValueError(f"it has more than {self._max_bytes} bytes")
        if not body:
            raise ValueError("it is empty")
        document = json_from_bytes(body)
        where = str(self._path)
        return snapshot_from_services(document, service, where=where, faults=self._faults)


async def _in_thread(read: Callable[[], T]) -> T:
    # Abandoned when cancelled: a hanging network file system must not hold up the close.
    return await to_thread.run_sync(read, abandon_on_cancel=True)


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
