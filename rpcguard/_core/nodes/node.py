"""What a registry says of one node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from rpcguard._checks import is_amount, is_whole, require
from rpcguard._text import address_of

Status = Literal["up", "draining", "down"]
State = Literal["available", "warming", "ejected", "offline", "draining"]
_STATUSES = ("up", "draining", "down")
_LONGEST_NAME = 1024
"""Characters; an id goes to spans and logs with each call."""
_LONGEST_PATH = 107
"""Bytes: what `sockaddr_un` of Linux holds; a longer path cannot be connected to at all."""
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?!.{{254}}.)(?:{_LABEL}\.)*{_LABEL}\.?")
_DOTTED = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("the metadata of a node cannot be changed")


class _Metadata(dict[str, str]):
    """A dict that nobody changes; a copy or pickle of it alone is an ordinary dict."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


_NO_METADATA = _Metadata()


def _kept(metadata: Mapping[str, str]) -> _Metadata:
    return _Metadata(metadata) if metadata else _NO_METADATA


@dataclass(frozen=True, slots=True)
class Node:
    """One provider process of a service, as its registry lists it.

    Immutable and hashable. `id`, `zone`, `version` and `generation` are printable and at most 1024
    characters long. Raises `ValueError` naming the bad field.
    """

    host: str
    """A name or an IP address: brackets around IPv6 are dropped, letters lowered, and an
    international name is kept in its ASCII form."""
    port: int
    """1 to 65535."""
    id: str = field(default="", kw_only=True)
    """What names the node for good; its address by default."""
    scheme: str | None = field(default=None, kw_only=True)
    """"https" for TLS whatever the URL says; "http" never turns an https call into plain text."""
    weight: float = field(default=1.0, kw_only=True)
    """The node's part of the calls, by ratios: 1 for all is even; 0 takes new calls off it."""
    status: Status = field(default="up", kw_only=True)
    """What the registry says: "up", "draining" (no new calls) or "down"."""
    zone: str | None = field(default=None, kw_only=True)
    """Where it runs, for `ZonePolicy`."""
    version: str | None = field(default=None, kw_only=True)
    """What runs there, for routes and for people."""
    metadata: Mapping[str, str] = field(
        default_factory=lambda: _NO_METADATA, kw_only=True, hash=False
    )
    """Whatever else the registry has of it, such as its lane; a copy is kept."""
    started_at: float | None = field(default=None, kw_only=True)
    """Epoch seconds by the provider's clock, for the slow start of a node that is old already."""
    generation: str | int | None = field(default=None, kw_only=True)
    """What changes when the same id registers anew, so that nothing is held against it."""
    priority: int = field(default=0, kw_only=True)
    """A lower one is used first; 0 for all is one group."""
    uds: str | None = field(default=None, kw_only=True)
    """The path of a Unix domain socket, at most 107 bytes, which is connected to in place of host
    and port."""

    if TYPE_CHECKING:  # an `id` that is given may be None, the one that is read is not

        def __init__(
            self,
            host: str,
            port: int,
            *,
            id: str | None = None,
            scheme: str | None = None,
            weight: float = 1.0,
            status: Status = "up",
            zone: str | None = None,
            version: str | None = None,
            metadata: Mapping[str, str] = ...,
            started_at: float | None = None,
            generation: str | int | None = None,
            priority: int = 0,
            uds: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        host = _ascii(self.host)
        port, started = self.port, self.started_at
        require("host", self.host, "a host name or IP", _is_host(host))
        require("port", port, "1 to 65535", is_whole(port, least=1) and port < 65536)
        require("scheme", self.scheme, "http or https", self.scheme in (None, "http", "https"))
        require("weight", self.weight, "a finite number, 0 or more", is_amount(self.weight))
        require("status", self.status, "up, draining or down", self.status in _STATUSES)
        require("started_at", started, "epoch seconds", started is None or is_amount(started))
        require("priority", self.priority, "a whole number, 0 or more", is_whole(self.priority))
        metadata = self.metadata
        if type(metadata) is not _Metadata:
            require("metadata", metadata, "a mapping", isinstance(metadata, Mapping))
            object.__setattr__(self, "metadata", _kept(metadata))
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "id", str(self.id) if self.id else self.address)
        if self.uds is not None:
            wanted = "the path of a Unix domain socket, at most 107 bytes"
            require("uds", self.uds, wanted, _is_path(self.uds))
        for name in ("id", "zone", "version", "generation"):
            value = getattr(self, name)
            if value is not None and not (name == "generation" and isinstance(value, int)):
                require(name, value, "printable text, at most 1024 characters", _is_name(value))

    def __reduce__(self) -> tuple[Any, ...]:
        # Made anew, for pickles name no class of a private file: the metadata in them are an
        # ordinary dict. Before Python 3.11.4 a `__setstate__` of its own is passed over.
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return partial(type(self), **given), ()

    @property
    def address(self) -> str:
        """Give `host:port`, with brackets around an IPv6 address, or `unix:` and its path."""
        return address_of(self.host, self.port, self.uds)


def is_ipv6(text: str) -> bool:
    """Tell whether `text` is an IPv6 address without brackets and scope."""
    try:
        return IPv6Address(text).scope_id is None
    except ValueError:
        return False


def spelt(host: str) -> str:
    """Give one spelling for all of a host: in ASCII, an IPv6 address short, no dot at the end."""
    name = str(_ascii(host)).removesuffix(".")
    return str(IPv6Address(name)) if is_ipv6(name) else name


def _ascii(host: object) -> object:
    if not isinstance(host, str):
        return host
    host = host.removeprefix("[").removesuffix("]").lower()
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return ""


def _is_host(host: object) -> bool:
    if not isinstance(host, str):
        return False
    if ":" in host:
        return is_ipv6(host)
    if _DOTTED.fullmatch(host):
        return _is_ipv4(host)
    # What the resolver does not take, it refuses by an error that is not one of the network.
    return _HOST.fullmatch(host) is not None


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()


def _is_path(value: object) -> bool:
    if not isinstance(value, str) or not value or not value.isprintable():
        return False
    return len(value.encode()) <= _LONGEST_PATH
