"""When a failed attempt may be followed by another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpcguard._checks import is_several, is_whole, require, require_amounts, require_positive

if TYPE_CHECKING:
    from random import Random

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "QUERY"})
RETRIED_STATUSES = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Set how often, and what, is sent again to another node.

    `attempts` counts the first one. `methods` may be repeated although they may have been
    processed, and so may any call that carries an `Idempotency-Key`; `statuses` are the answers
    that are retried for these. Retries are paid from a budget: `budget_ratio` of the calls of the
    last `budget_window` seconds plus `budget_floor` a second (Finagle's RetryBudget); one that
    cannot connect burdens nobody and is paid back. The first
    retry waits for nothing, later ones up to `backoff` · 2ⁿ seconds, at most `backoff_max`, with
    full jitter. Idempotent answers of a known length up to `prefetch` bytes are read before they
    are handed out, so that a node that dies in mid-body is retried too; 0 turns that off.
    """

    attempts: int = 2
    methods: frozenset[str] = IDEMPOTENT_METHODS
    statuses: frozenset[int] = RETRIED_STATUSES
    budget_ratio: float = 0.2
    budget_floor: float = 10.0
    budget_window: float = 10.0
    backoff: float = 0.025
    backoff_max: float = 1.0
    prefetch: int = 65536

    def __post_init__(self) -> None:
        attempts = self.attempts
        require("attempts", attempts, "a whole number, 1 or more", is_whole(attempts, least=1))
        require("prefetch", self.prefetch, "bytes, 0 or more", is_whole(self.prefetch))
        require_amounts(self, "budget_ratio", "budget_floor", "backoff", "backoff_max")
        require_positive(self, "budget_window")
        methods, statuses = self.methods, self.statuses
        require("methods", methods, 'a set such as {"GET"}', is_several(methods, str))
        require("statuses", statuses, "a set such as {503}", is_several(statuses, int))
        object.__setattr__(self, "methods", frozenset(m.upper() for m in methods))
        object.__setattr__(self, "statuses", frozenset(statuses))

    def delay(self, retry: int, rng: Random) -> float:
        """Give the seconds to wait before the given retry, counted from 1."""
        if retry <= 1:
            return 0.0
        return rng.random() * min(self.backoff * 2.0 ** (retry - 1), self.backoff_max)
