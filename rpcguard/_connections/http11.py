"""One HTTP/1.1 connection and the exchange on it, for threads, asyncio and trio alike.

`start` sends a request whose every byte is at hand, which most are, in one step. What takes longer
(a body in parts, a full buffer, a trace hook) is a generator of `Wait`s, `Trace`s and `Part`s, for
a driver to carry out. Nothing in here waits.

What must always hold: nothing is sent on a connection on which something lies unread, and nothing
once the node has begun to answer; the answer to a request that was cut short is handed out, and its
connection is not used again.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from rpcguard._wire.request import LAST_CHUNK, chunk
from rpcguard._wire.response import ResponseReader
from rpcguard._wire.violations import LocalViolation, RemoteViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from rpcguard._wire.head import HeadParser, ResponseHead
    from rpcguard._wire.request import HeaderBlock

SMALL = 65536
"""Bytes of a body that are sent together with the head: what a socket takes at once, mostly."""


TURN = 1 << 20
"""Bytes that are sent without a wait before other tasks get a turn: half a millisecond."""


class NotBegun(Exception):  # noqa: N818
    """A connection that was no good before the first byte of the request was sent."""


@dataclass(slots=True)
class Sending:
    """A request as a connection sends it."""

    method: bytes
    line: bytes
    """The request line."""
    block: HeaderBlock
    body: bytes | None
    """The body where it is at hand; None where it comes in parts."""
    timeouts: Mapping[str, float | None]
    """Of httpx; cut to a deadline by its `clamp`, if it has one."""
    traced: Callable[[], Any] | None = None
    """Makes the request that trace hooks see; None without a hook."""


class Wait(Enum):
    """What a driver waits for before it goes on."""

    READABLE = "something came, or the end"
    WRITABLE = "something can be sent, or has come"
    TURN = "others had their turn, and a cancellation is seen"


class Part(Enum):
    """The next part of the request's body, or None after the last."""

    NEXT = "next"


@dataclass(slots=True)
class Trace:
    """A step to be told to the trace hook."""

    event: str
    info: dict[str, Any] = field(default_factory=dict)


Step = Wait | Part | Trace
Steps = Generator[Step, Any, Any]


class HTTP11Connection:
    """One open connection, and the exchange that is under way on it.

    `stream` is its `SocketStream`, `name` the TLS name that it was verified for.
    """

    __slots__ = (
        "_clamp",
        "_closes",
        "_joined",
        "_left",
        "_parse",
        "_read",
        "_unbroken",
        "_write",
        "expires",
        "idle_since",
        "name",
        "reader",
        "sent",
        "stream",
        "used",
    )

    def __init__(self, stream: Any, name: str | None, parse: HeadParser) -> None:
        self.stream: Any = stream
        self.name: str | None = name
        self.expires: float = 0.0
        self.idle_since: float = 0.0
        self.used: bool = False
        """Whether a call was served on it before."""
        self.reader: ResponseReader = ResponseReader(parse, b"", upgrades=False)
        self._parse = parse
        self.sent = False
        self._closes = False
        self._joined = False
        self._left: int | None = 0
        self._unbroken = 0
        self._read: float | None = None
        self._write: float | None = None
        self._clamp: Callable[[float | None], float | None] | None = None

    @property
    def reusable(self) -> bool:
        """Whether another call may have it: the request went out whole, and so came the answer."""
        whole = self.sent and self.reader.reusable
        return whole and not self._closes and not self.stream.closed

    def begin(self, sending: Sending) -> None:
        """Begin an exchange."""
        timeouts = sending.timeouts
        self._clamp = getattr(timeouts, "clamp", None)
        self._read, self._write = timeouts.get("read"), timeouts.get("write")
        self.sent = False
        self._left = sending.block.length
        self._closes = sending.block.closes
        self.reader = ResponseReader(self._parse, sending.method, upgrades=sending.block.upgrades)

    def start(self, sending: Sending) -> memoryview | None:
        """Send what is at hand of a request; None when that is all of it.

        Raises `NotBegun` where the connection had ended, or was spoken on, before the first byte.
        """
        self.begin(sending)
        self._look()
        data = sending.line + sending.block.data
        body = sending.body
        self._joined = False
        if body is not None and len(body) == self._left and len(body) <= SMALL:
            self._joined = True
            data += body
        taken = self._send_first(data)
        if self._joined and taken == len(data) and self.stream.flush():
            self.sent = True
            return None
        return memoryview(data)[taken:]

    def finish(self, rest: memoryview) -> Steps:
        """Send what `start` has left of the request, and receive the head of its answer."""
        try:
            if (yield from self._push(rest)):
                self.sent = self._joined
                if not self._joined:
                    yield from self._send_body()
        except self.stream.core.WriteError:
            pass  # the node may have answered before it closed
        return (yield from self._receive())

    def traced(self, sending: Sending) -> Steps:
        """Do all of it step by step, each told to the trace hook under httpcore's names."""
        assert sending.traced is not None
        info = {"request": sending.traced()}
        try:
            yield from _told("send_request_headers", info, self._send_head(sending))
            yield from _told("send_request_body", info, self._send_body())
        except self.stream.core.WriteError:
            pass  # the node may have answered before it closed
        return (yield from _told("receive_response_headers", info, self._receive(), _head_told))

    def hear(self) -> bool:
        """Take in what has come; True once the head of the answer is there."""
        data = self.stream.receive()
        reader = self.reader
        if data is not None:
            try:
                if data:
                    reader.feed(data)
                else:
                    reader.end(clean=self.stream.clean)
            except RemoteViolation as error:
                raise self.stream.core.RemoteProtocolError(str(error)) from error
        return reader.head is not None

    def begin_body(self, timeouts: Mapping[str, float | None]) -> None:
        """Begin to read the body: what a timeout is may have changed since the head came."""
        self._read = timeouts.get("read")

    def read_timeout(self) -> float | None:
        """Give the seconds that the next read may take; raises `ReadTimeout` when none are left."""
        timeout = self._read
        if self._clamp is not None:
            timeout = self._clamp(timeout)
            if timeout is not None and timeout <= 0:
                raise self.stream.core.ReadTimeout("no time left")
        return timeout

    def write_timeout(self) -> float | None:
        """Give the seconds that the next write may take; raises `WriteTimeout` when none are."""
        timeout = self._write
        if self._clamp is not None:
            timeout = self._clamp(timeout)
        if timeout is not None and timeout <= 0:
            raise self.stream.core.WriteTimeout("no time left")
        return timeout

    def hand_over(self, core: ModuleType) -> None:
        """Leave the stream to whoever speaks another protocol on it, with what came of that.

        They wait for the errors of httpcore, `core`, whenever they have loaded it.
        """
        self.stream.raise_those_of(core)
        self.stream.unread(self.reader.leading or b"")
        self._clamp = None

    def close(self) -> None:
        """Close it at once."""
        self.stream.close()

    def _look(self) -> None:
        if self.stream.ended():
            raise NotBegun("the connection had ended, or was spoken on, before the request")
        self.stream.touched = False

    def _send_first(self, data: bytes) -> int:
        self.write_timeout()
        try:
            taken: int = self.stream.send(data)
        except self.stream.core.WriteError as error:
            if not self.stream.touched:
                raise NotBegun("the connection had ended before the request") from error
            return 0
        return taken

    def _send_head(self, sending: Sending) -> Steps:
        self.begin(sending)
        self._look()
        data = sending.line + sending.block.data
        yield from self._push(memoryview(data)[self._send_first(data) :])

    def _send_body(self) -> Steps:
        """Send the body as long as the node does not answer."""
        chunked = self._left is None
        self.sent = self._left == 0
        while (part := (yield Part.NEXT)) is not None:
            data = chunk(part) if chunked else self._counted(part)
            # What was said while the caller made the part is the answer to all that came before.
            if self.hear():
                return
            self.sent = False
            if not (yield from self._push(memoryview(data))):
                return
            self.sent = self._left == 0
        if self._left:
            raise self._refused("Too little data for declared Content-Length")
        if chunked and self.reader.head is None:
            self.sent = yield from self._push(memoryview(LAST_CHUNK))

    def _counted(self, part: bytes) -> bytes:
        assert self._left is not None
        self._left -= len(part)
        if self._left < 0:
            raise self._refused("Too much data for declared Content-Length")
        return part

    def _refused(self, words: str) -> Exception:
        error: Exception = self.stream.core.LocalProtocolError(words)
        error.__cause__ = LocalViolation(words)
        return error

    def _push(self, data: memoryview) -> Steps:
        """Send all of the data; False when the node has answered before it was sent."""
        stream = self.stream
        while data or not stream.flush():
            self.write_timeout()  # a node that takes all at once is never waited for
            taken = stream.send(data) if data else 0
            if taken:
                data = data[taken:]
                self._unbroken += taken
                if self._unbroken >= TURN:
                    self._unbroken = 0
                    yield Wait.TURN
                continue
            self._unbroken = 0
            yield Wait.WRITABLE
            if self.hear():
                return False
        return True

    def _receive(self) -> Steps:
        while self.reader.head is None:
            yield Wait.READABLE
            self.hear()
        return self.reader.head


def _told(
    name: str,
    info: dict[str, Any],
    steps: Any,
    result: Callable[[ResponseHead], Any] = lambda _: None,
) -> Steps:
    yield Trace(f"http11.{name}.started", info)
    try:
        done = yield from steps
    except GeneratorExit:
        raise  # the driver was interrupted, and tells nobody any more
    except BaseException as error:
        yield Trace(f"http11.{name}.failed", {"exception": error})
        raise
    yield Trace(f"http11.{name}.complete", {"return_value": result(done)})
    return done


def _head_told(head: ResponseHead) -> Any:
    return head.version, head.status, head.reason, head.fields
