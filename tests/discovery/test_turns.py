"""The queue of probes: how many at once, how soon, and who goes first."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from rpcguard._discovery.turns import MOST, ProbeTurns

pytestmark = pytest.mark.anyio


async def test_no_more_than_some_at_once():
    """However many nodes are out, a bounded number of connections is being made."""
    turns, now, peak = ProbeTurns(rate=1e6), 0, 0

    async def one() -> None:
        nonlocal now, peak
        async with turns.turn(2):
            now += 1
            peak = max(peak, now)
            await anyio.lowlevel.checkpoint()
            now -= 1

    async with anyio.create_task_group() as group:
        for _ in range(500):
            group.start_soon(one)
    assert peak == MOST


async def test_marked_nodes_go_first_then_who_was_just_ejected():
    """A queue of dead nodes keeps nobody waiting who is likely to be back."""
    turns, order = ProbeTurns(most=1, rate=1e6), []
    holding = anyio.Event()

    async def one(rank: int) -> None:
        async with turns.turn(rank):
            order.append(rank)

    async with anyio.create_task_group() as group:

        async def hold() -> None:
            async with turns.turn(2):
                holding.set()
                await anyio.wait_all_tasks_blocked()

        group.start_soon(hold)
        await holding.wait()
        for rank in (2, 2, 1, 0, 2, 1):
            group.start_soon(one, rank)
    assert order == [0, 1, 1, 2, 2, 2]


async def test_one_that_is_given_up_keeps_no_place():
    """A probe that is cancelled, before its turn or in it, lets the next one go."""
    turns = ProbeTurns(most=1, rate=1e6)
    done = anyio.Event()

    async def one() -> None:
        async with turns.turn(2):
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    with anyio.fail_after(10):
        async with turns.turn(2):
            done.set()
    assert done.is_set()


async def test_no_rank_is_kept_out():
    """While marked nodes fill every turn, those that are long dead have one in eight."""
    turns, order = ProbeTurns(most=1, rate=1e6), []

    async def marked() -> None:
        while len(order) < 80:
            async with turns.turn(0):
                order.append(0)

    async def dead() -> None:
        async with turns.turn(2):
            order.append(2)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(marked)
        for _ in range(100):
            group.start_soon(dead)
        await anyio.lowlevel.checkpoint()
    assert 9 <= order[:80].count(2) <= 11
