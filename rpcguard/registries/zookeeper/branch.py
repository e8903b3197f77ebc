"""The znodes of one service, and what tells that they have changed."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import lowlevel
from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]

from rpcguard.errors import RegistryError
from rpcguard.registries.zookeeper.znodes import Znode

if TYPE_CHECKING:
    from kazoo.client import KazooClient  # type: ignore[import-untyped]
    from kazoo.protocol.states import WatchedEvent  # type: ignore[import-untyped]

    from rpcguard.registries.zookeeper.znodes import Layout

# Requests under way: a session answers them in order, and others wait behind.
_AT_A_TIME: Final = 200


class Bell:
    """What wakes a task from kazoo's threads, with the znodes that have changed."""

    def __init__(self) -> None:
        current = lowlevel.current_token()
        token: Any = getattr(current, "native_token", current)  # anyio 4.11 wraps it
        # Neither waits for the loop, which may be closing while kazoo's threads are joined.
        self._soon = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
        self._event = anyio.Event()
        self.changed: deque[str] = deque()
        self.lost: bool = False

    def arm(self) -> None:
        """Forget what has happened up to here."""
        self._event = anyio.Event()

    async def rung(self) -> None:
        """Wait until something has happened since."""
        await self._event.wait()

    def __call__(self, event: WatchedEvent) -> None:
        """Take a watch that has fired; without a path it is the connection that is lost."""
        if event.path is None:
            self.lost = True
        else:
            self.changed.append(event.path)
        with suppress(RuntimeError):  # the loop has ended
            self._soon(lambda: self._event.set())


class Branch:
    """The znodes of one service, of which only what has changed is read again.

    With a bell every read leaves watches behind. Not thread-safe.
    """

    def __init__(
        self,
        root: str,
        service: str,
        layout: Layout,
        timeout: float,
        limit: int,
        bell: Bell | None,
    ) -> None:
        self.service = service
        self._root = root
        self._layout = layout
        self._timeout = timeout
        self._limit = limit
        self._bell = bell
        self._kept: dict[str, Znode] = {}

    def read(self, client: KazooClient) -> list[Znode] | None:
        """Give the znodes, None for an unknown service; raise kazoo's exceptions."""
        if self.service.strip(".") == "" or "/" in self.service:
            return None
        while self._bell is not None and self._bell.changed:
            self._kept.pop(self._bell.changed.popleft(), None)
        for name in (self.service, None):
            name = name or self._in_any_case(client)
            if name is None:
                return None
            found = self._below(client, f"{self._root}/{name}".replace("//", "/"))
            if found is not None:
                return found
        return None

    def _below(self, client: KazooClient, path: str) -> list[Znode] | None:
        paths: list[str] = []
        for index, folder in enumerate(self._layout.folders):
            names = self._children(client, path + folder)
            if names is None and index == 0:
                return None
            paths += [f"{path}{folder}/{name}" for name in names or ()]
        if not self._layout.has_data:
            return [Znode(path) for path in paths]
        self._kept = {p: self._kept[p] for p in paths if p in self._kept}
        missing = [p for p in paths if p not in self._kept]
        for start in range(0, len(missing), _AT_A_TIME):
            self._ask(client, missing[start : start + _AT_A_TIME])
        return [self._kept[p] for p in paths if p in self._kept]

    def _ask(self, client: KazooClient, paths: list[str]) -> None:
        for p, answer in [(p, client.get_async(p, self._bell)) for p in paths]:
            with suppress(NoNodeError):  # gone again: the list has changed, and its watch fires
                data, stat = self._result(answer)
                self._kept[p] = Znode(p, data, stat.czxid, stat.created)
        if sum(len(znode.data) for znode in self._kept.values()) > self._limit:
            raise RegistryError(f"{self.service!r} has more than {self._limit} bytes of znodes")

    def _in_any_case(self, client: KazooClient) -> str | None:
        names = self._children(client, self._root)
        wanted = self.service.lower()
        return next((name for name in sorted(names or ()) if name.lower() == wanted), None)

    def _children(self, client: KazooClient, path: str) -> list[str] | None:
        while True:
            with suppress(NoNodeError):
                names: list[str] = self._result(client.get_children_async(path, self._bell))
                return names
            # To hear of it when it is made, unless that has just been.
            if self._bell is None or not self._result(client.exists_async(path, self._bell)):
                return None

    def _result(self, answer: Any) -> Any:
        return answer.get(timeout=self._timeout)
