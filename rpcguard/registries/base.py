"""What every registry is, and what the adapters share: the URL parser and the JSON node parser."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import parse_qsl, unquote

from rpcguard.errors import InvalidRegistryURL
from rpcguard.nodes import Node, Snapshot, is_ipv6
from rpcguard.registries._faults import FaultLog as FaultLog

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger: logging.Logger = logging.getLogger("rpcguard")

GROUP = "rpcguard.registries"
MAX_BYTES = 32 * 1024 * 1024
MOST_SERVICES = 1024
"""The number of services that a registry remembers: their names may come from anywhere."""
MOST_NODES = 25_000
"""How many entries a list may have: of so many that are all out, a pick still takes 5 ms."""

MOST_PARTS = 2_000_000
"""How many commas a document may have: of empty objects alone, 32 MiB would become a gigabyte."""

_NODE_FIELDS = frozenset(Node.__slots__)
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)
_OPTION = re.compile(r"[a-z_]{1,20}")
_ADDRESS = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:%@\\]*))(?::([0-9]{0,5}))?")
_LONGEST_FAULT = 200
_RIGHT = "static://10.0.0.1:8080"


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


@runtime_checkable
class CheckingRegistry(Registry, Protocol):
    """Tell of one node more than the list does, which may come out of a cache of the server.

    Asked once for each ejection of a node, about a few nodes at a time.
    """

    async def check(self, service: str, node: Node) -> Node | None:
        """Return what is known now of a listed node, with the same id; None if it is gone.

        It is believed at once, and for a minute against every list that says of this node what
        the list said before. Raise `RegistryError` where there is no sure answer: None is one.
        """
        ...


def registry_from_url(url: str) -> Registry:
    """Make the registry that a URL names.

    The scheme is looked up in the entry-point group `rpcguard.registries`, where an entry is a
    callable that takes the URL. Raises `InvalidRegistryURL` for a scheme that nobody offers and
    for whatever the registry cannot understand. Nothing is contacted yet.
    """
    registry: Registry = entry_of(url).load()(url)
    return registry


def entry_of(url: str, *, also: Iterable[str] = ()) -> EntryPoint:
    """Find the entry point that makes the registry of a URL.

    Raises `InvalidRegistryURL` for a scheme that nobody offers; `also` are those that the caller
    understands itself, to be named among the known ones.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):  # else maybe credentials: not shown
        raise InvalidRegistryURL(f"the registry URL has no scheme; a right one looks like {_RIGHT}")
    from importlib.metadata import entry_points  # seldom asked, and slow to load

    offered = {entry.name: entry for entry in entry_points(group=GROUP)}
    entry = offered.get(scheme.lower())
    if entry is None:
        raise _unknown_scheme(scheme, sorted({*offered, *also}))
    return entry


@dataclass(frozen=True, slots=True)
class RegistryURL:
    """Hold the parts of a registry URL; `repr` never shows user, password or options.

    `hosts` are (host, port) pairs in the order given, lowered and without brackets; `path` is as
    written, still percent-encoded; `query` has the options, decoded, and `raw_query` as written.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    query: Mapping[str, str] = field(repr=False)
    raw_query: str = field(repr=False)
    example: str = field(repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def invalid(self, part: str) -> InvalidRegistryURL:
        """Make the error that says which part is wrong and shows a right URL."""
        return _invalid(part, self.example)

    def number(self, option: str, default: float) -> float:
        """Give an option as a finite number above 0; raise `InvalidRegistryURL` for any other."""
        text = self.query.get(option)
        if text is None:
            return default
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise self.invalid(f"option {option!r} must be a number above 0")
        return number


def parse_url(
    url: str,
    *,
    example: str,
    default_port: int | None = None,
    options: Iterable[str] | None = (),
) -> RegistryURL:
    """Split `scheme://user:password@h1:1,h2:2/path?option=value`.

    `example` is shown in every error; `options` are the query keys allowed, each once; None allows
    any, and the last one counts. A host without a port takes `default_port`; None makes the port
    mandatory. Raises `InvalidRegistryURL` naming the part; the message never repeats the user or
    password.
    """
    match = _URL.fullmatch(url)
    if match is None or not url.isprintable() or " " in url:
        raise _invalid("it cannot be read as a URL (write '#' as %23, a blank as %20)", example)
    scheme, authority, path, query = match.groups(default="")
    if "@" in path + query:
        # Maybe the rest of a password with a '/' or '?' in it: nothing of it may be shown.
        raise _invalid("outside of user:password@ write '@' as %40; inside it '/' as %2F", example)
    credentials, _, addresses = authority.rpartition("@")
    username, colon, password = credentials.partition(":")
    return RegistryURL(
        scheme=scheme.lower(),
        hosts=tuple(
            _host_and_port(number, address, default_port, example)
            for number, address in enumerate(addresses.split(","), 1)
            if address
        ),
        path=path,
        query=_options(query, options, example),
        raw_query=query,
        example=example,
        username=unquote(username) if credentials else None,
        password=unquote(password) if colon else None,
    )


def json_from_bytes(body: bytes) -> object:
    """Read JSON; raise `ValueError` for whatever is none, deep nesting and bad UTF-8 included.

    More than two million commas are refused as well.
    """
    if body.count(b",") > MOST_PARTS:
        raise ValueError(f"it has more than {MOST_PARTS} parts")
    try:
        document: object = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return document


def snapshot_from_services(
    document: object, service: str, *, where: str, faults: FaultLog | None = None
) -> Snapshot:
    """Read one service of `{"services": {"orders": [NODE, ...]}}`, its name in any case.

    A service that is not listed gives a snapshot with `known=False`. Raises `ValueError` when the
    document, or the list of this service, has another shape.
    """
    services = document.get("services") if isinstance(document, Mapping) else None
    if not isinstance(services, Mapping):
        raise ValueError('an object with "services" is wanted')
    for name, entries in services.items():
        if name.lower() == service.lower():
            where = f"{where}, service {name!r}"
            return Snapshot(nodes_from_json(entries, where=where, faults=faults))
    return Snapshot((), known=False)


def nodes_from_json(
    entries: object,
    *,
    where: str,
    faults: FaultLog | None = None,
    read: Callable[[object], Node] | None = None,
) -> list[Node]:
    """Read a list of JSON nodes; leave the bad ones out with one warning that counts them.

    Unknown fields are ignored. `where` names the source in the warning; with `faults` the same
    warning is not repeated for every poll. `read` makes a node of an entry of another form; it
    may raise `ValueError` or `TypeError`, as `node_from_json` does. Raises `ValueError` when
    `entries` is no list, has more than 25,000 entries, or has some and not one is good: such a
    list is broken, not empty.
    """
    if not isinstance(entries, list):
        raise ValueError(f"a list of nodes is wanted, not {type(entries).__name__}")
    if len(entries) > MOST_NODES:
        raise ValueError(f"a list of {len(entries)} nodes is too long, the most is {MOST_NODES}")
    read = read or node_from_json
    nodes: dict[str, Node] = {}
    bad, first = 0, ""
    for entry in entries:
        try:
            node = read(entry)
            if nodes.setdefault(node.id, node) is not node:
                raise ValueError(f"id {node.id!r} is listed twice")
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            bad, first = bad + 1, first or str(error)[:_LONGEST_FAULT]
    if bad and not nodes:
        raise ValueError(f"none of {bad} nodes can be used, first: {first}")
    fault = f"{bad} bad nodes left out, first: {first}" if bad else None
    (faults or FaultLog()).report(where, fault)
    return list(nodes.values())


def node_from_json(entry: object) -> Node:
    """Read one JSON node; raise `ValueError` or `TypeError` naming what is wrong.

    A number as `id`, `zone` or `version` is taken as text, and so is every value of `metadata`.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"a node must be an object, not {type(entry).__name__}")
    values = {
        key: value for key, value in entry.items() if key in _NODE_FIELDS and value is not None
    }
    for name in ("host", "port"):
        if name not in values:
            raise ValueError(f"{name} is missing")
    for name in values.keys() & {"id", "zone", "version"}:
        values[name] = _text(name, values[name])
    if not isinstance(values.get("generation", 0), (str, int)):
        raise ValueError("generation must be text or a whole number")
    metadata = values.get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise ValueError("metadata must be an object")
    values["metadata"] = {str(key): str(value) for key, value in metadata.items()}
    node = Node(**values)
    _refuse_odd_text(node)
    return node


def _unknown_scheme(scheme: str, offered: list[str]) -> InvalidRegistryURL:
    from difflib import get_close_matches  # seldom wanted

    longer = [name for name in offered if name.startswith(scheme.lower())]
    near = longer or get_close_matches(scheme.lower(), offered, n=1)
    known = ", ".join(offered) or "none: is rpcguard installed?"
    hint = f"did you mean {near[0]}://?" if near else f"a right one looks like {_RIGHT}"
    return InvalidRegistryURL(f"no registry for the scheme {scheme!r}; known are: {known}; {hint}")


def _invalid(part: str, example: str) -> InvalidRegistryURL:
    return InvalidRegistryURL(f"registry URL: {part}; a right one looks like {example}")


def _options(query: str, allowed: Iterable[str] | None, example: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if allowed is None:
        return options
    known = sorted(allowed)
    for key in options:
        if key not in known:
            names = ", ".join(known) or "none"
            # A key of another look may be a part of a password.
            shown = f" {key!r}" if _OPTION.fullmatch(key) else ""
            raise _invalid(f"unknown option{shown}, allowed are: {names}", example)
    if len(options) < len(pairs):
        raise _invalid("an option is given twice", example)
    return options


def _host_and_port(
    number: int, address: str, default_port: int | None, example: str
) -> tuple[str, int]:
    # Told by its number: what stands here may be credentials whose '@' was forgotten.
    match = _ADDRESS.fullmatch(address)
    if match is None or not (host := match[1] or match[2]):
        raise _invalid(f"address {number} is not host:port or [IPv6]:port", example)
    if match[1] and not is_ipv6(match[1]):
        raise _invalid(f"address {number} has brackets but no IPv6 address", example)
    port = int(match[3]) if match[3] else default_port
    if port is None:
        raise _invalid(f"address {number} has no port", example)
    if not 0 < port < 65536:
        raise _invalid(f"address {number} has a port that is not 1 to 65535", example)
    return host.lower(), port


def _text(name: str, value: object) -> str:
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"{name} must be text, not {type(value).__name__}")
    return str(value)


def _refuse_odd_text(node: Node) -> None:
    texts = (node.host, node.id, node.zone, node.version, node.generation, *node.metadata)
    try:
        # JSON can spell half a surrogate pair, which no log, header or file can hold.
        "".join(map(str, (*texts, *node.metadata.values()))).encode()
    except UnicodeEncodeError:
        raise ValueError("a field has text that is no Unicode") from None
