"""What httpx documents of authentication: each step is a call of its own, as with plain httpx."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.calls import FLAVOURS, Peer, each
from tests.support.judge import Talk, judge, told
from tests.support.library import http

pytestmark = each(FLAVOURS)

WHO = b"HTTP/1.1 401 Who\r\nContent-Length: 4\r\n\r\nwho?"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOKEN = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"token": "t"}'


def guard(peer: Peer) -> None:
    """Hand out a token, and want it, or a password, for everything else."""
    while (seen := peer.request()) is not None:
        given = seen.headers.get("authorization", "") + seen.headers.get("x-token", "")
        peer.send(TOKEN if " /token " in seen.line else OK if given else WHO)


class Refreshing(http.Auth):
    """Ask for a token once the node has refused, and read that answer."""

    requires_response_body = True

    def __init__(self, url: str) -> None:
        self.url = url

    def auth_flow(self, request):
        response = yield request
        if response.status_code == 401:
            told = yield http.Request("POST", self.url, json={"was": response.text})
            request.headers["X-Token"] = told.json()["token"]
            yield request


class Signing(http.Auth):
    """Sign the body, which has to be read before."""

    requires_request_body = True

    def auth_flow(self, request):
        request.headers["X-Token"] = hashlib.sha256(request.content).hexdigest()
        yield request


class Separate(http.Auth):
    """Have one flow for threads and another for tasks."""

    def sync_auth_flow(self, request):
        request.headers["X-Token"] = "thread"
        yield request

    async def async_auth_flow(self, request):
        request.headers["X-Token"] = "task"
        yield request


class Giving(http.Auth):
    """Give up in the middle."""

    def auth_flow(self, request):
        response = yield request
        raise PermissionError(f"refused: {response.status_code}")


def signed(request: http.Request) -> http.Request:
    request.headers["X-Token"] = "called"
    return request


async def basic(talk: Talk):
    talk.open(auth=http.BasicAuth("ann", "ü"))
    url = talk.base.replace("://", "://bob:p%40ss@")
    mine = [await talk.get("/a"), await talk.get("/b", auth=("tom", "1"))]
    return [told(one) for one in (*mine, await talk.get("/c", auth=None), await talk.get(url))]


async def called(talk: Talk):
    return told(await talk.post("/", content=b"1", auth=signed))


async def refreshing(talk: Talk):
    auth = Refreshing(f"{talk.base}/token")
    said = [told(await talk.get("/", auth=auth)), told(await talk.post("/", data={"a": "1"}))]
    once = await talk.failure(talk.post("/", content=talk.body(b"once"), auth=auth))
    return said, once


async def signing(talk: Talk):
    bodies = ({"content": talk.body(b"in ", b"parts")}, {"json": [1]}, {})
    return [told(await talk.post("/", auth=Signing(), **body)) for body in bodies]


async def separate(talk: Talk):
    return told(await talk.get("/", auth=Separate()))


async def giving_up(talk: Talk):
    return await talk.failure(talk.get("/", auth=Giving())), told(await talk.get("/"))


async def streamed(talk: Talk):
    async with talk.stream("/", auth=Refreshing(f"{talk.base}/token")) as response:
        return await talk.parts(response, "iter_text"), response.status_code


@pytest.mark.parametrize(
    "scenario",
    [basic, called, refreshing, signing, separate, giving_up, streamed],
    ids=lambda scenario: scenario.__name__,
)
async def test_authentication(scenario, flavour, make_node, plain_context):
    """Every scheme and every flow brings the same requests and the same answers."""
    assert await judge(scenario, flavour, make_node(guard), plain_context)


async def test_netrc(flavour, make_node, plain_context, tmp_path):
    """A netrc file is looked up by the name of the service, not by a node's address."""
    secrets = tmp_path / "netrc"
    secrets.write_text("machine localhost\nlogin ann\npassword secret\n")

    async def scenario(talk: Talk):
        return told(await talk.get("/", auth=http.NetRCAuth(str(secrets))))

    said = await judge(scenario, flavour, make_node(guard), plain_context)
    assert said["status"][0] == 200
