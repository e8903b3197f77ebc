"""What every registry is, and what the adapters share: the URL parser and the JSON node parser."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, NoReturn, Protocol, runtime_checkable
from urllib.parse import parse_qsl, unquote, urlsplit

from rpcguard.errors import InvalidRegistryURL
from rpcguard.nodes import Node, Snapshot

logger = logging.getLogger("rpcguard")

GROUP = "rpcguard.registries"

_NODE_FIELDS = frozenset(Node.__slots__)


@runtime_checkable
class Registry(Protocol):
    """Give the current list of a service when asked.

    A registry lives in the discovery thread: every method runs on its event loop, and a registry
    object may be asked for several services at once. An object that also has `aclose` is closed
    with the transport that was given its URL.
    """

    async def fetch(self, service: str) -> Snapshot:
        """Return the list of `service` now; raise `RegistryError` where there is no answer."""
        ...


@runtime_checkable
class WatchableRegistry(Registry, Protocol):
    """Push a new list whenever it changes."""

    def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield the whole list first and after each change; end or raise when the stream breaks."""
        ...

    async def aclose(self) -> None:
        """Give back connections and files."""
        ...


def registry_from_url(url: str) -> Registry:
    """Make the registry that a URL names.

    The scheme is looked up in the entry-point group `rpcguard.registries`, where an entry is a
    callable that takes the URL. Raises `InvalidRegistryURL` for a scheme that nobody offers and
    for whatever the registry cannot understand. Nothing is contacted yet.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise InvalidRegistryURL(
            "the registry URL has no scheme; a right one looks like static://10.0.0.1:8080"
        )
    offered = {entry.name: entry for entry in entry_points(group=GROUP)}
    entry = offered.get(scheme.lower())
    if entry is None:
        known = ", ".join(sorted(offered)) or "none: is rpcguard installed?"
        raise InvalidRegistryURL(f"no registry for the scheme {scheme!r}; known are: {known}")
    registry: Registry = entry.load()(url)
    return registry


@dataclass(frozen=True, slots=True)
class RegistryURL:
    """Hold the parts of a registry URL; `repr` never shows the password.

    `hosts` are (host, port) pairs in the order given, `query` has the options, each once.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    query: Mapping[str, str]
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_url(
    url: str, *, example: str, default_port: int | None = None, options: Iterable[str] = ()
) -> RegistryURL:
    """Split `scheme://user:password@h1:1,h2:2/path?option=value`.

    `example` is shown in every error; `options` are the query keys allowed. A host without a port
    takes `default_port`; None makes the port mandatory. Raises `InvalidRegistryURL` naming the
    part; the message never repeats the user or password.
    """

    def wrong(part: str) -> NoReturn:
        raise InvalidRegistryURL(f"registry URL: {part}; a right one looks like {example}")

    try:
        split = urlsplit(url)
    except ValueError as error:
        wrong(str(error))
    credentials, _, addresses = split.netloc.rpartition("@")
    username, colon, password = credentials.partition(":")
    pairs = parse_qsl(split.query, keep_blank_values=True)
    allowed = sorted(options)
    for key, _ in pairs:
        if key not in allowed:
            wrong(f"unknown option {key!r}, allowed are {', '.join(allowed) or 'none'}")
    query = dict(pairs)
    if len(query) < len(pairs):
        wrong("an option is given twice")
    hosts = tuple(
        _host_and_port(address, default_port, wrong) for address in addresses.split(",") if address
    )
    return RegistryURL(
        scheme=split.scheme,
        hosts=hosts,
        path=split.path,
        query=query,
        username=unquote(username) or None,
        password=unquote(password) if colon else None,
    )


def _host_and_port(address: str, default_port: int | None, wrong: Any) -> tuple[str, int]:
    try:
        split = urlsplit(f"//{address}")
        host, port = split.hostname, split.port
    except ValueError as error:
        wrong(f"address {address!r}: {error}")
    if not host:
        wrong(f"address {address!r} has no host")
    if port is None:
        port = default_port
    if not port:
        wrong(f"address {address!r} has no port")
    return host, port


def nodes_from_json(entries: object, *, where: str) -> list[Node]:
    """Read a list of JSON nodes; leave the bad ones out with one warning that counts them.

    Unknown fields are ignored. `where` names the source in the warning. Raises `ValueError` when
    `entries` is no list.
    """
    if not isinstance(entries, list):
        raise ValueError(f"a list of nodes is wanted, not {type(entries).__name__}")
    nodes: dict[str, Node] = {}
    faults: list[str] = []
    for entry in entries:
        try:
            node = node_from_json(entry)
        except (ValueError, TypeError) as error:
            faults.append(str(error))
            continue
        if nodes.setdefault(node.id, node) is not node:
            faults.append(f"id {node.id!r} is listed twice")
    if faults:
        logger.warning("%s: %d bad nodes left out, first: %s", where, len(faults), faults[0])
    return list(nodes.values())


def node_from_json(entry: object) -> Node:
    """Read one JSON node; raise `ValueError` or `TypeError` naming what is wrong."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"a node must be an object, not {type(entry).__name__}")
    values = {key: value for key, value in entry.items() if key in _NODE_FIELDS and value is not None}
    metadata = values.get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise ValueError("metadata must be an object")
    values["metadata"] = {str(key): str(value) for key, value in metadata.items()}
    return Node(**values)
