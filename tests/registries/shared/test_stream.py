"""Answers that go on and on, read line by line: the part of the client that watches use."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread

from rpcguard.errors import RegistryError
from rpcguard.registries._shared.bodies import Lines, SilenceError
from rpcguard.registries._shared.client import HttpReply, RegistryClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from conftest import ScriptedServer

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
MEMBERS = 2


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture
def servers(new_server: Callable[[], ScriptedServer]) -> list[ScriptedServer]:
    return [new_server() for _ in range(MEMBERS)]


@pytest.fixture
async def client(servers: list[ScriptedServer]) -> AsyncIterator[RegistryClient]:
    client = RegistryClient(
        [f"http://{server.address}" for server in servers], timeout=3, max_bytes=10_000
    )
    yield client
    await client.aclose()
    gc.collect()  # a generator that was left behind is a warning here, and so an error


async def open_lines(client: RegistryClient, idle: float = 3.0) -> Lines:
    lines = await client.stream("GET", "/watch", idle=idle)
    assert isinstance(lines, Lines)
    return lines


async def test_lines_do_not_depend_on_chunks(
    client: RegistryClient, servers: list[ScriptedServer]
) -> None:
    """Proves that lines come whole, however the chunks cut them, empty ones included."""
    parts = [b'{"a"', b":1}\n", b"\nb\nc", b"c\n"]
    servers[0].script = lambda _: [HEAD, *map(chunk, parts), END]
    lines = await open_lines(client)
    assert [line async for line in lines] == [b'{"a":1}', b"", b"b", b"cc"]
    await lines.aclose()


async def test_leaving_at_a_line_ends_the_connection(
    client: RegistryClient, servers: list[ScriptedServer]
) -> None:
    """Proves that an endless stream can be left at any line, twice closed, with nothing left."""
    gone = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            yield HEAD
            while True:
                yield chunk(b"x\ny\n")
                time.sleep(0.001)
        finally:
            gone.set()

    servers[0].script = lambda _: endless()
    lines = await open_lines(client)
    assert await anext(lines) == b"x"
    await lines.aclose()
    await lines.aclose()
    assert await to_thread.run_sync(gone.wait, 5)


async def test_cancelling_a_waiting_reader(
    client: RegistryClient, servers: list[ScriptedServer]
) -> None:
    """Proves that a reader that waits for a line can be cancelled and leaves nothing behind."""
    stop = threading.Event()

    def quiet() -> Iterator[bytes]:
        yield HEAD + chunk(b"x\n")
        stop.wait(10)

    servers[0].script = lambda _: quiet()
    lines = await open_lines(client)
    try:
        assert await anext(lines) == b"x"
        with anyio.move_on_after(0.05) as scope:
            try:
                await anext(lines)
            finally:
                await lines.aclose()
        assert scope.cancelled_caught
    finally:
        stop.set()


async def test_silence_is_noticed(client: RegistryClient, servers: list[ScriptedServer]) -> None:
    """Proves that a stream that is connected but silent raises after the idle time."""
    stop = threading.Event()

    def quiet() -> Iterator[bytes]:
        yield HEAD + chunk(b"x\n")
        stop.wait(10)

    servers[0].script = lambda _: quiet()
    lines = await open_lines(client, idle=0.1)
    try:
        assert await anext(lines) == b"x"
        with pytest.raises(SilenceError, match="silent"):
            await anext(lines)
    finally:
        await lines.aclose()
        stop.set()


async def test_a_stream_that_never_begins(
    client: RegistryClient, new_server: Callable[[], ScriptedServer]
) -> None:
    """Proves that a server that accepts and says nothing is given up after the timeout."""
    stop = threading.Event()
    server = new_server()

    def nothing() -> Iterator[bytes]:
        stop.wait(10)
        yield b""

    server.script = lambda _: nothing()
    alone = RegistryClient([f"http://{server.address}"], timeout=0.2)
    try:
        with pytest.raises(RegistryError, match=r"no answer within 0\.2 s"):
            await alone.stream("GET", "/watch", idle=60)
    finally:
        stop.set()
        await alone.aclose()


async def test_a_line_has_a_limit(client: RegistryClient, servers: list[ScriptedServer]) -> None:
    """Proves that a line that never ends is given up at the limit, not collected."""

    def endless() -> Iterator[bytes]:
        yield HEAD
        while True:
            yield chunk(b"x" * 1000)

    servers[0].script = lambda _: endless()
    lines = await open_lines(client)
    with pytest.raises(RegistryError, match="more than 10000 bytes"):
        await anext(lines)
    await lines.aclose()


@pytest.mark.parametrize("rest", [chunk(b'{"a":') + END, chunk(b'{"a":'), b"zz\r\n"])
async def test_a_broken_stream_raises(
    client: RegistryClient, servers: list[ScriptedServer], rest: bytes
) -> None:
    """Proves that half a line, a lost connection and broken chunks are errors, not an end."""
    servers[0].script = lambda _: [HEAD, chunk(b"x\n"), rest]
    lines = await open_lines(client)
    assert await anext(lines) == b"x"
    with pytest.raises(RegistryError):
        await anext(lines)
    await lines.aclose()


async def test_another_status_is_an_answer(
    client: RegistryClient, servers: list[ScriptedServer]
) -> None:
    """Proves that a refusal comes whole, and that a member in trouble is passed over."""
    servers[0].say("busy", 503)
    servers[1].say('{"code": 16}', 401)
    answer = await client.stream("GET", "/watch", idle=1)
    assert isinstance(answer, HttpReply)
    assert (answer.status, answer.json()) == (401, {"code": 16})
    servers[1].script = lambda _: [HEAD, chunk(b"x\n"), END]
    lines = await open_lines(client)
    assert [line async for line in lines] == [b"x"]
    await lines.aclose()
    assert len(servers[0].seen) == 1
