"""kazoo's client as a registry needs it: one per process, and no answer without a limit."""

from __future__ import annotations

import atexit
import os
import socket
import ssl
import threading
import traceback
from typing import TYPE_CHECKING, Any

from kazoo.handlers.threading import (  # type: ignore[import-untyped]
    KazooTimeoutError,
    SequentialThreadingHandler,
)

from rpcguard.registries._shared.bodies import reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from kazoo.client import KazooClient  # type: ignore[import-untyped]


_QUICK = 0.1
"""Seconds in which a server that is well takes a connection, and one that is not refuses it."""


class Capped:
    """A socket that takes no more at once than an answer may have.

    kazoo receives with the size that the server has announced, up to 2 GB, and believes any.
    """

    def __init__(self, socket: Any, limit: int) -> None:
        self._socket = socket
        self._limit = limit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def recv(self, size: int) -> bytes:
        """Receive; raise `OSError`, at which kazoo drops the connection, for too large a size."""
        if size > self._limit:
            raise OSError(f"the answer has more than {self._limit} bytes")
        received: bytes = self._socket.recv(size)
        return received


class _Threads(SequentialThreadingHandler):  # type: ignore[misc]
    """kazoo's threads, which are daemons, without a part in the exit of the interpreter."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def start(self) -> None:
        """Start the threads."""
        super().start()
        atexit.unregister(self.stop)  # a forked child would wait there for threads it has not

    def create_connection(self, *args: Any, **options: Any) -> Capped:
        """Connect to a server."""
        try:
            return Capped(super().create_connection(*args, **options), self._limit)
        except BaseException as error:
            _close_what_failed(error)
            raise


def _close_what_failed(error: BaseException) -> None:
    # kazoo forgets a socket whose TLS handshake has failed: only the frame of that still has it.
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(failed := frame.f_locals.get("conn"), ssl.SSLSocket):
            failed.close()


def daemon_threads(limit: int) -> Any:
    """Make the threads of a client, which take no answer of more than so many bytes."""
    return _Threads(limit)


def _refusal(hosts: list[tuple[str, int]]) -> str | None:
    """Say why no server takes connections; None where one does, or may just be slow."""
    told = None
    for place in hosts:
        try:
            socket.create_connection(place, _QUICK).close()
        except (ConnectionRefusedError, socket.gaierror) as error:
            told = reason(error)
        except OSError:
            return None
        else:
            return None
    return told


class Session:
    """The kazoo client of one process, begun on first use; thread-safe."""

    def __init__(self, new_client: Callable[[], KazooClient]) -> None:
        self.pid: int = os.getpid()
        self._new_client = new_client
        self._lock = threading.Lock()
        self._client: KazooClient | None = None
        self._connected = threading.Event()

    def client(self, timeout: float) -> KazooClient:
        """Give the client once it is connected; raise `KazooTimeoutError` if that takes longer."""
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
                self._connected = self._client.start_async()
            client, connected = self._client, self._connected
        if connected.wait(min(timeout, _QUICK)):
            return client
        # kazoo goes on trying in silence; what every server refuses is told at once.
        refusal = _refusal(list(client.hosts or ()))
        if refusal is not None or not connected.wait(max(0.0, timeout - _QUICK)):
            # One that met nonsense has given up, the next has not. Its end may take a while.
            threading.Thread(target=self.end, args=(client,), daemon=True).start()
            raise KazooTimeoutError(refusal or f"no connection within {timeout:g} s")
        return client

    def end(self, client: KazooClient | None = None) -> None:
        """End the client, if it is still this one."""
        with self._lock:
            if client is not None and client is not self._client:
                return
            client, self._client = self._client, None
        if client is not None:
            client.stop()
            client.close()
