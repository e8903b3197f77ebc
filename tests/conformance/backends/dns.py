"""DNS: address and SRV records of a Knot server, changed by dynamic updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports
from tests.support.servers.knot import Knot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rpcguard._core.nodes.node import Node

Record = tuple[str, str, str]
_AT_ONCE = 300  # a DNS message has 64 KiB


class DnsBackend(Backend):
    """A and AAAA records with a TTL of 0, so that the caller's own floor is the interval."""

    name = "dns"
    server_class = Knot
    capabilities = frozenset(
        {"change", "unknown", "empty", "outage", "wipe", "cluster", "bulk", "crash"}
    )

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._dead_port = free_ports(1)[0]
        self._services: dict[str, dict[str, Node]] = {}
        self._published: dict[str, set[Record]] = {}

    @property
    def server(self) -> Knot:
        assert isinstance(self._server, Knot)
        return self._server

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        return (
            f"dns://{self._members(dead_member)}/{{service}}.rpcguard.test?port={self._port}&"
            + ("min_ttl=0.1&timeout=3")
        )

    def register(self, service: str, node: Node) -> None:
        self.register_all(service, [node])

    def register_all(self, service: str, nodes: list[Node]) -> None:
        self._services.setdefault(service, {}).update((node.id, node) for node in nodes)
        self._publish(service)

    def deregister(self, service: str, node_id: str) -> None:
        del self._services[service][node_id]
        self._publish(service)

    def crash(self, service: str, node_id: str) -> None:
        self.deregister(service, node_id)  # what a health-checking DNS server does

    def empty(self, service: str) -> None:
        self._services[service] = {}
        self._publish(service)

    def wipe_server(self) -> None:
        super().wipe_server()
        self._services.clear()
        self._published.clear()

    def _members(self, dead_member: bool) -> str:
        alive = f"127.0.0.1:{self.server.port}"
        return f"127.0.0.1:{self._dead_port},{alive}" if dead_member else alive

    def _records(self, service: str) -> Iterator[Record]:
        yield service, "TXT", "a-name-that-exists"
        for node in self._services[service].values():
            yield service, "AAAA" if ":" in node.host else "A", node.host

    def _publish(self, service: str) -> None:
        wanted, before = set(self._records(service)), self._published.get(service, set())
        changes = [(False, record) for record in sorted(before - wanted)]
        changes += [(True, record) for record in sorted(wanted - before)]
        for begin in range(0, len(changes), _AT_ONCE):
            update = self.server.new_update()
            for added, (name, kind, data) in changes[begin : begin + _AT_ONCE]:
                if added:
                    update.add(name, 0, kind, data)
                else:
                    update.delete(name, kind, data)
            self.server.update(update)
        self._published[service] = wanted


class SrvBackend(DnsBackend):
    """SRV records, whose targets are names of their own."""

    name = "dns+srv"
    capabilities = DnsBackend.capabilities | {"weight", "update"}

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        members = self._members(dead_member)
        return f"dns+srv://{members}/_http._tcp.{{service}}.rpcguard.test?min_ttl=0.1&timeout=3"

    def _records(self, service: str) -> Iterator[Record]:
        name = f"_http._tcp.{service}"
        yield name, "TXT", "a-name-that-exists"
        for node in self._services[service].values():
            target = f"n{node.host.replace('.', '-')}"
            yield target, "A", node.host
            yield name, "SRV", f"0 {node.weight:.0f} {node.port} {target}"


backends = (DnsBackend, SrvBackend)
