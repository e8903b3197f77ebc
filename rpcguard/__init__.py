"""Call other services with httpx, and do not notice when their nodes come, go, crash or freeze."""

from importlib import import_module
from typing import TYPE_CHECKING

from rpcguard._public import ON_FIRST_USE, adopt, adopt_loaded
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


def __getattr__(name: str) -> object:
    if name not in ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(ON_FIRST_USE[name])
    for loaded, one in adopt_loaded().items():
        globals().setdefault(loaded, one)  # what a test has put into the place of a name stays
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


for _name in __all__:
    if _name not in ON_FIRST_USE and _name != "__version__":
        adopt(__name__, globals()[_name])
