"""How many retries a service can bear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._core.nodes.window import RollingCounts

if TYPE_CHECKING:
    from rpcguard._core.policies.retry import RetryPolicy


class RetryBudget:
    """A bound on retries: a share of the calls plus a floor, over a sliding window.

    Not thread-safe: it lives under the lock of its service.
    """

    __slots__ = ("_counts", "_floor", "_ratio")

    def __init__(self, policy: RetryPolicy, now: float) -> None:
        self._counts = RollingCounts(policy.budget_window, now)
        self._ratio = policy.budget_ratio
        self._floor = policy.budget_floor * policy.budget_window

    def deposit(self, now: float) -> None:
        """Count a call."""
        self._counts.add_total(now)

    def allows(self, now: float) -> bool:
        """Tell whether one more retry can be paid."""
        counts = self._counts
        counts.advance(now)
        return counts.marked + 1 <= self._ratio * counts.total + self._floor

    def spent(self, now: float) -> tuple[int, int]:
        """Give how many retries were paid in the window, and how many it allows in all."""
        counts = self._counts
        counts.advance(now)
        return counts.marked, int(self._ratio * counts.total + self._floor)

    def withdraw(self, now: float) -> float:
        """Pay for one retry; give the time, by which it may be paid back."""
        self._counts.add(now, 0, 1)
        return now

    def refund(self, paid_at: float) -> None:
        """Pay a retry back that could not connect."""
        self._counts.take_back(paid_at, 0, 1)
