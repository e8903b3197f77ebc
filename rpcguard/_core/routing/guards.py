"""When a canary is switched off by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._core.nodes.window import RollingCounts

if TYPE_CHECKING:
    from rpcguard._core.policies.routing import Guard


class Watch:
    """What a guard has seen of its route's nodes and of the rest, in the same seconds.

    Lives under the lock of its service. `until` is the end of a hold, 0 where there is none.
    """

    __slots__ = ("_again", "_group", "_guard", "_rest", "_window", "level", "until")

    def __init__(self, guard: Guard, window: float, now: float) -> None:
        self.until: float = 0.0
        self.level: int = 0
        self._guard = guard
        self._window = guard.window or window
        self._again = 0.0
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._group = RollingCounts(self._window, now)
        self._rest = RollingCounts(self._window, now)

    def holds(self, now: float) -> bool:
        """Tell whether the share is withdrawn."""
        return self._guard.enforce and now < self.until

    def count(self, now: float, *, group: bool, failed: bool) -> str | None:
        """Count an attempt; say why, where it makes the guard trip."""
        (self._group if group else self._rest).add(now, 1, int(failed))
        return self._judge(now) if group and failed and now >= self.until else None

    def _judge(self, now: float) -> str | None:
        guard, group, rest = self._guard, self._group, self._rest
        rest.advance(now)  # the group is up to date by the failure that is judged
        if group.marked < guard.min_failures or group.total < guard.min_calls:
            return None
        if rest.total < guard.min_failures:
            return None  # nothing to compare with
        rate, usual = group.marked / group.total, rest.marked / rest.total
        if rate - usual < guard.worse_by:
            return None
        return self._trip(now, rate, usual)

    def _trip(self, now: float, rate: float, usual: float) -> str:
        guard = self._guard
        if now >= self._again:
            self.level = 0  # it has done well for as long as it was held
        hold = min(guard.hold * 2.0**self.level, guard.max_hold)
        self.level += 1
        self.until = now + hold
        self._again = self.until + hold
        self._begin(now)
        return f"{rate:.0%} of its calls failed, of the others {usual:.0%}; no share for {hold:g} s"
