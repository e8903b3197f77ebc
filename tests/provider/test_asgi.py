"""OfflineASGI on a real uvicorn, and with crafted scopes where a real peer cannot be had."""

from __future__ import annotations

import threading

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

from rpcguard.provider import OfflineASGI, OfflineSwitch
from tests.support.calls import eventually

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
    url = uvicorn_at(guarded)
    notice = f"1; at={url.removeprefix('http://')}"
    with httpx.Client(base_url=url) as client:
        assert NOTICE not in client.get("/").headers
        guarded.go_offline()
        assert guarded.offline
        with client.stream("GET", "/") as streamed:
            assert streamed.headers[NOTICE] == notice
            assert streamed.read() == b"one two three"
        failed = client.get("/error")
        assert (failed.status_code, failed.headers[NOTICE], failed.headers["a"]) == (
            503,
            notice,
            "b",
        )
        # uvicorn cuts the connection of an app that raised, so it must not be used again.
        crashed = client.get("/raise", headers={"connection": "close"})
        assert (crashed.status_code, crashed.headers[NOTICE]) == (500, notice)
        guarded.online()
        assert not guarded.offline
        assert NOTICE not in client.get("/").headers
        assert NOTICE not in client.get("/raise", headers={"connection": "close"}).headers


def test_a_ttl_is_told_in_whole_seconds(guarded, uvicorn_at):
    """The header's second form carries the ttl, rounded up."""
    url = uvicorn_at(guarded)
    name = url.removeprefix("http://")
    guarded.go_offline(ttl=30)
    assert httpx.get(url).headers[NOTICE] == f"1; ttl=30; at={name}"
    guarded.go_offline(ttl=0.2)
    assert httpx.get(url).headers[NOTICE] == f"1; ttl=1; at={name}"


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_wrong_ttl_is_refused(guarded, ttl):
    """A ttl that no caller could use raises and changes nothing."""
    with pytest.raises(ValueError, match="ttl"):
        guarded.go_offline(ttl=ttl)
    assert not guarded.offline


def test_the_file_turns_the_switch(guarded, uvicorn_at, own_file):
    """What a hook touches is seen by every response after a tenth of a second."""
    with httpx.Client(base_url=uvicorn_at(guarded)) as client:
        assert NOTICE not in client.get("/").headers
        own_file.touch()
        eventually(lambda: NOTICE in client.get("/").headers, "the file is not seen")
        own_file.unlink()
        eventually(lambda: NOTICE not in client.get("/").headers, "it is seen for ever")


async def test_the_prefix_moves_the_control_path(exchange):
    """With another prefix the default path belongs to the app."""
    moved = Exchange(OfflineASGI(app, prefix="/admin/"))
    assert (await moved.request("/admin/offline")).status_code == 403
    assert (await moved.request("/-/rpcguard/offline")).text == "one two three"
    mounted = await exchange.request("/api/-/rpcguard/offline", root_path="/api")
    assert mounted.status_code == 403


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


async def test_a_crash_is_left_to_the_server_while_there_is_nothing_to_say(exchange):
    """Servers answer in their own way, which is not changed without need."""
    with pytest.raises(RuntimeError, match="app bug"):
        await exchange.request("/raise")
    assert exchange.sent == []


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


@pytest.mark.parametrize(
    ("server", "name"),
    [
        (("10.0.0.7", 8080), "; at=10.0.0.7:8080"),
        (["10.0.0.7", 8080], "; at=10.0.0.7:8080"),
        (("2001:DB8::1", 8080), "; at=[2001:db8::1]:8080"),
        (("fe80::1%eth0", 8080), "; at=[fe80::1]:8080"),
        (("::ffff:10.0.0.7", 8080), "; at=10.0.0.7:8080"),
        (("0.0.0.0", 8080), ""),
        (("::", 8080), ""),
        (("testserver", 80), ""),
        (("10.0.0.7", 0), ""),
        (("/run/s", None), ""),
        (None, ""),
    ],
)
async def test_the_signal_names_the_address_that_was_called(exchange, server, name):
    """As callers know it, or not at all."""
    exchange.guarded.go_offline()
    response = await exchange.request("/", server=server)
    assert response.headers[NOTICE] == f"1{name}"


@pytest.mark.parametrize("node", ["orders-1", "node.example:80", "[::1]:80", "10.0.0.1#80#a@@b"])
async def test_a_node_may_have_a_name_of_its_own(node):
    """Where callers know it by another address than the one that it is bound to."""
    exchange = Exchange(OfflineASGI(app, node=node))
    exchange.guarded.go_offline(ttl=9)
    assert (await exchange.request("/")).headers[NOTICE] == f"1; ttl=9; at={node}"


@pytest.mark.parametrize("node", ["", "a b", "a;b", "a,b", "a\r\nb", "ü", "x" * 201])
def test_a_name_that_no_header_can_carry_is_refused(node):
    """It would be read as something else."""
    with pytest.raises(ValueError, match="node"):
        OfflineASGI(app, node=node)


async def test_several_middlewares_may_share_a_switch():
    """A framework that constructs its middlewares leaves the switch as a handle."""
    switch = OfflineSwitch()
    one, other = (Exchange(OfflineASGI(app, switch=switch)) for _ in range(2))
    switch.go_offline()
    for exchange in (one, other):
        assert NOTICE in (await exchange.request("/")).headers
    one.guarded.online()
    assert not switch.offline
    with pytest.raises(ValueError, match="switch"):
        OfflineASGI(app, switch=switch, file="leaving")


async def test_a_framework_may_construct_the_middleware():
    """The switch is the handle; the user's own handler goes on answering for what raises."""
    switch = OfflineSwitch()
    framework = FastAPI()
    framework.add_middleware(OfflineASGI, switch=switch)

    @framework.exception_handler(RuntimeError)
    async def known(_: Request, error: RuntimeError) -> PlainTextResponse:
        return PlainTextResponse(f"handled {error}", 418)

    @framework.exception_handler(Exception)
    async def anything(_: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse(f"caught {error}", 500)

    @framework.get("/{name}")
    async def fail(name: str) -> None:
        raise {"runtime": RuntimeError, "value": ValueError}[name](name)

    server = httpx.ASGITransport(framework, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=server, base_url="http://node") as client:
        assert NOTICE not in (await client.get("/runtime")).headers
        switch.go_offline()
        handled = await client.get("/runtime")
        assert (handled.status_code, handled.text) == (418, "handled runtime")
        assert handled.headers[NOTICE] == "1"
        caught = await client.get("/value")
        assert (caught.status_code, caught.text) == (500, "caught value")
