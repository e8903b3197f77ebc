"""How calls are driven in tasks, on asyncio and trio."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar

import anyio

from rpcguard.call import DRAIN_TIME, Discard, Read, Send, Sleep
from rpcguard.shell import Shell, logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    import httpx

    from rpcguard.call import Call, Step
    from rpcguard.live import LiveNode
    from rpcguard.service import Lease, Service
    from rpcguard.watch import AnyWatch

_STOP_TIMEOUT = 1.0
_POLL = 0.001
_LONGEST_POLL = 0.02


class OneShotBody:
    """Send a body that cannot be sent twice, and remember whether it was begun."""

    consumed: ClassVar[type[Exception]]

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.touched = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.touched:
            raise self.consumed
        self.touched = True
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        """Close the caller's stream."""
        await self._stream.aclose()


class GuardedBody:
    """Stream an answer's body: its end gives the node back, its failure counts against it."""

    def __init__(
        self,
        stream: Any,
        service: Service,
        lease: Lease | None = None,
        call: Call | None = None,
    ) -> None:
        self._stream = stream
        self._service = service
        self._lease = lease
        self._call = call
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except BaseException as error:
            if isinstance(error, Exception) and self._call and self._lease:
                self._call.break_off(self._lease, error)
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Give the node back and close the child's stream; once, however often it is called."""
        if not self._open:
            return
        self._open = False
        # Before anything is awaited, so that a cancelled scope cannot skip it.
        if self._lease is not None:
            self._service.release(self._lease)
        self._service.end()
        await self._stream.aclose()


class Home:
    """Hold what an async transport keeps for one event loop: the children that live there.

    Closes them when the loop ends: an async generator that was begun on a loop is closed by it
    (`loop.shutdown_asyncgens`, trio likewise), which needs no cooperation of the caller.
    """

    def __init__(self, loop: Any, forget: Callable[[Any], object]) -> None:
        self.loop = loop
        self.children: dict[tuple[LiveNode | None, str], Any] = {}
        self._leaving: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._end = _until_loop_ends(self.children, self._leaving, loop, forget)

    async def begin(self) -> None:
        """Tie the children to the loop that runs this."""
        await anext(self._end)

    async def end(self) -> None:
        """Close all children."""
        await self._end.aclose()

    def retire(self, live: LiveNode) -> None:
        """Close the children of a node soon; any thread may call."""
        for scheme in ("http", "https"):
            child = self.children.pop((live, scheme), None)
            if child is not None:
                self._leaving.append(child)
        if self._leaving:
            self.run_soon(self._sweep)

    async def _sweep(self) -> None:
        await _close_all(self._leaving)

    def run_soon(self, task: Callable[[], Any]) -> None:
        """Run a coroutine function on this loop, from any thread; not if the loop has ended."""
        try:
            if isinstance(self.loop, asyncio.AbstractEventLoop):
                self.loop.call_soon_threadsafe(self._start_task, task)
            else:
                import trio

                self.loop.run_sync_soon(trio.lowlevel.spawn_system_task, task)
        except RuntimeError:
            logger.debug("the event loop of a leaving node's connections has ended")

    def _start_task(self, task: Callable[[], Any]) -> None:
        started = self.loop.create_task(task())
        self._tasks.add(started)
        started.add_done_callback(self._tasks.discard)


async def _until_loop_ends(
    children: dict[Any, Any], leaving: list[Any], loop: Any, forget: Callable[[Any], object]
) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        forget(loop)
        leaving += children.values()
        children.clear()
        with anyio.CancelScope(shield=True):
            await _close_all(leaving)


async def _close_all(children: list[Any]) -> None:
    while children:
        try:
            await children.pop().aclose()
        except Exception:  # the user's own child may raise anything, and the others are still open
            logger.warning("a node's connections did not close", exc_info=True)


class AsyncShell(Shell["httpx.AsyncBaseTransport"]):
    """Drive calls in the task that makes them."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        http = cls._http
        cls._one_shot = type("Body", (OneShotBody, http.AsyncByteStream), {})
        cls._one_shot.consumed = http.StreamConsumed
        cls._guarded = type("Body", (GuardedBody, http.AsyncByteStream), {})

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._homes: dict[Any, Home] = {}

    def _part_with_children(self) -> object:
        homes, self._homes = self._homes, {}
        return homes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to a node of the service that its URL names.

        The response must be closed. Raises `NoAvailableNode`, `TransportClosed`, or the exception
        of the last attempt, with a note that lists the attempts.
        """
        watch = self._telemetry.watch(request)
        try:
            response = await self._serve(request, watch)
        except BaseException as error:
            watch.failed(error)
            raise
        watch.answered()
        return response

    async def _serve(self, request: httpx.Request, watch: AnyWatch) -> httpx.Response:
        service, call, body = self._prepare(request)
        if not service.ready:
            longest = self._policies.membership.first_snapshot_timeout
            await _until(lambda: service.ready or service.closed, min(longest, call.left))
        if not service.begin():
            raise self._refuse(service)
        try:
            home = await self._home()
            if self._direct and service.ready and not service.known:
                return await self._send_direct(request, service, home, watch)
            return await self._drive(request, service, home, call, body, watch)
        except BaseException:
            service.end()
            raise

    async def _drive(
        self,
        request: httpx.Request,
        service: Service,
        home: Home,
        call: Call,
        body: Any,
        watch: AnyWatch,
    ) -> httpx.Response:
        steps = call.run()
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._take(step, request, body, home, watch)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            return self._hand_out(call, end.value, service)

    async def _take(
        self, step: Step, request: httpx.Request, body: Any, home: Home, watch: AnyWatch
    ) -> httpx.Response | None:
        if type(step) is Send:
            live = step.lease.live
            child = self._child_of(home.children, live, request.url.scheme)
            outgoing = self._outgoing(request, body, live.node, step.timeouts)
            with watch.attempt(outgoing, step) as attempt:
                return attempt.received(await child.handle_async_request(outgoing))
        if type(step) is Read:
            await self._read(step.reply)
        elif type(step) is Discard:
            await self._discard(step)
        elif type(step) is Sleep:
            await anyio.sleep(step.seconds)
        return None

    async def _read(self, response: Any) -> None:
        stream = response.stream
        try:
            body = b"".join([chunk async for chunk in stream])
        finally:
            await stream.aclose()
        response.stream = self._http.ByteStream(body)

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
        self, request: httpx.Request, service: Service, home: Home, watch: AnyWatch
    ) -> httpx.Response:
        key = (None, "")
        if key not in home.children:
            home.children[key] = self._direct_child()
        outgoing = self._copied(request)
        with watch.attempt(outgoing, None) as attempt:
            answer = await home.children[key].handle_async_request(outgoing)
            response = attempt.received(answer)
        response.stream = self._guarded(response.stream, service)
        return response

    async def _home(self) -> Home:
        loop = _current_loop()
        home = self._homes.get(loop)
        if home is None:
            home = self._homes[loop] = Home(loop, lambda loop: self._homes.pop(loop, None))
            await home.begin()
        return home

    def retire(self, live: LiveNode) -> None:
        """Close the children of a node that has left and is idle, each on its own loop."""
        for home in list(self._homes.values()):
            home.retire(live)

    async def wait_ready(self, service: str, *, timeout: float) -> None:
        """Wait until the first snapshot of a service is there.

        Raises `RegistryError` when it is not within `timeout` seconds.
        """
        found = self._service(service.lower())
        await _until(lambda: found.ready or found.closed, timeout)
        if not found.ready:
            raise self._not_ready(found, timeout)

    async def aclose(self) -> None:
        """Refuse new calls, let those in flight finish, then close everything.

        Calls and streams that are not done within `drain_timeout` are cut, and at once in a
        cancelled scope. Any task, loop or thread may call, more than once.
        """
        self._closed = True
        services = list(self._services.values())
        for service in services:
            service.close()
        try:
            await _until(lambda: not any(one.calls for one in services), self._drain_timeout)
        finally:
            self._cut = True
            with anyio.CancelScope(shield=True):
                await self._close_homes()
                stopped = self._following.stop()
                if stopped is not None:
                    await _until(stopped.done, _STOP_TIMEOUT)

    async def _close_homes(self) -> None:
        here = _current_loop()
        for home in list(self._homes.values()):
            if home.loop is here:
                await home.end()
            else:
                home.run_soon(home.end)
        await _until(lambda: not self._homes, _STOP_TIMEOUT)


def _current_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return sys.modules["trio"].lowlevel.current_trio_token()


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
