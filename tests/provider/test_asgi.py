"""OfflineASGI on a real uvicorn, and with crafted scopes where a real peer cannot be had."""

from __future__ import annotations

import threading

import httpx
import pytest

from rpcguard.provider import OfflineASGI

NOTICE = "x-rpcguard-offline"


async def app(scope, receive, send) -> None:
    """Answer a little, stream, fail politely or raise, as the path says."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    if path == "/raise":
        raise RuntimeError("app bug")
    status = 503 if path == "/error" else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]})
    if path == "/late":
        raise RuntimeError("app bug after the headers")
    for part in (b"one ", b"two ", b"three"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Exchange:
    """Run one request through the middleware without a server."""

    def __init__(self, guarded: OfflineASGI) -> None:
        self.guarded = guarded
        self.sent: list = []

    async def send(self, message) -> None:
        self.sent.append(message)

    async def receive(self):
        return {"type": "http.request", "body": b"", "more_body": False}

    async def request(self, path: str, *, method: str = "POST", **scope) -> httpx.Response:
        scope = {"headers": [], "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80)} | scope
        await self.guarded(
            {"type": "http", "path": path, "method": method, **scope}, self.receive, self.send
        )
        start, *parts = self.sent
        self.sent = []
        return httpx.Response(
            start["status"], headers=start["headers"], content=b"".join(p["body"] for p in parts)
        )


@pytest.fixture
def guarded() -> OfflineASGI:
    return OfflineASGI(app)


@pytest.fixture
def exchange(guarded: OfflineASGI) -> Exchange:
    return Exchange(guarded)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_every_response_carries_the_notice_while_the_app_serves_on(guarded, uvicorn_at):
    """Plain, error, streamed and crashed responses say it, and nothing says it before or after."""
    with httpx.Client(base_url=uvicorn_at(guarded)) as client:
        assert NOTICE not in client.get("/").headers
        guarded.go_offline()
        assert guarded.offline
        with client.stream("GET", "/") as streamed:
            assert streamed.headers[NOTICE] == "1"
            assert streamed.read() == b"one two three"
        failed = client.get("/error")
        assert (failed.status_code, failed.headers[NOTICE], failed.headers["a"]) == (503, "1", "b")
        # uvicorn cuts the connection of an app that raised, so it must not be used again.
        crashed = client.get("/raise", headers={"connection": "close"})
        assert (crashed.status_code, crashed.headers[NOTICE]) == (500, "1")
        guarded.online()
        assert not guarded.offline
        assert NOTICE not in client.get("/").headers
        assert NOTICE not in client.get("/raise", headers={"connection": "close"}).headers


def test_a_ttl_is_told_in_whole_seconds(guarded, uvicorn_at):
    """The header's second form carries the ttl, rounded up."""
    url = uvicorn_at(guarded)
    guarded.go_offline(ttl=30)
    assert httpx.get(url).headers[NOTICE] == "1; ttl=30"
    guarded.go_offline(ttl=0.2)
    assert httpx.get(url).headers[NOTICE] == "1; ttl=1"


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_wrong_ttl_is_refused(guarded, ttl):
    """A ttl that no caller could use raises and changes nothing."""
    with pytest.raises(ValueError, match="ttl"):
        guarded.go_offline(ttl=ttl)
    assert not guarded.offline


def test_a_hook_on_this_machine_turns_the_switch(guarded, uvicorn_at):
    """POST from loopback puts the node offline and back, and says so."""
    with httpx.Client(base_url=uvicorn_at(guarded)) as client:
        gone = client.post("/-/rpcguard/offline")
        assert (gone.status_code, gone.json(), gone.headers[NOTICE]) == (
            200,
            {"offline": True},
            "1",
        )
        assert guarded.offline
        assert client.get("/").headers[NOTICE] == "1"
        back = client.post("/-/rpcguard/online")
        assert (back.json(), NOTICE in back.headers) == ({"offline": False}, False)
        assert not guarded.offline


def test_the_switch_works_over_a_unix_socket(guarded, uvicorn_at, tmp_path):
    """A unix socket has no peer address and is this machine."""
    path = str(tmp_path / "s")
    uvicorn_at(guarded, uds=path)
    with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://node") as client:
        assert client.post("/-/rpcguard/offline").status_code == 200
    assert guarded.offline


def test_a_forged_forwarding_header_opens_nothing(guarded, uvicorn_at):
    """With uvicorn told to believe any proxy, the header sets the peer address; it is refused."""
    url = uvicorn_at(guarded, forwarded_allow_ips="*")
    forged = httpx.post(f"{url}/-/rpcguard/offline", headers={"X-Forwarded-For": "127.0.0.1"})
    assert forged.status_code == 403
    assert not guarded.offline


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "Origin"])
async def test_a_request_through_a_proxy_or_a_web_page_is_refused(exchange, header):
    """Loopback is no proof when something in between speaks for another."""
    response = await exchange.request(
        "/-/rpcguard/offline", headers=[(header.encode(), b"127.0.0.1")]
    )
    assert response.status_code == 403
    assert not exchange.guarded.offline


@pytest.mark.parametrize(
    "scope",
    [
        {"client": ("10.0.0.7", 5)},
        {"client": ("::ffff:10.0.0.7", 5)},
        {"client": ("2001:db8::1", 5)},
        {"client": ("128.0.0.1", 5)},
        {"client": ("localhost.evil.example", 5)},
        {"client": None},
        {"client": None, "server": None},
    ],
)
@pytest.mark.parametrize("path", ["/-/rpcguard/offline", "/-/rpcguard/online"])
async def test_another_machine_is_refused(exchange, scope, path):
    """Only a peer that is surely this machine may turn the switch."""
    response = await exchange.request(path, **scope)
    assert response.status_code == 403
    assert not exchange.guarded.offline


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
async def test_every_form_of_loopback_is_accepted(exchange, address):
    """The whole of 127/8 and both IPv6 forms are this machine."""
    response = await exchange.request("/-/rpcguard/offline", client=(address, 5))
    assert response.json() == {"offline": True}
    assert exchange.guarded.offline


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_other_methods_change_nothing(exchange, method):
    """A crawler's GET is no switch: 405 that names POST."""
    response = await exchange.request("/-/rpcguard/offline", method=method)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert not exchange.guarded.offline


async def test_the_prefix_moves_the_control_path(exchange):
    """With another prefix the default path belongs to the app."""
    moved = Exchange(OfflineASGI(app, prefix="/admin/"))
    assert (await moved.request("/admin/offline")).json() == {"offline": True}
    assert (await moved.request("/-/rpcguard/online")).text == "one two three"
    assert moved.guarded.offline
    mounted = await exchange.request("/api/-/rpcguard/offline", root_path="/api")
    assert mounted.json() == {"offline": True}


@pytest.mark.parametrize("prefix", ["", "/", "admin"])
def test_a_wrong_prefix_is_refused(prefix):
    """A prefix that could not be told from the app's own paths raises."""
    with pytest.raises(ValueError, match="prefix"):
        OfflineASGI(app, prefix=prefix)


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_protocols_pass_untouched(kind):
    """The app gets the very same scope, receive and send."""
    seen = []

    async def inner(scope, receive, send) -> None:
        seen.append((scope, receive, send))

    guarded = OfflineASGI(inner)
    guarded.go_offline()
    scope = {"type": kind, "path": "/-/rpcguard/online"}
    exchange = Exchange(guarded)
    await guarded(scope, exchange.receive, exchange.send)
    assert seen == [(scope, exchange.receive, exchange.send)]
    assert guarded.offline


async def test_an_app_that_raises_after_the_headers_is_left_alone(exchange):
    """A second response start would break the protocol, so only the error passes on."""
    exchange.guarded.go_offline()
    with pytest.raises(RuntimeError, match="after the headers"):
        await exchange.request("/late")
    assert [message["type"] for message in exchange.sent] == ["http.response.start"]


async def test_the_error_of_a_crashed_app_still_reaches_the_server(exchange):
    """The notice on the 500 does not hide the error from the server's log."""
    exchange.guarded.go_offline()
    with pytest.raises(RuntimeError, match="app bug"):
        await exchange.request("/raise")
    assert exchange.sent[0]["status"] == 500


def test_another_thread_may_turn_the_switch(guarded, uvicorn_at):
    """A response that starts after the call in a thread has returned carries the notice."""
    with httpx.Client(base_url=uvicorn_at(guarded)) as client:
        for expected in (True, False) * 10:
            turn = guarded.go_offline if expected else guarded.online
            thread = threading.Thread(target=turn)
            thread.start()
            thread.join()
            assert (NOTICE in client.get("/").headers) is expected
