"""The URL of a registry, taken apart."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from rpcguard._core.nodes.node import is_ipv6
from rpcguard.errors import InvalidRegistryURL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)
_OPTION = re.compile(r"[a-z_]{1,20}")
_ADDRESS = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:%@\\]*))(?::([0-9]{0,5}))?")
RIGHT = "static://10.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class RegistryURL:
    """The parts of a registry URL; `repr` never shows user, password or options.

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

    def choice(self, option: str, choices: tuple[str, ...], default: str) -> str:
        """Give an option that is one of some words; raise `InvalidRegistryURL` for any other."""
        word = self.query.get(option, default)
        if option in self.query and word not in choices:
            raise self.invalid(f"option {option!r} must be one of {', '.join(choices)}")
        return word


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
