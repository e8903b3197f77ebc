"""A stream whose generators have something to wait for as they end."""

from __future__ import annotations

import anyio

from tests.support.library import http


class SlowEnd(http.AsyncByteStream):
    """A stream of somebody's own; `ended` counts its generators that are over, `end` tells one."""

    def __init__(self) -> None:
        self.ended = 0
        self.end = anyio.Event()

    async def __aiter__(self):
        try:
            yield b"x"
            yield b"y"
        finally:
            await anyio.lowlevel.checkpoint()
            self.ended += 1
            self.end.set()
