"""What one attempt came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Notice:
    """What an answer told about the node that gave it; `ttl` in seconds where it was given.

    `source` is `"signal"`, `"goaway"`, `"retry-after"`, `"foreign"` for a notice about somebody
    else, which is counted and not followed, or `"caller"` for the user's own word.
    """

    source: Literal["signal", "goaway", "retry-after", "foreign", "caller"]
    reason: str
    ttl: float | None = None
    named: bool = field(default=False, kw_only=True)
    """Whether it names the node that answered; one without a name may have been relayed."""


class Safety(Enum):
    """Whether the request may be sent again, and what that costs."""

    UNCONNECTED = "it never left this process: any method may go again, at no cost"
    UNSENT = "the node refused it: any method may go again, at the cost of an attempt"
    MAYBE = "may have been processed: idempotent calls only"
    NEVER = "sending it again changes nothing"


Blame = Literal["none", "failure", "connect", "handshake"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one attempt came to."""

    outcome: str
    """The status code, or the name of the exception."""
    failed: bool
    """An exception, an answer of 500 and above, or one that the user's `judge` condemns."""
    safety: Safety
    """Whether it may go again."""
    blame: Blame
    """What it says against the node: by the stage that failed, TCP, TLS or HTTP."""
    good: bool = False
    """An answer below 400; what lies between says nothing of the node's health."""
    odd: bool = False
    """An answer that a wrong application would give to any call, such as 404."""
    notice: Notice | None = None
    """What the node says of itself."""
    stale: bool = False
    """A kept connection had ended under the request: that counts by its rate alone."""
    judged: bool = False
    """It has failed by the user's word."""
    dropped: bool = False
    """The node refused it with all that a GOAWAY left out, and not for itself."""

    @property
    def given_up(self) -> bool:
        """Tell whether the caller did not wait for its end: it would have taken longer."""
        return self.outcome in ("cancelled", OUTRUN)

    @property
    def of_caller(self) -> bool:
        """Tell whether it says nothing of the service: what failed is the caller's own."""
        nobodys = self.failed and self.blame == "none" and self.safety is Safety.NEVER
        return nobodys and not (self.answered or self.given_up)

    @property
    def only_connection(self) -> bool:
        """Tell whether no more than the connection had ended: the node may be asked once more.

        By a close that crossed with the request, or by a GOAWAY that leaves it out, or leaves open
        what has run.
        """
        away = self.failed and self.notice is not None and self.notice.source == "goaway"
        return self.stale or self.dropped or (away and self.blame == "none")

    @property
    def answered(self) -> bool:
        """Tell whether the node answered, with whatever status."""
        return self.outcome.isdigit()


OUTRUN: Final = "outrun"
"""The outcome of an attempt that another one of its call was faster than."""

_OUTRUN = Verdict(OUTRUN, failed=True, safety=Safety.NEVER, blame="none")


def outrun() -> Verdict:
    """Give the verdict of an attempt that another one of its call was faster than."""
    return _OUTRUN


_CANCELLED = Verdict("cancelled", failed=True, safety=Safety.NEVER, blame="none")


def cancelled() -> Verdict:
    """Give the verdict of an attempt that its caller gave up: nobody's fault."""
    return _CANCELLED
