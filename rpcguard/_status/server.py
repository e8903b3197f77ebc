"""A server of its own for the page, where no web framework is there to mount it."""

from __future__ import annotations

import socketserver
import threading
from typing import TYPE_CHECKING, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from rpcguard._status.app import wsgi_app
from rpcguard._telemetry.metrics import sources

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from rpcguard._status.page import Shown

_IDLE = 10.0
"""Seconds after which a connection that asks for nothing is closed, so that none holds a thread."""


def start_status_server(port: int, *shown: Shown, host: str = "127.0.0.1") -> StatusServer:
    """Serve the page of transports on a port, from a thread that never delays the exit.

    For batch programs, Celery's workers and whatever else serves no HTTP. It tells addresses, so
    it listens on loopback until `host` says otherwise. Each process has its own: start it after a
    fork, with port 0 for any free one where several would meet.

    Args:
        port: where to listen; 0: a free one, which `StatusServer.port` tells.
        shown: transports; none: all of this process, those that are made later included.
        host: the address to listen on.

    Raises:
        OSError: the port is taken.
    """
    return StatusServer(port, shown, host=host)


class StatusServer:
    """The page of transports on a port of its own; `close` it, or leave it to the exit."""

    def __init__(self, port: int, shown: Sequence[Shown], *, host: str) -> None:
        self._server = _PageServer((host, port), _PageHandler)
        self._server.set_app(wsgi_app((lambda: shown) if shown else _all_of_this_process))
        self.host: str = host
        """The address that it listens on."""
        self.port: int = self._server.server_port
        """The port that it listens on."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="rpcguard-status", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening; what is being answered is finished. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _all_of_this_process() -> Sequence[Shown]:
    return cast("list[Shown]", sources())


class _PageServer(socketserver.ThreadingMixIn, WSGIServer):
    """A server of the standard library: a thread for each reader, and it waits for none of them."""

    daemon_threads = True
    block_on_close = False  # a reader that holds its connection must not hold `close`
    allow_reuse_address = True

    def server_bind(self) -> None:
        # That of the parent looks the host's name up, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _PageHandler(WSGIRequestHandler):
    """The connection of one reader, which may be silent for so long and leaves no trace."""

    timeout = _IDLE

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: a page that updates itself would fill the log of its program."""
