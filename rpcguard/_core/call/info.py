"""What a user is told of a call: who answered it, and after which attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rpcguard._core.nodes.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a call."""

    node: Node
    """Where it was sent."""
    outcome: str
    """The status, or the name of the exception."""
    duration: float
    """Seconds until then."""


@dataclass(frozen=True, slots=True)
class CallInfo:
    """How a call was answered: by which node of which service, after which attempts."""

    service: str
    """The service that was called."""
    node: Node
    """The node that answered."""
    attempts: tuple[Attempt, ...]
    """All tries, the last one is that which was answered."""
    route: str | None = None
    """The route that took the call."""
    lane: str | None = None
    """The mark that it had."""
    fallback: str | None = None
    """`"base"` or `"any"` where the node that answered is none of those that it was meant for."""


class Extended(Protocol):
    """A response, as far as it has extensions: those of httpx and httpx2 do."""

    @property
    def extensions(self) -> Any:
        """Give what transports have said of it."""
        ...


def call_info(response: Extended) -> CallInfo | None:
    """Give what `response.extensions["rpcguard"]` has, typed.

    None for a response that came from no node of a service: of another transport, or of a host that
    was called directly.
    """
    found = response.extensions.get("rpcguard")
    return found if isinstance(found, CallInfo) else None


_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "in plain before the TLS handshake")
"""How OpenSSL, by its version, and the connections say that bytes which came are no TLS."""


def note_of(service: str, attempts: Iterable[Attempt], error: Exception) -> str:
    """Tell the attempts of a call in one line, for whoever reads its error."""
    told = "; ".join(
        f"attempt {number} on {one.node.id}: {one.outcome} after {one.duration:.3f} s"
        for number, one in enumerate(attempts, 1)
    )
    if _met_no_tls(error):
        told += f"; a node that speaks plain HTTP is called by http://{service}"
    return f"rpcguard: service {service}: {told}"


def _met_no_tls(error: BaseException | None) -> bool:
    while error is not None:  # httpcore on trio says it in a cause alone
        if any(sign in str(error) for sign in _NO_TLS):
            return True
        error = error.__cause__ or error.__context__
    return False
