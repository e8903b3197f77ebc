"""How calls are driven in threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import time
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from rpcguard._checks import is_whole, require
from rpcguard._connections.children import scheme_of
from rpcguard._core.call.call import DRAIN_TIME
from rpcguard._core.call.steps import Discard, Read, Send, Sleep
from rpcguard._core.call.tries import had_ended
from rpcguard._discovery.background import background
from rpcguard._discovery.names import NAMES_WITHIN
from rpcguard._text import logger
from rpcguard._transport.base import TransportBase
from rpcguard._transport.bodies import (
    BODY_TOO_LONG,
    SyncGuardedBody,
    SyncOneShotBody,
    SyncResumedBody,
    whole_of,
)
from rpcguard._transport.kept import SWEEP_EVERY, sweep
from rpcguard._transport.misplaced import misplaced
from rpcguard._transport.opening import LONGEST_LOOK

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from rpcguard._connections.children import Flavour
    from rpcguard._connections.library import Library
    from rpcguard._core.call.call import Call
    from rpcguard._core.call.race import HedgedSend
    from rpcguard._core.call.steps import Step
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.service import Service
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

    def _open_with(self, library: Library) -> Opening:
        return self._opening_of(
            library.derive(SyncOneShotBody, "SyncByteStream"),
            library.derive(SyncGuardedBody, "SyncByteStream"),
        )

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
            response = self._serve(request, observer)
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

    def _serve(self, request: httpx.Request, observer: AnySpan) -> httpx.Response:
        service, call, body = self._opening.open(request)
        try:
            if not service.ready:
                longest = service.policies.membership.first_snapshot_timeout
                service.wait_ready(min(longest, call.left))
                if service.closed:
                    raise self._opening.refuse(service)
            if self._opening.is_stale(service):
                left = min(LONGEST_LOOK, call.left)
                service.wait_for(lambda: not self._opening.is_stale(service), left)
            if self._direct and service.ready and not service.met:
                return self._send_direct(request, service, call, observer)
            return self._drive(request, service, call, body, observer)
        except BaseException as error:
            call.end()
            self._opening.disprove(service, error)
            raise

    def _drive(
        self, request: httpx.Request, service: Service, call: Call, body: Any, observer: AnySpan
    ) -> httpx.Response:
        steps = call.run()
        try:
            step = next(steps)
            while True:
                try:
                    result = self._take(step, request, body, observer)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            return self._opening.hand_out(call, end.value, service)

    def _start_sweeping(self) -> None:
        swept = background().spawn(_sweep, weakref.ref(self))
        self._stop_sweeping = finalizer = weakref.finalize(self, swept.cancel)
        finalizer.atexit = False

    def sweep(self) -> None:
        """Close the idle connections that have expired, or that their node has closed."""
        for (live, _), child in list(self._children.items()):
            sweep(live, child)

    def _take(
        self, step: Step | HedgedSend, request: httpx.Request, body: Any, observer: AnySpan
    ) -> httpx.Response | bool | None:
        if type(step) is Send:
            live = step.lease.live
            scheme = scheme_of(live.node, request.url.scheme)
            if self._stop_sweeping is None:
                self._start_sweeping()
            child = self._kept.of_node(self._children, live, scheme, request.url)
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
                return attempt.received(child.handle_request(outgoing))
        if type(step) is Read:
            return self._read(step)
        if type(step) is Discard:
            self._discard(step)
        elif type(step) is Sleep:
            time.sleep(step.seconds)
        return None

    def _read(self, step: Read) -> bool:
        reply, stream = step.reply, step.reply.stream
        if (whole := whole_of(stream)) is not None:
            reply.stream = self._http.ByteStream(whole)
            return True
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
            if step.drain:
                end = time.monotonic() + DRAIN_TIME
                for _ in stream:
                    if time.monotonic() > end:
                        break
        except self._http.TransportError as error:
            logger.debug("an answer that is thrown away broke off: %r", error)
        finally:
            stream.close()

    def _send_direct(
        self, request: httpx.Request, service: Service, call: Call, observer: AnySpan
    ) -> httpx.Response:
        child = self._kept.of_host(self._children, request.url)
        again = False
        while True:
            timeouts, resendable = call.begin_direct()
            outgoing: Any = self._make.direct_request(request, timeouts, fresh=again)
            try:
                with observer.attempt(outgoing, None) as attempt:
                    self._opening.keep_from_strangers(outgoing)
                    response = attempt.received(child.handle_request(outgoing))
            except self._http.TransportError as error:
                if again or not (resendable and had_ended(error)):
                    raise
            else:
                if again or not (resendable and had_ended(response)):
                    return self._opening.hand_out_direct(call, response, service)
                response.close()
            again = True

    def retire(self, live: LiveNode) -> None:
        """Close the child of a node that has left and is idle."""
        for scheme in ("http", "https"):
            child = self._children.pop((live, scheme), None)
            if child is not None:
                _close(child)

    def wait_ready(self, service: str, *, timeout: float, nodes: int = 1) -> None:
        """Block until a service has nodes to be picked, so many at least.

        Rules that `Routing(required=True)` wants are waited for as well; `nodes=0` waits for a list
        alone. Raises `NoAvailableNode` when there are too few nodes after `timeout` seconds, with
        the nearest names where the registry does not know the service and tells those that it does;
        `RegistryError` when there was no list, and `TransportClosed` when the transport was closed.
        """
        require("nodes", nodes, "a whole number, 0 or more", is_whole(nodes))
        found, end = self._service(service.lower()), time.monotonic() + timeout
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

        Calls and streams that are not done within `drain_timeout` are cut. Any thread may call,
        more than once.
        """
        if self._pid != os.getpid():
            self._start_over_after_fork()
        services = self._services.close()
        end = time.monotonic() + self._drain_timeout
        for service in services:
            service.wait_idle(max(end - time.monotonic(), 0.0))
        self._kept.cut = True
        if self._stop_sweeping is not None:
            self._stop_sweeping()
        for one in self._services.followers:
            one.stop()
        stopped = self._following.stop()
        _close_all(self._children)
        if stopped is not None:
            concurrent.futures.wait([stopped], _STOP_TIMEOUT)


async def _sweep(transport: weakref.ref[SyncDriver]) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        here = transport()
        if here is None:
            return
        here.sweep()
        del here


def _close_all(children: dict[ChildKey, httpx.BaseTransport]) -> None:
    while children:
        _close(children.popitem()[1])


def _close_ours(children: dict[ChildKey, httpx.BaseTransport], pid: int) -> None:
    # In a forked child the sockets are still those of the parent.
    if pid == os.getpid():
        _close_all(children)


def _leave(children: dict[ChildKey, httpx.BaseTransport], pid: int) -> None:
    # At exit a call in flight is one of a daemon thread, which is to end without a word: cut, it
    # would still raise in its thread, and the interpreter would print that.
    if pid == os.getpid():
        for child in list(children.values()):
            _run(getattr(child, "close_idle", child.close))


def _close(child: httpx.BaseTransport) -> None:
    _run(child.close)


def _run(close: Callable[[], object]) -> None:
    try:
        close()
    except Exception:  # the user's own child may raise anything, and the others are still open
        logger.warning("a node's connections did not close", exc_info=True)
