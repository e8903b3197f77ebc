"""A registry that does what a test says."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

import anyio

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._text import host_name
from rpcguard.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from rpcguard._core.nodes.node import Node

_PATIENCE = 5.0
"""Seconds that a test may wait for another thread; passed only where something hangs."""


class ScriptedRegistry:
    """A registry of the nodes that a test sets, which pushes each change at once.

    Give it to a transport as its registry. `set`, `fail` and `forget` may be called from any
    thread, and return when the transports that watch the service have taken the change, so the
    next call already goes by it. A transport that is waiting after a failure takes it when it
    tries again. `services` is what is listed from the start; a service never set is unknown.
    """

    def __init__(self, services: Mapping[str, Iterable[Node]] | None = None) -> None:
        self._changed = threading.Condition()
        self._said: dict[str, Snapshot | Exception] = {}
        self._versions: dict[str, int] = {}
        self._watchers: list[_Watcher] = []
        for service, nodes in (services or {}).items():
            self.set(service, nodes)

    def __repr__(self) -> str:
        return f"ScriptedRegistry({', '.join(sorted(self._said))})"

    def set(self, service: str, nodes: Iterable[Node] | Snapshot) -> None:
        """List these nodes from now on, in place of any before."""
        self._say(service, nodes if isinstance(nodes, Snapshot) else Snapshot(nodes))

    def fail(self, service: str, error: Exception | None = None) -> None:
        """Break the watch and answer with `error` (default a `RegistryError`) until told else."""
        self._say(service, error or RegistryError("the registry is down, as scripted"))

    def forget(self, service: str) -> None:
        """Say from now on that the service has never been heard of."""
        self._say(service, Snapshot(known=False))

    async def fetch(self, service: str) -> Snapshot:
        """Give what is listed now."""
        return self._heard(host_name(service))[1]

    async def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield what is listed now and after each change."""
        service = host_name(service)
        watcher = _Watcher(service)
        with self._changed:
            self._watchers.append(watcher)
        try:
            while True:
                version, snapshot = self._heard(service)
                yield snapshot
                with self._changed:
                    watcher.taken = version
                    self._changed.notify_all()
                    watcher.event = anyio.Event()
                    if self._versions.get(service, 0) != version:
                        continue
                await watcher.event.wait()
        finally:
            with self._changed:
                self._watchers.remove(watcher)
                self._changed.notify_all()

    async def aclose(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _heard(self, service: str) -> tuple[int, Snapshot]:
        with self._changed:
            said = self._said.get(service, Snapshot(known=False))
            version = self._versions.get(service, 0)
        if isinstance(said, Exception):
            raise said
        return version, said

    def _say(self, service: str, said: Snapshot | Exception) -> None:
        service = host_name(service)
        with self._changed:
            self._said[service] = said
            version = self._versions[service] = self._versions.get(service, 0) + 1
            watching = [one for one in self._watchers if one.service == service and one.wake()]
            # A watch on the thread of the caller cannot go on before the caller does.
            elsewhere = [one for one in watching if one.thread != threading.get_ident()]
            taken = self._changed.wait_for(
                lambda: all(one.taken >= version or one not in self._watchers for one in elsewhere),
                _PATIENCE,
            )
        if not taken:
            raise TimeoutError(f"no transport took the new list of {service!r} in {_PATIENCE} s")


class _Watcher:
    """One open watch: where it runs and how far it has got."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.taken = -1
        self.event = anyio.Event()
        self.thread = threading.get_ident()
        self._run_soon = _current_loop()

    def wake(self) -> bool:
        """Wake the watch, from any thread; False when its event loop has ended."""
        try:
            self._run_soon(lambda: self.event.set())
        except RuntimeError:
            return False
        return True


def _current_loop() -> Callable[[Callable[[], object]], object]:
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        run_soon: Callable[[Callable[[], object]], object]
        run_soon = sys.modules["trio"].lowlevel.current_trio_token().run_sync_soon
        return run_soon
