"""The registry `zookeeper://`: Curator, Spring Cloud and Dubbo registrations, watched."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import lowlevel, to_thread

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._text import host_and_port
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.documents import MAX_BYTES
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.nodes import nodes_from_json
from rpcguard.registries._shared.tls import TLSFiles
from rpcguard.registries.zookeeper.znodes import LAYOUTS, Layout, Znode

try:
    from kazoo.client import KazooClient  # type: ignore[import-untyped]
    from kazoo.exceptions import (  # type: ignore[import-untyped]
        AuthFailedError,
        KazooException,
        NoAuthError,
        NoNodeError,
    )
    from kazoo.handlers.threading import KazooTimeoutError  # type: ignore[import-untyped]

    from rpcguard.registries.zookeeper.kazoo import Session, _Threads
except ModuleNotFoundError as _missing:
    raise ImportError("zookeeper:// needs kazoo: pip install 'rpcguard[zookeeper]'") from _missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from kazoo.protocol.states import WatchedEvent  # type: ignore[import-untyped]

_FORM: Final = URLForm(
    example="zookeeper://user:password@h1:2181,h2:2181/services?layout=curator",
    ports={"zookeeper": 2181, "zookeeper+tls": 2281},  # 2281 for TLS as in its guide
    options=("layout", "timeout", "session_timeout", "protocols", "group", "version"),
    path="any",
    credentials="login",
)
_PROTOCOLS: Final = ("rest", "http", "https", "tri")
_RECONNECT: Final = {"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": 2.0}
"""How kazoo connects again: for ever, its own first pause and doubling, and at most 2 s apart. Its
60 s would outlast the session by far, and with it the nodes of whoever only watches."""
_SETTLE: Final = 0.01  # seconds: Dubbo 2 rewrites a znode by delete and create
# Requests under way: a session answers them in order, and others wait behind.
_AT_A_TIME: Final = 200

# kazoo logs every request, passwords included; what matters of it is in the errors here.
_quiet = logging.getLogger("rpcguard.zookeeper")
_quiet.addFilter(lambda record: record.levelno >= logging.ERROR)


class ZooKeeperRegistry:
    """A registry that watches the registrations of services in ZooKeeper.

    URL form: `zookeeper://user:password@h1:2181,h2:2181/root?layout=curator`, with TLS
    `zookeeper+tls://`; user and password are those of a digest ACL. `docs/registries/zookeeper` has
    the options, the layouts (Curator and Spring, Dubbo 2, Dubbo 3) and where each field of a node
    comes from.

    Live by watches on the list of nodes and on the data of each. A service is found in any case of
    its name, the exact one first; one without a znode is unknown, a znode without children is an
    empty service. A lost connection and an expired session raise `RegistryError`, and the list
    stays as it was. kazoo runs the connection in threads of its own; `aclose` ends them. After a
    fork the child opens its own connection.
    """

    def __init__(
        self,
        hosts: Iterable[tuple[str, int]],
        *,
        root: str | None = None,
        layout: str = "curator",
        username: str | None = None,
        password: str | None = None,
        tls: TLSFiles | None = None,
        timeout: float = 5.0,
        session_timeout: float = 6.0,
        protocols: Iterable[str] = _PROTOCOLS,
        group: str | None = None,
        version: str | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, not {layout!r}")
        self._layout = LAYOUTS[layout](protocols=tuple(protocols), group=group, version=version)
        self._root = f"/{(root or self._layout.root).strip('/')}"
        self._hosts = ",".join(host_and_port(*pair) for pair in hosts)
        self._credentials = None if username is None else f"{username}:{password or ''}"
        self._tls = tls
        self._timeout = timeout
        self._session_timeout = session_timeout
        self._max_bytes = max_bytes
        self._faults = FaultLog()
        self._session = Session(self._new_client)

    @classmethod
    def from_url(cls, url: str) -> ZooKeeperRegistry:
        """Read a `zookeeper://` URL; raise `InvalidRegistryURL` naming the part that is wrong."""
        endpoint = _FORM.read(url)
        parsed = endpoint.url
        layout = parsed.choice("layout", tuple(LAYOUTS), "curator")
        return cls(
            parsed.hosts,
            root=endpoint.name,
            layout=layout,
            username=parsed.username,
            password=parsed.password,
            tls=TLSFiles.from_url(parsed, secure=True) if endpoint.secure else None,
            timeout=parsed.number("timeout", 5.0),
            session_timeout=parsed.number("session_timeout", 6.0),
            protocols=parsed.query.get("protocols", ",".join(_PROTOCOLS)).split(","),
            group=parsed.query.get("group"),
            version=parsed.query.get("version"),
        )

    async def fetch(self, service: str) -> Snapshot:
        """Read the list now; raise `RegistryError` where there is no answer."""
        return await self._read(self._branch(service))

    async def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield the list first and after each change; raise when the connection is lost."""
        bell = _Bell()
        branch = self._branch(service, bell)
        told: set[str] = set()
        while True:
            bell.arm()
            snapshot = await self._read(branch)
            told, before = {node.id for node in snapshot.nodes}, told
            if before - told:
                await anyio.sleep(_SETTLE)  # who changes its znode's name leaves and comes back
                continue
            yield snapshot
            # Changes come in crowds: the first is told at once, what follows it together.
            await anyio.sleep(_SETTLE)
            await bell.rung()
            if bell.lost:
                raise RegistryError(f"{self}: the connection was lost")

    async def aclose(self) -> None:
        """End the connection and its threads; a later request opens a new one."""
        await to_thread.run_sync(self._session.end, abandon_on_cancel=True)

    def __repr__(self) -> str:
        return f"ZooKeeperRegistry({f'{self._hosts}{self._root}'!r})"

    def _branch(self, service: str, bell: _Bell | None = None) -> _Branch:
        return _Branch(self._root, service, self._layout, self._timeout, self._max_bytes, bell)

    async def _read(self, branch: _Branch) -> Snapshot:
        if self._session.pid != os.getpid():
            self._session = Session(self._new_client)  # threads do not survive a fork
        # Abandoned when cancelled: every wait in there is bounded.
        znodes = await to_thread.run_sync(self._in_thread, branch, abandon_on_cancel=True)
        if znodes is None:
            return Snapshot((), known=False)
        where, unwanted = f"{self}, service {branch.service!r}", Counter[str]()
        try:
            nodes = nodes_from_json(
                self._layout.chosen(znodes, unwanted),
                where=where,
                faults=self._faults,
                read=self._layout.node,
            )
        except ValueError as error:
            raise RegistryError(f"{self}: {error}") from error
        left_out = ", ".join(f"{count} left out by {name}" for name, count in unwanted.items())
        self._faults.report(f"{where}, options", left_out if not nodes and left_out else None)
        return Snapshot(nodes, left_out=left_out)

    def _in_thread(self, branch: _Branch) -> list[Znode] | None:
        try:
            return branch.read(self._session.client(self._timeout))
        except (NoAuthError, AuthFailedError) as error:
            reason = "the credentials are missing, wrong or not enough"
            raise RegistryError(f"{self}: {reason}") from error
        except (KazooException, KazooTimeoutError) as error:
            raise RegistryError(f"{self}: {error or type(error).__name__}") from error

    def _new_client(self) -> KazooClient:
        tls = self._tls or TLSFiles()
        return KazooClient(
            hosts=self._hosts,
            timeout=self._session_timeout,
            handler=_Threads(self._max_bytes),
            auth_data=[("digest", self._credentials)] if self._credentials else None,
            connection_retry=_RECONNECT,
            logger=_quiet,
            use_ssl=self._tls is not None,
            check_hostname=self._tls is not None,
            ca=tls.ca,
            certfile=tls.cert,
            keyfile=tls.key or tls.cert,
        )


class _Bell:
    """What wakes a task from kazoo's threads, with the znodes that have changed."""

    def __init__(self) -> None:
        current = lowlevel.current_token()
        token: Any = getattr(current, "native_token", current)  # anyio 4.11 wraps it
        # Neither waits for the loop, which may be closing while kazoo's threads are joined.
        self._soon = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
        self._event = anyio.Event()
        self.changed: deque[str] = deque()
        self.lost = False

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


class _Branch:
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
        bell: _Bell | None,
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
