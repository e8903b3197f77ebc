"""The life of a node as one table, and what follows from each step of it.

Three facts say where a node stands: what the registry says of it, its *health* by its callers'
attempts and by probes, and its *word*, which is what it says of itself. What happens moves health
or word as `HEALTH` and `WORD` tell, with these effects; what is not drawn changes nothing. `out` is
each health but `well`, `marked` each word but `staying`:

    health       happening   becomes      effects
    well         tripped     ejected      tell_ejected
    well         cut_off     unreachable  tell_ejected probe
    well         found_dead  dead
    ejected      ended       half_open    await_trial
    ejected      probe_down  dead
    half_open    tripped     ejected      tell_ejected
    half_open    cut_off     unreachable  tell_ejected probe
    half_open    probe_down  dead
    unreachable  ended       half_open    await_trial
    unreachable  probe_down  dead
    unreachable  listens     half_open    await_trial
    unreachable  answers     well         end_ejection start_over
    dead         ended       half_open    await_trial
    dead         listens     half_open    await_trial
    dead         answers     well         end_ejection start_over
    well         reopened    half_open    await_trial
    ejected      reopened    half_open    await_trial
    unreachable  reopened    half_open    await_trial
    dead         reopened    half_open    await_trial
    out          proved      well         end_ejection start_over
    out          restarted   well         end_ejection
    out          excused     well         end_ejection start_over

    word         happening   becomes      effects
    staying      signalled   leaving      tell_offline probe
    staying      paused      pausing      tell_offline
    leaving      lapsed      overdue
    leaving      probe_down  down
    overdue      signalled   leaving
    overdue      probe_down  down
    overdue      listens     staying      end_mark
    overdue      answers     staying      end_mark
    overdue      reopened    staying      end_mark
    down         reopened    staying      end_mark start_over
    down         restarted   staying      end_mark start_over
    pausing      signalled   leaving      probe
    pausing      lapsed      staying      end_mark
    marked       unsaid      staying      end_mark

A probe that only connects finds a port that listens, which an application does long before it can
answer: such a node is half-open, and one call shows whether it is well.

The state that users see is the first that holds of: taken out by a switch, drained by the registry,
not `well`, not `staying`, down in the registry, available. `Standing.reassess` derives it, whatever
has happened: it moves the node between the pools, warms it up and tells so when it is back, and
sets the timer. Besides it only the registry moves a node, which is told as a change of the list. So
nothing is told that was not done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, assert_never

from rpcguard._core.service.effects import Event, Kind, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.nodes.live import Health, LiveNode, Word
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.service.reconcile import Changes
    from rpcguard._core.service.roster import Roster

Happening = Literal[
    "tripped",  # it failed so that it is to be left out for a time
    "cut_off",  # it cannot be connected to, and a probe can find out when it can
    "found_dead",  # the same, found by a probe where the cap had kept it in use
    "ended",  # the time of its ejection is over
    "signalled",  # it says that it leaves
    "paused",  # it asks to be left alone for a time
    "lapsed",  # the time of its mark is over
    "probe_down",
    "listens",  # a probe could connect
    "answers",  # a probe got an answer over HTTP
    "reopened",  # it was leaving, and listens: what listens may be another process
    "restarted",  # it was leaving and down, and answers: it is another process
    "proved",  # a call that was to show it succeeded
    "excused",  # the user takes the ejection back, or the others fail as well
    "unsaid",  # the user takes the mark back, or the others say the same
]

Effect = Literal[
    "tell_ejected",
    "tell_offline",
    "probe",  # until a probe has ended what keeps the node out
    "await_trial",  # the next call that may be repeated shows whether it is well
    "end_ejection",
    "end_mark",
    "start_over",  # with no history: it is another process, or what it did is forgiven
]

_OUT: Final[tuple[Health, ...]] = ("ejected", "half_open", "unreachable", "dead")
_MARKED: Final[tuple[Word, ...]] = ("leaving", "overdue", "down", "pausing")

HEALTH: Final[dict[tuple[Health, Happening], tuple[Health, tuple[Effect, ...]]]] = {
    ("well", "tripped"): ("ejected", ("tell_ejected",)),
    ("well", "cut_off"): ("unreachable", ("tell_ejected", "probe")),
    ("well", "found_dead"): ("dead", ()),
    ("ejected", "ended"): ("half_open", ("await_trial",)),
    ("ejected", "probe_down"): ("dead", ()),
    ("half_open", "tripped"): ("ejected", ("tell_ejected",)),
    ("half_open", "cut_off"): ("unreachable", ("tell_ejected", "probe")),
    ("half_open", "probe_down"): ("dead", ()),
    ("unreachable", "ended"): ("half_open", ("await_trial",)),
    ("unreachable", "probe_down"): ("dead", ()),
    ("unreachable", "listens"): ("half_open", ("await_trial",)),
    ("unreachable", "answers"): ("well", ("end_ejection", "start_over")),
    ("dead", "ended"): ("half_open", ("await_trial",)),
    ("dead", "listens"): ("half_open", ("await_trial",)),
    ("dead", "answers"): ("well", ("end_ejection", "start_over")),
    ("well", "reopened"): ("half_open", ("await_trial",)),
    ("ejected", "reopened"): ("half_open", ("await_trial",)),
    ("unreachable", "reopened"): ("half_open", ("await_trial",)),
    ("dead", "reopened"): ("half_open", ("await_trial",)),
    **{(out, "proved"): ("well", ("end_ejection", "start_over")) for out in _OUT},
    **{(out, "restarted"): ("well", ("end_ejection",)) for out in _OUT},
    **{(out, "excused"): ("well", ("end_ejection", "start_over")) for out in _OUT},
}
"""What becomes of a node's health, and what is to be done then."""

WORD: Final[dict[tuple[Word, Happening], tuple[Word, tuple[Effect, ...]]]] = {
    ("staying", "signalled"): ("leaving", ("tell_offline", "probe")),
    ("staying", "paused"): ("pausing", ("tell_offline",)),
    ("leaving", "lapsed"): ("overdue", ()),
    ("leaving", "probe_down"): ("down", ()),
    ("overdue", "signalled"): ("leaving", ()),
    ("overdue", "probe_down"): ("down", ()),
    ("overdue", "listens"): ("staying", ("end_mark",)),
    ("overdue", "answers"): ("staying", ("end_mark",)),
    ("overdue", "reopened"): ("staying", ("end_mark",)),
    ("down", "reopened"): ("staying", ("end_mark", "start_over")),
    ("down", "restarted"): ("staying", ("end_mark", "start_over")),
    ("pausing", "signalled"): ("leaving", ("probe",)),
    ("pausing", "lapsed"): ("staying", ("end_mark",)),
    **{(marked, "unsaid"): ("staying", ("end_mark",)) for marked in _MARKED},
}
"""What becomes of what a node says of itself, and what is to be done then."""

PROBED: Final = frozenset({"unreachable", "dead", "leaving", "overdue", "down"})
"""The healths and words that a probe can end: who is probed goes on being probed in these."""

_SLACK: Final = 5.0
"""Seconds beyond the longest pause between two probes after which they count as lost: a busy
discovery loop may be late, or thousands of probes wait for their turn."""

_WATCH: Final = 5.0
"""Seconds between looks for probes that were lost: looking at thousands of nodes takes a while."""


class Standing:
    """The one place that moves nodes: between healths and words, pools, and the list's end.

    Not thread-safe: the caller holds the service's lock, for every method. What is to be done
    outside goes into the `outbox`. `next_tick` is the time at which something changes by itself.
    """

    def __init__(
        self, service: str, roster: Roster, policies: Policies, clock: Callable[[], float]
    ) -> None:
        self.outbox: Outbox = Outbox()
        self.next_tick: float = 0.0
        self._service = service
        self._roster = roster
        self._clock = clock
        ejection = policies.ejection
        self._silence = ejection.probe_max_interval + ejection.probe_timeout + _SLACK
        self._watch_at = 0.0

    def take_outbox(self) -> Outbox:
        """Give what is to be done outside, and begin anew."""
        outbox, self.outbox = self.outbox, Outbox()
        return outbox

    def emit(
        self,
        kind: Kind,
        live: LiveNode | None,
        reason: str,
        *,
        enforced: bool = True,
        code: str = "",
    ) -> None:
        """Leave an event for the outside."""
        node = live.node.id if live is not None else None
        if live is not None:
            held_back = "" if enforced else " (not enforced)"
            live.event = f"{kind}{held_back}: {reason}", self._clock()
        self.outbox.append(Event(kind, self._service, node, reason, enforced, code))

    def say(self, kind: Kind, reason: str, enforced: bool) -> None:
        """Leave an event that is about no node."""
        self.emit(kind, None, reason, enforced=enforced)

    def overlooks(self, changes: Changes, listed: int) -> bool:
        """Tell the user, and the caller, whether nodes have come that are in lanes."""
        reason = changes.overlooked(listed)
        if reason is not None:
            self.emit("overlooked", None, reason)
        return reason is not None

    def turn(
        self,
        live: LiveNode,
        happening: Happening,
        now: float,
        reason: str,
        *,
        code: str = "",
        warm: bool = True,
    ) -> None:
        """Apply an event to a node, as the tables say, and reassess it."""
        live.health, of_health = HEALTH.get((live.health, happening), (live.health, ()))
        live.word, of_word = WORD.get((live.word, happening), (live.word, ()))
        for effect in of_health + of_word:
            self._carry_out(effect, live, now, reason, code)
        self.reassess(live, now, reason, warm=warm)

    def _carry_out(
        self, effect: Effect, live: LiveNode, now: float, reason: str, code: str
    ) -> None:
        match effect:
            case "tell_ejected":
                self.emit("ejected", live, reason, code=code)
            case "tell_offline":
                self.emit("offline", live, reason)
            case "probe":
                self.start_probe(live, now)
            case "await_trial":
                self._roster.blacklist.await_trial(live, now)
            case "end_ejection":
                self._roster.blacklist.discard(live)
                self.excuse_cap(live)
            case "end_mark":
                self._roster.marks.discard(live)
            case "start_over":
                live.start_over(now)
            case _:
                assert_never(effect)

    def reassess(self, live: LiveNode, now: float, reason: str, *, warm: bool = True) -> None:
        """Derive where a node stands, and do and tell what follows from that."""
        self._place(live, now, reason, warm=warm)
        self.reschedule(now)

    def reassess_all(self, now: float, reason: str) -> None:
        """Do that for every node, since a switch was turned; who is out by it is told as well."""
        for live in list(self._roster.nodes.values()):
            was_in = live.in_pool
            self._place(live, now, reason)
            if was_in and not live.in_pool:
                self.emit("offline", live, live.reason or "")
        self.reschedule(now)

    def _place(self, live: LiveNode, now: float, reason: str, *, warm: bool = True) -> None:
        was_out = not live.in_pool
        self._roster.place(live)
        if was_out and live.in_pool:
            if warm:
                self._roster.warm(live, now)
            self.emit("restored", live, reason)

    def start_probe(self, live: LiveNode, now: float) -> None:
        """Ask for probes of a node unless they go on: one that is late by far is lost."""
        if not live.probing or now > live.probed_at + self._silence:
            live.probing, live.probed_at = True, now
            self.outbox.append(("probe", live))

    def is_probed(self, live: LiveNode) -> bool:
        """Tell whether a probe can bring a node back."""
        return live.health in PROBED or live.word in PROBED

    def note_probe(self, live: LiveNode, now: float) -> None:
        """Note that the probes of a node go on."""
        live.probed_at = now

    def end_probes(self, live: LiveNode) -> None:
        """Note that nobody probes a node any more."""
        live.probing = False

    def hold_back(self, live: LiveNode, reason: str, code: str) -> None:
        """Note that a node would be out if the cap allowed it, and tell so once."""
        told, live.held_back = live.held_back is not None, code
        if not told:
            self.emit("ejected", live, reason, enforced=False, code=code)

    def excuse_cap(self, live: LiveNode) -> None:
        """Note that a node is well that the cap has kept in use."""
        live.held_back = None

    def look_after_probes(self, now: float) -> None:
        """Start the probes again that have been lost, whatever has swallowed them."""
        if now < self._watch_at:
            return
        self._watch_at, roster = now + _WATCH, self._roster
        for live in (*roster.blacklist.nodes(), *(mark.live for mark in roster.marks)):
            if self.is_probed(live):
                self.start_probe(live, now)

    def reschedule(self, now: float) -> None:
        """Bring ramps and `next_tick` up to date after nodes have come, gone or moved."""
        roster = self._roster
        roster.retune(now)
        self.next_tick = roster.next_change(now)
        if roster.blacklist or len(roster.marks):
            self.next_tick = min(self.next_tick, self._watch_at)

    def strike_off(self, live: LiveNode) -> None:
        """Take a node off the list; what it keeps is retired once it is idle."""
        self._roster.leave(live)
        if not live.in_flight:
            self.retire(live)

    def retire(self, live: LiveNode) -> None:
        """Ask for the end of what is kept for a node that has left and is idle."""
        self.outbox.append(("retire", live))
