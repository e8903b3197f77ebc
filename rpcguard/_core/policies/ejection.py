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

CONNECTING: Final = frozenset({"connect", "handshake"})
"""The codes of nodes that nothing could be sent to, since TCP or TLS did not come about."""

_ODD_ANSWERS: Final = 10
"""Answers below which nothing is said of a node: a client may well ask ten times for what is not
there."""

_CHANCE: Final = 1e-9
"""The chance up to which a node that answers like the others counts as an odd one. A node that is
asked ten times a second, for a day, is looked at 10⁶ times."""

_COMPARED: Final = 64
"""Other nodes that are looked at: enough to know their share, and few for a list of thousands."""


class Trip(NamedTuple):
    """Why a node is to be ejected."""

    code: str
    """One of few words, for metrics."""

    reason: str
    """For people."""


CANNOT_CONNECT: Final = Trip("connect", "cannot connect")
LISTENS: Final = Trip("connect", "takes connections again; a call is to show that it answers")


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectionPolicy:
    """When a failing node is ejected and how it comes back; all times in seconds.

    A node trips at once when it cannot be connected to. It stays out for `duration` · 2ⁿ; n grows
    with each ejection and falls only by proven health. Blame goes by the stage that failed: what a
    TCP connect would call well again, while TLS fails, is not probed without a `probe_path`,
    and ends by its time.
    """

    consecutive: int = 5
    """Failures in a row after which a node is out: Envoy's default."""
    failure_rate: float = 0.5
    """Or this share of its calls within `window`, 0 to 1, dead kept connections among them: where
    half of the calls fail, a retry elsewhere is better than another try."""
    min_calls: int = 10
    """Calls within `window` below which a rate says nothing: of fewer, half is often chance."""
    window: float = 10.0
    """Seconds over which calls are counted, and for which judging stops when most nodes fail;
    Envoy's interval: long enough for `min_calls` at 1/s, short enough to be of now."""
    duration: float = 5.0
    """Seconds of the first ejection; 1 is too short once callers of a frozen node have a queue."""
    max_duration: float = 300.0
    """Seconds that an ejection lasts at most: Envoy's default, five minutes."""
    jitter: float = 0.2
    """Share by which its length is spread, 0 to 1, so that many callers do not come back at once;
    a fifth is a second of the first ejection."""
    forgive_after: int = 20
    """Good calls in a row that undo one doubling: time alone proves nothing, and a node that fails
    one call in twenty is not well."""
    max_share: float = 0.5
    """At most this share of the nodes that are not proven dead is out on judgement, 0 to 1: where
    more than half seem bad, it is the judgement or something behind all of them."""
    probe: bool | None = None
    """Whether nodes that could not be connected to are probed by a TCP connect, or at `probe_path`.
    None does unless `node_transport` is given, which may not use TCP; without, every ejection ends
    by its time."""
    probe_path: str | None = None
    """A path such as `/healthz` that probes GET, over the connections that calls use; an answer
    below 500 brings the node back. None only connects: then one call at a time tries the node out,
    until its first answer, since a server may listen long before its application can answer."""
    probe_interval: float = 1.0
    """Seconds to the second probe, and between those of a node that said that it leaves: a
    connect a second costs nobody anything, and a restart is noticed within one."""
    probe_max_interval: float = 60.0
    """Seconds between two probes at most; they double up to it. A node that is gone for good and
    still listed is asked once a minute."""
    probe_timeout: float = 1.0
    """Seconds that a probe may take: a connect that needs more would spoil the calls as well."""
    odd_one_out: bool = True
    """Whether a node is out that gives ten answers or more such as 404, and none below 400, where
    the others give hardly any: a wrong application under its address."""
    enforce: bool = True
    """False decides and tells, and ejects nothing; to see what would happen before it does."""

    def __post_init__(self) -> None:
        for name in ("consecutive", "min_calls", "forgive_after"):
            value = getattr(self, name)
            require(name, value, "a whole number, 1 or more", is_whole(value, least=1))
        require_positive(self, "window", "duration", "max_duration", "failure_rate")
        require_positive(self, "probe_interval", "probe_max_interval", "probe_timeout")
        require_shares(self, "failure_rate", "jitter", "max_share")
        require_bools(self, "odd_one_out", "enforce")
        require("probe", self.probe, "True, False or None", isinstance(self.probe, bool | None))
        path: object = self.probe_path
        require("probe_path", path, "a path such as '/healthz', or None", _is_path_or_none(path))

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


def _is_path_or_none(path: object) -> bool:
    if not isinstance(path, str):
        return path is None
    return path.startswith("/") and path.isascii() and path.isprintable()
