"""What a call asks its driver to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rpcguard._core.outcomes.lengths import declared_length
from rpcguard._core.outcomes.responses import is_undivided

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.call.plan import CallPlan
    from rpcguard._core.nodes.live import Lease
    from rpcguard._core.outcomes.verdict import Verdict
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.policies.retry import RetryPolicy
    from rpcguard._core.service.records import Settled


_SWITCHING = 101
"""RFC 9110 §15.2.2: what follows the head is another protocol, and no body."""


class Reply(Protocol):
    """An answer whose body is not read yet: what httpx and httpx2 responses share."""

    status_code: int
    stream: Any
    extensions: Any

    @property
    def headers(self) -> Any:
        """Give the headers, with `.raw` pairs and `.get`."""
        ...


@dataclass(slots=True)
class Send:
    """The wish for an attempt: send the request to the node, come back with the reply."""

    lease: Lease
    """The claim on the node; the call releases it."""
    number: int
    """Which attempt it is, counted from 1."""
    timeouts: dict[str, Any]
    """Those of httpx, in seconds, cut to what the deadline leaves."""
    resent_because: str | None = None
    """The outcome of the attempt before; None for the first."""
    repeatable: bool = True
    """Whether the call may be made again should its connection break off."""
    fresh: bool = False
    """Whether it needs a new connection: a kept one has just been found at its end."""
    buffered: int = 0
    """Bytes up to which an answer is read before it is handed out."""
    again: bool = False
    """Whether an attempt before it may have been processed."""
    hedge: bool = False
    """Whether it runs beside an attempt that is late, and not after it."""
    settled: Settled | None = None
    """What the attempt came to for its node; None while nothing is known yet."""
    policies: Policies | None = None
    """Those of the call's service, for who sends."""
    handed_out: bool = False
    """Whether the call is over but for the body of its answer, which its user reads."""

    @property
    def patience(self) -> Callable[[], float] | None:
        """Give what tells how many seconds of silence are enough once the node says it leaves.

        None where the call may not be made again; without end once it has been handed out.
        """
        return self._patience if self.repeatable else None

    def _patience(self) -> float:
        return math.inf if self.handed_out else self.lease.live.patience()


@dataclass(slots=True)
class Read:
    """The wish to read the body of a reply into memory; come back with whether it is whole."""

    reply: Reply
    """The answer whose body is wanted."""
    limit: int
    """Bytes at which reading stops, whatever the head said: a longer body is broken."""
    open_ended: bool = False
    """The head says no length: a longer body stays a stream, which begins with what was read."""


def read_of(reply: Reply, verdict: Verdict, policy: RetryPolicy, plan: CallPlan) -> Read | None:
    """Give the wish to read an answer before it is handed out; None where it stays a stream."""
    if verdict.failed or reply.status_code == _SWITCHING:
        return None
    raw, limit = reply.headers.raw, policy.prefetch
    length = declared_length(raw)
    if length is not None:
        return Read(reply, limit) if length <= limit else None
    asked = plan.prefetch_unknown
    wanted = policy.prefetch_unknown if asked is None else asked
    return Read(reply, limit, open_ended=True) if wanted and is_undivided(raw) else None


@dataclass(slots=True)
class Discard:
    """The wish to throw a reply away: drained where `drain`, else closed."""

    reply: Reply
    drain: bool


@dataclass(slots=True)
class Sleep:
    """The wish for a pause, in seconds."""

    seconds: float


Step = Send | Read | Discard | Sleep


@dataclass(slots=True)
class Handout:
    """A reply to be handed out; whoever does so gives the lease back: at once where `complete`."""

    reply: Reply
    lease: Lease
    complete: bool
