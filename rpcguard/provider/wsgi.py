"""The offline signal for WSGI apps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from rpcguard.provider.address import known_as
from rpcguard.provider.control import ControlRequest
from rpcguard.provider.middleware import HEADER, OfflineMiddleware

if TYPE_CHECKING:
    import os
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from rpcguard.provider.switch import OfflineSwitch

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Write = Callable[[bytes], object]


class OfflineWSGI(OfflineMiddleware):
    """A WSGI app that says on its responses that its node leaves, while it serves as before.

    All is as in `OfflineASGI`, options included, but that an app which raises leaves the answer to
    its server, which does not know the notice; and only gunicorn tells which unix socket a request
    came over, so that only there a POST without a token can be obeyed. Thread-safe; make it the
    outermost wrapper.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        switch: OfflineSwitch | None = None,
        file: str | os.PathLike[str] | Literal[False] | None = None,
        token: str | None = None,
        node: str | None = None,
        prefix: str = "/-/rpcguard",
    ) -> None:
        super().__init__(switch=switch, file=file, token=token, node=node, prefix=prefix)
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request of the WSGI interface."""
        start = self._marking(environ, start_response)
        path = environ.get("PATH_INFO", "")
        if not self._control.is_meant(path):
            return self.app(environ, start)
        reply = self._control.answer(_control_request(environ, path))
        start(f"{reply.status.value} {reply.status.phrase}", reply.headers)
        return [reply.body]

    def _marking(self, environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
        accepted_on = _server(environ)  # now, since the app may change what the environment says

        def start(
            status: str,
            headers: list[tuple[str, str]],
            exc_info: ExcInfo | None = None,
            /,
        ) -> Write:
            notice = self.switch.notice()
            if notice is not None:
                headers = [*headers, (HEADER, self._with_name(notice, known_as(*accepted_on)))]
            # Servers may take two arguments only where there is no error to tell.
            extra = () if exc_info is None else (exc_info,)
            return start_response(status, headers, *extra)

        return start


def _server(environ: WSGIEnvironment) -> tuple[Any, Any]:
    """Give host and port, or path and None, of the address that a request was accepted on."""
    # gunicorn gives the address that it is bound to as the server's name, and over a unix socket
    # what `Host` says; but it hands out the connection.
    connection = environ.get("gunicorn.socket")
    if connection is None:
        return environ.get("SERVER_NAME"), environ.get("SERVER_PORT")
    try:
        name = connection.getsockname()
    except OSError:
        return None, None
    return (name[0], name[1]) if isinstance(name, tuple) else (name, None)


def _control_request(environ: WSGIEnvironment, path: str) -> ControlRequest:
    where, port = _server(environ)
    return ControlRequest(
        method=environ["REQUEST_METHOD"],
        path=path,
        headers={
            key[5:].replace("_", "-").lower(): value
            for key, value in environ.items()
            if key.startswith("HTTP_")
        },
        http_version=environ.get("SERVER_PROTOCOL", "").removeprefix("HTTP/"),
        unix_socket=where if isinstance(where, str) and port is None else None,
    )
