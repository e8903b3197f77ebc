"""Calls of gRPC by our own hand: what a server may do to one, and what is said of it."""

from __future__ import annotations

import asyncio
import ssl

import anyio
import anyio.lowlevel
import pytest
import trustme
from h2.settings import SettingCodes

from rpcguard.errors import RegistryError
from rpcguard.registries._shared.grpc import GrpcError, connected
from tests.support.grpc_peer import GrpcTalk, grpc_peer

PACKED = b"\0\0\0\0\1x"
"""A message of one letter, as gRPC has it on the wire."""


@pytest.fixture
def anyio_backend():
    """The server is one of asyncio."""
    return "asyncio"


def channel_to(port, patience=5.0):
    return connected("127.0.0.1", port, patience=patience)


def allow(talk, setting, value):
    """Tell the caller a setting."""
    talk.books.update_settings({setting: value})
    talk.flush()


async def test_a_server_that_takes_nothing():
    """Who has something to say does not wait for ever for a window that stays shut."""

    async def script(talk):
        allow(talk, SettingCodes.INITIAL_WINDOW_SIZE, 0)
        await talk.begin()
        await talk.send(b"x")
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, _), channel_to(port, patience=0.1) as channel:
        stream = channel.open("/a")
        assert await stream.receive() == b"x"
        with pytest.raises(GrpcError, match=r"a message was not taken in 0\.1 s"):
            await stream.send(b"y")


@pytest.mark.parametrize(
    ("status", "kind", "body", "reason"),
    [
        ("401", "text/plain", b"Unauthorized", "HTTP status 401.*are the credentials right"),
        ("503", "text/html", b"<html>try later</html>", "HTTP status 503"),
        ("503", "application/grpc", PACKED, "HTTP status 503"),
        ("200", "text/html", b"<html>welcome</html>", "HTTP status 200, and none of gRPC"),
    ],
)
async def test_a_page_in_place_of_an_answer(status, kind, body, reason):
    """What a proxy says is told by its status; no message is looked for in its page."""

    async def script(talk):
        await talk.message()
        talk.books.send_headers(1, [(":status", status), ("content-type", kind)])
        talk.books.send_data(1, body)
        talk.flush()
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, _), channel_to(port) as channel:
        with pytest.raises(GrpcError, match=reason):
            await channel.unary("/a", b"")


async def test_the_status_comes_after_the_answer():
    """An answer whose call then fails is none, and neither is one of two."""

    async def failing(talk):
        await talk.begin()
        await talk.send(b"x")
        talk.finish(5, "gone")
        await asyncio.Event().wait()

    async def talkative(talk):
        await talk.begin()
        await talk.send(b"x")
        await talk.send(b"y")
        await asyncio.Event().wait()

    async with grpc_peer(failing, talkative) as (port, _):
        async with channel_to(port) as channel:
            with pytest.raises(GrpcError, match="gRPC status 5: gone"):
                await channel.unary("/a", b"")
        async with channel_to(port) as channel:
            with pytest.raises(GrpcError, match="more than one answer"):
                await channel.unary("/a", b"")


async def test_no_more_calls_than_the_server_allows():
    """One too many is told, and the others go on."""

    async def script(talk):
        allow(talk, SettingCodes.MAX_CONCURRENT_STREAMS, 1)
        await talk.begin()
        await talk.send(b"x")
        await talk.send(await talk.message())
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, _), channel_to(port) as channel:
        stream = channel.open("/a")
        assert await stream.receive() == b"x"
        with pytest.raises(GrpcError, match="no room for another call"):
            channel.open("/b")
        await stream.send(b"y")
        assert await stream.receive() == b"y"


async def test_a_flood_of_messages_leaves_others_their_turn():
    """Each message that has come already is a turn for who else waits."""

    async def script(talk):
        await talk.begin()
        await talk.message()
        talk.books.send_data(1, PACKED * 1000)
        talk.flush()
        await asyncio.Event().wait()

    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with grpc_peer(script) as (port, _), channel_to(port) as channel:
        stream = channel.open("/a")
        await stream.send(b"")
        await stream.receive()
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            for _ in range(999):
                assert await stream.receive() == b"x"
            group.cancel_scope.cancel()
    assert turns >= 900


async def test_an_ipv6_address_has_brackets():
    """As the authority, and where it is shown."""
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        talk = GrpcTalk(reader, writer)
        reading = asyncio.create_task(talk.read())
        await talk.opened.wait()
        heard.set_result(talk.headers[1][":authority"])
        reading.cancel()
        writer.close()

    try:
        server = await asyncio.start_server(serve, "::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with connected("::1", port, patience=5.0) as channel:
            channel.open("/a")
            assert await heard == f"[::1]:{port}"
            assert channel.shown == f"[::1]:{port}"


async def test_tls_over_a_unix_socket(tmp_path):
    """A path does not make plain text of what is to be secret."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    heard = []
    said = asyncio.Event()

    async def serve(reader, writer):
        if data := await reader.read(24):
            heard.append(data)
            said.set()
            await reader.read()  # until the caller goes
        writer.close()

    path = str(tmp_path / "socket")
    trusting, other = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusting)
    async with await asyncio.start_unix_server(serve, path, ssl=context):
        with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED"):
            async with connected("localhost", 0, patience=5.0, tls=other, path=path):
                pass
        async with connected("localhost", 0, patience=5.0, tls=trusting, path=path):
            await said.wait()
    assert heard == [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
