"""What a service tells the outside about its list: for logs, metrics, probes and closing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.service import Service

Kind = Literal[
    "baseless",
    "changed",
    "doubted",
    "ejected",
    "frozen",
    "guarded",
    "offline",
    "overlooked",
    "panic",
    "refused",
    "restored",
    "signal",
    "strained",
    "strange",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Tell one thing that happened to a service's list.

    `node` is a node id, None where it is about the list. `enforced` is False for what was decided
    and not done: the cap, a freeze or a policy with `enforce=False` held it back. `code` is the
    reason of an ejection or a signal in one word of few, for metrics.
    """

    kind: Kind
    service: str
    node: str | None
    reason: str
    enforced: bool = True
    code: str = ""


class Effects(Protocol):
    """Do the I/O that a service asks for; called outside its lock, from any thread."""

    def emit(self, event: Event) -> None:
        """Log and count an event."""
        ...

    def probe(self, service: Service, live: LiveNode) -> None:
        """Start to probe a node in the background, until `Service.probed` says that it is done."""
        ...

    def retire(self, live: LiveNode) -> None:
        """Close what the transport keeps for a node that has left and is idle."""
        ...


class Outbox(list["Event | tuple[Literal['probe', 'retire'], LiveNode]"]):
    """Collect under the lock of a service what is to be done once it is given back."""

    def deliver(self, service: Service, effects: Effects) -> None:
        """Hand everything over."""
        for item in self:
            if isinstance(item, Event):
                effects.emit(item)
            elif item[0] == "probe":
                effects.probe(service, item[1])
            else:
                effects.retire(item[1])
