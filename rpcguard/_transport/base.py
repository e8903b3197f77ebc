"""What a transport is made of, and what its user sees of it and says to it."""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Generic, Literal

from rpcguard._config.constructor import Configured, configured
from rpcguard._config.follow import IncidentSwitches
from rpcguard._connections.children import ChildOptions, Children, ChildT
from rpcguard._core.balancing.least_loaded import LeastLoaded
from rpcguard._core.policies.overrides import PoliciesByService
from rpcguard._discovery.background import background
from rpcguard._discovery.following import Subscriptions
from rpcguard._discovery.http_probe import HttpProbe
from rpcguard._discovery.probes import probe
from rpcguard._telemetry.events import Events
from rpcguard._transport.forks import Forkable
from rpcguard._transport.given import given_registry, overprovision_of, refuse_hedges
from rpcguard._transport.inspection import Inspection
from rpcguard._transport.kept import KeptChildren
from rpcguard._transport.lanes import Lanes, with_environment
from rpcguard._transport.opening import Opening
from rpcguard._transport.services import ServiceTable
from rpcguard._transport.strangers import OpeningToStrangers, Strangers, policies_of_strangers

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import httpx
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from rpcguard._connections.children import Flavour
    from rpcguard._connections.library import Library
    from rpcguard._core.balancing.base import Balancer
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.nodes.view import Census
    from rpcguard._core.policies.affinity import Affinity
    from rpcguard._core.policies.deadline import DeadlinePolicy
    from rpcguard._core.policies.ejection import EjectionPolicy
    from rpcguard._core.policies.hedging import Hedge
    from rpcguard._core.policies.membership import MembershipPolicy
    from rpcguard._core.policies.offline import OfflinePolicy
    from rpcguard._core.policies.overload import OverloadPolicy
    from rpcguard._core.policies.overrides import Overrides
    from rpcguard._core.policies.retry import RetryPolicy
    from rpcguard._core.policies.routing import Routing
    from rpcguard._core.policies.slow_start import SlowStart
    from rpcguard._core.policies.subset import Subset
    from rpcguard._core.policies.zone import ZonePolicy
    from rpcguard._core.service.effects import Event
    from rpcguard._core.service.service import Service
    from rpcguard.registries.base import Registry


class TransportBase(Configured, Inspection, Forkable, Generic[ChildT]):
    """What the transports of both kinds and both libraries have in common.

    It holds the parts together: `ServiceTable`, `Opening`, `KeptChildren`; a driver below it
    carries calls out. It is also the effects of its services: they keep it alive, so that a
    response that is still read keeps the connections that it is read from.
    """

    @configured
    def __init__(
        self,
        registry: str | Registry | None = None,
        *,
        balancer: Callable[[], Balancer] = LeastLoaded,
        retry: RetryPolicy | Literal[False] | None = None,
        ejection: EjectionPolicy | Literal[False] | None = None,
        slow_start: SlowStart | Literal[False] | None = None,
        offline: OfflinePolicy | Literal[False] | None = None,
        membership: MembershipPolicy | Literal[False] | None = None,
        routing: Routing | Literal[False] | None = None,
        zone: ZonePolicy | Literal[False] | None = None,
        deadline: DeadlinePolicy | Literal[False] | None = None,
        overload: OverloadPolicy | Literal[False] | None = None,
        affinity: Affinity | Literal[False] | None = None,
        hedge: Hedge | Literal[False] | None = None,
        subset: Subset | Literal[False] | None = None,
        services: Mapping[str, Overrides] | None = None,
        config: str | os.PathLike[str] | Literal[False] | None = None,
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
        on_event: Callable[[Event], object] | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        """Make a transport; nothing is connected to before the first call.

        `False` switches a policy off, None leaves it at its default.

        Args:
            registry: Registry URL or object; None reads `RPCGUARD_REGISTRY`.
            balancer: Makes one balancer per service and priority; the default, the less loaded of
                two, fits calls of like length.
            retry: What is sent again, and how often; by default twice at most, where it is safe.
            ejection: When a failing node is left out, and how it comes back; 5 s at first.
            slow_start: The ramp of new and restored nodes; 120 s or 200 good calls.
            offline: How a node's own word that it leaves is taken; for 30 s.
            membership: How the registry is asked, and how far it is believed: every 5 s, and a
                list that loses half of its nodes at once is doubted for a minute.
            routing: Which nodes a call may go to: lanes, routes, shares; None looks at no lane.
            zone: How far calls stay in their own zone; by default `RPCGUARD_ZONE`, if that is set.
            deadline: What the next hop is told of the time that is left; None tells nothing.
            overload: How much is asked of a service at most; by default without limit.
            affinity: Which calls belong together and go to one node; None looks at no key.
            hedge: When a late call is sent to a second node as well; not for threads. None: never.
            subset: How many of many nodes this caller uses; None uses all of them.
            services: What single services have otherwise, by name; by default all have the same.
            config: Path of a TOML or JSON file of options, which is followed for incident switches;
                None reads `RPCGUARD_CONFIG`, False takes none.
            drain_timeout: Seconds that `close` gives to what is in flight; 10, as common servers.
            unknown_service: "error", or "direct": a host that the registry does not know is a
                service of its own addresses. An error by default: a typo is not to go to strangers.
            names: What services are called in the registry where no URL can spell it, such as
                `{"orders": "SHOP@@Orders"}`; by default what the URL says.
            node_transport: Makes the child transport of a node; without it rpcguard makes its own,
                to which the options below apply.
            verify: How certificates of nodes are checked: True by the roots that httpx
                trusts, a path or an `ssl.SSLContext` by its own, False not at all.
            cert: The client's certificate: a file, or a tuple of certificate, key and password;
                None shows none, since most nodes ask for none.
            trust_env: Whether `SSL_CERT_FILE` and `SSL_CERT_DIR` count; True as in httpx, so that a
                machine's roots serve all of its programs.
            http1: Whether HTTP/1.1 is spoken; True, for every node speaks it.
            http2: Whether HTTP/2 is spoken; False as in httpx, for it needs the extra `http2`.
            limits: `httpx.Limits` per node; 100 connections, kept for 4 s, below the 5 s of
                common servers.
            local_address: The address of this machine to connect from; by default the system
                chooses.
            socket_options: What `setsockopt` is called with for each connection; by default
                nothing beyond what rpcguard sets itself.
            on_event: Called with each `Event`, in the thread where it happened; by default events
                are only logged and counted.
            tracer_provider: Where spans go; by default OpenTelemetry's global one, which a program
                sets once for all of its libraries.
            meter_provider: Where metrics go; by default OpenTelemetry's global one, as for spans.
        """
        routing, zone = with_environment(routing, zone)
        given: dict[str, Any] = {
            "retry": retry,
            "ejection": ejection,
            "slow_start": slow_start,
            "offline": offline,
            "membership": membership,
            "routing": routing,
            "zone": zone,
            "deadline": deadline,
            "overload": overload,
            "affinity": affinity,
            "hedge": hedge,
            "subset": subset,
            "balancer": balancer,
            **dict.fromkeys(("probes", "exact"), node_transport is None),
            "overprovision": overprovision_of(given_registry(registry)),
        }
        self._by_service = PoliciesByService(given, services)
        self._policies = self._by_service.common
        if self._flavour == "sync":
            refuse_hedges(self._by_service)
        self._drain_timeout = drain_timeout
        options = ChildOptions(
            verify=verify,
            cert=cert,
            trust_env=trust_env,
            http1=http1,
            http2=http2,
            limits=limits,
            local_address=local_address,
            socket_options=socket_options,
        )
        library, self._http = self._library, self._library.http
        self._make: Children[ChildT] = Children(
            library, self._flavour, options, node_transport=node_transport
        )
        self._http_probe = HttpProbe(library, options)
        self._kept: KeptChildren[ChildT] = KeptChildren(library)
        # Here, since it takes a third of the time that importing rpcguard may take.
        from rpcguard._telemetry.telemetry import Telemetry

        self._telemetry = Telemetry(
            self,
            names=self._policies.membership.metric_names,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
        )
        self._events = Events(self._telemetry, on_event)
        self._start(given_registry(registry), names or {})
        if unknown_service == "direct" and not self._following.by_port:
            self._go_beyond(policies_of_strangers(given, services), options)

    def _start(
        self,
        registry: str | Registry,
        names: Mapping[str, str],
    ) -> None:
        self._begin_here()
        policies = self._policies
        self._following = Subscriptions(
            registry,
            policy=policies.membership,
            names=names,
            on_refresh=self._telemetry.refreshed,
        )
        weakref.finalize(self, self._following.stop).atexit = False
        self._lanes = self._rules = None
        if policies.routing is not None:
            self._lanes = Lanes(policies.routing, self._following, self._telemetry.routes)
            self._rules = self._lanes.rules
        self._switches = IncidentSwitches(self._settings, self._events.tell)
        self._followers = [one for one in (self._rules, self._switches) if one is not None]
        for one in self._followers:
            weakref.finalize(self, one.stop).atexit = False
        self._services = ServiceTable(
            self._by_service, self, self._following, self._rules, self._followers
        )
        self._tables = [self._services]
        self._opening = self._opening_of(Opening, self._make, self._lanes)
        self._start_without_children()

    def _go_beyond(self, policies: PoliciesByService, options: ChildOptions) -> None:
        make = self._make
        if make.addressed:  # a user's own children are for nodes of the registry
            make = Children(self._library, self._flavour, options)
        strangers = Strangers(policies, self, [self._switches], self._telemetry.refreshed)
        weakref.finalize(self, strangers.following.stop).atexit = False
        self._tables.append(strangers)
        self._opening.beyond = self._opening_of(OpeningToStrangers, make, None)

    def _opening_of(
        self, kind: type[Opening], make: Children[ChildT], lanes: Lanes | None
    ) -> Opening:
        table = len(self._tables) - 1
        one_shot, guarded = self._bodies
        return kind(
            self._library,
            type(self),
            self._policies,
            table,
            self._tables[table].following,
            self._telemetry,
            self._events,
            lanes,
            make=make,
            one_shot=one_shot,
            guarded=guarded,
        )

    @property
    def _library(self) -> Library:
        raise NotImplementedError

    @property
    def _flavour(self) -> Flavour:
        raise NotImplementedError

    @property
    def _bodies(self) -> tuple[type[Any], type[Any]]:
        raise NotImplementedError

    def __repr__(self) -> str:
        kind, registry = type(self), self._following.shown
        state = "closed" if self._closed else f"services: {sum(map(len, self._tables))}"
        return f"<{kind.__module__}.{kind.__qualname__} of {registry}, {state}>"

    def __del__(self) -> None:
        # At exit nothing is lost by what is still open, and a client of a whole program's life
        # is seldom closed. A transport that could not be made, or was not used, has nothing open.
        used = getattr(self, "_services", None) and self._pid == os.getpid()
        if used and not self._closed and not sys.is_finalizing():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    @property
    def _closed(self) -> bool:
        return self._services.closed

    def _service(self, name: str, table: int = 0) -> Service:
        if self._pid != os.getpid():
            self._start_over_after_fork()
        return self._tables[table](name)

    def _enough(self, service: Service, nodes: int) -> bool:
        if not service.ready or not self._opening.ruled(service):
            return False
        return self._opening.leaves(service) or service.eligible >= nodes

    # Children, which the driver keeps

    def _start_without_children(self) -> None:
        raise NotImplementedError

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
            self._events.tell(event)

    def probe(self, service: Service, live: LiveNode) -> None:
        """Probe a node in the background."""
        background().spawn(probe, weakref.ref(service), live, self._http_probe)

    def census(self) -> Iterator[Census]:
        """Give what the gauges tell of each service."""
        if self._closed or self._pid != os.getpid():
            return  # after a fork the locks may be held for ever
        for table in self._tables:
            yield from table.census()
