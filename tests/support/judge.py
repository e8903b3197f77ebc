"""The same scenario by plain httpx and through rpcguard: what callers and nodes see must be equal.

The service is called `localhost` and has one node, so that both clients use the same URLs.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rpcguard.registries.static import StaticRegistry
from tests.support.calls import PATIENCE, Dead, Flavour, Node, Peer, listed, settle, soon
from tests.support.library import http

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable


class Talk:
    """Talk to the node by a client; every method is awaited, whatever the flavour."""

    def __init__(self, flavour: Flavour, make: Callable[[], Any], node: Node | Dead) -> None:
        self.flavour, self._make, self.node = flavour, make, node
        self.base = f"{'https' if node.tls else 'http'}://localhost:{node.port}"
        self._before = len(node.peers)
        self.clients: list[Any] = []
        self.client = self.open()

    def open(self, **options) -> Any:
        """Make another client, with options of its own, and use that from now on."""
        options = {"base_url": self.base, "timeout": PATIENCE} | options
        self.client = self.flavour.client(transport=self._make(), **options)
        self.clients.append(self.client)
        return self.client

    async def get(self, url: str = "/", **options) -> http.Response:
        return await self.request("GET", url, **options)

    async def post(self, url: str = "/", **options) -> http.Response:
        return await self.request("POST", url, **options)

    async def request(self, method: str, url: str = "/", **options) -> http.Response:
        return await settle(self.client.request(method, url, **options))

    async def send(self, request: http.Request, **options) -> http.Response:
        return await settle(self.client.send(request, **options))

    @asynccontextmanager
    async def stream(self, url: str = "/", *, method: str = "GET", **options):
        if self.flavour.sync:
            with self.client.stream(method, url, **options) as response:
                yield response
        else:
            async with self.client.stream(method, url, **options) as response:
                yield response

    async def parts(self, response: http.Response, how: str, **options) -> list[Any]:
        """Give what `iter_bytes`, `iter_lines` and so on give."""
        if self.flavour.sync:
            return list(getattr(response, how)(**options))
        return [part async for part in getattr(response, f"a{how}")(**options)]

    async def read(self, response: http.Response) -> bytes:
        return response.read() if self.flavour.sync else await response.aread()

    @property
    def opened(self) -> int:
        """Count the connections that were opened so far."""
        return len(self.node.peers) - self._before

    def body(self, *parts: bytes):
        """Give a body that can be read only once."""

        def once():
            yield from parts

        async def aonce():
            for part in parts:
                yield part

        return once() if self.flavour.sync else aonce()

    def hook(self, act: Callable[[Any], object]):
        """Give an event hook."""

        async def ahook(what) -> None:
            act(what)

        return act if self.flavour.sync else ahook

    async def failure(self, call: Awaitable[Any]) -> Any:
        """Tell how a call fails; where httpx is silent, or rpcguard says more, without words."""
        try:
            response = await call
        except Exception as error:
            asked = getattr(error, "_request", None)
            asked = asked and (asked.method, str(asked.url))
            own_words = isinstance(error, http.TimeoutException | http.UnsupportedProtocol)
            kinds = [kind.__name__ for kind in type(error).__mro__]
            return kinds, "" if own_words else str(error), asked
        return f"no failure: {response!r}"

    async def close(self) -> None:
        for client in self.clients:
            await settle(client.close() if self.flavour.sync else client.aclose())


def told(response: http.Response) -> dict[str, Any]:
    """Tell all that a caller can see of a response."""
    following = response.next_request
    return {
        "status": (response.status_code, response.reason_phrase, response.http_version),
        "headers": response.headers.raw,
        "body": response.content,
        "text": response.text,
        "encoding": response.encoding,
        "url": str(response.url),
        "asked": (response.request.method, response.request.headers.raw),
        "history": [told(one) for one in response.history],
        "next": following and (following.method, str(following.url), following.headers.raw),
        "cookies": sorted(response.cookies.items()),
        "links": response.links,
        "downloaded": response.num_bytes_downloaded,
        "state": (response.is_closed, response.is_stream_consumed, response.elapsed is not None),
        "extensions": sorted(set(response.extensions) - {"rpcguard"}),
    }


def answering(paths: dict[str, bytes]):
    """Answer each path, whatever its query, with its bytes; any other one with `ok`."""
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def script(peer: Peer) -> None:
        while (seen := peer.request()) is not None:
            raw = paths.get(seen.line.split(" ")[1].partition("?")[0], good)
            peer.send(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if seen.method == "HEAD" else raw)
            if b"\r\nconnection: close" in raw.lower():
                return

    return script


async def judge(
    scenario: Callable[[Talk], Awaitable[Any]],
    flavour: Flavour,
    node: Node | Dead,
    context: ssl.SSLContext | bool,
    **options,
) -> Any:
    """Play a scenario twice, hold both outcomes against each other, and give what was told."""
    own = http.HTTPTransport if flavour.sync else http.AsyncHTTPTransport
    listing = StaticRegistry({"localhost": listed([node])})
    makers = (
        lambda: own(verify=context, **options),
        lambda: flavour.transport(listing, verify=context, **options),
    )
    outcomes = []
    for make in makers:
        node.seen.clear()
        talk = Talk(flavour, make, node)
        try:
            said = await scenario(talk)
        finally:
            await talk.close()
        # Whoever gives up in a tenth of a second may be gone before a busy node has read a byte.
        await soon(node.is_left, "the node has read all")
        seen = [(one.head, one.body) for one in node.seen if one.whole]
        outcomes.append((said, seen, talk.opened))
    plain, guarded = outcomes
    assert guarded[0] == plain[0], "the caller sees something else"
    assert guarded[1] == plain[1], "the node sees something else"
    # Fewer where an answer is left unread: rpcguard has read a short one ahead.
    assert guarded[2] <= plain[2], "more connections are opened"
    return guarded[0]
