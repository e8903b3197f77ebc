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
    from rpcguard._transport.kept import ChildKey
    from rpcguard._transport.opening import Opening
    from rpcguard._transport.services import ServiceTable


class Inspection:
    """The services of a transport as its users see them; thread-safe."""

    _opening: Opening
    _settings: Settings
    _switches: IncidentSwitches
    _tables: list[ServiceTable]

    def _service(self, name: str) -> Service:
        raise NotImplementedError

    def _shown(self, name: str) -> Service:
        """Give a service by its name; a host beyond the registry has its port in it."""
        name = self._opening.called(name)
        found = [one for table in self._tables[1:] if (one := table.get(name))]
        return found[0] if found else self._service(name)

    def _families(self) -> list[dict[ChildKey, Any]]:
        raise NotImplementedError

    def _connections(self, live: LiveNode) -> ConnectionCounts | None:
        return counts_of(self._families(), live)

    def nodes(self, service: str) -> list[NodeView]:
        """Show the live list of a service; empty while its first snapshot is awaited."""
        return NodeViews(self._shown(service).nodes(self._connections))

    def services(self) -> list[ServiceView]:
        """Show the services that were called so far, and how their registry does."""
        return ServiceViews(_view_of(one, table) for table in self._tables for one in table)

    def explain(self, service: str) -> list[PickRecord]:
        """Show the last 64 picks of a service: what was compared and who was left out and why."""
        return self._shown(service).explain()

    def routes(self, service: str) -> list[RouteView]:
        """Show the routes of a service, in order: what each asks for and what it really gets."""
        return self._shown(service).routes()

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
        self._shown(service).mark_offline(node, ttl)

    def mark_online(self, service: str, node: str) -> None:
        """Take back a mark or an ejection; the node goes through slow start."""
        self._shown(service).mark_online(node)


def _view_of(service: Service, table: ServiceTable) -> ServiceView:
    """Show a service and how its registry does, and the source of its rules."""
    following, rules = table.following, table.rules
    retries, budget = service.retries()
    return ServiceView(
        name=service.name,
        registry=following.shown,
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
