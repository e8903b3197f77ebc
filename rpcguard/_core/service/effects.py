"""What a service tells the outside about its list: for logs, metrics, probes and closing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from rpcguard._text import print_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.nodes.live import LiveNode

Kind = Literal[
    "baseless",
    "changed",
    "config",
    "denied",
    "doubted",
    "ejected",
    "frozen",
    "guarded",
    "offline",
    "overlooked",
    "panic",
    "refused",
    "restored",
    "retry",
    "signal",
    "strained",
    "strange",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a service's list, to a call of it, or to the configuration."""

    kind: Kind
    """What it is, in one word; the page on observability has them all."""

    service: str
    """The service; empty for what is about all of a transport's services."""

    node: str | None
    """The node's id; None where it is about no single node."""

    reason: str
    """Why, in words for people."""

    enforced: bool = True
    """False for what was decided and not done: the cap, a freeze or a policy with `enforce=False`
    held it back."""

    code: str = ""
    """The reason in one word of few, for metrics: of an ejection, a signal, a retry, a denial."""


ServiceT = TypeVar("ServiceT", contravariant=True)


class Effects(Protocol[ServiceT]):
    """The I/O that a service asks for; called outside its lock, from any thread."""

    def emit(self, event: Event) -> None:
        """Log and count an event."""
        ...

    def probe(self, service: ServiceT, live: LiveNode) -> None:
        """Start to probe a node in the background, until `Service.probed` says that it is done."""
        ...

    def retire(self, live: LiveNode) -> None:
        """Close what the transport keeps for a node that has left and is idle."""
        ...


def carry_out(effect: Callable[[], object]) -> BaseException | None:
    """Do what is to be done outside; a failure of it costs nothing, an interrupt is given back."""
    try:
        effect()
    except Exception as error:
        print_fault(error)  # not by the log, which may be what fails
    except BaseException as error:  # Ctrl-C, say
        return error
    return None


class Outbox(list["Event | tuple[Literal['probe', 'retire'], LiveNode]"]):
    """What is to be done once the lock of a service is given back."""

    def deliver(
        self,
        emit: Callable[[Event], None],
        probe: Callable[[LiveNode], None],
        retire: Callable[[LiveNode], None],
    ) -> None:
        """Hand everything over: what must happen before what is only told.

        A failure of one effect, such as a log handler that raises, costs neither the others nor the
        call that came by; an interrupt is raised when all are done.
        """
        interrupt: BaseException | None = None
        for item in sorted(self, key=_urgency):
            if isinstance(item, Event):
                effect: partial[None] = partial(emit, item)
            else:
                effect = partial(probe if item[0] == "probe" else retire, item[1])
            interrupt = carry_out(effect) or interrupt
        if interrupt is not None:
            raise interrupt


def _urgency(item: Event | tuple[str, LiveNode]) -> int:
    return 2 if isinstance(item, Event) else ("probe", "retire").index(item[0])
