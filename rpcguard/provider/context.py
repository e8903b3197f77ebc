"""What a request brings for the calls that are made while it is served."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

from rpcguard._context.baggage import HEADER, member
from rpcguard._context.hops import (
    RETRY_HEADER,
    RETRY_MEMBER,
    TRIED_FIELD,
    TRIED_HEADER,
    Hop,
    seconds_of,
    served,
)
from rpcguard._context.hops import arrive as arrive_at_hop
from rpcguard._context.lane import BASE, UNHEARD, arrive, arrived_with, is_mark

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Network = IPv4Network | IPv6Network
Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
"""Who is trusted by default: this machine, where a sidecar may be."""

_TIMEOUTS: Final = ("x-envoy-expected-rq-timeout-ms", "grpc-timeout")
"""What Envoy writes toward the upstream, and what gRPC callers write."""


class Context:
    """What is read of requests, and whose word counts.

    `trust` are the networks of peers, such as `["10.0.0.0/8"]`, whose marks are taken; those of
    everybody else are ignored, also where they stand in baggage that an instrumentation has read.
    `headers` are looked at first, then the member `baggage` of W3C baggage; `timeouts` are the
    headers that say how long the caller waits.
    """

    def __init__(
        self,
        *,
        trust: Iterable[str | Network],
        headers: Iterable[str],
        baggage: str,
        timeouts: Iterable[str],
    ) -> None:
        if any(isinstance(one, str) for one in (trust, headers, timeouts)):
            raise ValueError("trust, headers and timeouts must be lists of texts, not one")
        if not is_mark(baggage):
            raise ValueError(f"baggage must be the name of a member, not {baggage!r}")
        self._trust = tuple(_network(one) for one in trust)
        self._headers = tuple(name.lower() for name in headers)
        self._timeouts = tuple(name.lower() for name in timeouts)
        self._baggage = baggage

    def hop_of(self, peer: str | None, headers: Mapping[str, str]) -> Hop | None:
        """Give what the hop above says of a request; None where its word does not count."""
        if peer is not None and not self._trusts(peer):
            return None
        read = (seconds_of(name, headers[name]) for name in self._timeouts if name in headers)
        seconds = next((one for one in read if one is not None), None)
        told = headers.get(RETRY_HEADER), member(headers.get(HEADER, ""), RETRY_MEMBER)
        return Hop(None if seconds is None else time.monotonic() + seconds, retried="1" in told)

    def mark_of(self, peer: str | None, headers: Mapping[str, str]) -> str | None:
        """Give the mark of a request; None takes marks off, `UNHEARD` is no word.

        `peer` is the address, None for a unix socket, whose file says who may write to it.
        """
        if peer is not None and not self._trusts(peer):
            return UNHEARD
        for name in self._headers:
            mark = headers.get(name)
            if mark is not None and (is_mark(mark) or mark == ""):
                return None if mark in ("", BASE) else mark
        mark = member(headers.get(HEADER, ""), self._baggage)
        if mark is None or not is_mark(mark):
            return UNHEARD
        return None if mark == BASE else mark

    def _trusts(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._trust)


def _network(one: str | Network) -> Network:
    try:
        return ip_network(one)
    except ValueError as error:
        raise ValueError(f"trust: {error}") from None


def _is_tried(hop: Hop | None, status: int) -> bool:
    # What lies behind has been tried again: whoever asks once more multiplies its load.
    return hop is not None and hop.tried and status >= 500


class ContextASGI(Context):
    """An ASGI app in whose requests the lane of each goes on to the calls that it makes.

    A mark comes in the member `baggage` of W3C baggage, or in one of `headers` such as
    `["x-mse-tag"]`, and only from peers in the networks of `trust`; by default that is this
    machine. It ends with the request, but for tasks that the request has started. So does the
    deadline that one of `timeouts` tells, in milliseconds, and the word that a hop above tries
    again, after which calls are sent again only where nothing of them can have run; these two end
    for such tasks as well. An answer of 500 and above says in turn, by `x-rpcguard-tried: 1`, that
    a call made for it has failed after all tries and no other was begun since: then rpcguard above
    does not try it again.

    Marks are used by transports with a `Routing`, deadlines by those with a `DeadlinePolicy`.
    Raises `ValueError` for what is no network.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        trust: Iterable[str | Network] = _LOOPBACK,
        headers: Iterable[str] = (),
        baggage: str = "rpcguard.lane",
        timeouts: Iterable[str] = _TIMEOUTS,
    ) -> None:
        super().__init__(trust=trust, headers=headers, baggage=baggage, timeouts=timeouts)
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one connection of the ASGI interface."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = bytes(name).decode("latin-1").lower(), bytes(value).decode("latin-1")
            headers[key] = f"{headers[key]},{text}" if key in headers else text
        client = scope.get("client")
        peer = client[0] if client else None
        hop = self.hop_of(peer, headers)

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start" and _is_tried(hop, message["status"]):
                message = {**message, "headers": [*message.get("headers", ()), TRIED_FIELD]}
            await send(message)

        with arrived_with(self.mark_of(peer, headers)), served(hop):
            await self.app(scope, receive, send if hop is None else answer)


class ContextWSGI(Context):
    """A WSGI app in whose requests the lane of each goes on to the calls that it makes.

    As `ContextASGI`; the body of an answer is made in the context of its request as well.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        trust: Iterable[str | Network] = _LOOPBACK,
        headers: Iterable[str] = (),
        baggage: str = "rpcguard.lane",
        timeouts: Iterable[str] = _TIMEOUTS,
    ) -> None:
        super().__init__(trust=trust, headers=headers, baggage=baggage, timeouts=timeouts)
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request of the WSGI interface."""
        headers = {
            key[5:].replace("_", "-").lower(): str(value)
            for key, value in environ.items()
            if key.startswith("HTTP_")
        }
        # Servers give an empty address for the peer of a unix socket.
        peer = environ.get("REMOTE_ADDR") or None
        hop = self.hop_of(peer, headers)

        def answer(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            if _is_tried(hop, int(status[:3])):
                headers = [*headers, (TRIED_HEADER, "1")]
            return start_response(status, headers, *more)

        context = contextvars.copy_context()
        context.run(arrive, self.mark_of(peer, headers))
        context.run(arrive_at_hop, hop)
        try:
            parts = context.run(self.app, environ, answer)
        except BaseException:
            _end(hop)
            raise
        return _InContext(context, parts, hop)


def _end(hop: Hop | None) -> None:
    if hop is not None:
        hop.open = False


class _InContext:
    """The body of an answer, made in the context of its request."""

    def __init__(
        self, context: contextvars.Context, parts: Iterable[bytes], hop: Hop | None
    ) -> None:
        self._context = context
        self._parts = parts
        self._hop = hop

    def __iter__(self) -> Iterator[bytes]:
        parts = self._context.run(iter, self._parts)
        end = object()
        while (part := self._context.run(next, parts, end)) is not end:
            yield part  # type: ignore[misc]

    def close(self) -> None:
        """Close the app's own body, where it can be closed, and end the request's deadline."""
        _end(self._hop)
        close = getattr(self._parts, "close", None)
        if close is not None:
            self._context.run(close)
