"""The offline signal for WSGI apps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rpcguard.provider.switch import HEADER, OfflineSwitch, is_loopback, is_relayed

if TYPE_CHECKING:
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Write = Callable[[bytes], object]


class OfflineWSGI(OfflineSwitch):
    """Wrap a WSGI app so that its node can say that it leaves.

    After `go_offline()` every response of the app carries `X-RpcGuard-Offline` while it serves as
    before; `online()` takes it back. An app that raises leaves the answer to its server, which
    does not know the notice. `POST {prefix}/offline` and `{prefix}/online` do the same for a
    preStop hook. They are accepted over loopback or a unix socket only, and never with a sign of
    a proxy such as `X-Forwarded-For`. Thread-safe; make it the outermost wrapper.
    """

    def __init__(self, app: WSGIApplication, *, prefix: str = "/-/rpcguard") -> None:
        super().__init__(prefix=prefix)
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request of the WSGI interface."""
        start = self._marking(start_response)
        path = environ.get("PATH_INFO", "")
        if not self._is_control(path):
            return self.app(environ, start)
        answer = self._control(path, environ["REQUEST_METHOD"], local=_is_local(environ))
        start(f"{answer.status.value} {answer.status.phrase}", answer.headers)
        return [answer.body]

    def _marking(self, start_response: StartResponse) -> StartResponse:
        def start(
            status: str,
            headers: list[tuple[str, str]],
            exc_info: ExcInfo | None = None,
            /,
        ) -> Write:
            notice = self._notice
            if notice is not None:
                headers = [*headers, (HEADER, notice)]
            # Servers may take two arguments only where there is no error to tell.
            extra = () if exc_info is None else (exc_info,)
            return start_response(status, headers, *extra)

        return start


def _is_local(environ: WSGIEnvironment) -> bool:
    names = {key[5:].replace("_", "-").lower() for key in environ if key.startswith("HTTP_")}
    if is_relayed(names):
        return False
    # Servers give an empty address for the peer of a unix socket.
    address = environ.get("REMOTE_ADDR")
    return address == "" or (isinstance(address, str) and is_loopback(address))
