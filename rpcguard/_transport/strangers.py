"""Hosts that the registry does not know, where they may be called: services of their addresses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rpcguard._core.policies.bundle import policy_of
from rpcguard._core.policies.overrides import PoliciesByService
from rpcguard._discovery.following import Subscriptions
from rpcguard._transport import deadlines, lanes
from rpcguard._transport.opening import Opening
from rpcguard._transport.services import ServiceTable
from rpcguard.registries.hosts import HostsRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import httpx

    from rpcguard._core.call.steps import Send
    from rpcguard._core.policies.overrides import Overrides
    from rpcguard._core.service.effects import Effects
    from rpcguard._core.service.service import Service
    from rpcguard._transport.services import Follower

_MOST: Final = 256
"""Hosts whose addresses are kept: names may come from anywhere, and each is resolved twice a
minute."""


def policies_of_strangers(
    given: Mapping[str, Any], services: Mapping[str, Overrides] | None
) -> PoliciesByService:
    """Give the policies for hosts that are none of ours, by those of the transport.

    What is about the nodes of a registry does not count for them: networks, lists on disk, zones,
    subsets, rules, the path of probes. Their connections are rpcguard's own.
    """
    membership, ejection = (policy_of(one, given[one]) for one in ("membership", "ejection"))
    most = min(membership.max_services, _MOST)
    others = {
        "membership": replace(membership, cache_dir=None, allowed_networks=None, max_services=most),
        "ejection": replace(ejection, probe_path=None),
        "routing": None,
        "zone": None,
        "subset": None,
        "probes": True,
        "exact": True,
    }
    return PoliciesByService({**given, **others}, services)


class Strangers(ServiceTable):
    """The hosts that one transport calls beside its registry, by name and port."""

    def __init__(
        self,
        policies: PoliciesByService,
        effects: Effects[Service],
        followers: Sequence[Follower],
        on_refresh: Callable[[str, str | None], None],
    ) -> None:
        following = Subscriptions(
            HostsRegistry(), policy=policies.common.membership, on_refresh=on_refresh
        )
        super().__init__(policies, effects, following, None, followers)

    def _remember(self, gone: Service) -> None:
        """Remember nothing: there are many names, and each is resolved anew."""


class OpeningToStrangers(Opening):
    """What opens the calls to hosts that the registry does not know: they learn nothing of ours."""

    def mark(self, outgoing: Any, url: httpx.URL, step: Send) -> None:
        """Take lanes and retry marks out, whoever has put them into the request."""
        lanes.keep_from_strangers(outgoing, self._policies.routing)
        deadlines.keep_from_strangers(outgoing)
