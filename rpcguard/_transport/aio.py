"""How calls are driven in tasks, on asyncio and trio."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from rpcguard._checks import is_whole, require
from rpcguard._connections.children import scheme_of
from rpcguard._core.call.call import DRAIN_TIME
from rpcguard._core.call.race import HedgedSend
from rpcguard._core.call.steps import Discard, Read, Send, Sleep
from rpcguard._core.call.tries import had_ended
from rpcguard._discovery.names import NAMES_WITHIN
from rpcguard._text import logger
from rpcguard._transport.base import TransportBase
from rpcguard._transport.bodies import (
    BODY_TOO_LONG,
    AsyncGuardedBody,
    AsyncOneShotBody,
    AsyncResumedBody,
    whole_of,
)
from rpcguard._transport.loops import LoopChildren, current_loop, wait_for
from rpcguard._transport.misplaced import misplaced
from rpcguard._transport.opening import LONGEST_LOOK
from rpcguard._transport.race import run_race

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from rpcguard._connections.children import Flavour
    from rpcguard._connections.library import Library
    from rpcguard._core.call.call import Call
    from rpcguard._core.call.steps import Step
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.service import Service
    from rpcguard._telemetry.spans import AnySpan
    from rpcguard._transport.opening import Opening

_STOP_TIMEOUT = 1.0  # seconds that closing waits for the background; it is not needed any more
_POLL = 0.001  # seconds: the first list mostly comes within some milliseconds
_LONGEST_POLL = 0.02  # seconds: how late a list that took long is seen


class AsyncDriver(TransportBase["httpx.AsyncBaseTransport"]):
    """A transport whose calls are driven in the task that makes them."""

    _homes: dict[Any, LoopChildren]

    @property
    def _flavour(self) -> Flavour:
        return "aio"

    def _open_with(self, library: Library) -> Opening:
        return self._opening_of(
            library.derive(AsyncOneShotBody, "AsyncByteStream"),
            library.derive(AsyncGuardedBody, "AsyncByteStream"),
        )

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
            response = await self._serve(request, observer)
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

    async def _serve(self, request: httpx.Request, observer: AnySpan) -> httpx.Response:
        service, call, body = self._opening.open(request)
        try:
            if not service.ready:
                longest = service.policies.membership.first_snapshot_timeout
                left = min(longest, call.left)
                await wait_for(service, lambda: service.ready or service.closed, left)
                if service.closed:
                    raise self._opening.refuse(service)
            if self._opening.is_stale(service):
                left = min(LONGEST_LOOK, call.left)
                await wait_for(service, lambda: not self._opening.is_stale(service), left)
            home = await self._home()
            if self._direct and service.ready and not service.met:
                return await self._send_direct(request, service, home, call, observer)
            return await self._drive(request, service, home, call, body, observer)
        except BaseException as error:
            call.end()
            self._opening.disprove(service, error)
            raise

    async def _drive(
        self,
        request: httpx.Request,
        service: Service,
        home: LoopChildren,
        call: Call,
        body: Any,
        observer: AnySpan,
    ) -> httpx.Response:
        steps = call.run()
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._take(step, request, body, home, observer)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            return self._opening.hand_out(call, end.value, service)

    async def _take(
        self,
        step: Step | HedgedSend,
        request: httpx.Request,
        body: Any,
        home: LoopChildren,
        observer: AnySpan,
    ) -> httpx.Response | bool | None:
        if type(step) is Send:
            return await self._send(step, request, body, home, observer)
        if type(step) is HedgedSend:

            async def send(sent: Send) -> httpx.Response:
                return await self._send(sent, request, body, home, observer)

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

    async def _send(
        self, step: Send, request: httpx.Request, body: Any, home: LoopChildren, observer: AnySpan
    ) -> httpx.Response:
        live = step.lease.live
        scheme = scheme_of(live.node, request.url.scheme)
        child = self._kept.of_node(home.children, live, scheme, request.url)
        outgoing = self._make.request(
            request,
            body,
            live.node,
            step.timeouts,
            scheme=scheme,
            patience=step.patience,
            repeatable=step.repeatable,
            fresh=step.fresh,
        )
        with observer.attempt(outgoing, step) as attempt:
            self._opening.mark(outgoing, request.url, step)
            return attempt.received(await child.handle_async_request(outgoing))

    async def _read(self, step: Read) -> bool:
        reply, stream = step.reply, step.reply.stream
        if (whole := whole_of(stream)) is not None:
            reply.stream = self._http.ByteStream(whole)
            return True
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
            if step.drain:
                await _drain(stream)
        except self._http.TransportError as error:
            logger.debug("an answer that is thrown away broke off: %r", error)
        finally:
            await stream.aclose()

    async def _send_direct(
        self,
        request: httpx.Request,
        service: Service,
        home: LoopChildren,
        call: Call,
        observer: AnySpan,
    ) -> httpx.Response:
        child = self._kept.of_host(home.children, request.url)
        again = False
        while True:
            timeouts, resendable = call.begin_direct()
            outgoing: Any = self._make.direct_request(request, timeouts, fresh=again)
            try:
                with observer.attempt(outgoing, None) as attempt:
                    self._opening.keep_from_strangers(outgoing)
                    response = attempt.received(await child.handle_async_request(outgoing))
            except self._http.TransportError as error:
                if again or not (resendable and had_ended(error)):
                    raise
            else:
                if again or not (resendable and had_ended(response)):
                    return self._opening.hand_out_direct(call, response, service)
                await response.aclose()
            again = True

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
        found = self._service(service.lower())
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
        services = self._services.close()
        try:
            await _until(lambda: not any(one.calls for one in services), self._drain_timeout)
        finally:
            self._kept.cut = True
            with anyio.CancelScope(shield=True):
                await self._close_homes()
                for one in self._services.followers:
                    one.stop()
                stopped = self._following.stop()
                if stopped is not None:
                    await _until(stopped.done, _STOP_TIMEOUT)

    async def _close_homes(self) -> None:
        here = current_loop()
        for home in list(self._homes.values()):
            if home.loop is here:
                await home.end()
            else:
                home.run_soon(home.end)
        await _until(lambda: not self._homes, _STOP_TIMEOUT)


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
