"""Marks, as a transport meets them: read from calls, sent on, and kept from strangers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry import baggage
from opentelemetry import context as otel

from rpcguard._context.baggage import HEADER, member, set_member
from rpcguard._context.lane import UNHEARD, current_lane
from rpcguard._core.policies.zone import ZonePolicy
from rpcguard._core.routing.facts import Facts
from rpcguard._core.routing.marks import first_mark
from rpcguard._discovery.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from rpcguard._core.nodes.routed import Routed
    from rpcguard._core.policies.routing import Routing
    from rpcguard._core.routing.marks import LaneMark, Place
    from rpcguard._core.service.asks import Ask
    from rpcguard._core.service.service import Service
    from rpcguard._discovery.following import Subscriptions
    from rpcguard._telemetry.routes import RouteCounts

_LANE: Final = "RPCGUARD_LANE"
_ZONE: Final = "RPCGUARD_ZONE"
_UNSAID: Final = "\1"
"""Stands for no word on a lane, which is not the same as the word that there is none."""

_BAGGAGE: Final = "rpcguard.lane"
"""The member in which marks travel where no `Routing` says otherwise."""


def with_environment(
    routing: Routing | Literal[False] | None, zone: ZonePolicy | Literal[False] | None
) -> tuple[Routing | Literal[False] | None, ZonePolicy | Literal[False]]:
    """Give both with the lane and the zone that the environment names, where they name none."""
    if routing and routing.lane is None:
        routing = replace(routing, lane=os.environ.get(_LANE) or None)
    if zone is None:
        zone = ZonePolicy()
    if zone and zone.zone is None:
        zone = replace(zone, zone=os.environ.get(_ZONE) or None)
    return routing, zone


class Lanes:
    """The lanes and the rules of one transport's calls; thread-safe.

    `following` has the registry, which may have the rules too.
    """

    def __init__(self, routing: Routing, following: Subscriptions, counts: RouteCounts) -> None:
        self.routing: Routing = routing
        self.rules: Rules = Rules(routing, following, on_refresh=counts.refreshed)
        self._counts = counts

    def ruled(self, service: str) -> bool:
        """Tell whether a service has the rules that it must have before it is ready."""
        return not self.routing.required or self.rules.ready(service)

    def choose(
        self,
        service: Service,
        request: httpx.Request,
        given: object,
        find: Callable[[str], Service],
    ) -> tuple[Service, Ask | None]:
        """Match a call against the rules of its service; give that service, or the lane's own.

        `given` is what the user said of the call, as it was said; `find` gives a service by name,
        and begins to follow it.
        """
        options = given if isinstance(given, Mapping) else {}
        mark = first_mark(self._places(request, options))
        for source in mark.malformed:
            self._counts.marked(source, "malformed")
        own = self._of_lane(service, mark, find)
        router = (own or service).router
        if router is None:
            return service, None
        if mark.lane is not None:
            known = own is not None or router.names(mark.lane)
            self._counts.marked(mark.source, "used" if known else "unknown")
        facts = Facts(request, mark=mark.lane, baggage=_of_baggage, options=options)
        return own or service, router.ask(facts, anywhere=own is not None)

    def _of_lane(
        self, service: Service, mark: LaneMark, find: Callable[[str], Service]
    ) -> Service | None:
        # Where the lane has no service, or none that answers yet, it has no nodes: nobody waits for
        # a name that may not exist.
        template = self.routing.lane_service
        if template is None or mark.lane is None:
            return None
        name = template.replace("{service}", service.name).replace("{lane}", mark.lane)
        found = find(name.lower())
        return found if found.ready and found.known and found.usable else None

    def _places(self, request: httpx.Request, options: Mapping[str, Any]) -> Iterator[Place]:
        if "lane" in options:
            said = options["lane"]
            yield "option", said if isinstance(said, str) else ""
        for name in self.routing.read:
            yield "header", request.headers.get(name)
        here = current_lane(_UNSAID)
        if here == _UNSAID:
            yield "context", _of_baggage(self.routing.lane_baggage)
        elif here != UNHEARD:
            yield "context", here or ""
        yield "process", self.routing.lane

    def send(self, outgoing: Any, service: str, routed: Routed) -> None:
        """Put a call's mark into the headers of an attempt, or take what is none of it out."""
        self._counts.sent(service, routed)
        headers = outgoing.headers = outgoing.headers.copy()
        set_member(headers, self.routing.lane_baggage, routed.lane)
        for name in self.routing.write:
            if routed.lane is not None:
                headers[name] = routed.lane
            else:
                headers.pop(name, None)


def keep_from_strangers(outgoing: Any, routing: Routing | None) -> None:
    """Take marks out of a request to a host that the registry does not know.

    Whoever it is learns no lane of ours: not from baggage, nor after a redirect, which copies what
    the request before it had.
    """
    key = _BAGGAGE if routing is None else routing.lane_baggage
    names = () if routing is None else (*routing.read, *routing.write)
    headers = outgoing.headers
    if member(headers.get(HEADER, ""), key) is None and not any(name in headers for name in names):
        return
    headers = outgoing.headers = headers.copy()
    set_member(headers, key, None)
    for name in names:
        headers.pop(name, None)


def _of_baggage(key: str) -> str | None:
    here = otel.get_current()
    value = baggage.get_baggage(key, here) if here else None
    return None if value is None else str(value)
