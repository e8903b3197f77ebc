"""The push of Nacos 2 and 3: one stream of gRPC, on which messages are JSON."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import to_thread

from rpcguard._version import __version__
from rpcguard._wire.protobuf import TEXT, Message, keyed, one
from rpcguard._wire.protobuf_types import ANY
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.documents import json_from_bytes
from rpcguard.registries._shared.fields import part
from rpcguard.registries._shared.tls import TLSFiles

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence

    from rpcguard.registries._shared.grpc import GrpcChannel, GrpcStream

# nacos_grpc_service.proto
_METADATA: Final = Message(
    {3: one("type", TEXT), 7: keyed("headers", TEXT, empty=""), 8: one("clientIp", TEXT)}
)
_PAYLOAD: Final = Message({2: one("metadata", _METADATA), 3: one("body", ANY)})  # the same

_ASK, _STREAM = "/Request/request", "/BiRequestStream/requestBiStream"

_ACK_WITHIN: Final = 1.0
"""Seconds for the answer to the setup, which servers before 2.4 do not give."""

_ANSWER_WITHIN: Final = 10.0
"""Seconds for any other answer, as for a poll."""

_FINE: Final = 200
"""Nacos' code of success, for which it borrows HTTP's."""

_REFUSED: Final = (401, 403)
"""Its codes for a token that is not right, or no more."""

_OF_SERVICE: Final = (400, 401, 403, 404, 500)
"""Its codes for a question that it does not like; with others it does not like the connection."""

_FRESH: Final = 600.0
"""Seconds for which a new token is not what is wrong: the service is another's. Nacos lets tokens
live for five hours."""

Json = Mapping[str, Any]


Token = Callable[[str | None], Awaitable[str | None]]
"""Gives a token other than the refused one; None where nobody has to log in."""


class _RefusedError(RegistryError):
    """What the server says of one question, and of no other."""


@dataclass(frozen=True, slots=True)
class PushedGroup:
    """What is subscribed of a namespace."""

    namespace: str
    """The namespace's id, empty for the public one."""
    group: str
    """The group of all services."""
    clusters: str
    """Names with commas; empty is all."""


@dataclass(slots=True)
class Subscribed:
    """The last list that was pushed of a service, and how often one was."""

    list: Json | None = None
    number: int = 0
    watchers: int = 0
    asked: bool = False
    fault: str | None = None
    """Why the server gives none, of this service alone."""


class NacosPush:
    """One connection to one of several servers, for as long as somebody listens.

    With `tls` nothing is said in plain text. Belongs to the event loop of asyncio it is made on.
    """

    def __init__(
        self,
        places: Sequence[tuple[str, int]],
        subscribing: PushedGroup,
        token: Token,
        *,
        tls: TLSFiles | ssl.SSLContext | None = None,
    ) -> None:
        self._places = places
        self._tls = tls
        self._preferred = 0
        self._subscribing = subscribing
        self._new_token = token
        self._refused: str | None = None
        self._token: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._services: dict[str, Subscribed] = {}
        self._news = anyio.Event()
        self._wanted = anyio.Event()
        self._failure: str | None = None
        self._fresh_until = -math.inf
        self.live: bool = False

    @contextmanager
    def listening(self, service: str) -> Iterator[Subscribed]:
        """Subscribe to a service within the block."""
        subscribed = self._services.setdefault(service, Subscribed())
        subscribed.watchers += 1
        self._wanted.set()
        if self._task is None:
            self._failure = None
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._ended)
        try:
            yield subscribed
        finally:
            subscribed.watchers -= 1
            if not subscribed.watchers and self._services.get(service) is subscribed:
                del self._services[service]
            if not self._services:
                self.stop()

    async def next(self, subscribed: Subscribed, seen: int) -> Json:
        """Wait for a list newer than the one of this number; `RegistryError` when the stream ends.

        The number of the list that is given is then `subscribed.number`.
        """
        while subscribed.list is None or subscribed.number == seen:
            if failure := self._failure or subscribed.fault:
                raise RegistryError(failure)
            news = self._news
            await news.wait()
        return subscribed.list

    def stop(self) -> None:
        """End the stream; whoever still waits gets an error."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._fail("the push was stopped")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is not task:
            return  # another one has begun
        self._task = None
        error = None if task.cancelled() else task.exception()
        self._fail(str(error) if isinstance(error, RegistryError) else repr(error))

    def _fail(self, failure: str) -> None:
        self.live = False
        for subscribed in self._services.values():
            subscribed.asked = False
        self._failure = failure
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    # The stream

    async def _run(self) -> None:
        host, port = self._places[self._preferred]
        self._preferred = (self._preferred + 1) % len(self._places)  # unless this one is good
        # Not at the top: without the package h2 there is polling all the same.
        from rpcguard.registries._shared.grpc import connected

        tls = self._tls
        if isinstance(tls, TLSFiles):
            tls = await to_thread.run_sync(tls.context)
        async with connected(host, port, tls=tls, patience=_ANSWER_WITHIN) as channel:
            self._token = await self._new_token(self._refused)
            if self._refused is not None:
                self._refused, self._fresh_until = None, anyio.current_time() + _FRESH
            await self._ask(channel, "ServerCheckRequest", {})
            stream = channel.open(_STREAM)
            try:
                await self._set_up(stream)
                self._preferred = self._places.index((host, port))
                await self._both(channel, stream)
            finally:
                stream.close()

    async def _set_up(self, stream: GrpcStream) -> None:
        setup = {
            "clientVersion": f"rpcguard:{__version__}",
            "tenant": self._subscribing.namespace,
            "labels": {"source": "sdk", "module": "naming"},
            "abilityTable": {},
        }
        await stream.send(self._packed("ConnectionSetupRequest", setup))
        message = None
        with anyio.move_on_after(_ACK_WITHIN):
            message = await stream.receive()
        if message is not None:
            await self._take_in(stream, message)

    async def _both(self, channel: GrpcChannel, stream: GrpcStream) -> None:
        failure: RegistryError | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._subscribe_all, channel)
                await self._hear(stream)
                group.cancel_scope.cancel()
        except* RegistryError as errors:
            failure = _first(errors)
        raise failure or RegistryError(f"{channel.shown}: the stream ended")

    async def _subscribe_all(self, channel: GrpcChannel) -> None:
        while True:
            self._wanted = anyio.Event()
            for service, subscribed in list(self._services.items()):
                if not subscribed.asked:
                    subscribed.asked = True
                    await self._subscribe(channel, service, subscribed)
            self.live = True
            await self._wanted.wait()

    async def _subscribe(self, channel: GrpcChannel, service: str, subscribed: Subscribed) -> None:
        number = subscribed.number
        try:
            answer = await self._ask(channel, "SubscribeServiceRequest", self._named(service))
        except _RefusedError as error:
            subscribed.fault = str(error)
            self._tell()
            return
        # What was pushed meanwhile is as new at least, whichever of the two was sent first.
        if subscribed.number == number:
            self._take(service, answer)

    def _named(self, service: str) -> dict[str, object]:
        of = self._subscribing
        return {
            "namespace": of.namespace or "public",  # its id, which HTTP has as its default
            "serviceName": service,
            "groupName": of.group,
            "clusters": of.clusters,
            "subscribe": True,
        }

    async def _hear(self, stream: GrpcStream) -> None:
        while (message := await stream.receive()) is not None:
            await self._take_in(stream, message)

    async def _take_in(self, stream: GrpcStream, message: bytes) -> None:
        kind, body = _unpacked(message)
        if kind == "NotifySubscriberRequest":
            name = part(body, "serviceInfo").get("name")
            self._take(str(name).rpartition("@@")[2], body)
        elif kind == "ConnectResetRequest":
            self._preferred = (self._preferred + 1) % len(self._places)
            raise RegistryError("the server wants to be left, for a rebalance")
        if "requestId" in body:
            answer = {"requestId": body["requestId"], "resultCode": _FINE}
            await stream.send(self._packed(kind.replace("Request", "Response"), answer))

    def _take(self, service: str, body: Json) -> None:
        subscribed, found = self._services.get(service), body.get("serviceInfo")
        if subscribed is not None and isinstance(found, Mapping):
            subscribed.list = found
            subscribed.number += 1
            self._tell()

    async def _ask(self, channel: GrpcChannel, kind: str, body: Json) -> Json:
        try:
            with anyio.fail_after(_ANSWER_WITHIN):
                answer = await channel.unary(_ASK, self._packed(kind, body))
        except TimeoutError:
            raise RegistryError(f"{channel.shown}: no answer in {_ANSWER_WITHIN:g} s") from None
        _, found = _unpacked(answer)
        if found.get("resultCode") == _FINE:
            return found
        code, text = found.get("errorCode"), str(found.get("message"))[:200]
        told = f"{channel.shown}: {kind}: code {code}: {text}"
        if code in _REFUSED and self._token and anyio.current_time() >= self._fresh_until:
            self._refused = self._token
            raise RegistryError(told)
        raise _RefusedError(told) if code in _OF_SERVICE else RegistryError(told)

    def _packed(self, kind: str, body: Json) -> bytes:
        headers = {} if self._token is None else {"accessToken": self._token}
        text = json.dumps(body).encode()
        return _PAYLOAD.encode(
            {"metadata": {"type": kind, "headers": headers}, "body": {"value": text}}
        )


def _unpacked(message: bytes) -> tuple[str, Json]:
    try:
        payload = _PAYLOAD.decode(message)
        body = json_from_bytes(payload.get("body", {}).get("value", b""))
    except ValueError as error:
        raise RegistryError(f"a message of the push cannot be read: {error}") from error
    if not isinstance(body, Mapping):
        raise RegistryError("a message of the push is no object")
    return payload.get("metadata", {}).get("type", ""), body


def _first(errors: BaseExceptionGroup[RegistryError]) -> RegistryError:
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
