"""Two attempts of one call beside each other: a hedge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rpcguard._core.outcomes.verdict import cancelled, outrun
from rpcguard._core.policies.hedging import HEDGED_METHODS

if TYPE_CHECKING:
    from rpcguard._core.call.plan import CallPlan
    from rpcguard._core.call.steps import Reply, Send
    from rpcguard._core.outcomes.verdict import Verdict


def may_hedge(plan: CallPlan) -> bool:
    """Tell whether a call may run on two nodes at once, as far as the call itself goes.

    Its body must be in memory, since both send it, and no hop above may try it again already.
    """
    wanted = plan.hedge
    if wanted is None:
        wanted = plan.method in HEDGED_METHODS and plan.idempotent is not False
    return wanted and plan.attempts > 1 and plan.in_memory and not plan.retried_above


@dataclass(slots=True, eq=False)
class Run:
    """One attempt of a race, and what came of it: nothing where it was called off."""

    send: Send
    """The attempt."""
    reply: Reply | None = None
    """Its answer, whose body is not read yet."""
    error: Exception | None = None
    """What it failed with."""


class HedgedCall(Protocol):
    """The books of a call, as far as a race has to do with them."""

    def begin_second(self, first: Send) -> Send | None:
        """Begin a second attempt beside a first one, where the service allows it."""
        ...

    def judge(self, sent: Send, reply: Reply) -> Verdict:
        """Judge an answer."""
        ...

    def blame(self, error: Exception) -> Verdict:
        """Judge what an attempt raised."""
        ...

    def give_up(self, sent: Send, verdict: Verdict) -> None:
        """Close the books of an attempt."""
        ...

    def go_on_with(self, sent: Send, beside: tuple[Send, ...]) -> None:
        """Note which attempt counts."""
        ...


class HedgedSend:
    """The wish for an attempt, and for a second one beside it once the first is late.

    Its driver runs the first, asks `begin_second` after `after` seconds, waits for the first that
    `wins`, or for the last, calls the other off, and comes back with what `finish` gives or raises.
    Where the caller gives up, it calls `abandon`.
    """

    __slots__ = ("_call", "after", "runs")

    def __init__(self, call: HedgedCall, first: Send, after: float) -> None:
        self.after: float = after
        self.runs: list[Run] = [Run(first)]
        self._call = call

    def begin_second(self) -> Run | None:
        """Begin the second attempt; None where it may not be made."""
        second = self._call.begin_second(self.runs[0].send)
        if second is None:
            return None
        self.runs.append(Run(second))
        return self.runs[-1]

    def wins(self, run: Run) -> bool:
        """Tell whether an attempt was answered, and by no failure."""
        return run.reply is not None and not self._call.judge(run.send, run.reply).failed

    def finish(self, won: Run) -> Reply:
        """Go on with the attempt that counts: give its answer, or raise what it failed with."""
        others = [run for run in self.runs if run is not won]
        for run in others:
            self._put_aside(run)
        self._call.go_on_with(won.send, tuple(run.send for run in others))
        if won.error is not None:
            raise won.error
        assert won.reply is not None
        return won.reply

    def _put_aside(self, run: Run) -> None:
        call = self._call
        if run.reply is not None:
            verdict = call.judge(run.send, run.reply)
        else:
            verdict = outrun() if run.error is None else call.blame(run.error)
        call.give_up(run.send, verdict)

    def abandon(self) -> None:
        """Close the books of the second attempt; the call closes those of the first."""
        for run in self.runs[1:]:
            self._call.give_up(run.send, cancelled())
