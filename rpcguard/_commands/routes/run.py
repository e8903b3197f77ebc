"""The course of `rpcguard routes`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from rpcguard._commands.nodes.sources import READY_TIMEOUT
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.policies.routing import Routing
from rpcguard._core.routing.facts import Facts
from rpcguard._core.service.service import Service
from rpcguard._discovery.rule_sources import read_rules
from rpcguard._httpx import AsyncTransport
from rpcguard._text import plain
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.methods import close
from rpcguard.registries.base import has_rules, pushes_rules, registry_from_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.policies.routing import Route
    from rpcguard._core.service.effects import Event
    from rpcguard._core.service.router import Foreseen

_DOCUMENTS = ("file://", "http://", "https://")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The call that is asked about."""

    method: str
    path: str
    headers: Mapping[str, str]
    lane: str | None
    key: str | None


class Nothing:
    """The effects of a service that only decides."""

    def emit(self, event: Event) -> None:
        """Tell nobody."""

    def probe(self, service: Service, live: LiveNode) -> None:
        """Probe nothing."""

    def retire(self, live: LiveNode) -> None:
        """Close nothing."""


def show_routes(
    url: str, service: str, rules: str | None, wanted: Wanted, *, as_json: bool
) -> bool:
    """Print where a call would go; tell whether there is a node for it."""
    source = rules if rules is None or "://" in rules else Path(rules).resolve().as_uri()
    nodes, routes = asyncio.run(_read(url, service.lower(), source))
    told = foreseen(service.lower(), nodes, routes, wanted)
    by_id = {node.id: node for node in nodes}
    print(json.dumps([one._asdict() for one in told], indent=2) if as_json else _text(told, by_id))
    return any(one.nodes for one in told)


async def _read(url: str, service: str, rules: str | None) -> tuple[list[Node], list[Route]]:
    # Where routes are pushed, the list has their nodes only while somebody looks at them.
    pushed = pushes_rules(registry_from_url(url))
    routing = Routing(source="registry", required=True) if pushed else None
    async with AsyncTransport(url, routing=routing) as transport:
        await transport.wait_ready(service, timeout=READY_TIMEOUT, nodes=0)
        nodes = [view.node for view in transport.nodes(service)]
        routes = [] if rules is not None else await _own_rules(url, service)
    if not nodes:
        raise RegistryError(f"service {service!r} has no node")
    if rules is not None:
        return nodes, await read_rules(rules, service)
    if url.startswith(_DOCUMENTS):
        return nodes, await read_rules(url, service, beside_list=True)
    return nodes, routes


async def _own_rules(url: str, service: str) -> list[Route]:
    """Read the rules that a registry has of its own; none where it is not of that kind."""
    registry = registry_from_url(url)
    if not has_rules(registry):
        return []
    try:
        return list(await registry.routes(service))
    finally:
        await close(registry)


def foreseen(
    service: str, nodes: list[Node], routes: list[Route], wanted: Wanted
) -> list[Foreseen]:
    """Ask the code that decides on calls where one would go."""
    decides = Service(service, policies=Policies(routing=Routing(rules=routes)), effects=Nothing())
    decides.reconcile(Snapshot(nodes))
    request = httpx.Request(wanted.method, f"http://{service}{wanted.path}", headers=wanted.headers)
    options = {} if wanted.key is None else {"key": wanted.key}
    facts = Facts(request, mark=wanted.lane, baggage=lambda _: None, options=options)
    assert decides.router is not None
    return decides.foresee(decides.router.ask(facts))


def _text(told: list[Foreseen], nodes: Mapping[str, Node]) -> str:
    lines = []
    for one in told:
        what = "no route" if one.route is None else f"route {plain(one.route)}"
        part = (
            "the calls that are left"
            if one.route is None
            else f"{100 * one.share:.4g} % of such calls"
        )
        mark = f", marked {plain(one.lane)}" if one.lane is not None else ""
        meant = ", since its own cannot serve" if one.fallback else ""
        lines.append(f"{what}: {part}{mark}, to {plain(one.group)}{meant}{_limits(one)}")
        lines += [f"  {_node(nodes[node])}" for node in one.nodes] or ["  no node"]
    return "\n".join(lines)


def _limits(one: Foreseen) -> str:
    limits = [
        f"{one.timeout:g} s" if one.timeout else "",
        f"{one.attempt_timeout:g} s an attempt" if one.attempt_timeout else "",
        f"{one.attempts} {'attempt' if one.attempts == 1 else 'attempts'}" if one.attempts else "",
    ]
    said = ", ".join(filter(None, limits))
    return f"; at most {said}" if said else ""


def _node(node: Node) -> str:
    names = [node.id] if node.id == node.address else [node.id, node.address]
    facts = [f"version {node.version}" if node.version else "", f"zone {node.zone or ''}"]
    known = [fact for fact in facts if fact.partition(" ")[2]]
    return plain("  ".join([*names, *known]))
