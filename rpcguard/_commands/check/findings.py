"""What was seen of a registry and of its nodes, what it means, and the way out."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rpcguard._core.outcomes.exceptions import causes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rpcguard._core.nodes.node import Node

Grade = Literal["ok", "note", "warn", "fail"]
_MOST_SKEW = 5.0
"""Seconds between two clocks from which it is told: tokens and certificates begin to fail, and the
one second that a `Date` is rounded to, and a slow answer, are far below."""
HOST_CHECKS = (400, 403, 404, 421)
"""Statuses by which frameworks and proxies refuse a `Host` that they do not know: Django and
Starlette 400, Envoy and nginx 404 or 421, others 403."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: how grave, which step, about what, and what to do."""

    grade: Grade
    step: str
    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one node."""

    node: Node
    error: BaseException | None = None
    """What the call raised."""
    status: int = 0
    """Of the answer; 0 without one."""
    version: str = ""
    """Of HTTP, as the answer has it."""
    by_address: int | None = None
    """The status where `Host` is the node's address; None where that was not tried."""
    ahead: float | None = None
    """Seconds by which the node's clock is ahead of this machine's; None without a `Date`."""
    switch: bool = False
    """Whether the paths of the offline switch answer."""
    leaving: bool = False
    """Whether the node said that it leaves."""


def of_list(service: str, registry: str, nodes: Sequence[Node], *, refused: int) -> Finding:
    """Judge the list of a service, of which `refused` nodes are outside of the allowed networks."""
    listed = len(nodes) + refused
    if not nodes and refused:
        text = f"all {refused} nodes are outside of MembershipPolicy(allowed_networks=...)"
        return Finding("fail", "list", service, text)
    taking = [one for one in nodes if one.status == "up" and one.weight > 0]
    if not taking:
        text = f"none of {listed} nodes takes calls: each is down, draining or has weight 0"
        return Finding("fail", "list", service, text)
    told = "" if len(taking) == listed else f", {len(taking)} of them take calls"
    return Finding("ok", "list", service, f"{listed} {_nodes(listed)} in {registry}{told}")


def of_node(tried: Tried, path: str) -> Iterator[Finding]:
    """Judge what came of a node that was asked for `path`, one step after the other."""
    address = tried.node.address
    if tried.error is not None:
        yield _of_error(address, tried.error)
        return
    yield Finding("ok", "connect", address, f"connected, {tried.version}")
    yield _of_answer(tried, address, path)
    if tried.ahead is not None and abs(tried.ahead) > _MOST_SKEW:
        way = "ahead of" if tried.ahead > 0 else "behind"
        text = (
            f"its clock is {abs(tried.ahead):.0f} s {way} this machine's; is NTP running on both?"
        )
        yield Finding("warn", "clock", address, text)
    if tried.leaving:
        text = "it says that it leaves; `rpcguard online` on its machine takes that back"
        yield Finding("warn", "offline", address, text)
    elif not tried.switch:
        text = "no offline switch was seen: wrap its app in rpcguard.provider.OfflineASGI"
        yield Finding("note", "offline", address, text)


def _of_answer(tried: Tried, address: str, path: str) -> Finding:
    said = f"GET {path}: {tried.status}"
    if tried.by_address is not None and tried.by_address < 400 <= tried.status:
        text = (
            f"{said}, but {tried.by_address} where Host is {address}: let it accept the service's"
            " name (Django: ALLOWED_HOSTS, Starlette: TrustedHostMiddleware)"
        )
        return Finding("fail", "host", address, text)
    if tried.status >= 500:
        return Finding("fail", "answer", address, f"{said}: the node fails; see its log")
    if tried.status >= 400:
        return Finding("warn", "answer", address, f"{said}: it answers; is --path right?")
    return Finding("ok", "answer", address, said)


_ERRORS: tuple[tuple[type[BaseException] | str, str, str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "tls",
        "its certificate is not accepted: {error}; give its CA by verify= or SSL_CERT_FILE, and"
        " the service's name to the certificate",
    ),
    (ssl.SSLError, "tls", "no TLS: {error}; is this port https?"),
    ("HandshakeFailed", "tls", "TCP stood, but no TLS in time: is this port https?"),
    (ConnectionRefusedError, "connect", "refused: nothing listens there; is its port right?"),
    (socket.gaierror, "connect", "its name cannot be resolved here"),
    ("ConnectTimeout", "connect", "no connection in time: a firewall, or the node is frozen"),
    ("ReadTimeout", "answer", "connected, but no answer in time: it hangs, or --timeout is short"),
    (TimeoutError, "answer", "connected, but its answer comes too slowly to be waited for"),
    (ConnectionResetError, "answer", "the connection was reset; does it speak http on this port?"),
    ("RemoteProtocolError", "answer", "no HTTP came back: {error}; is this port https?"),
)
"""Kind of error, by class or by the name that httpx gives it; the step; and what to do. The first
that is found in the error or in what caused it counts: the causes say more than the error."""


def _of_error(address: str, error: BaseException) -> Finding:
    causes = list(causes_of(error))
    for kind, step, text in _ERRORS:
        for one in causes:
            if type(one).__name__ == kind if isinstance(kind, str) else isinstance(one, kind):
                return Finding("fail", step, address, text.format(error=_short(one)))
    return Finding("fail", "connect", address, f"{type(error).__name__}: {_short(error)}")


def _short(error: BaseException) -> str:
    # The first line: OpenSSL and httpx add source lines and links that help nobody here.
    return (str(error).splitlines() or [""])[0]


def _nodes(count: int) -> str:
    return "node" if count == 1 else "nodes"
