"""What the transports of both kinds and both flavours share: options, services, children."""

from __future__ import annotations

import os
import sys
import threading
import warnings
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal

from rpcguard._checks import is_amount, is_registry, require
from rpcguard._connections.children import PORTS, SCHEMES, Children, ChildT
from rpcguard._core.balancing.least_loaded import LeastLoaded
from rpcguard._core.call.call import Call
from rpcguard._core.call.plan import CallPlan, always, read_options
from rpcguard._core.nodes.view import ConnectionCounts
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.policies.ejection import EjectionPolicy
from rpcguard._core.policies.membership import MembershipPolicy
from rpcguard._core.policies.offline import OfflinePolicy
from rpcguard._core.policies.overload import OverloadPolicy
from rpcguard._core.policies.retry import RetryPolicy
from rpcguard._core.policies.routing import ZonePolicy
from rpcguard._core.policies.slow_start import SlowStart
from rpcguard._core.service.limit import SHORT_PAUSE, Rejection
from rpcguard._core.service.service import Service
from rpcguard._core.service.views import why_no_node
from rpcguard._discovery.background import background
from rpcguard._discovery.following import Subscriptions, view_of
from rpcguard._discovery.probes import probe
from rpcguard._telemetry.log import EventLog
from rpcguard._text import logger
from rpcguard._transport.lanes import Lanes, keep_from_strangers, with_environment
from rpcguard._transport.services import CrowdWarning, idle_services
from rpcguard.errors import InvalidRegistryURL, RegistryError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import ModuleType

    import httpx
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from rpcguard._core.balancing.base import Balancer
    from rpcguard._core.call.steps import Handout
    from rpcguard._core.nodes.live import Lease, LiveNode
    from rpcguard._core.nodes.node import Node, State
    from rpcguard._core.nodes.view import NodeView, RouteView, ServiceView
    from rpcguard._core.policies.routing import Routing
    from rpcguard._core.service.asks import Ask
    from rpcguard._core.service.effects import Event
    from rpcguard._core.service.views import PickRecord
    from rpcguard.errors import Overloaded
    from rpcguard.registries.base import Registry


ENVIRONMENT = "RPCGUARD_REGISTRY"
SWEEP_EVERY = 1.0
"""Seconds between two looks at the idle connections: as late is one closed that has expired."""
MOST_ORIGINS = 256
"""Hosts called directly whose connections are kept track of: their names may come from anywhere."""
ChildKey = tuple["LiveNode | None", str]


LONGEST_LOOK = 1.0
"""Seconds that a call waits for a list after its process was stopped: a registry that does not
answer in that time leaves it the old one."""


class Shell(Generic[ChildT]):
    """Hold what a transport is made of; `rpcguard.Transport` has the options.

    A subclass says which library it serves (`_http`), how calls are driven, and what the children
    are: `_stack` for HTTP/1.1, and those for HTTP/2 by `_flavour`.
    """

    _http: ClassVar[ModuleType]
    _stack: ClassVar[Callable[..., Any]]
    _flavour: ClassVar[Literal["sync", "aio"]]
    _one_shot: ClassVar[Callable[..., Any]]
    _guarded: ClassVar[Callable[..., Any]]
    _no_available_node: ClassVar[type[Exception]]
    _transport_closed: ClassVar[type[Exception]]
    _overloaded: ClassVar[type[Overloaded]]

    def __init__(
        self,
        registry: str | Registry | None = None,
        *,
        balancer: Callable[[], Balancer] = LeastLoaded,
        retry: RetryPolicy | None = None,
        ejection: EjectionPolicy | None = None,
        slow_start: SlowStart | None = None,
        offline: OfflinePolicy | None = None,
        membership: MembershipPolicy | None = None,
        routing: Routing | None = None,
        zone: ZonePolicy | None = None,
        overload: OverloadPolicy | None = None,
        drain_timeout: float = 10.0,
        unknown_service: Literal["error", "direct"] = "error",
        names: Mapping[str, str] | None = None,
        node_transport: Callable[[Node], ChildT] | None = None,
        verify: ssl.SSLContext | str | bool = True,
        cert: Any = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        known = unknown_service in ("error", "direct")
        require("unknown_service", unknown_service, "error or direct", known)
        require("drain_timeout", drain_timeout, "seconds, 0 or more", is_amount(drain_timeout))
        routing, zone = with_environment(routing, zone or ZonePolicy())
        self._policies = Policies(
            retry=retry or RetryPolicy(),
            ejection=ejection or EjectionPolicy(),
            slow_start=slow_start or SlowStart(),
            offline=offline or OfflinePolicy(),
            membership=membership or MembershipPolicy(),
            routing=routing,
            zone=zone,
            overload=overload or OverloadPolicy(),
            balancer=balancer,
            probes=node_transport is None,
            exact=node_transport is None,
        )
        self._drain_timeout = drain_timeout
        self._direct = unknown_service == "direct"
        self._make: Children[ChildT] = Children(
            self._http,
            self._stack,
            flavour=self._flavour,
            node_transport=node_transport,
            verify=verify,
            cert=cert,
            trust_env=trust_env,
            http1=http1,
            http2=http2,
            limits=limits,
            local_address=local_address,
            socket_options=socket_options,
        )
        self._closed = False
        self._cut = False
        self._forking = threading.RLock()
        self._naming = threading.RLock()  # a handler of the log may call through this transport
        self._pid = os.getpid()
        self._services: dict[str, Service] = {}
        self._crowd = CrowdWarning(self._policies.membership.max_services)
        _made.add(self)
        self._met: set[str] = set()  # names of forgotten services that the registry has known
        given = os.environ.get(ENVIRONMENT) if registry is None else registry
        if not given:
            raise InvalidRegistryURL(
                f"no registry: pass a URL such as static://10.0.0.1:8080, or set {ENVIRONMENT}"
            )
        require("registry", given, "a URL or an object with `fetch`", is_registry(given))
        # Here, since it takes a third of the time that importing rpcguard may take.
        from rpcguard._telemetry.telemetry import Telemetry

        self._journal = EventLog()
        self._telemetry = Telemetry(
            self, tracer_provider=tracer_provider, meter_provider=meter_provider
        )
        self._following = Subscriptions(
            given,
            policy=self._policies.membership,
            names=names or {},
            on_refresh=self._telemetry.refreshed,
        )
        self._lanes = None if routing is None else Lanes(routing, given, self._telemetry.routes)
        weakref.finalize(self, self._following.stop).atexit = False
        if self._lanes is not None:
            weakref.finalize(self, self._lanes.rules.stop).atexit = False
        self._start_without_children()

    def __repr__(self) -> str:
        kind, registry = type(self), self._following.registry
        state = "closed" if self._closed else f"services: {len(self._services)}"
        return f"<{kind.__module__}.{kind.__qualname__} of {registry!r}, {state}>"

    def __del__(self) -> None:
        # At exit nothing is lost by what is still open, and a client of a whole program's life
        # is seldom closed. A transport that could not be made, or was not used, has nothing open.
        used = getattr(self, "_services", None) and self._pid == os.getpid()
        if used and not self._closed and not sys.is_finalizing():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    # What the user sees and says

    def nodes(self, service: str) -> list[NodeView]:
        """Show the live list of a service; empty while its first snapshot is awaited."""
        return self._service(service.lower()).nodes(self._connections)

    def services(self) -> list[ServiceView]:
        """Show the services that were called so far, and how their registry does."""
        return [view_of(service, self._following) for service in list(self._services.values())]

    def explain(self, service: str) -> list[PickRecord]:
        """Show the last 64 picks of a service: what was compared and who was left out and why."""
        return self._service(service.lower()).explain()

    def routes(self, service: str) -> list[RouteView]:
        """Show the routes of a service, in order: what each asks for and what it really gets."""
        return self._service(service.lower()).routes()

    def mark_offline(self, service: str, node: str, *, ttl: float | None = None) -> None:
        """Take a node, given by id or `host:port`, out of use for `ttl` seconds.

        The default is `ttl` of the `OfflinePolicy`; its bounds do not count here. Raises
        `ValueError` for a node that is not listed.
        """
        self._service(service.lower()).mark_offline(node, ttl)

    def mark_online(self, service: str, node: str) -> None:
        """Take back a mark or an ejection; the node goes through slow start."""
        self._service(service.lower()).mark_online(node)

    # Services

    def _service(self, name: str) -> Service:
        if self._pid != os.getpid():
            self._start_over_after_fork()
        service = self._services.get(name)
        return self._new_service(name) if service is None or service.forgotten else service

    def _new_service(self, name: str) -> Service:
        name = name.removesuffix(".") or name  # "orders.": the root of DNS, and the same host
        with self._naming:
            service = self._services.get(name)
            if service is None or service.forgotten:
                service = self._make_service(name)
        return service

    def _make_service(self, name: str) -> Service:
        self._make_room()
        made = Service(name, policies=self._policies, effects=self)
        made.met = name in self._met
        made.same_again = self._following.by_port
        # Followed first: an interrupt would leave a service that is waited for in vain.
        self._follow(made)
        service = self._services.get(name)
        if service is None or service.forgotten:
            self._services[name] = made
            return made
        self._follow(service)  # a handler of the log has called it in the middle of this
        return service

    def _follow(self, service: Service) -> None:
        if self._closed:
            service.close()
            return
        if self._lanes is not None:
            self._lanes.rules.follow(service)
        self._following.follow(service)

    def _make_room(self) -> None:
        for idle in idle_services(self._services.values(), self._policies.membership.max_services):
            if idle.forget():
                self._services.pop(idle.name, None)
                if idle.met:
                    self._met.add(idle.name)
                self._following.forget(idle.name)
                self._crowd.forgotten(idle)
                if self._lanes is not None:
                    self._lanes.rules.forget(idle.name)

    def _connections(self, live: LiveNode) -> ConnectionCounts | None:
        keys = (live, "http"), (live, "https")
        children = [family.get(key) for family in self._families() for key in keys]
        found = [getattr(child, "counts", None) for child in children]
        counts = [one for one in found if isinstance(one, ConnectionCounts)]  # not a user's own
        return sum(counts, ConnectionCounts(0, 0, 0)) if counts else None

    def _families(self) -> list[dict[ChildKey, Any]]:
        raise NotImplementedError

    def _start_without_children(self) -> None:
        raise NotImplementedError

    def _part_with_children(self) -> object:
        raise NotImplementedError

    def renew_locks(self) -> None:
        """Drop the locks that a thread of the parent may have held at a fork."""
        self._forking, self._naming = threading.RLock(), threading.RLock()

    def _start_over_after_fork(self) -> None:
        # The parent's threads are gone, its locks may be held for ever and its sockets are still
        # the parent's: keep them untouched, take the lists over and begin anew.
        with self._forking:
            if self._pid == os.getpid():
                return
            self._inherited = self._services, self._part_with_children()
            self._services = {name: service.heir() for name, service in self._services.items()}
            self._following.renew()
            if self._lanes is not None:
                self._lanes.rules.renew()
            for service in self._services.values():
                self._follow(service)
            self._pid = os.getpid()

    def _disprove(self, service: Service, error: BaseException) -> None:
        """Ask for the list anew after a call that could not connect, by any of its tries."""
        failures = self._http.ConnectError, self._http.ConnectTimeout
        if isinstance(error, failures) and service.known and not self._closed:
            self._following.ask_again(service.name)

    def _is_stale(self, service: Service) -> bool:
        """Tell whether the list of a service is asked for just now, after a stop of this process.

        The first call after that would go to nodes that may have left long ago.
        """
        if not self._following.is_overdue(service.name):
            return False
        self._following.ask_again(service.name)
        return not service.closed

    def _refuse(self, service: Service) -> Exception:
        return self._transport_closed(
            f"the transport is closed; the call to service {service.name!r} was not sent"
        )

    def _no_node(self, service: Service, ask: Ask | None) -> Exception:
        if service.full:
            words = "each node that can be used has as many calls as one may have"
            return self._overload(service, Rejection("max_per_node", words, SHORT_PAUSE))
        why = why_no_node(service, repr(self._following.registry), self._no_list(service))
        wanted = "" if ask is None else ask.wanted
        if ask is not None and ask.aim is not None and ask.aim.entry is not None:
            self._telemetry.routes.failed(service.name, ask.aim.entry.route.name)
        return self._no_available_node(
            f"service {service.name!r} has no available node{wanted}: {why}"
        )

    def _no_list(self, service: Service) -> str:
        trouble = self._following.trouble(service.name)
        said = f" ({trouble})" if trouble else ""
        return f"no list from {self._following.registry!r}{said}"

    def _ruled(self, service: Service) -> bool:
        """Tell whether the rules that a service must have are there."""
        return self._lanes is None or self._lanes.ruled(service.name)

    def _not_ready(self, service: Service, timeout: float) -> Exception:
        name = repr(service.name)
        if self._closed:
            return self._transport_closed(f"the transport is closed; no list of service {name}")
        missing = "no rules" if service.ready else self._no_list(service)
        return RegistryError(f"service {name}: {missing} after {timeout} s")

    # What services ask for

    def retire(self, live: LiveNode) -> None:
        """Close what is kept for a node that has left and is idle."""
        raise NotImplementedError

    def emit(self, event: Event) -> None:
        """Log and count an event of a service."""
        # What follows comes before what is only told, and handlers of the log may raise anything.
        try:
            if event.kind == "ejected" and event.node is not None:
                self._following.check(event.service, event.node)
        finally:
            try:
                self._telemetry.count(event)
            finally:
                self._journal.record(event)

    def census(self) -> Iterator[tuple[str, Mapping[State, int], float | None]]:
        """Give each service with its nodes by state and the age of its list, for the gauges."""
        if self._closed or self._pid != os.getpid():
            return  # after a fork the locks may be held for ever
        for name, service in list(self._services.items()):
            if service.known:
                yield name, service.states(), self._following.age(name)

    def probe(self, service: Service, live: LiveNode) -> None:
        """Probe a node in the background."""
        background().spawn(probe, weakref.ref(service), live)

    # Calls

    def _misplaced(self, client: str, transport: str) -> TypeError:
        ours = "rpcguard.httpx2" if self._http.__name__ == "httpx2" else "rpcguard"
        return TypeError(
            f"{ours}.{type(self).__name__} is not for {client}, which needs {transport};"
            " nothing was sent"
        )

    def _check_library(self, request: Any) -> None:
        if isinstance(request, self._http.Request):
            return
        other = type(request).__module__.partition(".")[0]
        ours = "rpcguard.httpx2" if other == "httpx2" else "rpcguard"
        name = type(self).__name__
        client = name.replace("Transport", "Client")
        raise self._misplaced(f"a client of {other}", f"{ours}.{name} in {other}.{client}")

    def _prepare(self, request: httpx.Request) -> tuple[Service, Call, Any]:
        self._check_library(request)
        url, extensions = request.url, request.extensions
        host = url.host
        if url.scheme not in SCHEMES or not host:
            raise self._http.UnsupportedProtocol(
                f"{str(url)!r} is not http://service/path, nor https"
            )
        if self._following.by_port:
            host = f"{host.removesuffix('.')}:{url.port or PORTS[SCHEMES[url.scheme]]}"
        service, retry, ask = self._service(host), self._policies.retry, None
        options = extensions.get("rpcguard")
        if self._lanes is not None:
            service, ask = self._lanes.choose(service, request, options, self._service)
        if url.scheme == "https":
            service.secure()
        body, replayable = self._body_of(request)
        plan = CallPlan(
            method=request.method,
            keyed=request.method not in retry.methods and "idempotency-key" in request.headers,
            attempts=retry.attempts,
            timeouts=extensions.get("timeout", {}),
            replayable=replayable,
            ask=ask,
        )
        if options is not None:
            plan = replace(plan, **read_options(options, service.clock(), retry))
        call = Call(service, plan, no_node=self._no_node, on_denied=self._denied)
        if not call.begin():
            if service.forgotten:
                return self._prepare(request)
            raise self._refuse(service)
        if service.limiter is not None:
            self._admit(service, call)
        return service, call, body

    def _admit(self, service: Service, call: Call) -> None:
        rejection = service.admit()
        if rejection is not None:
            call.end()
            raise self._overload(service, rejection)

    def _overload(self, service: Service, rejection: Rejection) -> Exception:
        limit, words, retry_after = rejection
        self._telemetry.rejected(service.name, limit)
        error = self._overloaded(
            f"service {service.name!r}: the call was not sent, since {words} ({limit});"
            f" try again after {retry_after:g} s, or raise the limit in OverloadPolicy"
        )
        error.service, error.limit, error.retry_after = service.name, limit, retry_after
        return error

    def _mark(self, outgoing: Any, url: httpx.URL, lease: Lease) -> None:
        if self._lanes is not None and lease.routed is not None:
            self._lanes.send(outgoing, url.host, lease.routed)
        zone = self._policies.zone.zone
        if zone is not None:
            self._telemetry.routes.zoned(url.host, own=lease.live.node.zone == zone)

    def _keep_from_strangers(self, outgoing: Any) -> None:
        keep_from_strangers(outgoing, self._policies.routing)

    def _body_of(self, request: httpx.Request) -> tuple[Any, Callable[[], bool]]:
        if isinstance(request.stream, self._http.ByteStream):
            return request.stream, always
        body = self._one_shot(request.stream)
        return body, lambda: not body.touched

    def _hand_out(self, call: Call, answer: Handout, service: Service) -> httpx.Response:
        response: Any = answer.reply
        response.extensions["rpcguard"] = call.info
        if response.is_closed and not answer.complete:
            # A child that answers by itself, a mock say, has nothing left that anybody closes.
            service.release(answer.lease)
        if response.is_closed or answer.complete:
            call.end()
        else:
            response.stream = self._guarded(response.stream, service, call, answer.lease)
        handed: httpx.Response = response
        return handed

    def _denied(self, service: Service, reason: str) -> None:
        logger.debug("service %s: no retry: %s", service.name, reason)
        self._telemetry.denied(service.name, reason)

    def _direct_child(self, children: dict[ChildKey, ChildT], url: httpx.URL) -> ChildT:
        scheme, host = SCHEMES[url.scheme], url.raw_host.decode("ascii")
        port = url.port or PORTS[scheme]
        key = None, f"{scheme}://{host}:{port}"
        child = children.get(key)
        if child is None:
            _drop_unused(children)
            child = children.setdefault(key, self._make.direct(scheme, host, port))
        return child

    def _child_of(
        self, children: dict[ChildKey, ChildT], live: LiveNode, scheme: str, url: httpx.URL
    ) -> ChildT:
        child = children.get((live, scheme))
        if child is None:
            made = self._make.child(live.node, scheme, url.host)
            child = children.setdefault((live, scheme), made)
        if self._cut:
            raise self._transport_closed("the transport was closed before the call was answered")
        return child


_made: weakref.WeakSet[Shell[Any]] = weakref.WeakSet()


def _renew_locks() -> None:
    for shell in list(_made):
        shell.renew_locks()


os.register_at_fork(after_in_child=_renew_locks)


def _drop_unused(children: dict[ChildKey, Any]) -> None:
    """Part with direct hosts to which nothing is open, once there are many."""
    origins = [key for key in list(children) if key[0] is None]
    if len(origins) < MOST_ORIGINS:
        return
    for key in origins:
        child = children.get(key)
        if child is not None and child.counts == ConnectionCounts(0, 0, 0):
            children.pop(key, None)
