"""The figures of a run, and the text that compares both clients."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rpcguard._commands.demo.recording import TITLES
from rpcguard._text import quantile

if TYPE_CHECKING:
    from rpcguard._commands.demo.recording import CallRecord, Client, Recording


_WHAT: Final = (
    "calls",
    "failed calls",
    "  could have been saved",
    "calls saved by a retry",
    "retries",
    "POSTs executed twice",
    "latency p50",
    "latency p99",
    "slowest call",
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one client got; latencies in seconds."""

    calls: int
    failed: int
    could_be_saved: int
    retries: int
    saved: int
    posts_twice: int
    errors: tuple[tuple[str, int], ...]
    p50: float
    p99: float
    slowest: float

    @property
    def kept_the_promise(self) -> bool:
        """Tell whether no call failed that could have been saved, and no POST ran twice."""
        return self.could_be_saved == 0 and self.posts_twice == 0


def figures(recording: Recording, client: Client) -> Figures:
    """Count what one client got in a run."""
    calls = recording.of(client)
    failed = [call for call in calls if call.error]
    errors = Counter(f"{call.method} {call.error}" for call in failed)
    times = sorted(call.duration for call in calls)
    return Figures(
        calls=len(calls),
        failed=len(failed),
        could_be_saved=sum(call.saveable for call in failed),
        retries=sum(call.attempts - 1 for call in calls),
        saved=sum(is_saved(call) for call in calls),
        posts_twice=recording.executed_twice[client],
        errors=tuple(errors.most_common()),
        p50=quantile(times, 0.5),
        p99=quantile(times, 0.99),
        slowest=times[-1] if times else math.nan,
    )


def is_saved(call: CallRecord) -> bool:
    """Tell whether a call is good thanks to another attempt."""
    return call.error is None and call.attempts > 1


def milliseconds(seconds: float) -> str:
    """Write a latency for people, `-` for NaN."""
    if math.isnan(seconds):
        return "-"
    return f"{seconds * 1000:,.1f} ms" if seconds < 0.1 else f"{seconds * 1000:,.0f} ms"


def rows(recording: Recording) -> list[tuple[str, ...]]:
    """Give the comparison, its head first: what, and that of each client from rpcguard on."""
    clients = recording.clients[::-1]
    columns = [_column(figures(recording, client), retries=client != "httpx") for client in clients]
    return [("", *(TITLES[client] for client in clients)), *zip(_WHAT, *columns, strict=True)]


def _column(seen: Figures, *, retries: bool) -> tuple[str, ...]:
    return (
        f"{seen.calls:,}",
        f"{seen.failed:,}",
        f"{seen.could_be_saved:,}",
        f"{seen.saved:,}" if retries else "-",
        f"{seen.retries:,}" if retries else "-",
        f"{seen.posts_twice:,}",
        milliseconds(seen.p50),
        milliseconds(seen.p99),
        milliseconds(seen.slowest),
    )


def verdict(recording: Recording) -> str:
    """Say in one sentence or two how rpcguard did."""
    ours = figures(recording, "rpcguard")
    if ours.posts_twice:
        return f"rpcguard had {counted(ours.posts_twice, 'POST')} executed twice."
    if ours.could_be_saved:
        return f"{counted(ours.could_be_saved, 'call')} of rpcguard failed without need."
    if not ours.failed:
        return "No call of rpcguard failed, and no POST was executed twice."
    return (
        "No call of rpcguard failed that could have been saved, and no POST was executed twice. "
        f"{counted(ours.failed, 'POST')} failed after the request had left: to send it again was "
        "not safe."
    )


def counted(number: int, word: str) -> str:
    """Write a number with its word, in the plural where it is one."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def summary(recording: Recording) -> str:
    """Write the end of a run as aligned text."""
    lines = rows(recording)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for what, *cells in lines:
        aligned = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        text.append("  ".join([f"{what:<{widths[0]}}", *aligned]).rstrip())
    for client in recording.clients[::-1]:
        errors = figures(recording, client).errors
        if errors:
            told = ", ".join(f"{count} x {name}" for name, count in errors[:6])
            text.append(f"failures of {client}: {told}")
    return "\n".join([*text, "", verdict(recording)])
