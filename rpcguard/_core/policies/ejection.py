"""When a failing node is ejected, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rpcguard._checks import is_whole, require, require_bools, require_positive, require_shares

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from rpcguard._core.nodes.live import LiveNode

Blamed = Literal["failure", "connect", "handshake", "stale"]

STALE: Final = "stale"
ODD: Final = "odd"

_ODD_ANSWERS: Final = 10
"""Answers below which nothing is said of a node: a client may well ask ten times for what is not
there."""

_CHANCE: Final = 1e-9
"""The chance up to which a node that answers like the others counts as an odd one. A node that is
asked ten times a second, for a day, is looked at 10⁶ times."""

_COMPARED: Final = 64
"""Other nodes that are looked at: enough to know their share, and few for a list of thousands."""


class Trip(NamedTuple):
    """Why a node is to be ejected: in one word of few, for metrics, and for people."""

    code: str
    reason: str


CANNOT_CONNECT: Final = Trip("connect", "cannot connect")


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectionPolicy:
    """Set when a failing node is ejected and how it comes back; all times in seconds.

    A node trips at once when it cannot be connected to, after `consecutive` blamed failures in a
    row, or when `failure_rate` of at least `min_calls` calls within `window` failed. It stays out
    for `duration` · 2ⁿ, at most `max_duration`, spread by ±`jitter`; n falls by one with each
    `forgive_after` good calls in a row. At most `max_share` of the nodes not proven dead are out
    on judgement. Nodes that could not be connected to are probed by a TCP connect every
    `probe_interval`, doubling to `probe_max_interval`, each given `probe_timeout`, and come back
    when a probe succeeds. `probe=None` probes unless `node_transport` is given, since a custom
    transport may not use TCP at all; without probes every ejection ends by its duration.
    `enforce=False` decides and counts but ejects nothing.
    """

    consecutive: int = 5
    failure_rate: float = 0.5
    min_calls: int = 10
    window: float = 10.0
    duration: float = 5.0
    max_duration: float = 300.0
    jitter: float = 0.2
    forgive_after: int = 20
    max_share: float = 0.5
    probe: bool | None = None
    probe_interval: float = 1.0
    probe_max_interval: float = 60.0
    probe_timeout: float = 1.0
    odd_one_out: bool = True
    enforce: bool = True

    def __post_init__(self) -> None:
        for name in ("consecutive", "min_calls", "forgive_after"):
            value = getattr(self, name)
            require(name, value, "a whole number, 1 or more", is_whole(value, least=1))
        require_positive(self, "window", "duration", "max_duration", "failure_rate")
        require_positive(self, "probe_interval", "probe_max_interval", "probe_timeout")
        require_shares(self, "failure_rate", "jitter", "max_share")
        require_bools(self, "odd_one_out", "enforce")
        require("probe", self.probe, "True, False or None", isinstance(self.probe, bool | None))

    def tripped(self, live: LiveNode, blame: Blamed) -> Trip | None:
        """Say why a node that has just failed is to be ejected, if there is."""
        if blame == "connect":
            return CANNOT_CONNECT
        if blame == "handshake":
            return Trip("handshake", "TLS handshake failed")
        if live.trial is not None:
            return Trip("trial", "trial call failed")
        if blame != STALE and live.streak >= self.consecutive:
            return Trip("consecutive", f"{live.streak} failures in a row")
        counts = live.recent
        if counts is None or counts.total < self.min_calls:
            return None
        share = counts.marked / counts.total
        if share < self.failure_rate:
            return None
        return Trip("failure_rate", f"{share:.0%} of {counts.total} calls failed")

    def is_odd(self, live: LiveNode, others: Iterable[LiveNode], now: float) -> Trip | None:
        """Say why a node is the odd one out, if it is: a wrong application under its address.

        It has given none but odd answers, at least ten within `window`, while the `others` give
        them to under half of their calls, and to so few that this is no chance.
        """
        run = live.answers
        if not self.odd_one_out or run is None or live.odd_run < _ODD_ANSWERS:
            return None
        run.advance(now)
        if min(run.marked, live.odd_run) < _ODD_ANSWERS:
            return None
        answers = odd = 0
        for other in islice(others, _COMPARED):
            counts = other.answers
            if counts is None:
                answers += other.heard_at > now - self.window and other.successes > 0
                continue
            counts.advance(now)
            answers, odd = answers + counts.total, odd + counts.marked
        share = (odd + 1) / (answers + 2)  # by the rule of succession
        if not answers or 2 * odd >= answers or share**live.odd_run > _CHANCE:
            return None
        return Trip(ODD, f"{live.odd_run} answers in a row that the other nodes do not give")

    def length(self, level: int, rng: Random) -> float:
        """Give the seconds that an ejection of the given level, counted from 0, lasts."""
        spread = 1.0 + self.jitter * (2.0 * rng.random() - 1.0)
        return min(self.duration * 2.0 ** min(level, 30) * spread, self.max_duration)
