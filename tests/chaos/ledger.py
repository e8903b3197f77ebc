"""What chaos writes down, and how it judges: which failed call could have been saved."""

from __future__ import annotations

import math
import re
import threading
import time
from array import array
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SETTLE = 1.0
"""Seconds that a node must have been well before a call for the caller to count on it."""

UNSENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "NoAvailableNode"})
"""Failures after which nothing was sent, so that any call may go again."""

CONNECT = 1.5
"""Seconds that the tries of a call that never left may take together: its connect timeout."""

Attempts = tuple[tuple[str, str, float], ...]
"""The tries of a call: node, outcome, seconds."""

_ATTEMPT = re.compile(r"attempt \d+ on (\S+): (\S+) after ([\d.]+) s")


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault on some nodes (none for the registry), from its start to when all is well."""

    kind: str
    nodes: frozenset[str]
    begin: float
    end: float = math.inf


@dataclass(frozen=True, slots=True)
class Failed:
    """One call that its caller saw fail; and by what attempts."""

    call: str
    method: str
    repeatable: bool
    begin: float
    end: float
    error: str
    attempts: Attempts


@dataclass(frozen=True, slots=True)
class Judged:
    """A failed call with the faults of its time, and why it was lost; `saveable` is the bar."""

    failed: Failed
    reason: str
    saveable: bool
    faults: str

    def text(self, start: float) -> str:
        failed = self.failed
        tried = "; ".join(f"{node} {what} {took:.3f} s" for node, what, took in failed.attempts)
        return (
            f"{failed.begin - start:8.1f} s  {failed.method:4} {failed.call:10} {self.reason}"
            f"  [{tried or 'no attempt'}]  {failed.error}  during: {self.faults or 'nothing'}"
        )


@dataclass
class Ledger:
    """Take in calls from any thread and faults from chaos; judge at the end."""

    nodes: frozenset[str]
    attempts: int = 2  # as the retry policy of the callers has it
    latencies: array[float] = field(default_factory=lambda: array("f"))
    calls: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    noted: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    good: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    start: float = field(default_factory=time.monotonic)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    # Calls, any thread

    def answered(self, kind: str, took: float, attempts: Attempts) -> None:
        """Note a call that was answered."""
        self.latencies.append(took)
        *before, last = attempts
        with self._changing:
            self.calls[kind] += 1
            for node, outcome, _ in before:
                self.retried[outcome] += 1
                self.noted[node].append(time.monotonic())
            times = self.good[last[0]]
            now = time.monotonic()
            # A tenth of a second is fine enough, and a list of a million is not needed.
            if not times or now - times[-1] > 0.05:
                times.append(now)

    def lost(self, kind: str, failed: Failed) -> None:
        """Note a call that failed."""
        self.latencies.append(failed.end - failed.begin)
        with self._changing:
            self.calls[kind] += 1
            self.failed.append(failed)
            for node, _, _ in failed.attempts:
                self.noted[node].append(failed.end)

    # Faults

    @contextmanager
    def trouble(self, kind: str, *nodes: str) -> Iterator[None]:
        """Note a fault while it lasts: until the node serves and is listed again."""
        begun = Trouble(kind, frozenset(nodes), time.monotonic())
        with self._changing:
            self.troubles.append(begun)
            at = len(self.troubles) - 1
        try:
            yield
        finally:
            ended = Trouble(kind, begun.nodes, begun.begin, time.monotonic())
            with self._changing:
                self.troubles[at] = ended

    # Judgement

    def well(self, begin: float, end: float) -> set[str]:
        """Give the nodes that were well from some time before a call until its end."""
        over = [one for one in self.troubles if one.begin <= end and one.end >= begin - SETTLE]
        return set(self.nodes).difference(*(one.nodes for one in over))

    def judge(self, failed: Failed) -> Judged:
        """Say why a call was lost, and whether it could have been saved."""
        over = (t for t in self.troubles if t.begin <= failed.end and t.end >= failed.begin)
        faults = ", ".join(f"{one.kind} {' '.join(sorted(one.nodes))}".strip() for one in over)
        last = failed.attempts[-1][1] if failed.attempts else failed.error.partition(":")[0]
        tried = {node for node, _, _ in failed.attempts}
        left = self.well(failed.begin, failed.end) - tried
        if last not in UNSENT and not failed.repeatable:
            return Judged(failed, "may have been executed", False, faults)
        if spent(failed.attempts) >= self.attempts:
            return Judged(failed, "both attempts met a fault", False, faults)
        if not left:
            return Judged(failed, "no live node", False, faults)
        return Judged(failed, "COULD BE SAVED", True, faults)

    def percentile(self, share: float) -> float:
        """Give a percentile of the seconds that calls took, failed ones included."""
        ordered = sorted(self.latencies)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0

    def recoveries(self) -> dict[str, list[tuple[float, float]]]:
        """Give for each fault, by kind: for how long calls felt it, when its nodes served again.

        The first is from the start of the fault to the last failed attempt on its nodes, the
        second from its end to the first good answer of the last of them.
        """
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for one in self.troubles:
            felt = [
                at - one.begin
                for node in one.nodes
                for at in self.noted[node]
                if one.begin <= at <= one.end + SETTLE
            ]
            back = [
                next((at - one.end for at in self.good[node] if at > one.end), math.nan)
                for node in one.nodes
            ]
            found[one.kind].append((max(felt, default=0.0), max(back, default=0.0)))
        return found


def spent(tries: Attempts) -> int:
    """Count the tries that cost an attempt: what never left is free for one connect timeout."""
    count, left = 0, CONNECT
    for _, outcome, took in tries:
        if outcome in UNSENT:
            left -= took
        count += outcome not in UNSENT or left <= 0.0
    return count


def attempts_of(error: BaseException) -> Attempts:
    """Read the attempts from the note that a failed call carries."""
    for note in getattr(error, "__notes__", ()):
        if note.startswith("rpcguard: service"):
            found = _ATTEMPT.findall(note)
            return tuple((name_of(node), outcome, float(took)) for node, outcome, took in found)
    return ()


def name_of(node: str) -> str:
    """Give a node's own name; Consul's agent stands before it in the id."""
    return node.rpartition("/")[2]


def executions(logs: Iterable[Path]) -> Counter[tuple[str, str]]:
    """Count how often each call was executed, by method and call, from the providers' logs."""
    count: Counter[tuple[str, str]] = Counter()
    for log in logs:
        for line in log.read_text(encoding="ascii").splitlines():
            method, call = line.split()
            count[method, call] += 1
    return count
