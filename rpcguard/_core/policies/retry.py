"""When a failed attempt may be followed by another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpcguard._checks import (
    is_several,
    is_whole,
    require,
    require_amounts,
    require_bools,
    require_positive,
)

if TYPE_CHECKING:
    from random import Random

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "QUERY"})
"""Those of RFC 9110 §9.2.2, and QUERY, which is defined to be one."""

RETRIED_STATUSES = frozenset({500, 502, 503, 504})
"""What another node may well answer otherwise: its code (500), what lies behind it (502, 504) or
its load (503) is at fault. 501 and 505 say the same of every node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and what, is sent again to another node.

    The first retry waits for nothing, later ones up to `backoff` · 2ⁿ seconds, with full jitter.
    Retries are paid from a budget (Finagle's RetryBudget). A try that never left this process,
    since it could not connect, is neither an attempt nor paid for; those of one call together may
    take one connect timeout, and are 20 at most. No call is held until a node is back: all that
    were held met the first one together, and 1,498 were lost in a simulation and not 1,069.
    """

    attempts: int = 2
    """How often a call is sent, the first time included: a second node saves nearly all calls that
    can be saved, a third one multiplies what a failing fleet gets."""
    methods: frozenset[str] = IDEMPOTENT_METHODS
    """Methods that may be repeated although they may have been processed, as may any call that
    carries an `Idempotency-Key`: those that RFC 9110 defines to be idempotent, and QUERY."""
    statuses: frozenset[int] = RETRIED_STATUSES
    """Answers, of 400 and above, after which such calls go to another node: by default 500, 502,
    503 and 504, where another node may well answer otherwise. A retry after 429 is not delayed,
    whatever `Retry-After` says."""
    judge: Callable[[Any], object] | None = None
    """Called with each answer that is none of a failing node, its body unread; true makes it a
    failure of the node, after which such calls go to another one. One that raises says nothing, and
    None asks nobody: statuses say it where services keep to HTTP."""
    exact: bool | None = None
    """Whether `ConnectError` and `ConnectTimeout` surely mean that nothing was sent. None believes
    rpcguard's own connections, and no `node_transport`."""
    budget_ratio: float = 0.2
    """Retries per call that are paid for, over the window: Finagle's default."""
    budget_floor: float = 10.0
    """Retries a second that are paid for besides, so that few calls can be retried as well; 10 is
    Finagle's default."""
    budget_window: float = 10.0
    """Seconds over which calls and retries are counted: Finagle's default; what a longer one saves
    up would be spent at once in an outage."""
    backoff: float = 0.025
    """Seconds that the second retry waits at most, doubled for each one after it: Envoy's 25 ms."""
    backoff_max: float = 1.0
    """Seconds that any retry waits at most: a caller that waits longer has mostly given up."""
    prefetch: int = 65536
    """Bytes up to which the answers of calls that may be repeated are read before they are handed
    out, so that a node that dies in mid-body is retried too; 0 turns that off. 64 KiB hold nearly
    all answers of services, and cost a process little even for a thousand calls at once."""
    prefetch_unknown: bool = False
    """Whether that is done for answers that do not tell their length: one that never ends would not
    be handed out before `prefetch` bytes of it. Never for streams of events, lines or parts."""

    def __post_init__(self) -> None:
        attempts = self.attempts
        require("attempts", attempts, "a whole number, 1 or more", is_whole(attempts, least=1))
        require("prefetch", self.prefetch, "bytes, 0 or more", is_whole(self.prefetch))
        require_amounts(self, "budget_ratio", "budget_floor", "backoff", "backoff_max")
        require_positive(self, "budget_window")
        methods, statuses = self.methods, self.statuses
        require("methods", methods, 'a set such as {"GET"}', is_several(methods, str))
        numbers = is_several(statuses, int) and all(status >= 400 for status in statuses)
        require("statuses", statuses, "a set such as {503}, of 400 and above", numbers)
        judge, exact = self.judge, self.exact
        require("judge", judge, "called with an answer", judge is None or callable(judge))
        require("exact", exact, "True, False or None", exact is None or isinstance(exact, bool))
        require_bools(self, "prefetch_unknown")
        object.__setattr__(self, "methods", frozenset(m.upper() for m in methods))
        object.__setattr__(self, "statuses", frozenset(statuses))

    def delay(self, retry: int, rng: Random) -> float:
        """Give the seconds to wait before the given retry, counted from 1."""
        if retry <= 1:
            return 0.0
        return rng.random() * min(self.backoff * 2.0 ** (retry - 1), self.backoff_max)
