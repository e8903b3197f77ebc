"""Public names say that they are of the module that users import them from."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeVar, get_type_hints

PublicT = TypeVar("PublicT")

# The errors are not among them: what counts errors goes by the module that they name.
ON_FIRST_USE: Final = {
    "Adaptive": "rpcguard._core.policies.overload",
    "Affinity": "rpcguard._core.policies.affinity",
    "AsyncTransport": "rpcguard._httpx",
    "Attempt": "rpcguard._core.call.info",
    "Balancer": "rpcguard._core.balancing.base",
    "CallInfo": "rpcguard._core.call.info",
    "CheckingRegistry": "rpcguard.registries.base",
    "ConnectionCounts": "rpcguard._core.nodes.view",
    "DeadlinePolicy": "rpcguard._core.policies.deadline",
    "EjectionPolicy": "rpcguard._core.policies.ejection",
    "Event": "rpcguard._core.service.effects",
    "Guard": "rpcguard._core.policies.routing",
    "Hedge": "rpcguard._core.policies.hedging",
    "LeastLoaded": "rpcguard._core.balancing.least_loaded",
    "LeastRequests": "rpcguard._core.balancing.least_requests",
    "ListingRegistry": "rpcguard.registries.base",
    "LiveNode": "rpcguard._core.nodes.live",
    "MembershipPolicy": "rpcguard._core.policies.membership",
    "Node": "rpcguard._core.nodes.node",
    "NodeView": "rpcguard._core.nodes.view",
    "OfflinePolicy": "rpcguard._core.policies.offline",
    "OverloadPolicy": "rpcguard._core.policies.overload",
    "Overrides": "rpcguard._core.policies.overrides",
    "PickRecord": "rpcguard._core.service.records",
    "Random": "rpcguard._core.balancing.random",
    "Registry": "rpcguard.registries.base",
    "RetryPolicy": "rpcguard._core.policies.retry",
    "RoundRobin": "rpcguard._core.balancing.round_robin",
    "Route": "rpcguard._core.policies.routing",
    "RouteView": "rpcguard._core.nodes.view",
    "Routing": "rpcguard._core.policies.routing",
    "RuledRegistry": "rpcguard.registries.base",
    "ServiceView": "rpcguard._core.nodes.view",
    "Setting": "rpcguard._config.settings",
    "SlowStart": "rpcguard._core.policies.slow_start",
    "Snapshot": "rpcguard._core.nodes.snapshot",
    "StatusServer": "rpcguard._status.server",
    "Subset": "rpcguard._core.policies.subset",
    "Throttle": "rpcguard._core.policies.overload",
    "Transport": "rpcguard._httpx",
    "WatchableRegistry": "rpcguard.registries.base",
    "ZonePolicy": "rpcguard._core.policies.zone",
    "asgi_status": "rpcguard._status.app",
    "call_info": "rpcguard._core.call.info",
    "detached": "rpcguard._context.lane",
    "lane": "rpcguard._context.lane",
    "registry_from_url": "rpcguard.registries.base",
    "start_status_server": "rpcguard._status.server",
    "wsgi_status": "rpcguard._status.app",
}
"""Where the public names lie that `rpcguard` loads when they are first used: to load all of them
takes 50 ms, and most programs use a few."""


def adopt(home: str, public: PublicT) -> PublicT:
    """Make a class or function say that it is of the module `home`, and give it back.

    Pickles, reprs and tracebacks then name a path that never moves, not the file of today.
    """
    if is_dataclass(public) and public.__module__ != home:
        _resolve(public)
    public.__module__ = home
    return public


def _resolve(public: Any) -> None:
    # What its annotations say has a meaning where they were written alone, and whoever reads them
    # later, pydantic for one, looks into the module that it says to be of.
    meant = get_type_hints(public)
    for name in public.__annotations__:
        public.__annotations__[name] = meant[name]
    for field in fields(public):
        field.type = public.__annotations__.get(field.name, field.type)


def adopt_loaded() -> dict[str, object]:
    """Adopt for `rpcguard` what is loaded by now; give it by name.

    All of it, since what a transport hands out may never be asked for by its name.
    """
    found = {
        name: getattr(sys.modules.get(home), name, None) for name, home in ON_FIRST_USE.items()
    }
    return {name: adopt("rpcguard", one) for name, one in found.items() if one is not None}
