"""What users see of a transport, and what they say to it of nodes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rpcguard._core.nodes.view import NodeViews, ServiceView, ServiceViews
from rpcguard._transport.kept import counts_of

if TYPE_CHECKING:
    from rpcguard._config.follow import IncidentSwitches
    from rpcguard._config.settings import Setting, Settings
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.view import ConnectionCounts, NodeView, RouteView
    from rpcguard._core.service.service import Service
    from rpcguard._core.service.views import PickRecord
    from rpcguard._discovery.following import Subscriptions
    from rpcguard._discovery.rules import Rules
    from rpcguard._transport.kept import ChildKey
    from rpcguard._transport.services import ServiceTable


class Inspection:
    """The services of a transport as its users see them; thread-safe."""

    _settings: Settings
    _switches: IncidentSwitches
    _services: ServiceTable
    _following: Subscriptions
    _rules: Rules | None

    def _service(self, name: str) -> Service:
        raise NotImplementedError

    def _families(self) -> list[dict[ChildKey, Any]]:
        raise NotImplementedError

    def _connections(self, live: LiveNode) -> ConnectionCounts | None:
        return counts_of(self._families(), live)

    def nodes(self, service: str) -> list[NodeView]:
        """Show the live list of a service; empty while its first snapshot is awaited."""
        return NodeViews(self._service(service.lower()).nodes(self._connections))

    def services(self) -> list[ServiceView]:
        """Show the services that were called so far, and how their registry does."""
        following, rules = self._following, self._rules
        return ServiceViews(_view_of(service, following, rules) for service in self._services)

    def explain(self, service: str) -> list[PickRecord]:
        """Show the last 64 picks of a service: what was compared and who was left out and why."""
        return self._service(service.lower()).explain()

    def routes(self, service: str) -> list[RouteView]:
        """Show the routes of a service, in order: what each asks for and what it really gets."""
        return self._service(service.lower()).routes()

    def settings(self) -> list[Setting]:
        """Show every value that the transport goes by, and where it came from.

        The sources are code, environment, file and default, and the switches of an incident, which
        go before all of them.
        """
        return self._settings.in_force(self._switches.incidents, time.time())

    def mark_offline(self, service: str, node: str, *, ttl: float | None = None) -> None:
        """Take a node, given by id or `host:port`, out of use for `ttl` seconds.

        The default is `ttl` of the `OfflinePolicy`; its bounds do not count here. Raises
        `ValueError` for a node that is not listed.
        """
        self._service(service.lower()).mark_offline(node, ttl)

    def mark_online(self, service: str, node: str) -> None:
        """Take back a mark or an ejection; the node goes through slow start."""
        self._service(service.lower()).mark_online(node)


def _view_of(service: Service, following: Subscriptions, rules: Rules | None) -> ServiceView:
    """Show a service and how its registry does, and the source of its rules."""
    retries, budget = service.retries()
    return ServiceView(
        name=service.name,
        registry=repr(following.registry),
        ready=service.ready,
        known=service.known,
        age=following.age(service.name),
        trouble=following.trouble(service.name),
        refused=service.refused,
        retries=retries,
        budget=budget,
        rules_age=None if rules is None else rules.age(service.name),
        rules_trouble=None if rules is None else rules.trouble(service.name),
        **service.pressure()._asdict(),
    )
