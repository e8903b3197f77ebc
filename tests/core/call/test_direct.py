"""Which call of a host that is called directly may be sent once more."""

from __future__ import annotations

import pytest

from rpcguard import RetryPolicy
from rpcguard._connections.exchange import StaleConnection
from rpcguard._core.call.plan import CallPlan
from rpcguard._core.call.tries import had_ended
from rpcguard._core.outcomes.responses import CROSSED
from tests.support.library import http


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({}, True),
        ({"method": "POST"}, False),
        ({"method": "POST", "keyed": True}, True),
        ({"idempotent": False}, False),
        ({"attempts": 1}, False),
        ({"in_memory": False}, False),
    ],
)
def test_what_may_go_again(fields, may):
    """It may run twice, more than one attempt is wanted, and its body is at hand."""
    plan = CallPlan(**{"method": "GET"} | fields)
    assert plan.resendable(RetryPolicy()) is may


def test_what_tells_that_a_connection_had_ended():
    """A kept one that was no more, or a 408 that crossed; no other failure, and no other answer."""
    stale, other = http.ReadError("gone"), http.ReadError("reset")
    stale.__cause__ = StaleConnection("gone")
    assert had_ended(stale)
    assert not had_ended(other)
    assert had_ended(http.Response(408, extensions={CROSSED: True}))
    assert not had_ended(http.Response(408))
