"""What a user is told of a call: who answered it, and after which attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpcguard._core.nodes.node import Node


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a call: the node, the status or exception name, the seconds it took."""

    node: Node
    outcome: str
    duration: float


@dataclass(frozen=True, slots=True)
class CallInfo:
    """How a call was answered: by which node of which service, after which attempts.

    `route` is the route that took it, `lane` the mark that it has had; `fallback` is `"base"` or
    `"any"` where the node that answered is none of those that it was meant for.
    """

    service: str
    node: Node
    attempts: tuple[Attempt, ...]
    route: str | None = None
    lane: str | None = None
    fallback: str | None = None


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


def note_of(service: str, attempts: Iterable[Attempt]) -> str:
    """Tell the attempts of a call in one line, for whoever reads its error."""
    told = "; ".join(
        f"attempt {number} on {one.node.id}: {one.outcome} after {one.duration:.3f} s"
        for number, one in enumerate(attempts, 1)
    )
    return f"rpcguard: service {service}: {told}"
