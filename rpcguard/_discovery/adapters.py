"""What code of others raises here, told from the end of the task that runs it."""

from __future__ import annotations

import asyncio

import anyio

from rpcguard._text import logger, repr_of


def is_of_adapter(error: BaseException) -> bool:
    """Tell what an adapter raises, which may be anything, from a cancellation of the task itself.

    A future that somebody else has cancelled, `sys.exit`, a panic of an extension in Rust or a
    group of such, which are no `Exception`s, must not end the list of a service.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return not isinstance(error, GeneratorExit | anyio.get_cancelled_exc_class())


async def close_stream(stream: object) -> None:
    """Close what was iterated, where it can be closed: a generator, not any iterator."""
    close = getattr(stream, "aclose", None)
    if close is None:
        return
    try:
        await close()
    except BaseException as error:  # the stream is broken anyway, and an adapter may raise anything
        if not is_of_adapter(error):
            raise
        logger.debug("a watch did not close well: %s", repr_of(error))
