"""The open-loop load: calls start on time, whatever became of those before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from rpcguard._commands.demo.clients import Attempted, Caller, make_call
from rpcguard._commands.demo.options import POST_SHARE
from rpcguard._commands.demo.recording import LETTERS, CallRecord

Report = Callable[[CallRecord, tuple[Attempted, ...]], None]


async def steady_load(
    callers: Sequence[Caller],
    *,
    gap: Callable[[random.Random], float],
    seed: int,
    until: Callable[[], bool],
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]],
    report: Report,
) -> None:
    """Have every caller make the same calls, `gap` seconds apart, until `until` says so.

    Returns when the last call has ended. `report` is told of each call when it ends.
    """
    choice = random.Random(seed)
    due = clock()
    number = 0

    async def one(caller: Caller, method: str, path: str) -> None:
        report(*await make_call(caller, method, path, clock=clock))

    async with asyncio.TaskGroup() as calls:
        while not until():
            method = "POST" if choice.random() < POST_SHARE else "GET"
            key = f"{choice.getrandbits(32):08x}"
            for caller in callers:
                path = f"/work?id={LETTERS[caller.name]}{number}-{key}"
                calls.create_task(one(caller, method, path))
            number += 1
            due += gap(choice)
            await sleep(max(0.0, due - clock()))
