"""Deadlines and retry marks, as a transport meets them: taken from the request at hand, sent on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rpcguard._context.baggage import HEADER, set_member
from rpcguard._context.hops import RETRY_HEADER, RETRY_MEMBER, due_at, is_retried
from rpcguard._core.call.timeouts import Timeouts

if TYPE_CHECKING:
    from rpcguard._core.call.plan import CallPlan
    from rpcguard._core.call.steps import Send
    from rpcguard._core.policies.deadline import DeadlinePolicy


def limit(policy: DeadlinePolicy, plan: CallPlan, now: float) -> bool:
    """Cut a call to what the request at hand leaves; False where that is nothing."""
    due = due_at()
    if plan.until is None and policy.total is not None:
        plan.until = now + policy.total
    if plan.attempt_timeout is None:
        plan.attempt_timeout = policy.attempt
    if due is not None:
        due -= policy.margin
        plan.until = due if plan.until is None else min(plan.until, due)
    return plan.until is None or plan.until > now


def send(policy: DeadlinePolicy, outgoing: Any, step: Send) -> None:
    """Tell a node what is left of an attempt, and whether it may be the second of one call."""
    timeouts = step.timeouts
    headers = outgoing.headers = outgoing.headers.copy()
    left = timeouts.left if isinstance(timeouts, Timeouts) else math.inf
    if policy.write is not None and left < math.inf and policy.write not in headers:
        headers[policy.write] = str(max(int(left * 1000.0), 1))
    if policy.mark_retries and (step.again or is_retried()):
        headers[RETRY_HEADER] = "1"
        set_member(headers, RETRY_MEMBER, "1")


def forget_retries(outgoing: Any) -> None:
    """Take out the retry mark that baggage or copied headers bring along where it does not hold.

    The request at hand was answered meanwhile, or its mark is a stranger's.
    """
    if is_retried() is False:
        keep_from_strangers(outgoing)


def keep_from_strangers(outgoing: Any) -> None:
    """Take the retry mark out of a request to a host that the registry does not know."""
    if RETRY_HEADER in outgoing.headers or RETRY_MEMBER in outgoing.headers.get(HEADER, ""):
        headers = outgoing.headers = outgoing.headers.copy()
        headers.pop(RETRY_HEADER, None)
        set_member(headers, RETRY_MEMBER, None)
