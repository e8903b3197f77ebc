"""The changes that change nothing, each by a part of what is printed of it, with the reason."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {
    "_core/routing/guards.py:26  0.0  ->  1.0": (
        "a guard that has never tripped is at level 0, which is all that the time is compared for"
    ),
    "_core/policies/routing.py:322  sums[bundle] <= 1.0 + ROUNDING": (
        "shares that miss a sum of 1 by just what is allowed for rounding"
    ),
    "_core/service/homes.py:190  live.ramp >= 1.0  ->  live.ramp > 1.0": (
        "a node with all of its ramp: the turn that it is compared with is below 1"
    ),
    "_core/service/homes.py:190  1.0  ->  2.0": "the same: its turn is below its ramp",
    "_core/policies/ejection.py:163  1.0 + self.jitter": (
        "what is drawn is as likely with each sign"
    ),
    "_core/balancing/least_requests.py:122  (now - first.waiting_since)": (
        "a silence of just as long as is borne, which is a moment"
    ),
    "_core/balancing/least_requests.py:220  self._due(first, second, now) > self._due(second": (
        "two that are due at the same time, of which chance has drawn either first"
    ),
    "_core/service/standing.py:169  0.0  ->  1.0": (
        "before the first list, which sets it, nothing changes by itself"
    ),
    "_core/service/pools.py:258  self.tempered = False  ->  pass": (
        "ramps are looked at that are all whole: it spares each pick a look"
    ),
    "_core/call/call.py:219  done.last = not self._is_unwanted(done)  ->  pass": (
        "the books of the call are closed by a second turn of the lock"
    ),
    "_core/service/router.py:125  table.cell_of(live.node)  ->  pass": (
        "it spares those who wait for the lock a search, and is made up for under it"
    ),
    "_core/service/pools.py:130  self._stale()  ->  pass": (
        "a group without a member that was offered: what was prepared has one more without nodes"
    ),
}
