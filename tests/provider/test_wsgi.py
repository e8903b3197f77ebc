"""OfflineWSGI on a real wsgiref server, and with crafted environments."""

from __future__ import annotations

import socket
import sys
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest

from rpcguard.provider import OfflineWSGI

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


def call(guarded: OfflineWSGI, path: str, **environ: str | None) -> httpx.Response:
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


def test_a_hook_on_this_machine_turns_the_switch(guarded, wsgiref_at):
    """POST from loopback puts the node offline and back, and says so."""
    with httpx.Client(base_url=wsgiref_at(guarded)) as client:
        gone = client.post("/-/rpcguard/offline")
        assert (gone.status_code, gone.json(), gone.headers[NOTICE]) == (
            200,
            {"offline": True},
            "1",
        )
        assert guarded.offline
        assert client.post("/-/rpcguard/online").json() == {"offline": False}
        assert not guarded.offline


def test_a_relayed_request_is_refused_on_a_real_socket(guarded, wsgiref_at):
    """A request over loopback that speaks for another peer turns nothing."""
    url = wsgiref_at(guarded)
    response = httpx.post(
        f"{url}/-/rpcguard/offline", headers={"X-Forwarded-For": socket.gethostname()}
    )
    assert response.status_code == 403
    assert not guarded.offline


@pytest.mark.parametrize(
    "address", ["10.0.0.7", "2001:db8::1", "::ffff:10.0.0.7", "nonsense", None]
)
def test_another_machine_is_refused(guarded, address):
    """Only a peer that is surely this machine may turn the switch."""
    assert call(guarded, "/-/rpcguard/offline", REMOTE_ADDR=address).status_code == 403
    assert not guarded.offline


@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1", ""])
def test_loopback_and_a_unix_socket_are_accepted(guarded, address):
    """Every form of this machine may turn the switch; a unix socket has an empty address."""
    assert call(guarded, "/-/rpcguard/offline", REMOTE_ADDR=address).json() == {"offline": True}
    assert guarded.offline


@pytest.mark.parametrize("name", ["X_FORWARDED_FOR", "FORWARDED", "X_REAL_IP", "VIA", "ORIGIN"])
def test_a_request_through_a_proxy_or_a_web_page_is_refused(guarded, name):
    """Loopback is no proof when something in between speaks for another."""
    response = call(guarded, "/-/rpcguard/offline", **{f"HTTP_{name}": "127.0.0.1"})
    assert response.status_code == 403
    assert not guarded.offline


def test_other_methods_change_nothing(guarded):
    """A crawler's GET is no switch: 405 that names POST."""
    response = call(guarded, "/-/rpcguard/offline", REQUEST_METHOD="GET")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert not guarded.offline


def test_the_prefix_moves_the_control_path():
    """With another prefix the default path belongs to the app."""
    guarded = OfflineWSGI(app, prefix="/admin")
    assert call(guarded, "/admin/offline").json() == {"offline": True}
    assert call(guarded, "/-/rpcguard/online").text == "one two three"
    assert guarded.offline


def test_the_error_of_an_app_reaches_the_server(guarded):
    """A server that sent its headers already needs the third argument to raise the error."""
    started: list = []
    environ: dict = {"PATH_INFO": "/caught"}
    setup_testing_defaults(environ)
    guarded.go_offline()
    list(guarded(environ, lambda *arguments: started.append(arguments)))
    ((status, headers, exc_info),) = started
    assert (status, headers[-1]) == ("500 Oops", ("X-RpcGuard-Offline", "1"))
    assert exc_info[0] is RuntimeError


def test_the_middleware_keeps_to_the_interface(wsgiref_at):
    """The standard library's validator sits on both sides and finds nothing to complain of."""
    guarded = OfflineWSGI(validator(app))
    guarded.go_offline()
    url = wsgiref_at(validator(guarded))
    assert httpx.get(url).text == "one two three"
    assert httpx.get(f"{url}/caught").headers[NOTICE] == "1"
    assert httpx.post(f"{url}/-/rpcguard/offline").status_code == 200
