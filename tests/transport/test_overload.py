"""A call that meets a limit is refused at once, in the words of its library."""

from __future__ import annotations

import pytest

import rpcguard
from rpcguard import OverloadPolicy
from tests.support.calls import FLAVOURS, each
from tests.support.library import http


@each(FLAVOURS)
async def test_a_full_bulkhead_is_told_at_once_and_empties(make_node, make_caller):
    """The second call of two is refused before anything is sent; after the first it goes."""
    node = make_node()
    caller = make_caller(node, overload=OverloadPolicy(max_in_flight=1))
    response = await caller.open(method="POST")
    with pytest.raises(rpcguard.Overloaded, match="max_in_flight") as refused:
        await caller.call()
    error = refused.value
    assert isinstance(error, http.PoolTimeout)
    assert (error.service, error.limit) == ("orders", "max_in_flight")
    assert error.retry_after > 0
    assert await caller.read(response) == b"ok"
    assert (await caller.call()).text == "ok"
    assert len(node.seen) == 2


@each(FLAVOURS)
async def test_a_refusal_is_no_failure_of_a_node(make_node, make_caller):
    """Nodes keep their standing, and the call counts as ended."""
    caller = make_caller(make_node(), overload=OverloadPolicy(max_per_node=1))
    response = await caller.open(method="POST")
    with pytest.raises(rpcguard.Overloaded, match="max_per_node"):
        await caller.call()
    (view,) = caller.transport.nodes("orders")
    assert (view.state, view.failures, view.in_flight) == ("available", 0, 1)
    assert await caller.read(response) == b"ok"
    assert (await caller.call()).text == "ok"
