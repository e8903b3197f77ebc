"""What is learned of one node: its load, its health and where it stands."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any, Literal

from rpcguard._core.nodes.window import RollingCounts

if TYPE_CHECKING:
    from collections import deque

    from rpcguard._core.nodes.node import Node, State
    from rpcguard._core.nodes.routed import Routed

Health = Literal["well", "ejected", "half_open", "unreachable", "dead"]
"""What a node's attempts and probes say of it; see the table in `service/standing.py`."""

Word = Literal["staying", "leaving", "overdue", "down", "pausing"]
"""What a node says of itself, and how far that is checked; see the same table."""

TIME_CONSTANT = 10.0
"""Seconds in which an old latency has 1/e of the say in the average."""

FADE = 20.0
"""Seconds in which the load of a node that is left alone fades to 1/e, slowly first.

So a node somewhat slower than the others is tried about every 20 s, not every moment, and one a
hundred times slower is not left out for minutes.
"""

LEAST_LATENCY = 0.001
"""Seconds below which one latency is as good as another."""

KEPT = 128
"""How many of a node's last answers have their latency kept."""

LEAST_PATIENCE = 1.0
"""Seconds. Hypercorn says GOAWAY after 1,000 requests and drops some that it promised to answer,
while a draining Envoy answers them all: what is slow is not to be called twice for nothing."""

FAILURE_PEAK = 5.0
"""Seconds that a repeated failure costs in the load, however fast it came."""


def weight_of(node: Node) -> float:
    """Give a node's weight, cut to what sums and ratios of it can bear; 0 stays 0."""
    return min(max(float(node.weight), 1e-9), 1e12) if node.weight else 0.0


class LiveNode:
    """What is learned of one node since it was listed; a balancer compares these.

    Changed only under the lock of its service. Each field has one owner, the file that writes it;
    a test holds that no other does.

    Owners:
        nodes/live.py: in_flight, unanswered, heard_at, waiting_since, last_pick, latency, stamp,
            successes, failures, streak, recent, clean, times, warm_calls, unproven, answers,
            odd_run, oddities
        service/roster.py: node, weight, state, reason, ramp, warm_since, doubted_at, gone, left
        service/pools.py: in_pool
        service/blacklist.py: level, trial
        service/standing.py: health, word, stood, probing, probed_at, held_back, event
        balancing/least_loaded.py: turns

    `weight` is the registry's, `ramp` the share of it that slow start allows, `in_flight` counts
    from the pick to the close of the response stream, `turns` is the number of picks divided by the
    effective weight at each of them, `latency` the peak EWMA in seconds (0 without history).
    `level` counts the ejections that are not forgiven, `clean` the good answers since the last
    failure. `trial` is the one call that a half-open node has, while it lasts, `unproven` says that
    only a probe has found it well since. `stood` are health and word as they were last acted upon.
    `event` is what last happened to it, as words and the time. `heard_at` is the time of its last
    answer below 500, or of its listing; `waiting_since` that since which it owes one. `answers`
    counts those of a window once some were odd, `odd_run` the odd ones since the last good one.
    `left` takes the leases that are dropped while they are held.
    """

    __slots__ = (
        "answers",
        "clean",
        "doubted_at",
        "event",
        "failures",
        "gone",
        "health",
        "heard_at",
        "held_back",
        "in_flight",
        "in_pool",
        "last_pick",
        "latency",
        "left",
        "level",
        "node",
        "odd_run",
        "oddities",
        "probed_at",
        "probing",
        "ramp",
        "reason",
        "recent",
        "stamp",
        "state",
        "stood",
        "streak",
        "successes",
        "times",
        "trial",
        "turns",
        "unanswered",
        "unproven",
        "waiting_since",
        "warm_calls",
        "warm_since",
        "weight",
        "word",
    )

    def __init__(self, node: Node, now: float) -> None:
        self.node: Node = node
        self.weight: float = weight_of(node)
        self.ramp: float = 1.0
        self.warm_since: float | None = None
        self.warm_calls: int = 0
        self.state: State = "available"
        self.reason: str | None = None
        self.health: Health = "well"
        self.word: Word = "staying"
        self.stood: tuple[Health, Word] = ("well", "staying")
        self.in_pool: bool = False
        self.in_flight: int = 0
        self.unanswered: int = 0
        self.heard_at: float = now
        self.waiting_since: float = now
        self.turns: float = 0.0
        self.last_pick: float = 0.0
        self.latency: float = 0.0
        self.stamp: float = now
        self.successes: int = 0
        self.failures: int = 0
        self.streak: int = 0
        self.recent: RollingCounts | None = None
        self.level: int = 0
        self.clean: int = 0
        self.trial: object | None = None
        self.left: deque[Any] | None = None
        self.held_back: bool = False
        self.unproven: bool = False
        self.probing: bool = False
        self.probed_at: float = now
        self.answers: RollingCounts | None = None
        self.odd_run: int = 0
        self.oddities: int = 0
        self.doubted_at: float | None = None
        self.gone: bool = False
        self.event: tuple[str, float] | None = None
        self.times: array[float] | None = None

    @property
    def leaving(self) -> bool:
        """Tell whether the node is known to be on its way out, so that its absence is no news."""
        return self.state in ("ejected", "offline", "draining")

    @property
    def effective_weight(self) -> float:
        """Give the weight that slow start leaves."""
        return self.weight * self.ramp

    def load(self, typical: float, now: float) -> float:
        """Give what the balancer compares: latency · (in flight + 1), in seconds.

        `typical` stands in for the latency of a node without history, and differences below a
        millisecond are no reason to prefer one. A node that owes answers and has been silent for
        longer than its latency is at least as slow as it has been silent: a frozen one stops to
        attract calls long before the first of them times out.
        """
        latency = self.latency or typical
        if latency < LEAST_LATENCY:
            latency = LEAST_LATENCY
        if self.unanswered:
            silence = now - self.waiting_since
            if silence > latency:
                latency = silence
        return latency * (self.in_flight + 1)

    def faded(self, load: float, now: float) -> float:
        """Give what is left of a load: it fades while nothing is in flight, and only then."""
        return load if self.in_flight else load * math.exp(-(((now - self.stamp) / FADE) ** 2))

    def begin(self, now: float) -> Lease:
        """Count a pick; give the claim on the node."""
        lease = Lease(self, now)
        if not self.unanswered:
            self.waiting_since = now
        self.turns += 1.0 / (self.weight * self.ramp or 1.0)
        self.last_pick = now
        # One statement: KeyboardInterrupt finds counts and lease in step, before it or after it.
        self.unanswered, self.in_flight, lease.owes, lease.held = (
            self.unanswered + 1, self.in_flight + 1, True, True,
        )  # fmt: skip
        return lease

    def answer(self, lease: Lease, now: float, *, heard: bool) -> None:
        """Count an attempt that has come to its headers or its end, once.

        `heard` says that the node answered with less than 500: a failure is no sign of life.
        """
        if lease.owes:
            self.unanswered, lease.owes = self.unanswered - 1, False
        if heard:
            self.heard_at = self.waiting_since = now
            self.unproven = False

    def end(self, lease: Lease) -> None:
        """Take back the claim on the node, once."""
        if lease.held:
            self.in_flight, lease.held = self.in_flight - 1, False

    def observe(self, seconds: float, now: float) -> None:
        """Take a latency into the average: a peak counts at once, a lower one by and by."""
        kept = math.exp((self.stamp - now) / TIME_CONSTANT)
        if seconds >= self.latency:
            self.latency = seconds
        else:
            self.latency = self.latency * kept + seconds * (1.0 - kept)
        self.stamp = now

    def count(self, seconds: float) -> None:
        """Count an answer and keep its latency."""
        times = self.times
        if times is None:
            times = self.times = array("f", bytes(4 * KEPT))
        times[self.successes % KEPT] = seconds
        self.successes += 1

    @property
    def latencies(self) -> array[float]:
        """Give the latencies of the last answers, in no order."""
        return array("f") if self.times is None else self.times[: self.successes]

    def patience(self) -> float:
        """Give how many seconds of silence are enough, once the node has said that it leaves.

        Four times the median of its last answers; the average that is compared would be as long as
        the failures that are waited for.
        """
        times = sorted(self.latencies)
        return max(LEAST_PATIENCE, 4.0 * times[len(times) // 2]) if times else LEAST_PATIENCE

    def succeed(self, seconds: float, now: float) -> None:
        """Count a good answer."""
        self.observe(seconds, now)
        self.count(seconds)
        self.streak = 0
        self.clean += 1
        self.warm_calls += 1
        self.odd_run = 0
        if self.recent is not None:
            self.recent.add_total(now)
        if self.answers is not None:
            self.answers.add_total(now)

    def answer_oddly(self, now: float, window: float) -> None:
        """Count an answer that a wrong application would give as well."""
        self.odd_run += 1
        self.oddities += 1
        if self.answers is None:
            self.answers = RollingCounts(window, now)
        self.answers.add(now, 1, 1)

    def outlive(self, now: float, window: float) -> None:
        """Count a kept connection that was dead when a call came; that costs no load."""
        self.failures += 1
        self.clean = 0
        if self.recent is None:
            self.recent = RollingCounts(window, now)
        self.recent.add(now, 1, 1)

    def fail(self, seconds: float, now: float, window: float) -> None:
        """Count a failure that is the node's; the first costs little, a repeated one a peak."""
        self.failures += 1
        self.streak += 1
        self.clean = 0
        if self.recent is None:
            self.recent = RollingCounts(window, now)
        self.recent.add(now, 1, 1)
        calls, failed = self.recent.total, self.recent.marked
        if self.streak > 1 or (failed >= 3 and failed >= 0.05 * calls):
            self.observe(max(seconds, FAILURE_PEAK), now)
        elif self.latency:
            # Without history the typical latency stands in, and that is more than a quick failure.
            self.observe(max(seconds, 2.0 * self.latency), now)

    def forget_load(self, now: float) -> None:
        """Drop the load history of a node that starts over."""
        self.latency = 0.0
        self.stamp = now
        self.forget_failures()

    def forget_failures(self) -> None:
        """Drop what has made up a trip; what is to trip it next has to come anew."""
        self.streak = self.odd_run = 0
        self.recent = self.answers = None

    def hear(self, now: float) -> None:
        """Note that the node has answered a probe."""
        self.heard_at = now

    def begin_ramp(self) -> None:
        """Count the good answers of slow start from here on."""
        self.warm_calls = 0

    def come_back(self) -> None:
        """Note that a probe has found the node well, which no call has yet."""
        self.unproven = True

    def stop_being_clean(self) -> None:
        """Begin to count the good answers anew, which forgive ejections."""
        self.clean = 0


class Lease:
    """One attempt's claim on a node, from the pick to the close of its response.

    `proof` is true for the trial of a half-open node and for a pick in panic: there a success
    restores the node; `trial` is then what the node knows its one trial by. `paid_at` is when the
    budget paid for a retry. `routed` is what lanes and routes made of it, None where they are not
    looked at, and `keyed` where a key of the call has chosen the node, so that its answers do not
    tell what an ordinary one's would. `owes` until the node has answered, `held` until it is given
    back.

    One that is dropped while it is held, wherever an interrupt or the garbage collector took it
    from, leaves word in the node's `left`; it takes no lock, since its thread may hold any.
    """

    __slots__ = ("held", "keyed", "live", "owes", "paid_at", "proof", "routed", "started", "trial")

    def __init__(self, live: LiveNode, started: float) -> None:
        self.live: LiveNode = live
        self.started: float = started
        self.proof: bool = False
        self.trial: object | None = None
        self.paid_at: float | None = None
        self.routed: Routed | None = None
        self.keyed: bool = False
        self.owes: bool = False
        self.held: bool = False

    @property
    def on_trial(self) -> bool:
        """Tell whether this is the one trial that its node has."""
        return self.trial is not None and self.trial is self.live.trial

    def __del__(self) -> None:
        # No attribute is there where an interrupt came as it was made.
        if getattr(self, "held", False) and self.live.left is not None:
            self.live.left.append(self)
