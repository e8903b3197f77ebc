"""One question for many who want the same answer."""

from __future__ import annotations

import anyio
import pytest

from rpcguard.errors import RegistryError
from rpcguard.registries._shared.flights import SharedQuestion


class Source:
    """Count the questions; each is answered by its number once `gate` is open."""

    def __init__(self):
        self.asked = 0
        self.gate = anyio.Event()
        self.gate.set()
        self.fails = False

    async def ask(self):
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.fails:
            raise RegistryError(f"no answer to {number}")
        return number


async def test_a_round_of_polls_is_one_question():
    """Whoever comes first asks, and everybody else of the round gets what was answered."""
    source = Source()
    shared = SharedQuestion(source.ask)
    for number in (1, 2, 3):
        for who in "abc":
            assert await shared.answer(who) == number
    assert source.asked == 3


async def test_the_most_eager_one_sets_the_pace():
    """One that polls three times as often asks, and the others hear the newest answer."""
    source = Source()
    shared = SharedQuestion(source.ask)
    assert [await shared.answer("eager") for _ in range(3)] == [1, 2, 3]
    assert await shared.answer("lazy") == 3
    assert await shared.answer("lazy") == 4
    assert await shared.answer("eager") == 4


async def test_who_comes_while_a_question_is_on_its_way_waits_for_it():
    """A hundred that start together ask once, a failure included; who comes later asks anew."""
    source = Source()
    shared = SharedQuestion(source.ask)
    for fails in (False, True):
        source.fails, source.gate = fails, anyio.Event()
        told = []

        async def wait(who, told=told):
            try:
                told.append(await shared.answer(who))
            except RegistryError as error:
                told.append(str(error))

        before = source.asked
        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(wait, str(number))
            await anyio.wait_all_tasks_blocked()
            source.gate.set()
        assert source.asked == before + 1
        assert len(told) == 100
        assert len(set(told)) == 1
    source.fails = False
    assert await shared.answer("late") == source.asked == 3


async def test_a_question_that_is_cancelled_is_asked_by_the_next():
    """A service that is forgotten in the middle of its poll leaves nobody without an answer."""
    source = Source()
    shared = SharedQuestion(source.ask)
    source.gate = anyio.Event()
    told = []

    async def wait():
        told.append(await shared.answer("b"))

    scope = anyio.CancelScope()

    async def begin():
        with scope:
            await shared.answer("a")

    async with anyio.create_task_group() as group:
        group.start_soon(begin)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        source.gate.set()
    assert told == [2]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_each_event_loop_has_its_own(backend):
    """A loop that ended in the middle of a question blocks no other, as after a fork."""
    source = Source()
    shared = SharedQuestion(source.ask)

    async def stop():
        source.gate = anyio.Event()
        with anyio.move_on_after(0.01):
            await shared.answer("a")

    async def fresh():
        source.gate = anyio.Event()
        source.gate.set()
        return await shared.answer("a")

    anyio.run(stop, backend=backend)
    assert anyio.run(fresh, backend=backend) == 2
