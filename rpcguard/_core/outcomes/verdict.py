"""What one attempt came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal


@dataclass(frozen=True, slots=True)
class Notice:
    """Say what an answer told about the node that gave it; `ttl` in seconds where it was given.

    `source` is `"signal"`, `"goaway"`, `"retry-after"`, `"foreign"` for a notice about somebody
    else, which is counted and not followed, or `"caller"` for the user's own word.
    """

    source: Literal["signal", "goaway", "retry-after", "foreign", "caller"]
    reason: str
    ttl: float | None = None
    named: bool = field(default=False, kw_only=True)
    """Whether it names the node that answered; one without a name may have been relayed."""


class Safety(Enum):
    """Say whether the request may be sent again."""

    UNSENT = "provably not processed: any method may go again"
    MAYBE = "may have been processed: idempotent calls only"
    NEVER = "sending it again changes nothing"


Blame = Literal["none", "failure", "connect", "handshake"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Say what one attempt came to.

    `outcome` is the status code or the name of the exception. `failed` is true for an exception
    and for an answer of 500 and above, `good` for an answer below 400; what lies between says
    nothing of the node. `stale` is a kept-alive connection that was closed under the request,
    which is nobody's fault.
    """

    outcome: str
    failed: bool
    safety: Safety
    blame: Blame
    good: bool = False
    notice: Notice | None = None
    stale: bool = False


_CANCELLED = Verdict("cancelled", failed=True, safety=Safety.NEVER, blame="none")


def cancelled() -> Verdict:
    """Give the verdict of an attempt that its caller gave up: nobody's fault."""
    return _CANCELLED
