"""Observe one call and its attempts: spans, durations, and the context that goes out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from opentelemetry import context as otel
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from rpcguard._core.call.timeouts import Timeouts
from rpcguard._core.outcomes.lengths import is_whole
from rpcguard._telemetry.bodies import ObservedBody
from rpcguard._telemetry.hooks import hooks, told
from rpcguard._telemetry.routes import attributes_of
from rpcguard._telemetry.words import described, error_name, redacted

if TYPE_CHECKING:
    from contextvars import Token

    import httpx
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from rpcguard._core.call.steps import Send
    from rpcguard._telemetry.recorder import Recorder

QUIET = "suppress_instrumentation"
"""The context key that keeps the instrumentation of others from making spans of their own."""

_PORTS = {"http": 80, "https": 443}  # RFC 9110 §4.2: what a URL without a port means
_EVENTS = {"ejected": "rpcguard.ejected", "offline": "rpcguard.offline"}
_OF_CALL = ("http.response.status_code", "error.type")


class NoSpan:
    """The observer, and the attempts, of a call that nobody observes.

    What the caller has in its context, such as baggage, is passed on to the node all the same,
    unless the caller wants no instrumentation.
    """

    __slots__ = ("_here",)

    def __init__(self, here: Context | None = None) -> None:
        self._here = here

    def attempt(self, outgoing: httpx.Request, step: Send) -> Self:
        """Begin an attempt."""
        if self._here is not None:
            hooks.tell(_inject, outgoing, self._here)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def received(self, response: httpx.Response) -> httpx.Response:
        """Take in the head of an answer; give it back."""
        return response

    def chose(self, step: Send) -> None:
        """Take in which of two attempts beside each other counts."""

    def answered(self) -> None:
        """Take in that the call is answered."""

    def failed(self, error: BaseException) -> None:
        """Take in that the call failed or was given up."""


NO_SPAN = NoSpan()


class CallSpan:
    """The observer of one call: a span and a duration for each attempt, a duration for the whole.

    A call lasts until its answer's body is closed. An attempt's span is ended by the next thing
    that the call does, with the time at which the attempt was over, so that what follows from it
    is still told on the span.
    """

    __slots__ = (
        "_attempt",
        "_began",
        "_beside",
        "_count",
        "attributes",
        "here",
        "request",
        "telemetry",
    )

    def __init__(self, telemetry: Recorder, request: httpx.Request, here: Context) -> None:
        url, method = request.url, request.method
        self.telemetry: Recorder = telemetry
        self.request: httpx.Request = request
        self.here: Context = here
        self.attributes: dict[str, Any] = {
            "http.request.method": method if method in telemetry.methods else "_OTHER",
            **telemetry.instruments.place(url.host, url.port or _PORTS.get(url.scheme, 0)),
        }
        self._attempt: AttemptSpan | None = None
        self._beside: AttemptSpan | None = None
        self._count = 0
        self._began = time.perf_counter()

    def attempt(self, outgoing: httpx.Request, step: Send) -> AttemptSpan:
        """Begin an attempt."""
        if step.hedge:
            self._beside = self._attempt
        elif self._attempt is not None:
            self._attempt.finish()
        if step.resent_because is not None:
            self._count_retry(step.resent_because)
        self._count += 1
        self._attempt = AttemptSpan(self, outgoing, step)
        return self._attempt

    @told
    def _count_retry(self, because: str) -> None:
        told = {
            "server.address": self.attributes["server.address"],
            "rpcguard.retry.reason": because,
        }
        self.telemetry.instruments.retries.add(1, told, self.here)

    def chose(self, step: Send) -> None:
        """Take in which of two attempts beside each other counts; the other one is over."""
        beside, self._beside = self._beside, None
        if beside is not None and self._attempt is not None:
            if beside.is_of(step):
                beside, self._attempt = self._attempt, beside
            beside.finish()

    def answered(self) -> None:
        """Take in that the call is answered; it lasts until the body is closed."""
        attempt = self._attempt
        assert attempt is not None
        attempt.last = True
        if attempt.over:
            self.end(attempt)

    def failed(self, error: BaseException) -> None:
        """Take in that the call failed or, as far as `error` is no `Exception`, was given up."""
        for attempt in (self._beside, self._attempt):
            if attempt is not None:
                attempt.finish()
        self._record({"error.type": error_name(error)} if isinstance(error, Exception) else {})

    def end(self, attempt: AttemptSpan) -> None:
        """Take in that the body of the answer is closed."""
        attempt.finish()
        self._record(attempt.outcome)

    @told
    def _record(self, outcome: dict[str, Any]) -> None:
        told = {key: outcome[key] for key in _OF_CALL if key in outcome}
        instruments, here = self.telemetry.instruments, self.here
        seconds = time.perf_counter() - self._began
        instruments.call_duration.record(seconds, {**self.attributes, **told}, here)
        instruments.call_attempts.record(self._count, self.attributes, here)


class AttemptSpan:
    """The observer of one attempt; entered while the child sends the request."""

    __slots__ = (
        "_began",
        "_context",
        "_error",
        "_finished",
        "_observer",
        "_outgoing",
        "_seconds",
        "_span",
        "_start",
        "_step",
        "_token",
        "last",
        "outcome",
    )

    def __init__(self, observer: CallSpan, outgoing: httpx.Request, step: Send) -> None:
        self.outcome: dict[str, Any] = {}
        self.last: bool = False
        self._observer = observer
        self._outgoing = outgoing
        self._step = step
        self._context = observer.here
        self._span: Span | None = None
        self._token: Token[Context] | None = None
        self._error: Exception | None = None
        self._seconds: float | None = None
        self._finished = False

    def __enter__(self) -> Self:
        self._start = time.time_ns()
        self._began = time.perf_counter()
        self._begin()
        return self

    @told
    def _begin(self) -> None:
        try:
            if self._observer.telemetry.tracing:
                self._begin_span()
        finally:
            _inject(self._outgoing, self._context)

    def _begin_span(self) -> None:
        observer = self._observer
        method = observer.attributes["http.request.method"]
        span = observer.telemetry.tracer.start_span(
            "HTTP" if method == "_OTHER" else method,
            observer.here,
            SpanKind.CLIENT,
            self._attributes(),
            start_time=self._start,
        )
        parent = trace.get_current_span(observer.here).get_span_context()
        if span.get_span_context().span_id == parent.span_id:
            return  # a tracer that makes no spans: whatever instruments the child keeps its own
        because = self._step.resent_because
        if because is not None:
            span.add_event("rpcguard.retry", {"rpcguard.retry.reason": because}, self._start)
        self._span = span
        self._context = otel.set_value(QUIET, True, trace.set_span_in_context(span, observer.here))
        self._token = otel.attach(self._context)

    def _attributes(self) -> dict[str, Any]:
        request, step = self._observer.request, self._step
        url = request.url
        names = {"server.address": url.host, "server.port": url.port or _PORTS.get(url.scheme, 0)}
        attributes = {**self._observer.attributes, **names, "url.full": redacted(url)}
        if attributes["http.request.method"] == "_OTHER":
            attributes["http.request.method_original"] = request.method
        node = step.lease.live.node
        if node.uds is None:
            attributes["network.peer.address"] = node.host
            attributes["network.peer.port"] = node.port
        else:
            attributes["network.peer.address"] = node.uds
            attributes["network.transport"] = "unix"
        attributes["rpcguard.node.id"] = node.id
        attributes["rpcguard.attempt"] = step.number
        attributes |= attributes_of(step.lease.routed)
        if isinstance(step.timeouts, Timeouts):
            attributes["rpcguard.deadline.left"] = round(step.timeouts.left, 3)
        if step.hedge:
            attributes["rpcguard.hedge"] = True
        if step.number > 1:
            attributes["http.request.resend_count"] = step.number - 1
        return attributes

    def __exit__(self, _: object, error: BaseException | None, __: object) -> Literal[False]:
        if self._token is not None:
            otel.detach(self._token)  # it logs what goes wrong, and raises nothing
        if error is not None:
            self.note_end(error)
        return False

    def received(self, response: httpx.Response) -> httpx.Response:
        """Take in the head of an answer; give it back with a stream that tells of its end."""
        outcome, status = self.outcome, response.status_code
        outcome["http.response.status_code"] = status
        if status >= 400:
            outcome["error.type"] = str(status)
        if version := response.extensions.get("http_version"):
            outcome["network.protocol.version"] = version.decode().removeprefix("HTTP/")
        if response.is_closed or is_whole(response):  # nothing is left to be read
            self.note_end()
            return response
        response.stream = cast("Any", ObservedBody(response.stream, self))
        return response

    def is_of(self, step: Send) -> bool:
        """Tell whether it follows this attempt."""
        return self._step is step

    @property
    def over(self) -> bool:
        """Tell whether the attempt has come to its end."""
        return self._seconds is not None

    def note_end(self, error: BaseException | None = None) -> None:
        """Note that the attempt is over; `error` says by what. Only the first time counts."""
        if self._seconds is not None:
            return
        self._seconds = time.perf_counter() - self._began
        if isinstance(error, Exception):
            self._error = error
            self.outcome["error.type"] = error_name(error)

    def closed(self) -> None:
        """Take in that the body is closed."""
        self.note_end()
        if self.last and not self._finished:
            self._observer.end(self)

    def finish(self) -> None:
        """Record the attempt, once."""
        if self._finished:
            return
        self._finished = True
        self.note_end()
        self._tell_end(self._seconds or 0.0)

    @told
    def _tell_end(self, seconds: float) -> None:
        try:
            self._record(seconds)
        finally:
            if self._span is not None:
                self._end_span(self._span, self._start + int(seconds * 1e9))

    def _record(self, seconds: float) -> None:
        observer = self._observer
        attributes = {**observer.attributes, **self.outcome}
        observer.telemetry.instruments.request_duration.record(seconds, attributes, self._context)

    def _end_span(self, span: Span, end: int) -> None:
        if not span.is_recording():
            return
        span.set_attributes(self.outcome)
        if "error.type" in self.outcome:
            span.set_status(Status(StatusCode.ERROR, described(self._error)))
        settled = self._step.settled
        if settled is not None and settled.change in _EVENTS:
            attributes = {"rpcguard.node.reason": settled.reason or ""}
            span.add_event(_EVENTS[settled.change], attributes, end)
        span.end(end)


AnySpan = CallSpan | NoSpan


def _inject(outgoing: httpx.Request, here: Context) -> None:
    before = outgoing.headers
    outgoing.headers = before.copy()  # the caller's own, where it may be
    try:
        propagate.inject(outgoing.headers, here)
    except Exception:
        outgoing.headers = before  # no half of a context
        raise
