"""A server of gRPC that does what a script says: good answers, and every way to end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events

from rpcguard.registries.xds.messages import REQUEST, RESPONSE

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator


class GrpcTalk:
    """One connection of a caller, from the server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.books = h2.connection.H2Connection(config)
        self.books.initiate_connection()
        self.headers: dict[int, dict[str, str]] = {}
        self.opened = asyncio.Event()
        self._data: dict[int, bytearray] = {}
        self._messages: defaultdict[int, asyncio.Queue[bytes]] = defaultdict(asyncio.Queue)
        self.closed = asyncio.Event()

    async def read(self) -> None:
        """Take in what comes until the caller has gone."""
        self.flush()
        with contextlib.suppress(OSError):
            while data := await self._reader.read(65536):
                for event in self.books.receive_data(data):
                    self._take(event)
                self.flush()
        self.closed.set()

    def flush(self) -> None:
        self.writer.write(self.books.data_to_send())

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.headers[event.stream_id] = dict(event.headers)
            self._data[event.stream_id] = bytearray()
            self.opened.set()
        elif isinstance(event, h2.events.DataReceived):
            self.books.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            data = self._data[event.stream_id]
            data += event.data
            while len(data) >= 5 and len(data) >= 5 + (size := int.from_bytes(data[1:5], "big")):
                self._messages[event.stream_id].put_nowait(bytes(data[5 : 5 + size]))
                del data[: 5 + size]

    async def message(self, stream: int = 1) -> bytes:
        """Wait for the next message of a stream."""
        return await self._messages[stream].get()

    async def request(self) -> dict[str, Any]:
        """Wait for the next request of aggregated discovery."""
        found: dict[str, Any] = REQUEST.decode(await self.message())
        return found

    async def begin(self, stream: int = 1) -> None:
        """Send the headers of an answer, as soon as there is a request."""
        await self.opened.wait()
        headers = [(":status", "200"), ("content-type", "application/grpc")]
        self.books.send_headers(stream, headers)
        self.flush()

    async def send(self, message: bytes, stream: int = 1, *, flag: int = 0) -> None:
        """Send a message, however long it is."""
        left = bytes([flag]) + len(message).to_bytes(4, "big") + message
        while left:
            room = min(
                self.books.local_flow_control_window(stream), self.books.max_outbound_frame_size
            )
            if room:
                self.books.send_data(stream, left[:room])
                left = left[room:]
                self.flush()
            await asyncio.sleep(0)

    async def answer(self, type_url: str, version: str, *resources: bytes, **more: Any) -> None:
        """Send an answer of aggregated discovery."""
        response = {
            "version_info": version,
            "type_url": type_url,
            "nonce": f"n{version}",
            "resources": [{"type_url": type_url, "value": value} for value in resources],
            **more,
        }
        await self.send(RESPONSE.encode(response))

    def finish(self, code: int = 0, message: str = "", stream: int = 1) -> None:
        """Send the trailers, and as Go does, a reset that says no error."""
        trailers = [("grpc-status", str(code)), ("grpc-message", message)]
        self.books.send_headers(stream, trailers, end_stream=True)
        self.flush()
        # h2 would not send it on a stream that is half closed by the peer alone.
        self.writer.write(b"\0\0\4\3\0" + stream.to_bytes(4, "big") + bytes(4))

    def go_away(self, last: int = 1, code: int = 0) -> None:
        """Say that the connection ends."""
        self.writer.write(
            b"\0\0\x08\7\0\0\0\0\0" + last.to_bytes(4, "big") + code.to_bytes(4, "big")
        )

    def reset(self, code: int, stream: int = 1) -> None:
        """Break a stream off."""
        self.books.reset_stream(stream, code)
        self.flush()


@contextlib.asynccontextmanager
async def grpc_peer(
    *scripts: Any, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[GrpcTalk]]]:
    """Serve each connection by the next script, the last one again and again.

    Gives the port, and the talks that there were. A script that ends ends its connection.
    """
    talks: list[GrpcTalk] = []
    failures: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = GrpcTalk(reader, writer)
        script = scripts[min(len(talks), len(scripts) - 1)]
        talks.append(talk)
        reading = asyncio.create_task(talk.read())
        playing = asyncio.create_task(script(talk))
        gone = asyncio.create_task(talk.closed.wait())
        await asyncio.wait({playing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done() and not playing.cancelled() and playing.exception() is not None:
            failures.append(playing.exception())  # type: ignore[arg-type]
        for task in (reading, playing, gone):
            task.cancel()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], talks
    finally:
        server.close()
        for talk in talks:
            talk.writer.transport.abort()
        if failures:
            raise failures[0]
