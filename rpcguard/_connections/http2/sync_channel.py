"""The bytes of one HTTP/2 connection, for the one thread that uses it at a time."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import TYPE_CHECKING, Any

from rpcguard._connections.http2.channels import Channel
from rpcguard._wire.tls import TlsSession

if TYPE_CHECKING:
    import ssl

    from rpcguard._wire.h2_streams import Http2Stream

_AT_ONCE = 64 * 1024
"""Bytes of one read: what a socket holds by default, about."""

_BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL


class SyncChannel(Channel):
    """A channel on a socket that is read whenever a write must wait.

    Else both ends could wait for each other: a node that answers while it is sent to stops reading
    when nobody takes its answer. Only `cut` may be called from another thread.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        sock.setblocking(False)
        self._socket = sock
        self._unsent = bytearray()

    @property
    def full(self) -> bool:
        """Tell whether some of what was pushed has not left yet."""
        return bool(self._unsent)

    def secure_now(self, context: ssl.SSLContext, name: str, timeout: float | None) -> str | None:
        """Do the TLS handshake as `secure` does; raise `TimeoutError` when the seconds are over."""
        end = None if timeout is None else time.monotonic() + timeout
        tls = self.tls = TlsSession(context, name)
        try:
            while not tls.handshake():
                self._flush()
                if self.closed:
                    raise ConnectionResetError("the node ended the connection as TLS began")
                left = None if end is None else end - time.monotonic()
                if (left is not None and left <= 0.0) or not self._turn(left):
                    raise TimeoutError("the TLS handshake took too long")
        finally:
            self._flush()
        self._secured = True
        return tls.object.selected_alpn_protocol()

    def wait_for(self, stream: Http2Stream, timeout: float | None) -> None:
        """Read once, unless the seconds pass before there is anything; the stream may have news."""
        if not self.closed and stream.failure is None:
            self._turn(timeout)

    def drain(self, timeout: float | None) -> bool:
        """Wait until what was pushed has left; False where the seconds have passed before."""
        end = None if timeout is None else time.monotonic() + timeout
        while self._unsent and not self.closed:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0.0:
                return False
            self._turn(left)
        return True

    def take_in(self) -> None:
        """Take in what came while nobody read."""
        while not self.closed and self._read():
            pass

    def cut(self) -> None:
        """End the connection from any thread; whoever waits for it wakes up."""
        with contextlib.suppress(OSError):  # it ended by itself
            self._socket.shutdown(socket.SHUT_RDWR)

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        self._unsent.clear()
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        """Tell what the streams of httpcore tell."""
        if info == "ssl_object":
            return None if self.tls is None else self.tls.object
        if info == "socket":
            return self._socket
        if info == "client_addr":
            return self._socket.getsockname()
        return self._socket.getpeername() if info == "server_addr" else None

    def _turn(self, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        # Rounded up: a poll of no time at all would spin through the last millisecond.
        events = poll.poll(None if timeout is None else int(timeout * 1000) + 1)
        for _, event in events:
            if event & (select.POLLIN | _BROKEN):
                self._read()
            if event & select.POLLOUT and not self.closed:
                del self._unsent[: self._try(self._unsent)]
        return bool(events)

    def _read(self) -> bool:
        try:
            data = self._socket.recv(_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._break(error)
            return False
        self.arrived(data)
        if not data:
            self.closed = True
        return bool(data)

    def _send(self, data: bytes) -> None:
        if not self._unsent:
            data = data[self._try(data) :]
        self._unsent += data

    def _try(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._break(error)
            return len(data)

    def _break(self, error: OSError) -> None:
        self.lost(f"the connection broke: {error}")
        self.abort()
