"""TLS as a thing of bytes: what came goes in, what is to be sent comes out."""

from __future__ import annotations

import os
import ssl
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIECE = 65536
"""Bytes that are encrypted or decrypted at a time: what a socket takes or has at once, about."""

_offering = threading.RLock()  # a signal handler may connect as well
"""Held while a context says what is offered: a connection takes that over as it is made, and a
context may be shared by threads, and transports, that offer different protocols."""


def _renew() -> None:
    global _offering
    _offering = threading.RLock()


os.register_at_fork(after_in_child=_renew)


class TlsSession:
    """The client's side of one TLS connection, on memory alone.

    All that arrives passes through TLS, so nothing that was said in plain before the handshake can
    be taken for an answer. `sending` is what is to be sent. `offers` are the protocols that are
    offered (ALPN), where they are not those of the context. Raises `ssl.SSLError`.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        server_hostname: str | None,
        offers: Sequence[str] | None = None,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # Certificates and SNI (RFC 6066 §3) have names without the dot of the root at their end.
        name = server_hostname and server_hostname.removesuffix(".")
        with _offering:
            if offers is not None:
                context.set_alpn_protocols(list(offers))
            self.object: ssl.SSLObject = context.wrap_bio(
                self._incoming, self._outgoing, server_hostname=name
            )
        self._ended = False
        self.sending: bytes = b""
        self.clean: bool = False
        """Whether the peer said that it has sent all (close_notify)."""

    def handshake(self) -> bool:
        """Go on with the handshake; False while bytes of the peer are missing."""
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._collect()
        return True

    def received(self, data: bytes) -> None:
        """Take what came, nothing for the end of the connection."""
        if data:
            self._incoming.write(data)
        else:
            self._ended = True
            self._incoming.write_eof()

    def read(self) -> bytes | None:
        """Give all content that has come: None when there is none yet, empty at the end."""
        parts: list[bytes] = []
        try:
            while part := self.object.read(_PIECE):
                parts.append(part)
            # All that came before the end of the connection has been read by then, and some OpenSSL
            # take that end for one that TLS said: OP_IGNORE_UNEXPECTED_EOF, set for every context
            # before Python 3.11.4.
            self.clean = self.clean or not self._ended
        except ssl.SSLWantReadError:
            return b"".join(parts) or None
        except ssl.SSLError as error:
            if not parts and not isinstance(error, ssl.SSLEOFError):
                raise
        finally:
            self._collect()
        return b"".join(parts)

    def write(self, data: memoryview) -> int:
        """Encrypt some of the data into `sending`, and tell how much."""
        taken = self.object.write(data[:_PIECE])
        self._collect()
        return taken

    def _collect(self) -> None:
        if self._outgoing.pending:
            self.sending += self._outgoing.read()
