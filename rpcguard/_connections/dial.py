"""Opening a TCP connection: addresses race (RFC 8305), within one connect timeout for all.

A node that is a name may have several addresses, of which some answer nothing. They are tried one
after the other, the next one as soon as one fails or has been silent for a quarter of a second; the
first that answers wins. The race itself does not wait: threads, asyncio and trio do that, each in
its own way, for `pending` sockets until `next_due`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import socket
from collections import deque
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside a silent one: RFC 8305 §5 recommends them."""

BACKLOG_PAUSE = 0.01
"""Seconds until a Unix domain socket is tried again whose backlog is full: the kernel, which waits
at TCP, does not tell when there is room, and an `accept` is mostly a matter of milliseconds."""

_STARTED = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})
"""What `connect_ex` gives of an attempt that goes on, or has come through at once (0): an
interrupted one goes on as well (POSIX), and Windows says that it would block."""

Address = tuple[int, Any]
"""A family, and what `connect` of a socket of it takes."""

Dialled = tuple[socket.socket, Any]
"""A connected socket, and the address at its other end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where the connections of a node go."""

    host: str
    """A name or an address."""
    port: int
    """The TCP port."""
    path: str | None = None
    """A Unix domain socket, in place of host and port."""
    local_address: str | None = None
    """The address that connections come from."""
    socket_options: Sequence[Any] = ()
    """Arguments of `setsockopt`, for each socket."""

    def known(self) -> list[Address] | None:
        """Give the addresses where no name has to be resolved."""
        if self.path is not None:
            return [(socket.AF_UNIX, self.path)]
        return numeric(self.host, self.port)

    def open(self, family: int) -> socket.socket:
        """Make a socket that does not block."""
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            for option in self.socket_options:
                # Those of TCP, for the nodes beside it, would fail on a Unix domain socket.
                if self.path is None or option[0] == socket.SOL_SOCKET:
                    sock.setsockopt(*option)
            if self.path is None:
                # Requests are written whole; Nagle would only hold them back.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.local_address is not None:
                    sock.bind((self.local_address, 0))
        except BaseException:
            sock.close()
            raise
        return sock


@functools.lru_cache(maxsize=4096)  # to take an address apart costs a tenth of a connection
def numeric(host: str, port: int) -> list[Address] | None:
    """Give the address that a host is; None for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return [(socket.AF_INET, (host, port))]
    # With a zone, `fe80::1%eth0`, only the system knows its number.
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return order(found)


def order(found: Iterable[tuple[Any, ...]]) -> list[Address]:
    """Order addresses by turns of their families; a dead one then costs little (RFC 8305 §4)."""
    families: dict[int, list[Address]] = {}
    for family, _kind, _protocol, _name, address in found:
        families.setdefault(family, []).append((family, address))
    turns = zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


@contextlib.contextmanager
def looking_up() -> Iterator[None]:
    """Tell that no thread can be started for a name as the want of this machine that it is.

    Raises `OSError` then: nothing has left this process, and other nodes may need no thread.
    """
    try:
        yield
    except RuntimeError as error:
        raise OSError(errno.ENOMEM, str(error)) from error


class Race:
    """The attempts to reach one of several addresses; whoever makes it closes it."""

    def __init__(self, destination: Destination, addresses: Iterable[Address], now: float) -> None:
        self._destination = destination
        self._waiting = deque(addresses)
        self.pending: list[socket.socket] = []
        self.errors: list[OSError] = []
        self.next_due: float = now
        """When another address is due, in seconds of the caller's clock."""

    def advance(self, now: float) -> None:
        """Start what is due: the next address, when the last one is silent or none is pending."""
        while self._waiting and now >= self.next_due:
            self.next_due = now + ATTEMPT_DELAY
            self._start(*self._waiting.popleft(), now)

    def winner(self) -> Dialled | None:
        """Take out the first socket that is connected, of those that are writable by now.

        Raises `OSError` when all have failed.
        """
        for sock in list(self.pending):
            try:
                peer = sock.getpeername()
            except OSError:  # not connected, or not yet
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    self._fail(sock, OSError(code, os.strerror(code)))
            else:
                self.pending.remove(sock)
                return sock, peer
        if not self.pending and not self._waiting:
            raise self._failure()
        return None

    def left(self, now: float) -> float | None:
        """Give the seconds until the next address is due; None when none is left."""
        return max(self.next_due - now, 0.0) if self._waiting else None

    def close(self) -> None:
        """Close all sockets that have not won."""
        while self.pending:
            self.pending.pop().close()

    def _start(self, family: int, address: Any, now: float) -> None:
        path = self._destination.path
        try:
            sock = self._destination.open(family)
        except OSError as error:
            self._note(error)
            return
        self.pending.append(sock)
        code = sock.connect_ex(address)
        if code == errno.EAGAIN and path is not None:  # the backlog is full
            self._drop(sock)
            self._waiting.append((family, address))
            self.next_due = now + BACKLOG_PAUSE
        elif code not in _STARTED:
            self._fail(sock, OSError(code, os.strerror(code), path))

    def _fail(self, sock: socket.socket, error: OSError) -> None:
        self._drop(sock)
        self._note(error)

    def _drop(self, sock: socket.socket) -> None:
        self.pending.remove(sock)
        sock.close()

    def _note(self, error: OSError) -> None:
        self.errors.append(error)
        self.next_due = -math.inf  # the next address need not wait for one that has failed

    def _failure(self) -> OSError:
        if len(self.errors) == 1:
            return self.errors[0]
        if not self.errors:
            return OSError("the name has no address")
        words = "; ".join(str(error) for error in self.errors)
        failure = OSError(f"all addresses failed: {words}")
        failure.__cause__ = ExceptionGroup("connect", self.errors)
        return failure
