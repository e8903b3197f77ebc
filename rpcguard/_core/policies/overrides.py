"""What single services have otherwise than the rest of their transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypeVar

from rpcguard._checks import require
from rpcguard._core.balancing.base import Balancer
from rpcguard._core.policies.affinity import Affinity
from rpcguard._core.policies.bundle import OPTIONS, Policies, policy_of
from rpcguard._core.policies.deadline import DeadlinePolicy
from rpcguard._core.policies.ejection import EjectionPolicy
from rpcguard._core.policies.hedging import Hedge
from rpcguard._core.policies.offline import OfflinePolicy
from rpcguard._core.policies.overload import OverloadPolicy
from rpcguard._core.policies.retry import RetryPolicy
from rpcguard._core.policies.slow_start import SlowStart
from rpcguard._core.policies.subset import Subset
from rpcguard._core.policies.zone import ZonePolicy
from rpcguard._text import host_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What one service has otherwise than the rest of its transport.

    None leaves an option as it is for the transport, `False` switches it off for this service. A
    policy replaces that of the transport as a whole. Raises `ValueError` naming the option that is
    of another class.
    """

    balancer: Callable[[], Balancer] | None = None
    """Makes the balancers, such as `LeastRequests` for calls of very mixed length."""

    retry: RetryPolicy | Literal[False] | None = None
    """What is sent again: a service whose GETs cost much may want less, one that is cheap more."""

    ejection: EjectionPolicy | Literal[False] | None = None
    """When a failing node is left out: `enforce=False` to try it on one service first."""

    slow_start: SlowStart | Literal[False] | None = None
    """The ramp of new nodes: JVMs need longer than programs that are compiled."""

    offline: OfflinePolicy | Literal[False] | None = None
    """How a node's word that it leaves is taken."""

    zone: ZonePolicy | Literal[False] | None = None
    """How far calls stay in their zone; without a `zone` of its own it has the transport's."""

    deadline: DeadlinePolicy | Literal[False] | None = None
    """How long calls may take: the one option that most services need for themselves."""

    overload: OverloadPolicy | Literal[False] | None = None
    """How much is asked of the service at most; limits are per service anyhow."""

    affinity: Affinity | Literal[False] | None = None
    """Which calls go to one node, where only this service keeps something for them."""

    hedge: Hedge | Literal[False] | None = None
    """When a late call has a second attempt: what pays where one call in a hundred is slow."""

    subset: Subset | Literal[False] | None = None
    """How many of the nodes are used, where only this service has hundreds."""

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            if name in OPTIONS:
                policy_of(name, value)
        good = self.balancer is None or callable(self.balancer)
        require("balancer", self.balancer, "what makes balancers, such as the class", good)

    def given(self) -> dict[str, Any]:
        """Give the options that are not left as they are."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


OfService = TypeVar("OfService")

SERVICES_WANTED: Final = 'a mapping such as {"orders": Overrides(retry=False)}'


def by_host_name(services: Mapping[Any, OfService]) -> dict[str, OfService]:
    """Give what services have, by their names as hosts; raise `ValueError` for one given twice."""
    found: dict[str, OfService] = {}
    for name, one in services.items():
        require("services", name, "by names of services", isinstance(name, str) and name)
        host = host_name(name)
        require("services", name, f"there once, and {host!r} is", host not in found)
        found[host] = one
    return found


class PoliciesByService:
    """The policies of one transport, `common` to its services, and of those that have their own.

    `given` are the arguments of `Policies`, `services` what some have otherwise, by their names as
    URLs have them. A name that nobody calls is none the worse: it may come later.
    """

    def __init__(self, given: Mapping[str, Any], services: object = None) -> None:
        self.common: Policies = Policies(**given)
        self._given = given
        services = {} if services is None else services
        require("services", services, SERVICES_WANTED, isinstance(services, Mapping))
        assert isinstance(services, Mapping)
        self._services: dict[str, Overrides] = by_host_name(services)
        for name, overrides in services.items():
            where = f"services[{name!r}]"
            wanted = "of the class Overrides, such as Overrides(retry=False)"
            require(where, overrides, wanted, isinstance(overrides, Overrides))

    @property
    def hedge(self) -> bool:
        """Tell whether calls of any service are hedged."""
        own = [one.hedge for one in self._services.values()]
        return self.common.hedge is not None or any(own)

    def of(self, service: str) -> Policies:
        """Give the policies of a service; those of `orders` also count for `orders:8080`."""
        name = host_name(service)
        overrides = self._services.get(name) or self._services.get(name.rpartition(":")[0])
        if overrides is None:
            return self.common
        given = overrides.given()
        zone = given.get("zone")
        if isinstance(zone, ZonePolicy) and zone.zone is None:
            given["zone"] = replace(zone, zone=self.common.zone.zone)
        return Policies(**{**self._given, **given})
