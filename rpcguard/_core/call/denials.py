"""Why a call that has failed is not tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._context.hops import is_tried
from rpcguard._core.call.timeouts import SHORTEST
from rpcguard._core.outcomes.verdict import Safety

if TYPE_CHECKING:
    from rpcguard._core.call.plan import CallPlan
    from rpcguard._core.call.tries import Done

IN_VAIN = frozenset({"budget", "retried_above", "retried_below", "throttled"})
"""Denials because the nodes have had their share of tries, by this hop or by another."""


def denial_of(plan: CallPlan, done: Done, *, repeatable: bool, left: float) -> str | None:
    """Say why nothing may follow an attempt that has failed; None where something may.

    `repeatable` tells whether the call may run twice, `left` the seconds that its deadline leaves
    when the next attempt would begin.
    """
    if done.verdict.safety in (Safety.MAYBE, Safety.NEVER):
        if not repeatable:
            return "not_idempotent"
        if plan.retried_above:
            return "retried_above"
        if done.reply is not None and is_tried(done.reply.headers.raw):
            return "retried_below"
    if not plan.replayable():
        return "not_replayable"
    return "deadline" if left <= SHORTEST else None
