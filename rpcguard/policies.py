"""The policies of one transport, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rpcguard.balancers import LeastLoaded
from rpcguard.ejection import EjectionPolicy
from rpcguard.membership import MembershipPolicy
from rpcguard.offline import OfflinePolicy
from rpcguard.retry import RetryPolicy
from rpcguard.slow_start import SlowStart

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard.balancers import Balancer


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Hold the policies of one transport; `probes` says whether nodes are probed by TCP."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    ejection: EjectionPolicy = field(default_factory=EjectionPolicy)
    slow_start: SlowStart = field(default_factory=SlowStart)
    offline: OfflinePolicy = field(default_factory=OfflinePolicy)
    membership: MembershipPolicy = field(default_factory=MembershipPolicy)
    balancer: Callable[[], Balancer] = LeastLoaded
    probes: bool = True
