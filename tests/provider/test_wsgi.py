"""OfflineWSGI on a real wsgiref server, and with crafted environments."""

from __future__ import annotations

import sys
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest

from rpcguard.provider import OfflineWSGI
from tests.support.calls import eventually

NOTICE = "x-rpcguard-offline"


def app(environ, start_response):
    """Answer a little, stream, or fail in two ways, as the path says."""
    path = environ["PATH_INFO"]
    if path == "/caught":
        try:
            raise RuntimeError("app bug")
        except RuntimeError:
            start_response("500 Oops", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"caught"]
    status = "503 Service Unavailable" if path == "/error" else "200 OK"
    start_response(status, [("Content-Type", "text/plain"), ("A", "b")])
    return (part for part in (b"one ", b"two ", b"three"))


def call(guarded: OfflineWSGI, path: str, **environ: object) -> httpx.Response:
    """Run one request through the middleware without a server."""
    given: dict = {"PATH_INFO": path, "REQUEST_METHOD": "POST", "REMOTE_ADDR": "127.0.0.1"}
    setup_testing_defaults(given)
    given.update(environ)
    started: list = []
    body = b"".join(
        guarded({k: v for k, v in given.items() if v is not None}, lambda *a: started.append(a))
    )
    ((status, headers),) = started
    return httpx.Response(int(status.split()[0]), headers=headers, content=body)


@pytest.fixture
def guarded() -> OfflineWSGI:
    return OfflineWSGI(app)


def test_every_response_carries_the_notice_while_the_app_serves_on(guarded, wsgiref_at):
    """Plain, error, streamed and late-error responses say it, and nothing before or after."""
    with httpx.Client(base_url=wsgiref_at(guarded)) as client:
        assert NOTICE not in client.get("/").headers
        guarded.go_offline(ttl=30)
        with client.stream("GET", "/") as streamed:
            assert streamed.headers[NOTICE] == "1; ttl=30"
            assert streamed.read() == b"one two three"
        failed = client.get("/error")
        assert (failed.status_code, failed.headers["a"]) == (503, "b")
        assert failed.headers[NOTICE] == "1; ttl=30"
        caught = client.get("/caught")
        assert (caught.status_code, caught.headers[NOTICE]) == (500, "1; ttl=30")
        guarded.online()
        assert NOTICE not in client.get("/").headers


def test_the_file_turns_the_switch(guarded, wsgiref_at, own_file):
    """What a hook touches is seen by every response after a tenth of a second."""
    with httpx.Client(base_url=wsgiref_at(guarded)) as client:
        assert NOTICE not in client.get("/").headers
        own_file.touch()
        eventually(lambda: NOTICE in client.get("/").headers, "the file is not seen")
        own_file.unlink()
        eventually(lambda: NOTICE not in client.get("/").headers, "it is seen for ever")


class Connection:
    """The socket that gunicorn hands out."""

    def __init__(self, name: object) -> None:
        self._name = name

    def getsockname(self) -> object:
        if self._name is None:
            raise OSError("closed")
        return self._name


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"SERVER_NAME": "10.0.0.7", "SERVER_PORT": "8080"}, "; at=10.0.0.7:8080"),
        ({"SERVER_NAME": "2001:db8::1", "SERVER_PORT": "8080"}, "; at=[2001:db8::1]:8080"),
        ({"SERVER_NAME": "0.0.0.0", "SERVER_PORT": "8080"}, ""),
        ({"SERVER_NAME": "localhost", "SERVER_PORT": "8080"}, ""),
        ({"SERVER_NAME": "10.0.0.7", "SERVER_PORT": ""}, ""),
        ({"gunicorn.socket": Connection(("10.0.0.8", 80))}, "; at=10.0.0.8:80"),
        ({"gunicorn.socket": Connection(("::1", 80, 0, 0))}, "; at=[::1]:80"),
        ({"gunicorn.socket": Connection("/run/s"), "SERVER_NAME": "10.0.0.7"}, ""),
        ({"gunicorn.socket": Connection(None)}, ""),
    ],
)
def test_the_signal_names_the_address_that_was_called(guarded, environ, name):
    """The connection knows it best; the name that a server gives itself is none."""
    guarded.go_offline()
    assert call(guarded, "/", **environ).headers[NOTICE] == f"1{name}"


def test_an_app_that_changes_its_environment_renames_no_node():
    """A middleware for proxies puts the public name in the place of the node's."""

    def renaming(environ, start_response):
        environ["SERVER_NAME"], environ["SERVER_PORT"] = "10.9.9.9", "443"
        return app(environ, start_response)

    guarded = OfflineWSGI(renaming)
    guarded.go_offline()
    response = call(guarded, "/", SERVER_NAME="10.0.0.7", SERVER_PORT="80")
    assert response.headers[NOTICE] == "1; at=10.0.0.7:80"


def test_a_node_may_have_a_name_of_its_own():
    """Where callers know it by another address than the one that it is bound to."""
    guarded = OfflineWSGI(app, node="orders-1")
    guarded.go_offline()
    assert call(guarded, "/").headers[NOTICE] == "1; at=orders-1"


def test_the_prefix_moves_the_control_path():
    """With another prefix the default path belongs to the app."""
    guarded = OfflineWSGI(app, prefix="/admin")
    assert call(guarded, "/admin/offline").status_code == 403
    assert call(guarded, "/-/rpcguard/online").text == "one two three"


def test_the_error_of_an_app_reaches_the_server(guarded):
    """A server that sent its headers already needs the third argument to raise the error."""
    started: list = []
    environ: dict = {"PATH_INFO": "/caught"}
    setup_testing_defaults(environ)
    guarded.go_offline()
    list(guarded(environ, lambda *arguments: started.append(arguments)))
    ((status, headers, exc_info),) = started
    assert (status, headers[-1]) == ("500 Oops", ("X-RpcGuard-Offline", "1; at=127.0.0.1:80"))
    assert exc_info[0] is RuntimeError


def test_the_middleware_keeps_to_the_interface(wsgiref_at):
    """The standard library's validator sits on both sides and finds nothing to complain of."""
    guarded = OfflineWSGI(validator(app))
    guarded.go_offline()
    url = wsgiref_at(validator(guarded))
    assert httpx.get(url).text == "one two three"
    assert httpx.get(f"{url}/caught").headers[NOTICE] == "1"
    assert httpx.post(f"{url}/-/rpcguard/offline").status_code == 403
