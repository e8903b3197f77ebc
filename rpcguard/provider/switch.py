"""What both middlewares share: the switch, and who may turn it over HTTP."""

from __future__ import annotations

import ipaddress
import json
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container

HEADER = "X-RpcGuard-Offline"

# Each of these says that the request came through a proxy or out of a web page. Its peer address
# is then no proof: servers rewrite it from such headers, and anyone can send them.
_RELAYED = ("x-forwarded-for", "forwarded", "x-real-ip", "via", "origin")


class Answer(NamedTuple):
    """Hold the whole response to a control request."""

    status: HTTPStatus
    headers: list[tuple[str, str]]
    body: bytes


class OfflineSwitch:
    """Remember whether this node leaves.

    Thread-safe. It is about this process alone: where several worker processes share one port,
    each has its own switch.
    """

    def __init__(self, *, prefix: str = "/-/rpcguard") -> None:
        prefix = prefix.rstrip("/")
        if not prefix.startswith("/"):
            raise ValueError(f"prefix must be a path like /-/rpcguard, not {prefix!r}")
        self._prefix = prefix
        self._notice: str | None = None

    @property
    def offline(self) -> bool:
        """Tell whether responses carry the notice."""
        return self._notice is not None

    def go_offline(self, *, ttl: float | None = None) -> None:
        """Mark every later response with `X-RpcGuard-Offline`; the app serves as before.

        `ttl` is for how many seconds callers should stay away, rounded up to whole ones; None
        leaves it to them. Raises `ValueError` for a ttl that is not above 0.
        """
        if ttl is None:
            self._notice = "1"
            return
        if not (math.isfinite(ttl) and ttl > 0):
            raise ValueError(f"ttl must be a number of seconds above 0, not {ttl!r}")
        self._notice = f"1; ttl={math.ceil(ttl)}"

    def online(self) -> None:
        """Take the notice back: later responses carry none."""
        self._notice = None

    def _is_control(self, path: str) -> bool:
        return path in (f"{self._prefix}/offline", f"{self._prefix}/online")

    def _control(self, path: str, method: str, *, local: bool) -> Answer:
        if not local:
            return _answer(HTTPStatus.FORBIDDEN, {"error": "only from this machine"})
        if method != "POST":
            return _answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "use POST"}, ("Allow", "POST"))
        if path.endswith("/offline"):
            self.go_offline()
        else:
            self.online()
        return _answer(HTTPStatus.OK, {"offline": self.offline})


def is_relayed(names: Container[str]) -> bool:
    """Tell whether request headers (lower-case names) show a proxy or a web page in between."""
    return any(name in names for name in _RELAYED)


def is_loopback(address: str) -> bool:
    """Tell whether an IP address in text form, IPv4 in IPv6 included, is this machine."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _answer(status: HTTPStatus, content: dict[str, object], *headers: tuple[str, str]) -> Answer:
    body = json.dumps(content).encode()
    fixed = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return Answer(status, [*fixed, *headers], body)
