"""How calls are driven in tasks, on asyncio and trio."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from rpcguard._checks import is_whole, require
from rpcguard._connections.children import scheme_of
from rpcguard._core.call.call import DRAIN_TIME
from rpcguard._core.call.race import HedgedSend
from rpcguard._core.call.steps import Discard, Read, Send, Sleep
from rpcguard._discovery.names import NAMES_WITHIN
from rpcguard._telemetry.spans import NO_SPAN
from rpcguard._text import logger
from rpcguard._transport.base import TransportBase
from rpcguard._transport.bodies import (
    BODY_TOO_LONG,
    AsyncGuardedBody,
    AsyncOneShotBody,
    AsyncResumedBody,
    AsyncTimedBody,
    keep_in_time,
)
from rpcguard._transport.loops import LoopChildren, current_loop, wait_for
from rpcguard._transport.misplaced import misplaced
from rpcguard._transport.opening import LONGEST_LOOK
from rpcguard._transport.race import run_race

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from rpcguard._connections.children import Flavour
    from rpcguard._core.call.call import Call
    from rpcguard._core.call.steps import Handout, Step
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._telemetry.spans import AnySpan
    from rpcguard._transport.opening import Opening

    _Sender = Callable[[Any], Awaitable[httpx.Response]]

_STOP_TIMEOUT = 1.0  # seconds that closing waits for the background; it is not needed any more
_POLL = 0.001  # seconds: the first list mostly comes within some milliseconds
_LONGEST_POLL = 0.02  # seconds: how late a list that took long is seen


class AsyncDriver(TransportBase["httpx.AsyncBaseTransport"]):
    """A transport whose calls are driven in the task that makes them."""

    _homes: dict[Any, LoopChildren]

    @property
    def _flavour(self) -> Flavour:
        return "aio"

    @property
    def _bodies(self) -> tuple[type[Any], type[Any]]:
        derive = self._library.derive
        one_shot = derive(AsyncOneShotBody, "AsyncByteStream")
        return one_shot, derive(AsyncGuardedBody, "AsyncByteStream")

    def _start_without_children(self) -> None:
        self._homes = {}

    def _families(self) -> list[dict[Any, Any]]:
        return [home.children for home in list(self._homes.values())]

    def _part_with_children(self) -> object:
        homes = self._homes
        self._start_without_children()
        return homes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to a node of the service that its URL names.

        The response must be closed. Raises `NoAvailableNode`, `TransportClosed`, or the exception
        of the last attempt, with a note that lists the attempts.
        """
        observer = self._telemetry.observe(request)
        try:
            response = await self._serve(self._opening, request, observer)
        except BaseException as error:
            observer.failed(error)
            raise
        observer.answered()
        return response

    def handle_request(self, request: object) -> NoReturn:
        """Refuse a client that makes calls in threads: raise `TypeError`."""
        raise misplaced(type(self), "a Client", "Transport, or use it in an AsyncClient")

    def __enter__(self) -> NoReturn:
        """Refuse a client that makes calls in threads: raise `TypeError`."""
        self.handle_request(None)

    async def _serve(
        self, opening: Opening, request: httpx.Request, observer: AnySpan, left: float = math.inf
    ) -> httpx.Response:
        service, call, body = opening.open(request, left, self._service)
        try:
            if not service.ready and not opening.leaves(service):
                longest = service.policies.membership.first_snapshot_timeout
                longest = min(longest, call.left)
                await wait_for(service, lambda: service.ready or service.closed, longest)
                if service.closed:
                    raise opening.refuse(service)
            if opening.is_stale(service):
                longest = min(LONGEST_LOOK, call.left)
                await wait_for(service, lambda: not opening.is_stale(service), longest)
            if opening.beyond is None or not opening.leaves(service):
                home = self._homes.get(current_loop()) or await self._home()
                answer = await self._drive(opening, request, home, call, body, observer)
                return opening.hand_out(call, answer, service)
        except BaseException as error:
            call.end()
            opening.disprove(service, error)
            raise
        left = call.left
        call.end()
        return await self._serve(opening.beyond, request, observer, left)

    async def _drive(
        self,
        opening: Opening,
        request: httpx.Request,
        home: LoopChildren,
        call: Call,
        body: Any,
        observer: AnySpan,
    ) -> Handout:
        steps = call.run()
        result: httpx.Response | bool | None
        try:
            step = next(steps)
            while True:
                try:
                    if type(step) is Send:  # by no way around: each coroutine is resumed on its own
                        result = await self._send(opening, step, request, body, home, observer)
                    else:
                        result = await self._take(opening, step, request, body, home, observer)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            answer: Handout = end.value
            return answer

    async def _take(
        self,
        opening: Opening,
        step: Step | HedgedSend,
        request: httpx.Request,
        body: Any,
        home: LoopChildren,
        observer: AnySpan,
    ) -> httpx.Response | bool | None:
        if type(step) is HedgedSend:

            async def send(sent: Send) -> httpx.Response:
                return await self._send(opening, sent, request, body, home, observer)

            won = await run_race(step, send)
            observer.chose(won.send)
            chosen: Any = step.finish(won)
            return chosen  # type: ignore[no-any-return]
        if type(step) is Read:
            return await self._read(step)
        if type(step) is Discard:
            await self._discard(step)
        elif type(step) is Sleep:
            await anyio.sleep(step.seconds)
        return None

    def _send(
        self,
        opening: Opening,
        step: Send,
        request: httpx.Request,
        body: Any,
        home: LoopChildren,
        observer: AnySpan,
    ) -> Awaitable[httpx.Response]:
        live = step.lease.live
        scheme = scheme_of(live.node, request.url.scheme)
        make = opening.make
        child = self._kept.of_node(home.children, make, live, scheme, request.url)
        outgoing = make.request(
            request,
            body,
            live.node,
            step.timeouts,
            scheme=scheme,
            patience=step.patience,
            repeatable=step.repeatable,
            fresh=step.fresh,
            buffered=step.buffered,
        )
        send: _Sender = child.handle_async_request
        if make.addressed:
            send = _timed(send, step, self._http.ReadTimeout)
        if observer is NO_SPAN:  # without an SDK; what watches nothing is four calls
            opening.mark(outgoing, request.url, step)
            return send(outgoing)
        return _observed(opening, step, request, send, outgoing, observer)

    async def _read(self, step: Read) -> bool:
        reply, stream = step.reply, step.reply.stream
        parts, left, chunks = [], step.limit, aiter(stream)
        try:
            async for part in chunks:
                parts.append(part)
                left -= len(part)
                if left < 0:
                    if not step.open_ended:
                        raise self._http.RemoteProtocolError(BODY_TOO_LONG)
                    reply.stream = AsyncResumedBody(parts, chunks, stream)
                    return False
        except BaseException:
            await stream.aclose()
            raise
        await stream.aclose()
        reply.stream = self._http.ByteStream(b"".join(parts))
        return True

    async def _discard(self, step: Discard) -> None:
        stream: Any = step.reply.stream
        try:
            try:
                if step.drain:
                    await _drain(stream)
            finally:
                await stream.aclose()
        except Exception as error:  # of a user's own child it may be anything; it does not count
            logger.debug("an answer that is thrown away broke off: %r", error)

    async def _home(self) -> LoopChildren:
        loop = current_loop()
        home = self._homes.get(loop)
        if home is None:
            self._abandon_ended_loops()
            home = self._homes[loop] = LoopChildren(loop, lambda loop: self._homes.pop(loop, None))
            await home.begin()
        return home

    def _abandon_ended_loops(self) -> None:
        # A loop that was closed without ceremony ran no generator to its end.
        for loop, home in list(self._homes.items()):
            if home.ended:
                self._homes.pop(loop, None)
                home.abandon()

    def retire(self, live: LiveNode) -> None:
        """Close the children of a node that has left and is idle, each on its own loop."""
        for home in list(self._homes.values()):
            home.retire(live)

    async def wait_ready(self, service: str, *, timeout: float, nodes: int = 1) -> None:
        """Wait until a service has nodes to be picked, so many at least.

        Rules that `Routing(required=True)` wants are waited for as well; `nodes=0` waits for a list
        alone. Raises `NoAvailableNode` when there are too few nodes after `timeout` seconds, with
        the nearest names where the registry does not know the service and tells those that it does;
        `RegistryError` when there was no list, and `TransportClosed` when the transport was closed.
        """
        require("nodes", nodes, "a whole number, 0 or more", is_whole(nodes))
        found = self._service(self._opening.called(service))
        await _until(lambda: self._enough(found, nodes) or found.closed, timeout)
        if not self._enough(found, nodes):
            near = self._opening.names_like(found)
            if near is not None:
                await _until(near.done, NAMES_WITHIN)
            raise self._opening.not_ready(found, timeout, nodes, near)

    async def aclose(self) -> None:
        """Refuse new calls, let those in flight finish, then close everything.

        Calls and streams that are not done within `drain_timeout` are cut, and at once in a
        cancelled scope. Any task, loop or thread may call, more than once.
        """
        if self._pid != os.getpid():
            self._start_over_after_fork()
        services = [service for table in self._tables for service in table.close()]
        try:
            await _until(lambda: not any(one.calls for one in services), self._drain_timeout)
        finally:
            self._kept.cut = True
            for one in self._followers:
                one.stop()
            stopped = [table.following.stop() for table in self._tables]
            with anyio.CancelScope(shield=True):
                await self._close_homes()
                for closing in filter(None, stopped):
                    await _until(closing.done, _STOP_TIMEOUT)

    async def _close_homes(self) -> None:
        self._abandon_ended_loops()
        here = current_loop()
        for home in list(self._homes.values()):
            if home.loop is here:
                await home.end()
            else:
                home.run_soon(home.end)
        await _until(lambda: not self._homes, _STOP_TIMEOUT)


async def _observed(
    opening: Opening,
    step: Send,
    request: httpx.Request,
    send: _Sender,
    outgoing: Any,
    observer: AnySpan,
) -> httpx.Response:
    with observer.attempt(outgoing, step) as attempt:
        opening.mark(outgoing, request.url, step)
        return attempt.received(await send(outgoing))


def _timed(send: _Sender, step: Send, too_late: type[Exception]) -> _Sender:
    async def timed(outgoing: Any) -> httpx.Response:
        reply = await send(outgoing)
        keep_in_time(AsyncTimedBody, reply, step.timeouts, too_late)
        return reply

    return timed


async def _drain(stream: Any) -> None:
    end = time.monotonic() + DRAIN_TIME
    chunks = aiter(stream)
    async for _ in chunks:
        if time.monotonic() > end:
            # Left to the garbage collector a generator would end too late.
            await getattr(chunks, "aclose", stream.aclose)()
            return


async def _until(condition: Callable[[], object], timeout: float) -> None:
    # Polled, since the condition is met by another thread or loop, and seldom waited for.
    end, pause = time.monotonic() + timeout, _POLL
    while not condition() and (left := end - time.monotonic()) > 0:
        await anyio.sleep(min(pause, left))
        pause = min(pause * 2.0, _LONGEST_POLL)
