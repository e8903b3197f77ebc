"""The policies of one transport, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rpcguard._checks import require
from rpcguard._core.balancing.least_loaded import LeastLoaded
from rpcguard._core.policies.affinity import Affinity
from rpcguard._core.policies.deadline import DeadlinePolicy
from rpcguard._core.policies.ejection import EjectionPolicy
from rpcguard._core.policies.hedging import Hedge
from rpcguard._core.policies.membership import MembershipPolicy
from rpcguard._core.policies.offline import OfflinePolicy
from rpcguard._core.policies.overload import OverloadPolicy
from rpcguard._core.policies.retry import RetryPolicy
from rpcguard._core.policies.routing import Routing
from rpcguard._core.policies.slow_start import SlowStart
from rpcguard._core.policies.subset import Subset
from rpcguard._core.policies.zone import ZonePolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._core.balancing.base import Balancer


def _none() -> None:
    """Give no policy."""


class PolicyOption(NamedTuple):
    """What an option takes that sets a policy."""

    kind: type
    """The class of the policy."""

    off: Callable[[], object]
    """Makes what `False` stands for: nothing is done by it."""

    example: str
    """A right value, for whoever gave a wrong one."""

    needed: bool = True
    """Whether there is a policy by default; else there is none."""


OPTIONS: Final[dict[str, PolicyOption]] = {
    "retry": PolicyOption(RetryPolicy, lambda: RetryPolicy(attempts=1), "RetryPolicy(attempts=3)"),
    "ejection": PolicyOption(
        EjectionPolicy, lambda: EjectionPolicy(enforce=False), "EjectionPolicy(consecutive=3)"
    ),
    "slow_start": PolicyOption(SlowStart, lambda: SlowStart(window=0.0), "SlowStart(window=30.0)"),
    "offline": PolicyOption(
        OfflinePolicy, lambda: OfflinePolicy(enforce=False), "OfflinePolicy(ttl=60.0)"
    ),
    "membership": PolicyOption(
        MembershipPolicy,
        lambda: MembershipPolicy(shrink_share=1.0, shrink_hold=0.0, empty_hold=0.0),
        "MembershipPolicy(poll_interval=2.0)",
    ),
    "zone": PolicyOption(ZonePolicy, ZonePolicy, 'ZonePolicy(zone="a")'),
    "overload": PolicyOption(OverloadPolicy, OverloadPolicy, "OverloadPolicy(max_in_flight=512)"),
    "routing": PolicyOption(
        Routing, _none, 'Routing(source="file:///etc/routes.json")', needed=False
    ),
    "deadline": PolicyOption(DeadlinePolicy, _none, "DeadlinePolicy(total=2.0)", needed=False),
    "affinity": PolicyOption(Affinity, _none, 'Affinity(by="header.x-user")', needed=False),
    "hedge": PolicyOption(Hedge, _none, "Hedge(after=0.95)", needed=False),
    "subset": PolicyOption(Subset, _none, "Subset(size=20)", needed=False),
}
"""The options that set a policy; how each is switched off stands here and nowhere else."""


def policy_of(name: str, value: object) -> Any:
    """Give the policy that an option stands for: None is the default, `False` switches it off.

    Raises `ValueError` that names the option and a right value for anything of another class.
    """
    option = OPTIONS[name]
    if value is None:
        return option.kind() if option.needed else None
    if value is False:
        return option.off()
    kind = option.kind.__name__ if option.needed else f"{option.kind.__name__} or None"
    wanted = f"of the class {kind}, such as {option.example}, or False to switch it off"
    require(name, value, wanted, isinstance(value, option.kind))
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policies of one transport.

    `probes` says whether nodes are probed by TCP, `exact` whether an error of connecting surely is
    one, `overprovision` how much more than its part a level of priority bears; what `ejection`,
    `retry` and `membership` say of that goes before it. `routing` None means that lanes are
    not looked at, `deadline` None that deadlines stay here, `affinity` None that no call has a key,
    `hedge` None that no call runs on two nodes at once, `subset` None that every node is used.
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
    hedge: Hedge | None = None
    subset: Subset | None = None
    zone: ZonePolicy = field(default_factory=ZonePolicy)
    overload: OverloadPolicy = field(default_factory=OverloadPolicy)
    balancer: Callable[[], Balancer] = LeastLoaded
    probes: bool = True
    exact: bool = True
    overprovision: float = 0.0

    def __post_init__(self) -> None:
        for name in OPTIONS:
            object.__setattr__(self, name, policy_of(name, getattr(self, name)))
        wanted = "what makes balancers: pass the class, LeastLoaded, not LeastLoaded()"
        require("balancer", self.balancer, wanted, callable(self.balancer))
        if self.ejection.probe is not None:
            object.__setattr__(self, "probes", self.ejection.probe)
        if self.retry.exact is not None:
            object.__setattr__(self, "exact", self.retry.exact)
        if self.membership.overprovision is not None:
            object.__setattr__(self, "overprovision", self.membership.overprovision)
