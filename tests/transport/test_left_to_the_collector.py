"""Bodies that are left early in a cycle of references, so that the collector alone ends them."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.library import AsyncTransport, http
from tests.support.slow_end import SlowEnd

if TYPE_CHECKING:
    from collections.abc import Callable


NODE = "static://10.0.0.1:1"


async def leave(stream: http.AsyncByteStream) -> None:
    """Read one part, and leave the rest to the collector."""
    parts = aiter(stream)
    assert await anext(parts) == b"x"
    knot: list[object] = [parts, stream]
    knot.append(knot)


class LeavesRequests(http.AsyncBaseTransport):
    """A child that answers after the first part of what is sent."""

    async def handle_async_request(self, request):
        await leave(request.stream)
        return http.Response(200, content=b"ok")


class Answers(http.AsyncBaseTransport):
    """A child whose answer is a stream."""

    def __init__(self, stream: http.AsyncByteStream) -> None:
        self._stream = stream

    async def handle_async_request(self, request):
        return http.Response(200, stream=self._stream)


async def upload(parts: SlowEnd) -> None:
    async with AsyncTransport(NODE, node_transport=lambda _: LeavesRequests()) as t:
        await t.handle_async_request(http.Request("POST", "http://orders/", stream=parts))
        gc.collect()
        await parts.end.wait()


async def download(parts: SlowEnd, **options: float) -> None:
    async with AsyncTransport(NODE, node_transport=lambda _: Answers(parts)) as t:
        request = http.Request("POST", "http://orders/", extensions={"rpcguard": options})
        await leave((await t.handle_async_request(request)).stream)
        gc.collect()
        await parts.end.wait()


async def download_in_time(parts: SlowEnd) -> None:
    await download(parts, deadline=60.0)


@pytest.mark.parametrize("use", [upload, download, download_in_time])
def test_each_generator_is_ended_by_one_alone(use: Callable):
    """Two that wait for the same one are an error that the event loop tells of."""
    told = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        with anyio.fail_after(20):
            await use(SlowEnd())
        await anyio.lowlevel.checkpoint()

    gc.collect()
    asyncio.run(main())
    gc.collect()
    assert told == []
