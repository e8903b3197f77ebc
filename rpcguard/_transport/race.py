"""How two attempts of one call run beside each other, in tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from rpcguard._text import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from rpcguard._core.call.race import HedgedSend, Run
    from rpcguard._core.call.steps import Send


async def run_race(race: HedgedSend, send: Callable[[Send], Awaitable[Any]]) -> Run:
    """Send the first attempt, and the second beside it once that is late; give the one that counts.

    The other one is cancelled, which closes its connection, or its stream on one; where it was
    answered as well, that answer is closed. So are both where the caller gives up, also while the
    loser is being closed.
    """
    try:
        won = await _run(race, send)
        await _close(run for run in race.runs if run is not won)
    except BaseException:
        race.abandon()
        await _close(race.runs)
        raise
    return won


async def _run(race: HedgedSend, send: Callable[[Send], Awaitable[Any]]) -> Run:
    tell, ended = anyio.create_memory_object_stream["Run"](2)

    async def go(run: Run) -> None:
        try:
            run.reply = await send(run.send)
        except Exception as error:  # whatever it is, the call judges it
            run.error = error
        tell.send_nowait(run)

    won: Run | None = None
    async with tell, ended, anyio.create_task_group() as tasks:
        tasks.start_soon(go, race.runs[0])
        with anyio.move_on_after(race.after):
            won = await ended.receive()
        if won is None:
            second = race.begin_second()
            if second is not None:
                tasks.start_soon(go, second)
            won = await ended.receive()
            if second is not None and not race.wins(won):
                won = await ended.receive()
        tasks.cancel_scope.cancel()
    assert won is not None
    return won


async def _close(runs: Iterable[Run]) -> None:
    with anyio.CancelScope(shield=True):
        for run in runs:
            if run.reply is not None:
                try:
                    await run.reply.stream.aclose()
                except Exception as error:  # of an answer that does not count
                    logger.debug("an answer that is thrown away broke off: %r", error)
