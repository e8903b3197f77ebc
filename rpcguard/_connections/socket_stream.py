"""A socket that never blocks, with TLS on it or not: what all connections read and write.

Nothing in here waits, so threads, asyncio and trio share it and differ in how they wait alone. TLS
works on memory (`rpcguard._wire.tls`): no byte is read before the handshake begins, what was said
in plain fails that handshake, and an end without close_notify is told from a whole one.
"""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING, Any

from rpcguard._wire.tls import TlsSession

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator, Sequence
    from types import ModuleType

READ_SIZE = 65536
"""Bytes that are read at once, as httpcore does: more is seldom there."""
_LARGEST_READ = 1 << 20
"""Bytes that are read at once while reads come back full: a third less CPU time for 10 MB."""

_LATER = (BlockingIOError, InterruptedError)


class SocketStream:
    """One open socket; `core` is httpcore, httpcore2 or their stand-in, whose errors it raises.

    `peer` is the address at its other end.
    `touched` says whether the system has taken a byte since it was last set to False, `closed`
    whether it was closed on this side. `offers` are the protocols that a handshake is to offer
    (ALPN), where they are not those of its context.
    """

    def __init__(self, sock: socket.socket, core: ModuleType, peer: Any = None) -> None:
        self.core = core
        self._socket = sock
        self._tls: TlsSession | None = None
        self._unread = b""
        self.closed = False
        self.offers: Sequence[str] | None = None
        self._peer = peer
        self._here: Any = None
        self._poll: select.poll | None = None
        self._appetite = READ_SIZE
        self.touched = False
        if hasattr(select, "poll"):  # made once: to make one takes longer than to ask it
            self._poll = select.poll()
            self._poll.register(sock, select.POLLIN)

    def __del__(self) -> None:
        # Whoever dropped it has been told by the transport; here the socket is not to leak.
        sock = getattr(self, "_socket", None)  # none where it was interrupted as it was made
        if sock is not None and sock.fileno() >= 0:
            sock.close()

    @property
    def clean(self) -> bool:
        """Whether an end of what was read is the end that the peer meant."""
        return self._tls is None or self._tls.clean

    @property
    def _has_more(self) -> bool:
        """Whether there is something to receive that the socket does not tell of."""
        return bool(self._unread) or (self._tls is not None and self._tls.clean)

    def raise_those_of(self, core: ModuleType) -> None:
        """Raise the errors of another core from now on."""
        self.core = core

    def ended(self) -> bool:
        """Tell whether there is something to read, which for an idle connection is its end."""
        if self.closed or self._unread:
            return True
        tls = self._tls
        if tls is None:
            return self._is_readable()
        return tls.clean or (self._is_readable() and self._said_more(tls))

    def receive(self, limit: int | None = None) -> bytes | None:
        """Give what has come: None when nothing has yet, empty at the end."""
        data: bytes | None
        if self._unread:
            data, self._unread = self._unread, b""
        elif self._tls is None:
            return self._receive_raw(limit or self._appetite)
        else:
            data = self._receive_tls(self._tls)
        if data and limit:
            data, self._unread = data[:limit], data[limit:]
        return data

    def unread(self, data: bytes) -> None:
        """Give the data back, to be received next."""
        self._unread = data + self._unread

    def send(self, data: bytes | memoryview) -> int:
        """Send what the system takes now, and tell how much of the data needs no further care.

        With TLS some of that may still be on its way: see `flush`.
        """
        if self._tls is None:
            return self._send_raw(data)
        if not self.flush():
            return 0
        try:
            taken = self._tls.write(memoryview(data))
        except OSError as error:  # the peer has ended TLS
            raise self.core.WriteError(error) from error
        self.flush()
        return taken

    def flush(self) -> bool:
        """Send what TLS has ready; True when nothing is left."""
        tls = self._tls
        if tls is not None and tls.sending:
            tls.sending = tls.sending[self._send_raw(tls.sending) :]
            return not tls.sending
        return True

    def begin_tls(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        """Begin a handshake, to be carried on by `shake_hands`.

        Raises `ConnectError` where something came before it: nobody has signed that.
        """
        if self._tls is not None:
            raise self.core.ConnectError("TLS within TLS is not supported")
        if self._unread:
            raise self.core.ConnectError("the node spoke in plain before the TLS handshake")
        self._tls = TlsSession(context, server_hostname, self.offers)

    @contextlib.contextmanager
    def handshaking(self) -> Iterator[None]:
        """Close the stream when a handshake fails, and say so in httpcore's words."""
        try:
            yield
        except (OSError, self.core.ReadError, self.core.WriteError) as error:
            self.close()
            raise self.core.ConnectError(str(error)) from error
        except BaseException:  # a timeout, or whoever waits is cancelled
            self.close()
            raise

    def shake_hands(self) -> bool:
        """Go on with the handshake; False while an answer of the peer is missing."""
        tls = self._tls
        assert tls is not None
        while True:
            try:
                done = tls.handshake()
            except OSError:
                self._try_flush()  # the alert tells the peer what was wrong
                raise
            sent = self.flush()
            if done:
                return sent
            data = self._receive_raw(READ_SIZE)
            if data is None:
                return False
            tls.received(data)

    def close(self) -> None:
        """Close at once; more than once is the same."""
        if not self.closed:
            # Answers are looked at after their connection was closed.
            self._here = _own_address(self._socket)
        self.closed = True
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        """Tell what httpcore's own streams tell."""
        if info == "ssl_object":
            return self._tls and self._tls.object
        if info == "socket":
            return self._socket
        if info == "client_addr":
            return self._here if self.closed else self._socket.getsockname()
        if info == "server_addr":
            return self._peer
        return self.ended() if info == "is_readable" else None

    def _receive_raw(self, limit: int) -> bytes | None:
        if self.closed:
            raise self.core.ReadError("the connection was closed on this side")
        try:
            data = self._socket.recv(limit)
        except _LATER:
            self._appetite = READ_SIZE
            return None
        except OSError as error:
            raise self.core.ReadError(error) from error
        self._appetite = min(2 * limit, _LARGEST_READ) if len(data) == limit else READ_SIZE
        return data

    def _receive_tls(self, tls: TlsSession) -> bytes | None:
        # All that is decrypted is taken: no look at the socket tells of what stays behind in TLS.
        try:
            while (data := tls.read()) is None:
                raw = self._receive_raw(self._appetite)
                if raw is None:
                    return None
                tls.received(raw)
                self._try_flush()  # an answer of TLS itself, to a change of keys say
        except OSError as error:
            raise self.core.ReadError(error) from error
        return data

    def _send_raw(self, data: bytes | memoryview) -> int:
        try:
            taken = self._socket.send(data)
        except _LATER:
            return 0
        except OSError as error:
            raise self.core.WriteError(error) from error
        self.touched = True
        return taken

    def _try_flush(self) -> None:
        # Who reads is not to fail by what cannot be sent: an answer may lie before the reset.
        try:
            self.flush()
        except self.core.WriteError:
            return

    def _said_more(self, tls: TlsSession) -> bool:
        # What came may be of TLS alone: the tickets that follow a handshake.
        try:
            data = self._receive_tls(tls)
        except self.core.ReadError:
            return True
        self._unread = data or b""
        return data is not None

    def _is_readable(self) -> bool:
        if self._socket.fileno() < 0:
            return True
        if self._poll is None:
            return bool(select.select([self._socket], [], [], 0)[0])
        return bool(self._poll.poll(0))


def _own_address(sock: socket.socket) -> Any:
    try:
        return sock.getsockname()
    except OSError:  # some systems forget it with a reset
        return None
