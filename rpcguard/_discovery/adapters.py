"""What code of others raises here, told from the end of the task that runs it."""

from __future__ import annotations

import asyncio

import anyio


def is_of_adapter(error: BaseException) -> bool:
    """Tell what an adapter raises, which may be anything, from a cancellation of the task itself.

    A future that somebody else has cancelled, `sys.exit`, a panic of an extension in Rust or a
    group of such, which are no `Exception`s, must not end the list of a service.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return not isinstance(error, GeneratorExit | anyio.get_cancelled_exc_class())
