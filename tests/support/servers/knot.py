"""Knot DNS, an authoritative name server that takes dynamic updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.query
import dns.rcode
import dns.update

from tests.support.servers.base import Server, cache, debian_package, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PACKAGES = ("knot", "libknot13", "libdnssec9", "libzscanner4", "liburcu8", "libxdp1", "libbpf1")

_CONFIG = """\
server:
    listen: 127.0.0.1@{port}
    rundir: {directory}
log:
  - target: stderr
    any: info
database:
    storage: {data}
acl:
  - id: local
    address: 127.0.0.1
    action: update
zone:
  - domain: {zone}
    storage: {data}
    file: zone
    zonefile-sync: 0
    acl: local
"""
_EMPTY_ZONE = """\
@ 5 SOA ns hostmaster 1 3600 600 86400 0
@ 5 NS ns
ns 5 A 127.0.0.1
"""


class Knot(Server):
    """Serve one zone over UDP and TCP; `update` changes it as a deployment would."""

    name = "knot"
    zone = "rpcguard.test."

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_ports(1)[0]

    @classmethod
    def get(cls) -> None:
        debian_package("knot", _PACKAGES)

    @classmethod
    def available(cls) -> bool:
        return cls._binary().is_file()

    def command(self) -> Sequence[str | Path]:
        return [self._binary(), "-c", self.directory / "knot.conf"]

    def start(self) -> None:
        zone = self.data / "zone"
        if not zone.exists():
            zone.write_text(_EMPTY_ZONE)
        config = _CONFIG.format(
            port=self.port, directory=self.directory, data=self.data, zone=self.zone
        )
        (self.directory / "knot.conf").write_text(config)
        libraries = cache("knot/usr/lib/x86_64-linux-gnu")
        self.launch(self.command(), env={"LD_LIBRARY_PATH": str(libraries)})
        self.wait(self.answers)

    def answers(self) -> bool:
        query = dns.message.make_query(self.zone, "SOA")
        response = dns.query.udp(query, "127.0.0.1", timeout=0.5, port=self.port)
        return response.rcode() == dns.rcode.NOERROR and bool(response.answer)

    def new_update(self) -> dns.update.UpdateMessage:
        """Give an empty update of the zone, to be filled in and given to `update`."""
        return dns.update.UpdateMessage(self.zone)

    def update(self, update: dns.update.UpdateMessage) -> None:
        """Change the zone; it is served when this returns."""
        answer = dns.query.tcp(update, "127.0.0.1", timeout=20.0, port=self.port)
        assert answer.rcode() == dns.rcode.NOERROR, dns.rcode.to_text(answer.rcode())

    @staticmethod
    def _binary() -> Path:
        return cache("knot/usr/sbin/knotd")


servers = (Knot,)
