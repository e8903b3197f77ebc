"""Call other services with httpx, and do not notice when their nodes come, go, crash or freeze."""

from importlib import import_module
from typing import TYPE_CHECKING

from rpcguard._version import __version__
from rpcguard.attempts import Attempt, CallInfo
from rpcguard.balancers import Balancer, LeastLoaded, Random, RoundRobin
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
from rpcguard.picks import PickRecord
from rpcguard.registries.base import (
    CheckingRegistry,
    Registry,
    WatchableRegistry,
    registry_from_url,
)
from rpcguard.retry import RetryPolicy
from rpcguard.slow_start import SlowStart

if TYPE_CHECKING:
    from rpcguard.status import ServiceView, asgi_status
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


# Transports need asyncio and anyio, which take longer to load than all the rest; of the status
# page most programs have no use.
_ON_FIRST_USE = {
    "AsyncTransport": "rpcguard.transport",
    "ServiceView": "rpcguard.status",
    "Transport": "rpcguard.transport",
    "asgi_status": "rpcguard.status",
}


def __getattr__(name: str) -> object:
    if name in _ON_FIRST_USE:
        return getattr(import_module(_ON_FIRST_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
