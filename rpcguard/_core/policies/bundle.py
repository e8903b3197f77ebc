"""The policies of one transport, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rpcguard._checks import require
from rpcguard._core.balancing.least_loaded import LeastLoaded
from rpcguard._core.policies.affinity import Affinity
from rpcguard._core.policies.deadline import DeadlinePolicy
from rpcguard._core.policies.ejection import EjectionPolicy
from rpcguard._core.policies.membership import MembershipPolicy
from rpcguard._core.policies.offline import OfflinePolicy
from rpcguard._core.policies.overload import OverloadPolicy
from rpcguard._core.policies.retry import RetryPolicy
from rpcguard._core.policies.routing import Routing
from rpcguard._core.policies.slow_start import SlowStart
from rpcguard._core.policies.zone import ZonePolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.balancing.base import Balancer


_KINDS = {
    "retry": RetryPolicy,
    "ejection": EjectionPolicy,
    "slow_start": SlowStart,
    "offline": OfflinePolicy,
    "membership": MembershipPolicy,
    "zone": ZonePolicy,
    "overload": OverloadPolicy,
}

_OPTIONAL = {"routing": Routing, "deadline": DeadlinePolicy, "affinity": Affinity}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policies of one transport.

    `probes` says whether nodes are probed by TCP, `exact` whether an error of connecting surely is
    one; what `ejection` and `retry` say of that goes before it. `routing` None means that lanes are
    not looked at, `deadline` None that deadlines stay here, `affinity` None that no call has a key.
    Raises `ValueError` naming the field that is of another kind.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    ejection: EjectionPolicy = field(default_factory=EjectionPolicy)
    slow_start: SlowStart = field(default_factory=SlowStart)
    offline: OfflinePolicy = field(default_factory=OfflinePolicy)
    membership: MembershipPolicy = field(default_factory=MembershipPolicy)
    routing: Routing | None = None
    deadline: DeadlinePolicy | None = None
    affinity: Affinity | None = None
    zone: ZonePolicy = field(default_factory=ZonePolicy)
    overload: OverloadPolicy = field(default_factory=OverloadPolicy)
    balancer: Callable[[], Balancer] = LeastLoaded
    probes: bool = True
    exact: bool = True

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            require(name, value, f"of the class {kind.__name__}", isinstance(value, kind))
        for name, kind in _OPTIONAL.items():
            value = getattr(self, name)
            good = value is None or isinstance(value, kind)
            require(name, value, f"of the class {kind.__name__} or None", good)
        wanted = "what makes balancers: pass the class, LeastLoaded, not LeastLoaded()"
        require("balancer", self.balancer, wanted, callable(self.balancer))
        if self.ejection.probe is not None:
            object.__setattr__(self, "probes", self.ejection.probe)
        if self.retry.exact is not None:
            object.__setattr__(self, "exact", self.retry.exact)
