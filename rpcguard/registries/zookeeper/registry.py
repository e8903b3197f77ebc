"""The registry `zookeeper://`: Curator, Spring Cloud and Dubbo registrations, watched."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from anyio import to_thread

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._text import host_and_port
from rpcguard.errors import RegistryError
from rpcguard.registries._rules.dubbo_rules import DubboService
from rpcguard.registries._shared.documents import MAX_BYTES
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.nodes import nodes_from_json
from rpcguard.registries._shared.tls import TLSFiles
from rpcguard.registries.zookeeper.znodes import LAYOUTS

try:
    from kazoo.client import KazooClient  # type: ignore[import-untyped]
    from kazoo.exceptions import (  # type: ignore[import-untyped]
        AuthFailedError,
        KazooException,
        NoAuthError,
    )
    from kazoo.handlers.threading import KazooTimeoutError  # type: ignore[import-untyped]

    from rpcguard.registries.zookeeper.branch import Bell, Branch
    from rpcguard.registries.zookeeper.kazoo import Session, daemon_threads
    from rpcguard.registries.zookeeper.rules import RULES, rule_texts
except ModuleNotFoundError as _missing:
    raise ImportError("zookeeper:// needs kazoo: pip install 'rpcguard[zookeeper]'") from _missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable

    from rpcguard._core.nodes.node import Node
    from rpcguard._core.policies.routing import Route

T = TypeVar("T")

_FORM: Final = URLForm(
    example="zookeeper://user:password@h1:2181,h2:2181/services?layout=curator",
    ports={"zookeeper": 2181, "zookeeper+tls": 2281},  # 2281 for TLS as in its guide
    options=(
        *("layout", "timeout", "session_timeout", "protocols", "group", "version"),
        *("caller", "rules"),
    ),
    path="any",
    credentials="login",
)
_PROTOCOLS: Final = ("rest", "http", "https", "tri")
_RECONNECT: Final = {"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": 2.0}
"""How kazoo connects again: for ever, its own first pause and doubling, and at most 2 s apart. Its
60 s would outlast the session by far, and with it the nodes of whoever only watches."""
_SETTLE: Final = 0.01  # seconds: Dubbo 2 rewrites a znode by delete and create

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
        caller: str | None = None,
        rules: str = RULES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, not {layout!r}")
        self._of_interfaces = layout == "dubbo"
        self._wanted = DubboService(
            application=None,
            version="" if version in (None, "*") else version or "",
            group="" if group in (None, "*") else group or "",
            caller=caller,
        )
        self._rules = f"/{rules.strip('/')}"
        self._known: dict[str, DubboService] = {}
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
            caller=parsed.query.get("caller"),
            rules=parsed.query.get("rules", RULES),
        )

    async def fetch(self, service: str) -> Snapshot:
        """Read the list now; raise `RegistryError` where there is no answer."""
        return await self._read(self._branch(service))

    async def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield the list first and after each change; raise when the connection is lost."""
        bell = Bell()
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

    async def routes(self, service: str) -> list[Route]:
        """Read Dubbo's rules of a service now, those of its tags and its conditions.

        Raises `RegistryError` where there is no answer, and `ValueError` for a rule that cannot be
        a route.
        """
        asked = self._wanted
        if self._of_interfaces:
            if service not in self._known:
                await self.fetch(service)
            asked = self._known.get(service) or replace(asked, interface=service)
        else:
            asked = replace(asked, application=service)
        read = partial(self._in_thread, partial(self._rule_texts, asked.names))
        return asked.routes(await to_thread.run_sync(read, abandon_on_cancel=True))

    def _as_dubbo(self, service: str, nodes: Iterable[Node]) -> DubboService:
        # Nodes say how their interface is spelt, and of which application they are, if it is one.
        said = [node.metadata for node in nodes]
        spelt = (one.get("interface", "") for one in said)
        interface = next((name for name in spelt if name.lower() == service.lower()), service)
        applications = {one.get("application") for one in said}
        application = applications.pop() if len(applications) == 1 else None
        return replace(self._wanted, application=application, interface=interface)

    def _rule_texts(self, names: tuple[str, ...], client: KazooClient) -> dict[str, str]:
        return rule_texts(client, self._rules, names, self._timeout)

    async def services(self) -> Collection[str]:
        """Return the names below the root; raise `RegistryError` without an answer."""
        read = partial(self._in_thread, self._names)
        return await to_thread.run_sync(read, abandon_on_cancel=True)

    async def aclose(self) -> None:
        """End the connection and its threads; a later request opens a new one."""
        await to_thread.run_sync(self._session.end, abandon_on_cancel=True)

    def __repr__(self) -> str:
        return f"ZooKeeperRegistry({f'{self._hosts}{self._root}'!r})"

    def _branch(self, service: str, bell: Bell | None = None) -> Branch:
        return Branch(self._root, service, self._layout, self._timeout, self._max_bytes, bell)

    async def _read(self, branch: Branch) -> Snapshot:
        # Abandoned when cancelled: every wait in there is bounded.
        read = partial(self._in_thread, branch.read)
        znodes = await to_thread.run_sync(read, abandon_on_cancel=True)
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
        if self._of_interfaces and nodes:  # names come from URLs: of all that are called, no trace
            self._known[branch.service] = self._as_dubbo(branch.service, nodes)
        left_out = ", ".join(f"{count} left out by {name}" for name, count in unwanted.items())
        self._faults.report(f"{where}, options", left_out if not nodes and left_out else None)
        return Snapshot(nodes, left_out=left_out)

    def _names(self, client: KazooClient) -> list[str]:
        return [str(name) for name in client.get_children(self._root or "/") or ()]

    def _in_thread(self, read: Callable[[KazooClient], T]) -> T:
        if self._session.pid != os.getpid():
            self._session = Session(self._new_client)  # threads do not survive a fork
        try:
            return read(self._session.client(self._timeout))
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
            handler=daemon_threads(self._max_bytes),
            auth_data=[("digest", self._credentials)] if self._credentials else None,
            connection_retry=_RECONNECT,
            logger=_quiet,
            use_ssl=self._tls is not None,
            check_hostname=self._tls is not None,
            ca=tls.ca,
            certfile=tls.cert,
            keyfile=tls.key or tls.cert,
        )
