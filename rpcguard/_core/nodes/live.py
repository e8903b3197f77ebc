"""What is learned of one node: its load, its health and where it stands."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from rpcguard._core.nodes.load import NodeLoad
from rpcguard._core.nodes.window import RollingCounts

if TYPE_CHECKING:
    from collections import deque

    from rpcguard._core.nodes.node import Node, State
    from rpcguard._core.nodes.routed import Routed

Health = Literal["well", "ejected", "half_open", "unreachable", "dead"]
"""What a node's attempts and probes say of it; see the table in `service/standing.py`."""

Keyed = Literal["home", "moved"]
"""Whether a keyed call got the node that its key belongs to, or another one."""

Word = Literal["staying", "leaving", "overdue", "down", "pausing"]
"""What a node says of itself, and how far that is checked; see the same table."""

KEPT = 128
"""How many of a node's last answers have their latency kept."""

LEAST_PATIENCE = 1.0
"""Seconds. Hypercorn says GOAWAY after 1,000 requests and drops some that it promised to answer,
while a draining Envoy answers them all: what is slow is not to be called twice for nothing."""


def weight_of(node: Node) -> float:
    """Give a node's weight, cut to what sums and ratios of it can bear; 0 stays 0."""
    return min(max(float(node.weight), 1e-9), 1e12) if node.weight else 0.0


class LiveNode(NodeLoad):
    """What is learned of one node since it was listed; a balancer compares these.

    Changed only under the lock of its service. Each field has one owner: the file that writes it
    once it is made. A test holds that no other does.

    Owners:
        nodes/live.py: in_flight, unanswered, heard_at, waiting_since, last_pick, turns,
            successes, failures, streak, recent, clean, times, warm_calls, unproven, answers,
            odd_run, oddities
        nodes/load.py: peak, peak_at, latency, known, spread, cold, stand_back, failing, ghosts,
            ghosts_at
        service/roster.py: node, weight, state, reason, ramp, warm_since, doubted_at, gone, left
        service/pools.py: in_pool
        service/blacklist.py: level, trial
        service/standing.py: health, word, probing, probed_at, held_back, event
        service/homes.py: seed
        balancing/least_requests.py: peers
        balancing/subset.py: outside

    What balancers compare is told in `NodeLoad`.
    `level` counts the ejections that are not forgiven, `clean` the good answers since the last
    failure. `trial` is the one call that a half-open node has, while it lasts, `unproven` says that
    only a probe has found it well since.
    `held_back` is the code of an ejection that the cap keeps from it.
    `event` is what last happened to it, as words and the time. `heard_at` is the time of its last
    answer below 500, or of its listing. `answers`
    counts those of a window once some were odd, `odd_run` the odd ones since the last good one.
    `left` takes the leases that are dropped while they are held. `seed` is the hash of the id, once
    a keyed call came. `outside` says that it is eligible, and outside of the caller's subset.
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
        "in_pool",
        "left",
        "level",
        "node",
        "odd_run",
        "oddities",
        "outside",
        "probed_at",
        "probing",
        "reason",
        "recent",
        "seed",
        "state",
        "streak",
        "successes",
        "times",
        "trial",
        "unproven",
        "warm_calls",
        "warm_since",
        "word",
    )

    # Written here as well, so declared here as well.
    turns: float
    waiting_since: float
    unanswered: int
    in_flight: int

    def __init__(self, node: Node, now: float) -> None:
        super().__init__(weight_of(node), now)
        self.node: Node = node
        self.warm_since: float | None = None
        self.warm_calls: int = 0
        self.state: State = "available"
        self.reason: str | None = None
        self.health: Health = "well"
        self.word: Word = "staying"
        self.in_pool: bool = False
        self.heard_at: float = now
        self.successes: int = 0
        self.failures: int = 0
        self.streak: int = 0
        self.recent: RollingCounts | None = None
        self.level: int = 0
        self.clean: int = 0
        self.trial: object | None = None
        self.left: deque[Any] | None = None
        self.held_back: str | None = None
        self.unproven: bool = False
        self.probing: bool = False
        self.probed_at: float = now
        self.answers: RollingCounts | None = None
        self.odd_run: int = 0
        self.oddities: int = 0
        self.doubted_at: float | None = None
        self.gone: bool = False
        self.outside: bool = False
        self.event: tuple[str, float] | None = None
        self.times: array[float] | None = None
        self.seed: int | None = None

    @property
    def leaving(self) -> bool:
        """Tell whether the node is known to be on its way out, so that its absence is no news.

        Not by a switch: whoever takes a node out for a time wants it back.
        """
        node = self.node
        return not (self._is_sound and node.status == "up" and node.weight)

    @property
    def unseen(self) -> bool:
        """Tell whether nothing but the registry's word keeps the node out, which calls it down."""
        return self._is_sound and self.node.status == "down" and self.node.weight > 0.0

    @property
    def _is_sound(self) -> bool:
        return self.health == "well" and self.word == "staying"

    def begin(self, now: float) -> Lease:
        """Count a pick; give the claim on the node."""
        # Filled in here: a constructor of its own would make a pick 3 % dearer.
        lease = Lease()
        lease.live, lease.started, lease.proof = self, now, False
        lease.trial = lease.paid_at = lease.routed = lease.keyed = None
        if not self.unanswered:
            self.waiting_since = now
        self.turns += 1.0 / (self.weight or 1.0)
        self.last_pick = now
        # One statement: KeyboardInterrupt finds counts and lease in step, before it or after it.
        self.unanswered, self.in_flight, lease.owes, lease.held = (
            self.unanswered + 1, self.in_flight + 1, True, True,
        )  # fmt: skip
        return lease

    def level_with(self, turns: float) -> None:
        """Start where the others of a pool are, which the node has just come to."""
        self.turns = turns

    def catch_up(self, turns: float) -> None:
        """Give up the turns that were missed before this count, while it was slow or away."""
        self.turns = max(self.turns, turns)

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
        self.turns += self.observe(seconds, now)
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
        """Count a failure that is the node's: one is noise, more make it a failing node.

        More are two in a row, or three that are a twentieth of the last calls.
        """
        self.failures += 1
        self.streak += 1
        self.clean = 0
        if self.recent is None:
            self.recent = RollingCounts(window, now)
        self.recent.add(now, 1, 1)
        calls, failed = self.recent.total, self.recent.marked
        self.blame(seconds, now, again=self.streak > 1 or (failed >= 3 and failed >= 0.05 * calls))

    def start_over(self, now: float) -> None:
        """Drop the load history of a node that starts over."""
        self.forget_load(now)
        self.forget_failures()

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle a LiveNode, which is of this process: pickle its node")

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
        self.be_cold()

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
    looked at, and `keyed` is set where a key of the call has chosen the node, so that its answers
    do not tell what an ordinary one's would. `owes` until the node has answered, `held` until it is
    given back.

    One that is dropped while it is held, wherever an interrupt or the garbage collector took it
    from, leaves word in the node's `left`; it takes no lock, since its thread may hold any.
    """

    __slots__ = ("held", "keyed", "live", "owes", "paid_at", "proof", "routed", "started", "trial")

    live: LiveNode
    started: float
    proof: bool
    trial: object | None
    paid_at: float | None
    routed: Routed | None
    keyed: Keyed | None
    owes: bool
    held: bool

    @property
    def on_trial(self) -> bool:
        """Tell whether this is the one trial that its node has."""
        return self.trial is not None and self.trial is self.live.trial

    def __del__(self) -> None:
        try:
            held = self.held
        except AttributeError:  # an interrupt came as it was made
            return
        if held and self.live.left is not None:
            self.live.left.append(self)
