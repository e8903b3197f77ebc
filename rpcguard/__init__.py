"""Call other services with httpx, and do not notice when their nodes come, go, crash or freeze."""

from typing import TYPE_CHECKING

from rpcguard._version import __version__
from rpcguard.balancers import Balancer, LeastLoaded, Random, RoundRobin
from rpcguard.call import Attempt, CallInfo
from rpcguard.ejection import EjectionPolicy
from rpcguard.errors import (
    InvalidRegistryURL,
    NoAvailableNode,
    RegistryError,
    RpcguardError,
    TransportClosed,
)
from rpcguard.live import LiveNode
from rpcguard.membership import MembershipPolicy
from rpcguard.nodes import Node, NodeView, Snapshot
from rpcguard.offline import OfflinePolicy
from rpcguard.registries.base import (
    CheckingRegistry,
    Registry,
    WatchableRegistry,
    registry_from_url,
)
from rpcguard.retry import RetryPolicy
from rpcguard.slow_start import SlowStart
from rpcguard.status import ServiceView, asgi_status
from rpcguard.views import PickRecord

if TYPE_CHECKING:
    from rpcguard.transport import AsyncTransport, Transport

__all__ = [
    "AsyncTransport",
    "Attempt",
    "Balancer",
    "CallInfo",
    "CheckingRegistry",
    "EjectionPolicy",
    "InvalidRegistryURL",
    "LeastLoaded",
    "LiveNode",
    "MembershipPolicy",
    "NoAvailableNode",
    "Node",
    "NodeView",
    "OfflinePolicy",
    "PickRecord",
    "Random",
    "Registry",
    "RegistryError",
    "RetryPolicy",
    "RoundRobin",
    "RpcguardError",
    "ServiceView",
    "SlowStart",
    "Snapshot",
    "Transport",
    "TransportClosed",
    "WatchableRegistry",
    "__version__",
    "asgi_status",
    "registry_from_url",
]


def __getattr__(name: str) -> object:
    # On first use: they need asyncio and anyio, which take longer to load than all the rest.
    if name in ("AsyncTransport", "Transport"):
        from rpcguard import transport

        return getattr(transport, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
