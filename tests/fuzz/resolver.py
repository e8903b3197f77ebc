"""A name server whose answers are made of an input."""

from __future__ import annotations

import asyncio
import atexit
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset

from rpcguard.registries.dns import DnsRegistry
from tests.fuzz.draw import Draw

if TYPE_CHECKING:
    from rpcguard._core.nodes.snapshot import Snapshot

_KINDS = (
    dns.rdatatype.A,
    dns.rdatatype.AAAA,
    dns.rdatatype.SRV,
    dns.rdatatype.CNAME,
    dns.rdatatype.SOA,
)
_GOOD = {
    dns.rdatatype.A: b"\x0a\x00\x00\x01",
    dns.rdatatype.AAAA: bytes(15) + b"\x01",
    dns.rdatatype.SRV: b"\x00\x01\x00\x05\x1f\x90\x02n1\x00",
    dns.rdatatype.CNAME: b"\x02n1\x00",
    dns.rdatatype.SOA: b"\x00\x00" + bytes(20),
}


class Answering(dns.nameserver.Nameserver):
    """Answer each question with records of the input, or with its bytes as they are."""

    def __init__(self) -> None:
        self.draw = Draw(b"")

    def __str__(self) -> str:
        return "10.0.0.53"

    def kind(self) -> str:
        return "input"

    def is_always_max_size(self) -> bool:
        return True

    def answer_nameserver(self) -> str:
        return "10.0.0.53"

    def answer_port(self) -> int:
        return 53

    async def async_query(self, request: dns.message.QueryMessage, *_: Any, **__: Any) -> Any:
        draw = self.draw
        if draw.byte() == 255:
            try:
                response = dns.message.from_wire(draw.rest())
            except Exception as error:  # dnspython does the same with whatever a server sends
                raise dns.exception.FormError from error
            response.question = request.question
            return response
        response = dns.message.make_response(request)
        response.set_rcode(draw.choice((0, 0, 0, 0, 3, 2, 5)))
        sections = response.answer, response.answer, response.additional, response.authority
        asked = request.question[0]
        kinds = (asked.rdtype, asked.rdtype, *_KINDS)
        for _ in range(draw.byte() % 6):
            section, kind = draw.choice(sections), draw.choice(kinds)
            owner = asked.name if draw.byte() < 128 else dns.name.from_text("n1.")
            data = _GOOD.get(kind, b"")
            if draw.byte() > 128:
                data = bytes(draw.byte() for _ in range(draw.byte() % 24))
            try:
                rdata = dns.rdata.from_wire(dns.rdataclass.IN, kind, data, 0, len(data))
                ttl = draw.byte() << draw.byte() % 24
                section.append(dns.rrset.from_rdata(owner, ttl, rdata))
            except Exception:  # no record: dnspython would have refused the message
                continue
        return response


class Questions:
    """Ask as `DnsRegistry` does, on a loop that is kept."""

    def __init__(self, path: str, *, srv: bool) -> None:
        self.server = Answering()
        self._registry = DnsRegistry([("10.0.0.53", 53)], name=path, srv=srv)
        self._resolver = self._registry._open()
        self._resolver.nameservers = [self.server]
        self._runner = asyncio.Runner()
        atexit.register(self._runner.close)

    def ask(self, draw: Draw) -> Snapshot:
        """Give the list that the input makes; raise what `fetch` raises."""
        self.server.draw = draw
        self._resolver.nameservers = [self.server]
        return self._runner.run(self._registry.fetch("orders"))
