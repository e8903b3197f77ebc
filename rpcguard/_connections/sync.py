"""The HTTP/1.1 connections of one node, for threads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rpcguard._connections.book_keeping import BookKeeping, LineBell
from rpcguard._connections.exchange import HTTP1_ONLY, Exchange, timeouts
from rpcguard._connections.handshake import in_handshake
from rpcguard._connections.http11 import NotBegun, Part, Wait
from rpcguard._connections.sync_stream import Lookup, SyncStream, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import httpx

    from rpcguard._connections.http11 import HTTP11Connection, Sending
    from rpcguard._connections.library import Library
    from rpcguard._connections.stack import Slot
    from rpcguard._wire.head import ResponseHead


class SyncBody:
    """The body of a response; closing it gives the connection back."""

    __slots__ = ("__weakref__", "_exchange", "_request", "_slot")

    def __init__(self, exchange: SyncExchange, slot: Slot, request: httpx.Request) -> None:
        self._exchange = exchange
        self._slot: Slot | None = slot
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        exchange, slot = self._exchange, self._slot
        trace = self._request.extensions.get("trace")
        try:
            if slot is not None and slot.connection is not None:
                _tell(trace, "http11.receive_response_body.started", {"request": self._request})
                yield from _parts(slot.connection, self._request)
                _tell(trace, "http11.receive_response_body.complete", {"return_value": None})
            exchange._check_whole()
        except BaseException as exc:
            error = exchange._translated(exc)
            if not isinstance(exc, GeneratorExit):
                _tell(trace, "http11.receive_response_body.failed", {"exception": exc})
            self.close()
            if error is None:
                raise
            raise error from exc

    def close(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        slot = self._slot
        if slot is None:
            return
        try:
            trace = self._request.extensions.get("trace")
            _tell(trace, "http11.response_closed.started", {})
            self._exchange._release(slot)
        except BaseException:
            # KeyboardInterrupt may have cut the first release; releasing twice is harmless.
            self._exchange._release(slot)
            raise
        finally:
            self._slot = None
        _tell(trace, "http11.response_closed.complete", {"return_value": None})

    def __del__(self) -> None:
        # Dropped unread and unclosed. A finalizer runs anywhere, under any lock: it takes none.
        slot = getattr(self, "_slot", None)  # none where it was interrupted as it was made
        if slot is not None:
            self._exchange._stack.dropped.append(slot)


class SyncExchange(BookKeeping, Exchange):
    """A LIFO stack of kept HTTP/1.1 connections to one node.

    It always dials its own address; the request's URL gives the target and, for https, the TLS
    name unless `sni_hostname` does, and a connection made for one name never serves another.
    `limits` count for this node; calls wait in line for `timeout["pool"]`. A timeout mapping may
    shrink while it is used; its `clamp(timeout)`, if there is one, bounds every read and write.
    `ssl_context` may be a function, which is asked for each connection. Times are seconds of
    `clock`. Raises what `httpx.HTTPTransport` raises; a kept connection that had ended is told by a
    `StaleConnection` as the cause. Thread-safe; whoever made it closes it.
    """

    _event = LineBell

    def __init__(self, library: Library, **options: Any) -> None:
        BookKeeping.__init__(self)
        Exchange.__init__(self, library, **options)
        self._guard(self._stack)
        self._body = library.derive(SyncBody, "SyncByteStream")
        self._stream = library.derive_stream(SyncStream, "NetworkStream", self._core)
        self._lookup = Lookup()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request to the node, whatever its URL names; the response must be closed."""
        slot = self._slot(request)
        try:
            head = self._send(request, slot)
            return self._answer(request, head, slot)
        except BaseException as exc:
            error = self._translated(exc, slot)
            self._release(slot)
            if error is None:
                raise
            raise error from error.__cause__

    def close(self) -> None:
        """Close the idle connections and cut those in use, whose calls get an httpx error.

        Any thread may call, more than once, and a signal handler. A thread blocked in a read wakes
        up at once. Later requests get `httpx.ConnectError`.
        """
        self._left.append(self._end)
        self._catch_up()
        self._reap()

    def _end(self) -> None:
        for connection in self._stack.close():
            connection.stream.cut()

    def close_idle(self) -> None:
        """Close the connections that no call uses; any thread may call, and a signal handler."""
        self._left.append(self._end_idle)
        self._catch_up()
        self._reap()

    def _end_idle(self) -> None:
        for stack in self._guarded:
            stack.close_idle()

    def sweep(self) -> None:
        """Close the idle connections that have expired, or that the node has closed."""
        self._alone(self._doom_what_is_over)
        self._reap()

    def _doom_what_is_over(self) -> None:
        self._stack.settle_dropped()
        self._stack.expire()
        for connection in self._stack.idle:
            if connection.stream.ended():
                self._stack.discard(connection)

    def _forget_idle(self) -> None:
        self.close_idle()

    def _send(self, request: httpx.Request, slot: Slot) -> ResponseHead:
        sending, stack = self._sending(request), self._stack
        if not self._is_granted(stack, slot):
            slot.event.wait(timeouts(request).get("pool"))
            self._alone(partial(self._check_granted, slot))
        while True:
            if stack.doomed:
                self._reap()
            connection = slot.connection or self._dial(request, slot)
            try:
                return self._converse(connection, sending, request)
            except NotBegun as error:
                self._lost(connection, error)
            self._alone(partial(stack.replace, slot))

    def _converse(
        self, connection: HTTP11Connection, sending: Sending, request: httpx.Request
    ) -> ResponseHead:
        if sending.traced is not None:
            return _drive(connection, connection.traced(sending), sending, request)
        rest = connection.start(sending)
        if rest is not None:
            return _drive(connection, connection.finish(rest), sending, request)
        reader, wait = connection.reader, connection.stream.wait_readable
        while reader.head is None:
            wait(connection.read_timeout())
            connection.hear()
        return reader.head

    def _dial(self, request: httpx.Request, slot: Slot) -> HTTP11Connection:
        stream = self._dialled(request, slot.name, HTTP1_ONLY)
        try:
            return self._opened(stream, slot)
        except BaseException:
            stream.close()
            raise

    def _dialled(
        self, request: httpx.Request, name: str | None, protocols: Sequence[str]
    ) -> SyncStream:
        """Open a stream to the node, secured where a name is given."""
        trace = request.extensions.get("trace")
        timeout = self._connect_timeout(request)
        if trace is None:
            stream = self._connected(timeout)
        else:
            event, options = self._dialling(timeout)
            stream = _traced(trace, event, options, lambda: self._connected(timeout))
        try:
            if name is not None:
                told = self._securing(name, self._connect_timeout(request))
                stream.offers = protocols
                with in_handshake(self._core.ConnectError, self._core.ConnectTimeout):
                    _traced(trace, "start_tls", told, lambda: stream.start_tls(**told))
        except BaseException:
            stream.close()
            raise
        return stream

    def _connected(self, timeout: float | None) -> SyncStream:
        try:
            sock, peer = connect(self._destination, self._lookup, timeout)
            made: SyncStream = self._stream(sock, self._core, peer)
            return made
        except TimeoutError as error:
            raise self._core.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise self._core.ConnectError(str(error)) from error

    def _release(self, slot: Slot) -> None:
        slot.keep = self._keeps(slot.connection)
        self._stack.dropped.append(slot)
        self._catch_up()
        if self._stack.doomed:
            self._reap()


def _drive(
    connection: HTTP11Connection, steps: Any, sending: Sending, request: httpx.Request
) -> ResponseHead:
    stream, trace = connection.stream, request.extensions.get("trace")
    parts: Iterator[bytes] | None = None
    try:
        step = next(steps)
        while True:
            done: Any = None
            try:
                if step is Wait.READABLE:
                    stream.wait_readable(connection.read_timeout())
                elif step is Wait.WRITABLE:
                    stream.wait_writable(connection.write_timeout())
                elif step is Part.NEXT:
                    parts = parts or iter(_body_of(sending, request))
                    done = next(parts, None)
                elif step is not Wait.TURN:  # the system gives other threads theirs
                    _tell(trace, step.event, step.info)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as end:
        head: ResponseHead = end.value
        return head
    except BaseException:
        _tell(trace, "http11.response_closed.started", {})
        _tell(trace, "http11.response_closed.complete", {"return_value": None})
        raise


def _body_of(sending: Sending, request: httpx.Request) -> Iterable[bytes]:
    return request.stream if sending.body is None else [sending.body]  # type: ignore[return-value]


def _parts(connection: HTTP11Connection, request: httpx.Request) -> Iterator[bytes]:
    reader, wait = connection.reader, connection.stream.wait_readable
    if reader.leading is not None:
        return  # what follows is not HTTP
    connection.begin_body(timeouts(request))
    while True:
        if data := reader.take():
            yield data
        if reader.complete:
            return
        wait(connection.read_timeout())
        connection.hear()


def _tell(trace: Callable[[str, Any], Any] | None, event: str, info: dict[str, Any]) -> None:
    if trace is not None:
        trace(event, info)


def _traced(
    trace: Callable[[str, dict[str, Any]], Any] | None,
    event: str,
    options: dict[str, Any],
    call: Callable[[], SyncStream],
) -> SyncStream:
    if trace is None:
        return call()
    stream = None
    trace(f"connection.{event}.started", options)
    try:
        stream = call()
    except BaseException as exc:
        trace(f"connection.{event}.failed", {"exception": exc})
        raise
    try:
        trace(f"connection.{event}.complete", {"return_value": stream})
    except BaseException:
        stream.close()
        raise
    return stream
