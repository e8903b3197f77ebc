"""From a request to a call, and from a call to a response."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rpcguard._connections.children import PORTS, SCHEMES
from rpcguard._context.hops import hop_at_hand
from rpcguard._core.call.call import Call
from rpcguard._core.call.plan import CallPlan, read_options
from rpcguard._core.service.effects import Event
from rpcguard._core.service.limit import SHORT_PAUSE, Rejection
from rpcguard._core.service.no_node import why_no_node
from rpcguard._text import ENCODED, host_and_port
from rpcguard._transport.deadlines import forget_retries, limit, send
from rpcguard._transport.misplaced import wrong_library
from rpcguard._transport.pins import pin
from rpcguard.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    import httpx

    from rpcguard._connections.children import Children
    from rpcguard._connections.library import Library
    from rpcguard._core.call.steps import Handout, Send
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.service.asks import Ask
    from rpcguard._core.service.service import Service
    from rpcguard._discovery.following import Subscriptions
    from rpcguard._telemetry.events import Events
    from rpcguard._telemetry.telemetry import Telemetry
    from rpcguard._transport.lanes import Lanes


LONGEST_LOOK = 1.0
"""Seconds that a call waits for a list after its process was stopped: a registry that does not
answer in that time leaves it the old one."""


class Opening:
    """What opens the calls of one transport and hands out their responses; thread-safe.

    `kind` is the class of the transport, `table` the number of that of its services. `one_shot` and
    `guarded` are the bodies of the driver's kind, derived from those of the caller's library.
    """

    def __init__(
        self,
        library: Library,
        kind: type,
        policies: Policies,
        table: int,
        following: Subscriptions,
        telemetry: Telemetry,
        events: Events,
        lanes: Lanes | None,
        *,
        make: Children[Any],
        one_shot: Callable[..., Any],
        guarded: Callable[..., Any],
    ) -> None:
        self.make: Children[Any] = make
        self.beyond: Opening | None = None
        self._library, self._http = library, library.http
        self._kind = kind
        self._policies = policies
        self._table = table
        self._following = following
        self._objection = following.objection
        self._telemetry = telemetry
        self._events = events
        self._lanes = lanes
        self._one_shot = one_shot
        self._guarded = guarded

    def open(
        self, request: httpx.Request, left: float, find: Callable[..., Service]
    ) -> tuple[Service, Call, Any]:
        """Find the service of a request and begin a call of it; give its body too.

        `left` is how many seconds it has, where it was begun before. `find` gives a service of the
        transport by its name and table, of the first table by its name alone. Raises what the user
        gets where nothing is to be sent: a URL without a service, a limit that is met, a transport
        that is closed.
        """
        if not isinstance(request, self._http.Request):
            raise wrong_library(self._kind, request)
        url, scheme, ask = request.url, request.url.scheme, None
        service = self._found(self._name_in(url, scheme), find)
        options = request.extensions.get("rpcguard")
        if self._lanes is not None:
            service, ask = self._lanes.choose(service, request, options, find)
        if scheme == "https":
            service.secure()
        body = self._body_of(request)
        plan = self._plan(request, options, service, ask, body, left)
        call = Call(
            service,
            plan,
            no_node=self._no_node,
            on_denied=self._denied,
            on_retry=self._retried,
            on_hedge=self._hedged,
        )
        if not call.begin():
            if service.forgotten:
                return self.open(request, left, find)
            raise self.refuse(service)
        if service.limiter is not None:
            self._admit(service, call)
        return service, call, body

    def _name_in(self, url: httpx.URL, scheme: str) -> str:
        host = url.host
        if scheme not in SCHEMES or not host:
            raise self._http.UnsupportedProtocol(
                f"{str(url)!r} is not http://service/path, nor https"
            )
        if self._objection is not None and ("." in host or ":" in host):
            self._refuse_plain(SCHEMES[scheme], self._objection(host))
        if self._following.by_port:
            return host_and_port(host.removesuffix("."), url.port or PORTS[SCHEMES[scheme]])
        return host

    def called(self, service: str) -> str:
        """Give the name that calls have for a service, which a user may spell otherwise."""
        host, colon, port = service.lower().partition(":")
        if not host.isascii() or ENCODED in host:
            # What is no host is never called; of a host that httpx cannot read, it raises another.
            with contextlib.suppress(self._http.InvalidURL, UnicodeError):
                host = self._http.URL(scheme="http", host=host).host
        return host + colon + port

    def _found(self, name: str, find: Callable[..., Service]) -> Service:
        try:
            return find(name, self._table)
        except RegistryError as error:  # of the first call, whose list nothing can follow
            raise self._library.no_available_node(f"the call was not sent: {error}") from error

    def _refuse_plain(self, scheme: str, objection: str | None) -> None:
        if objection is not None and scheme == "http":
            raise self._library.no_available_node(f"the call was not sent: {objection}")

    def _plan(
        self,
        request: httpx.Request,
        options: object,
        service: Service,
        ask: Ask | None,
        body: Any,
        left: float,
    ) -> CallPlan:
        policies = service.policies
        retry = policies.retry
        plan = CallPlan(
            method=request.method,
            keyed=request.method not in retry.methods and "idempotency-key" in request.headers,
            attempts=retry.attempts,
            timeouts=request.extensions.get("timeout", {}),
            in_memory=body is request.stream,
            ask=ask,
        )
        if not plan.in_memory:
            plan.replayable, plan.has_raised = (lambda: not body.touched), body.has_raised
        if options is not None:
            plan = replace(plan, **read_options(options, service.clock(), retry))
        if left < math.inf:
            plan.until = service.clock() + left
        if not service.switches.retry:
            plan.attempts = 1
        if plan.hedge and policies.hedge is None:
            raise ValueError("rpcguard option hedge wants an AsyncTransport(..., hedge=Hedge())")
        if not service.switches.hedge:
            plan.hedge = False
        if policies.affinity is not None:
            plan.ask = pin(policies.affinity, request, options, plan.ask)
        if policies.deadline is not None and not limit(policies.deadline, plan, service.clock()):
            words = f"the call to service {service.name!r} was not sent: its time was up before"
            raise self._library.deadline_exceeded(words)
        plan.hop = hop_at_hand()
        return plan

    def _body_of(self, request: httpx.Request) -> Any:
        if isinstance(request.stream, self._http.ByteStream):
            return request.stream
        return self._one_shot(request.stream, self._http.StreamConsumed)

    def mark(self, outgoing: Any, url: httpx.URL, step: Send) -> None:
        """Tell a node of the call's lane and deadline; count whether it is near, and its key's."""
        lease, policies = step.lease, step.policies or self._policies
        forget_retries(outgoing)
        if policies.deadline is not None:
            send(policies.deadline, outgoing, step)
        if self._lanes is not None and lease.routed is not None:
            self._lanes.send(outgoing, url.host, lease.routed)
        zone = policies.zone.zone
        if zone is not None:
            self._telemetry.routes.zoned(url.host, own=lease.live.node.zone == zone)
        if policies.affinity is not None:
            self._telemetry.routes.pinned(url.host, lease.keyed or "none")

    def hand_out(self, call: Call, answer: Handout, service: Service) -> httpx.Response:
        """Make the response that the user gets; its stream gives the node back."""
        response: Any = answer.reply
        response.extensions["rpcguard"] = call.info
        if answer.complete or response.is_closed:
            # A child that answers by itself, a mock say, has nothing left that anybody closes.
            if call.counted:
                call.finish(answer.lease)
        else:
            response.stream = self._guarded(response.stream, service, call, answer.lease)
        handed: httpx.Response = response
        return handed

    def leaves(self, service: Service) -> bool:
        """Tell whether calls go beyond the registry, which does not know the service."""
        unknown = not service.met and (service.ready or service.unmet)
        return unknown and self.beyond is not None

    # What the user is told where there is no response

    def refuse(self, service: Service) -> Exception:
        """Give the error of a call that came after the transport was closed."""
        return self._library.transport_closed(
            f"the transport is closed; the call to service {service.name!r} was not sent"
        )

    def names_like(self, service: Service) -> Future[list[str]] | None:
        """Ask for names like that of a service; None where it is known, or its list is awaited."""
        if service.closed or service.known or not service.ready:
            return None
        return self._following.names_like(service.name)

    def not_ready(
        self, service: Service, timeout: float, nodes: int, near: Future[list[str]] | None
    ) -> Exception:
        """Give the error of a wait for a list, for rules or for nodes that did not come."""
        name = repr(service.name)
        if service.closed:
            words = f"the transport is closed; no list of service {name}"
            return self._library.transport_closed(words)
        if service.ready and self.ruled(service):
            return self._too_few(service, timeout, nodes, near)
        missing = "no rules" if service.ready else self._no_list(service)
        return RegistryError(f"service {name}: {missing} after {timeout} s")

    def _too_few(
        self, service: Service, timeout: float, nodes: int, near: Future[list[str]] | None
    ) -> Exception:
        why = why_no_node(service, self._following.shown, self._no_list(service))
        names = near.result() if near is not None and near.done() and not near.cancelled() else []
        like = f" It knows {', '.join(names)}." if names else ""
        has = "no available node" if nodes == 1 else f"{service.eligible} of {nodes} nodes"
        return self._library.no_available_node(
            f"service {service.name!r} has {has} after {timeout} s: {why}{like}"
        )

    def ruled(self, service: Service) -> bool:
        """Tell whether the rules that a service must have are there."""
        return self._lanes is None or self._lanes.ruled(service.name)

    def is_stale(self, service: Service) -> bool:
        """Tell whether the list of a service is asked for just now, after a stop of this process.

        The first call after that would go to nodes that may have left long ago.
        """
        return self._following.catch_up(service.name) and not service.closed

    def disprove(self, service: Service, error: BaseException) -> None:
        """Ask for the list anew after a call that could not connect, by any of its tries."""
        failures = self._http.ConnectError, self._http.ConnectTimeout
        if isinstance(error, failures) and service.known and not service.closed:
            self._following.ask_again(service.name)

    def _no_node(self, service: Service, ask: Ask | None) -> Exception:
        if service.full:
            words = "each node that can be used has as many calls as one may have"
            return self._overload(service, Rejection("max_per_node", words, SHORT_PAUSE))
        why = why_no_node(service, self._following.shown, self._no_list(service))
        wanted = "" if ask is None else ask.wanted
        if ask is not None and ask.aim is not None and ask.aim.entry is not None:
            self._telemetry.routes.failed(service.name, ask.aim.entry.route.name)
        return self._library.no_available_node(
            f"service {service.name!r} has no available node{wanted}: {why}"
        )

    def _no_list(self, service: Service) -> str:
        trouble = self._following.trouble(service.name)
        said = f" ({trouble})" if trouble else ""
        return f"no list from {self._following.shown}{said}"

    def _denied(self, service: Service, reason: str) -> None:
        self._telemetry.denied(service.name, reason)
        self._events.tell_of_call(Event("denied", service.name, None, reason, code=reason))

    def _retried(self, service: Service, failed: LiveNode, following: LiveNode, why: str) -> None:
        reason = f"{why}, now on {following.node.id}"
        self._events.tell_of_call(Event("retry", service.name, failed.node.id, reason, code=why))

    def _hedged(self, service: Service, result: str, reason: str) -> None:
        self._telemetry.hedged(service.name, result, reason)

    def _admit(self, service: Service, call: Call) -> None:
        rejection = service.admit()
        if rejection is not None:
            call.end()
            raise self._overload(service, rejection)

    def _overload(self, service: Service, rejection: Rejection) -> Exception:
        limit, words, retry_after = rejection
        self._telemetry.rejected(service.name, limit)
        error = self._library.overloaded(
            f"service {service.name!r}: the call was not sent, since {words} ({limit});"
            f" try again after {retry_after:g} s, or raise the limit in OverloadPolicy"
        )
        error.service, error.limit, error.retry_after = service.name, limit, retry_after
        return error
