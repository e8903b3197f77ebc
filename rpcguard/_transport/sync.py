"""How calls are driven in threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import os
import time
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from rpcguard._checks import is_whole, require
from rpcguard._connections.children import scheme_of
from rpcguard._core.call.call import DRAIN_TIME
from rpcguard._core.call.steps import Discard, Read, Send, Sleep
from rpcguard._discovery.background import background
from rpcguard._discovery.names import NAMES_WITHIN
from rpcguard._telemetry.spans import NO_SPAN
from rpcguard._text import logger
from rpcguard._transport.base import TransportBase
from rpcguard._transport.bodies import (
    BODY_TOO_LONG,
    SyncGuardedBody,
    SyncOneShotBody,
    SyncResumedBody,
    SyncTimedBody,
    keep_in_time,
)
from rpcguard._transport.kept import SWEEP_EVERY, attempt_to, sweep
from rpcguard._transport.misplaced import misplaced
from rpcguard._transport.opening import LONGEST_LOOK

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from rpcguard._connections.children import Flavour
    from rpcguard._core.call.call import Call
    from rpcguard._core.call.race import HedgedSend
    from rpcguard._core.call.steps import Handout, Step
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._telemetry.spans import AnySpan
    from rpcguard._transport.kept import ChildKey
    from rpcguard._transport.opening import Opening

_STOP_TIMEOUT = 1.0  # seconds that closing waits for the background; it is not needed any more
_POLL = 0.01
"""Seconds between two looks for rules and nodes that a start waits for."""


class SyncDriver(TransportBase["httpx.BaseTransport"]):
    """A transport whose calls are driven in the thread that makes them."""

    _children: dict[ChildKey, httpx.BaseTransport]

    @property
    def _flavour(self) -> Flavour:
        return "sync"

    @property
    def _bodies(self) -> tuple[type[Any], type[Any]]:
        derive = self._library.derive
        one_shot = derive(SyncOneShotBody, "SyncByteStream")
        return one_shot, derive(SyncGuardedBody, "SyncByteStream")

    def _start_without_children(self) -> None:
        self._children = {}
        self._stop_sweeping: Callable[[], object] | None = None
        children, pid = self._children, os.getpid()
        weakref.finalize(self, _close_ours, children, pid).atexit = False
        weakref.finalize(self, _leave, children, pid)

    def _families(self) -> list[dict[ChildKey, Any]]:
        return [self._children]

    def _part_with_children(self) -> object:
        children = self._children
        self._start_without_children()
        return children

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to a node of the service that its URL names.

        The response must be closed. Raises `NoAvailableNode`, `TransportClosed`, or the exception
        of the last attempt, with a note that lists the attempts.
        """
        observer = self._telemetry.observe(request)
        try:
            response = self._serve(self._opening, request, observer)
        except BaseException as error:
            observer.failed(error)
            raise
        observer.answered()
        return response

    def handle_async_request(self, request: object) -> NoReturn:
        """Refuse a client that makes calls in tasks: raise `TypeError`."""
        raise misplaced(type(self), "an AsyncClient", "AsyncTransport")

    def __aenter__(self) -> NoReturn:
        """Refuse a client that makes calls in tasks: raise `TypeError`."""
        self.handle_async_request(None)

    def _serve(
        self, opening: Opening, request: httpx.Request, observer: AnySpan, left: float = math.inf
    ) -> httpx.Response:
        service, call, body = opening.open(request, left, self._service)
        try:
            if not service.ready and not opening.leaves(service):
                longest = service.policies.membership.first_snapshot_timeout
                service.wait_ready(min(longest, call.left))
                if service.closed:
                    raise opening.refuse(service)
            if opening.is_stale(service):
                longest = min(LONGEST_LOOK, call.left)
                service.wait_for(lambda: not opening.is_stale(service), longest)
            if opening.beyond is None or not opening.leaves(service):
                answer = self._drive(opening, request, call, body, observer)
                return opening.hand_out(call, answer, service)
        except BaseException as error:
            call.end()
            opening.disprove(service, error)
            raise
        left = call.left
        call.end()
        return self._serve(opening.beyond, request, observer, left)

    def _drive(
        self, opening: Opening, request: httpx.Request, call: Call, body: Any, observer: AnySpan
    ) -> Handout:
        steps = call.run()
        result: httpx.Response | bool | None
        try:
            step = next(steps)
            while True:
                try:
                    if type(step) is Send:
                        result = self._send(opening, step, request, body, observer)
                    else:
                        result = self._take(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            answer: Handout = end.value
            return answer

    def _start_sweeping(self) -> None:
        swept = background().spawn(_sweep, weakref.ref(self))
        self._stop_sweeping = finalizer = weakref.finalize(self, swept.cancel)
        finalizer.atexit = False

    def sweep(self) -> None:
        """Close the idle connections that have expired, or that their node has closed."""
        for (live, _), child in list(self._children.items()):
            sweep(live, child)

    def _send(
        self, opening: Opening, step: Send, request: httpx.Request, body: Any, observer: AnySpan
    ) -> httpx.Response:
        live = step.lease.live
        scheme = scheme_of(live.node, request.url.scheme)
        if self._stop_sweeping is None:
            self._start_sweeping()
        make = opening.make
        try:
            child = self._kept.of_node(self._children, make, live, scheme, request.url)
        except BaseException:
            if self._kept.cut:  # it may have been made as all were closed
                _close_all(self._children)
            raise
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
        send: Callable[[Any], httpx.Response] = child.handle_request
        if make.addressed:
            send = _timed(send, step, self._http.ReadTimeout)
        if observer is NO_SPAN:  # without an SDK; what watches nothing is four calls
            opening.mark(outgoing, request.url, step)
            return send(outgoing)
        return _observed(opening, step, request, send, outgoing, observer)

    def _take(self, step: Step | HedgedSend) -> bool | None:
        if type(step) is Read:
            return self._read(step)
        if type(step) is Discard:
            self._discard(step)
        elif type(step) is Sleep:
            time.sleep(step.seconds)
        return None

    def _read(self, step: Read) -> bool:
        reply, stream = step.reply, step.reply.stream
        parts, left, chunks = [], step.limit, iter(stream)
        try:
            for part in chunks:
                parts.append(part)
                left -= len(part)
                if left < 0:
                    if not step.open_ended:
                        raise self._http.RemoteProtocolError(BODY_TOO_LONG)
                    reply.stream = SyncResumedBody(parts, chunks, stream)
                    return False
        except BaseException:
            stream.close()
            raise
        stream.close()
        reply.stream = self._http.ByteStream(b"".join(parts))
        return True

    def _discard(self, step: Discard) -> None:
        stream = step.reply.stream
        try:
            try:
                if step.drain:
                    end = time.monotonic() + DRAIN_TIME
                    for _ in stream:
                        if time.monotonic() > end:
                            break
            finally:
                stream.close()
        except Exception as error:  # of a user's own child it may be anything; it does not count
            logger.debug("an answer that is thrown away broke off: %r", error)

    def retire(self, live: LiveNode) -> None:
        """Close the child of a node that has left and is idle."""
        for scheme in ("http", "https"):
            child = self._children.pop((live, scheme), None)
            if child is not None:
                attempt_to(child.close)

    def wait_ready(self, service: str, *, timeout: float, nodes: int = 1) -> None:
        """Block until a service has nodes to be picked, so many at least.

        Rules that `Routing(required=True)` wants are waited for as well; `nodes=0` waits for a list
        alone. Raises `NoAvailableNode` when there are too few nodes after `timeout` seconds, with
        the nearest names where the registry does not know the service and tells those that it does;
        `RegistryError` when there was no list, and `TransportClosed` when the transport was closed.
        """
        require("nodes", nodes, "a whole number, 0 or more", is_whole(nodes))
        found = self._service(self._opening.called(service))
        end = time.monotonic() + timeout
        found.wait_ready(timeout)
        while not self._enough(found, nodes):  # seldom waited for, and told by another thread
            if found.closed or time.monotonic() >= end:
                near = self._opening.names_like(found)
                if near is not None:
                    concurrent.futures.wait([near], NAMES_WITHIN)
                raise self._opening.not_ready(found, timeout, nodes, near)
            time.sleep(_POLL)

    def close(self) -> None:
        """Refuse new calls, let those in flight finish, then close everything.

        Calls and streams that are not done within `drain_timeout` are cut, and at once by what
        interrupts the wait. Any thread may call, more than once.
        """
        if self._pid != os.getpid():
            self._start_over_after_fork()
        services = [service for table in self._tables for service in table.close()]
        end = time.monotonic() + self._drain_timeout
        try:
            for service in services:
                service.wait_idle(max(end - time.monotonic(), 0.0))
        finally:  # Ctrl-C is for the wait alone
            self._cut()

    def _cut(self) -> None:
        self._kept.cut = True
        if self._stop_sweeping is not None:
            self._stop_sweeping()
        for one in self._followers:
            one.stop()
        stopped = [table.following.stop() for table in self._tables]
        _close_all(self._children)
        concurrent.futures.wait(filter(None, stopped), _STOP_TIMEOUT)


def _observed(
    opening: Opening,
    step: Send,
    request: httpx.Request,
    send: Callable[[Any], httpx.Response],
    outgoing: Any,
    observer: AnySpan,
) -> httpx.Response:
    with observer.attempt(outgoing, step) as attempt:
        opening.mark(outgoing, request.url, step)
        return attempt.received(send(outgoing))


def _timed(
    send: Callable[[Any], httpx.Response], step: Send, too_late: type[Exception]
) -> Callable[[Any], httpx.Response]:
    def timed(outgoing: Any) -> httpx.Response:
        reply = send(outgoing)
        keep_in_time(SyncTimedBody, reply, step.timeouts, too_late)
        return reply

    return timed


async def _sweep(transport: weakref.ref[SyncDriver]) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        here = transport()
        if here is None or here._kept.cut:  # two first calls may have begun two of these
            return
        here.sweep()
        del here


def _close_all(children: dict[ChildKey, httpx.BaseTransport]) -> None:
    for key in list(children):
        child = children.pop(key, None)  # another thread may close them as well, or retire one
        if child is not None:
            attempt_to(child.close)


def _close_ours(children: dict[ChildKey, httpx.BaseTransport], pid: int) -> None:
    # In a forked child the sockets are still those of the parent.
    if pid == os.getpid():
        _close_all(children)


def _leave(children: dict[ChildKey, httpx.BaseTransport], pid: int) -> None:
    # At exit a call in flight is one of a daemon thread, which is to end without a word: cut, it
    # would still raise in its thread, and the interpreter would print that.
    if pid == os.getpid():
        for child in list(children.values()):
            attempt_to(getattr(child, "close_idle", child.close))
