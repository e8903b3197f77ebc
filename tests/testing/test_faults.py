"""Faults below the transport: one attempt in so many, and what a caller sees of it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from rpcguard import RetryPolicy
from rpcguard.testing import faults
from tests.support.calls import FLAVOURS, Peer, each
from tests.support.library import http

EACH = each(FLAVOURS)
ONCE = RetryPolicy(attempts=1)


def outcomes(response) -> list[str]:
    return [attempt.outcome for attempt in response.extensions["rpcguard"].attempts]


@EACH
@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("refused", "ConnectError"), ("unavailable", "503"), ("cut", "ReadError")],
)
async def test_one_attempt_in_so_many_is_hurt(make_node, make_caller, kind, outcome):
    """The transport tries again, as it would in production, and counts what it saw."""
    caller = make_caller(make_node(), make_node())
    with faults(**{kind: 3}) as hurt:
        seen = [outcomes(await caller.call()) for _ in range(4)]
    assert seen == [["200"], ["200"], [outcome, "200"], ["200"]]
    assert (hurt.attempts, hurt.done) == (5, {kind: 1})


@EACH
async def test_what_is_refused_was_not_sent(make_node, make_caller):
    """A POST goes again, and the node has seen it once; no more than a refused connect."""
    nodes = [make_node(), make_node()]
    caller = make_caller(*nodes)
    with faults(refused=2):
        assert outcomes(await caller.call(method="POST")) == ["200"]
        assert outcomes(await caller.call(method="POST")) == ["ConnectError", "200"]
    assert sum(len(node.seen) for node in nodes) == 2


@EACH
async def test_what_is_cut_was_sent(make_node, make_caller):
    """A POST whose answer is lost is not repeated: its node has worked on it."""
    node = make_node()
    caller = make_caller(node)
    with faults(cut=1), pytest.raises(http.ReadError, match="the answer was lost"):
        await caller.call(method="POST")
    assert len(node.seen) == 1
    assert outcomes(await caller.call(method="POST")) == ["200"]


@EACH
async def test_slow_answers(make_node, make_caller):
    """One takes longer; where that is longer than the read timeout, it runs into that."""
    node = make_node()
    caller = make_caller(node, retry=ONCE)
    with faults(slow=1, delay=0.05):
        response = await caller.call()
        assert response.extensions["rpcguard"].attempts[0].duration >= 0.05
    with faults(slow=1, delay=60), pytest.raises(http.ReadTimeout, match="slowed down"):
        await caller.call(timeout=0.05)
    assert len(node.seen) == 1


@EACH
async def test_a_node_that_is_always_hurt_is_ejected(make_node, make_caller):
    """What follows from faults follows here: the transport does not know that they are made."""
    caller = make_caller(make_node(), make_node(), retry=ONCE)
    with faults(unavailable=1):
        for _ in range(6):
            assert (await caller.call()).status_code == 503
    assert "ejected" in {view.state for view in caller.transport.nodes("orders")}


async def test_the_first_kind_counts_where_several_are_due(make_node, make_caller):
    """They are counted together, so that one in six is due to both."""
    caller = make_caller(make_node(), retry=ONCE)
    with faults(unavailable=2, cut=3) as hurt:
        for _ in range(6):
            with suppress(http.ReadError):
                await caller.call()
    assert hurt.done == {"unavailable": 3, "cut": 1}


async def test_one_transport_alone(make_node, make_caller):
    """The others of the process go on as if nothing were."""
    node = make_node(*[Peer.serve] * 2)
    hurt, other = make_caller(node, retry=ONCE), make_caller(node, retry=ONCE)
    with faults(unavailable=1, transport=hurt.transport):
        assert (await hurt.call()).status_code == 503
        assert (await other.call()).status_code == 200


async def test_all_ends_with_the_block(make_node, make_caller):
    """Also by an error, and from the inside to the outside."""
    caller = make_caller(make_node(), retry=ONCE)
    with faults(unavailable=1) as outer:
        with suppress(http.ConnectError), faults(refused=1) as inner:
            await caller.call()
        assert (await caller.call()).status_code == 503
    assert (await caller.call()).status_code == 200
    assert (inner.done, outer.done) == ({"refused": 1}, {"unavailable": 1})


@EACH
async def test_a_host_that_is_called_directly(make_node, make_caller):
    """Its attempts are hurt too; a close does not wait for what has been answered."""
    caller = make_caller(make_node(), unknown_service="direct")
    other = make_node()
    with faults(unavailable=1):
        assert (await caller.call(f"http://127.0.0.1:{other.port}/")).status_code == 503
    assert other.seen == []
    assert not caller.transport._service("127.0.0.1").calls


@pytest.mark.parametrize("options", [{"refused": -1}, {"cut": 0.5}, {"slow": 1, "delay": -1}])
def test_wrong_numbers_are_refused(options):
    """By the usual error, which names the option."""
    with pytest.raises(ValueError, match=list(options)[-1]), faults(**options):
        raise AssertionError("not reached")
