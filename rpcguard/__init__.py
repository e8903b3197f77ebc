"""Call other services with httpx, and do not notice when their nodes come, go, crash or freeze."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from rpcguard._public import adopt
from rpcguard._version import __version__
from rpcguard.errors import (
    DeadlineExceeded,
    InvalidRegistryURL,
    NoAvailableNode,
    Overloaded,
    RegistryError,
    RpcguardError,
    TransportClosed,
)

if TYPE_CHECKING:
    from rpcguard._config.settings import Setting
    from rpcguard._context.lane import detached, lane
    from rpcguard._core.balancing.base import Balancer
    from rpcguard._core.balancing.least_loaded import LeastLoaded
    from rpcguard._core.balancing.least_requests import LeastRequests
    from rpcguard._core.balancing.random import Random
    from rpcguard._core.balancing.round_robin import RoundRobin
    from rpcguard._core.call.info import Attempt, CallInfo, call_info
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.nodes.snapshot import Snapshot
    from rpcguard._core.nodes.view import ConnectionCounts, NodeView, RouteView, ServiceView
    from rpcguard._core.policies.affinity import Affinity
    from rpcguard._core.policies.deadline import DeadlinePolicy
    from rpcguard._core.policies.ejection import EjectionPolicy
    from rpcguard._core.policies.hedging import Hedge
    from rpcguard._core.policies.membership import MembershipPolicy
    from rpcguard._core.policies.offline import OfflinePolicy
    from rpcguard._core.policies.overload import Adaptive, OverloadPolicy, Throttle
    from rpcguard._core.policies.overrides import Overrides
    from rpcguard._core.policies.retry import RetryPolicy
    from rpcguard._core.policies.routing import Guard, Route, Routing
    from rpcguard._core.policies.slow_start import SlowStart
    from rpcguard._core.policies.subset import Subset
    from rpcguard._core.policies.zone import ZonePolicy
    from rpcguard._core.service.effects import Event
    from rpcguard._core.service.records import PickRecord
    from rpcguard._httpx import AsyncTransport, Transport
    from rpcguard._status.app import asgi_status, wsgi_status
    from rpcguard._status.server import StatusServer, start_status_server
    from rpcguard.registries.base import (
        CheckingRegistry,
        ListingRegistry,
        Registry,
        RuledRegistry,
        WatchableRegistry,
        registry_from_url,
    )

__all__ = [
    "Adaptive",
    "Affinity",
    "AsyncTransport",
    "Attempt",
    "Balancer",
    "CallInfo",
    "CheckingRegistry",
    "ConnectionCounts",
    "DeadlineExceeded",
    "DeadlinePolicy",
    "EjectionPolicy",
    "Event",
    "Guard",
    "Hedge",
    "InvalidRegistryURL",
    "LeastLoaded",
    "LeastRequests",
    "ListingRegistry",
    "LiveNode",
    "MembershipPolicy",
    "NoAvailableNode",
    "Node",
    "NodeView",
    "OfflinePolicy",
    "OverloadPolicy",
    "Overloaded",
    "Overrides",
    "PickRecord",
    "Random",
    "Registry",
    "RegistryError",
    "RetryPolicy",
    "RoundRobin",
    "Route",
    "RouteView",
    "Routing",
    "RpcguardError",
    "RuledRegistry",
    "ServiceView",
    "Setting",
    "SlowStart",
    "Snapshot",
    "StatusServer",
    "Subset",
    "Throttle",
    "Transport",
    "TransportClosed",
    "WatchableRegistry",
    "ZonePolicy",
    "__version__",
    "asgi_status",
    "call_info",
    "detached",
    "lane",
    "registry_from_url",
    "start_status_server",
    "wsgi_status",
]


# To load all of them takes 50 ms, and most programs use a few. The errors are there at once, for
# what counts errors goes by the module that they name.
_ON_FIRST_USE = {
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


def __getattr__(name: str) -> object:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(_ON_FIRST_USE[name])
    _adopt_loaded()
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _adopt_loaded() -> None:
    # All that is there by now: what a transport hands out may never be asked for by its name.
    for name, home in _ON_FIRST_USE.items():
        found = getattr(sys.modules.get(home), name, None)
        if found is not None and name not in globals():
            globals()[name] = adopt(__name__, found)


for _name in __all__:
    if _name not in _ON_FIRST_USE and _name != "__version__":
        adopt(__name__, globals()[_name])
