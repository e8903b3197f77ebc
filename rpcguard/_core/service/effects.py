"""What a service tells the outside about its list: for logs, metrics, probes and closing."""

from __future__ import annotations

import logging
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.nodes.live import LiveNode

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
            try:
                if isinstance(item, Event):
                    emit(item)
                elif item[0] == "probe":
                    probe(item[1])
                else:
                    retire(item[1])
            except Exception as error:
                # Not by the log, which may be what fails: as `logging` itself does it.
                if logging.raiseExceptions and sys.stderr is not None:
                    traceback.print_exception(error)
            except BaseException as error:  # Ctrl-C, say
                interrupt = interrupt or error
        if interrupt is not None:
            raise interrupt


def _urgency(item: Event | tuple[str, LiveNode]) -> int:
    return 2 if isinstance(item, Event) else ("probe", "retire").index(item[0])
