"""The registries `dns://` and `dns+srv://`: address and SRV records, asked for as they age."""

from __future__ import annotations

import math
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import anyio
from cachetools import LRUCache

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.urls import RegistryURL, parse_url

try:
    import dns.asyncbackend
    import dns.asyncresolver
    import dns.exception
    import dns.name
    import dns.nameserver
    import dns.rdatatype
    import dns.resolver
except ModuleNotFoundError as _missing:
    raise ImportError("dns:// needs dnspython: pip install 'rpcguard[dns]'") from _missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dns.name import Name
    from dns.rdatatype import RdataType
    from dns.rdtypes.IN.SRV import SRV

_EXAMPLES: Final = {
    "dns": "dns://10.0.0.53/{service}.svc.cluster.local?port=8080",
    "dns+srv": "dns+srv://10.0.0.53/_http._tcp.{service}.svc.cluster.local",
}
_PATTERNS: Final = {"dns": "{service}", "dns+srv": "_http._tcp.{service}"}
_PLACE: Final = "{service}"
_OPTIONS: Final = ("family", "min_ttl", "max_ttl", "protocol", "scheme", "timeout")
_A, _AAAA, _SRV = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.SRV
_MOST_KEPT: Final = 4096
"""For how many names and record types the last addresses are kept: names may come from anywhere."""
_FAMILIES: Final = {"any": (_A, _AAAA), "4": (_A,), "6": (_AAAA,)}
_AT_ONCE: Final = 32
"""How many questions of one fetch are open: more, and name servers begin to drop them."""
_OTHER_HALF: Final = 0.3
"""Seconds for the other record type once one has given addresses: what a resolver that is well
needs, and well below a poll interval where one type is never answered (RFC 4074)."""
_LEAST_WEIGHT: Final = 0.01  # RFC 2782: a weight of 0 beside others is very small, not nothing
_Addresses = LRUCache[tuple["Name", "RdataType"], list[str]]


class DnsRegistry:
    """A registry of A and AAAA, or of SRV records, asked again whenever the answer has aged.

    URL forms: `dns://10.0.0.53:53,10.0.0.54/{service}.example.org?port=8080` and
    `dns+srv://10.0.0.53/_http._tcp.{service}.example.org`. Name servers are IP addresses, asked in
    turn until one answers; without any those of `/etc/resolv.conf` are asked. `docs/registries/dns`
    has the options and what becomes of each record.

    Live: polled at the lowest TTL of an answer, within `min_ttl` and `max_ttl`. A record type that
    fails beside one that answers keeps what it gave before; NXDOMAIN is an unknown service; where
    nothing is answered (SERVFAIL, REFUSED, silence) `fetch` raises `RegistryError`, so that the
    list goes stale rather than empty (RFC 8767). Sources: RFC 1035, 2308, 2782 and 4074. Works on
    asyncio and trio; no connection outlives a `fetch`, so there is nothing to close.
    """

    def __init__(
        self,
        name_servers: Sequence[tuple[str, int]] = (),
        *,
        name: str = _PLACE,
        srv: bool = False,
        port: int = 80,
        scheme: str | None = None,
        family: str = "any",
        min_ttl: float = 1.0,
        max_ttl: float = 30.0,
        tcp: bool = False,
        timeout: float = 5.0,
    ) -> None:
        if not 0 < min_ttl <= max_ttl:
            raise ValueError(f"min_ttl must be above 0 and at most max_ttl, not {min_ttl!r}")
        if family not in _FAMILIES:
            raise ValueError(f"family must be any, 4 or 6, not {family!r}")
        self._name_servers = tuple(name_servers)
        self._name = name
        self._srv = srv
        self._port = port
        self._scheme = scheme
        self._kinds = _FAMILIES[family]
        self._ages = min_ttl, max_ttl
        self._tcp = tcp
        self._timeout = timeout
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._before: _Addresses = LRUCache(_MOST_KEPT)

    @classmethod
    def from_url(cls, url: str) -> DnsRegistry:
        """Read a `dns://` or `dns+srv://` URL; raise `InvalidRegistryURL` naming what is wrong."""
        scheme = url.partition(":")[0].lower()
        srv = scheme == "dns+srv"
        options = _OPTIONS if srv else (*_OPTIONS, "port")
        parsed = parse_url(url, example=_EXAMPLES[scheme], default_port=53, options=options)
        if parsed.username is not None or parsed.password is not None:
            raise parsed.invalid("DNS has no user or password")
        secure = parsed.choice("scheme", ("http", "https"), "") == "https"
        least, most = parsed.number("min_ttl", 1.0), parsed.number("max_ttl", 30.0)
        if least > most:
            raise parsed.invalid("min_ttl (by default 1) is above max_ttl (by default 30)")
        return cls(
            [(_ip(parsed, host), port) for host, port in parsed.hosts],
            name=_pattern(parsed),
            srv=srv,
            port=_port(parsed, 443 if secure else 80),
            scheme=parsed.query.get("scheme"),
            family=parsed.choice("family", tuple(_FAMILIES), "any"),
            min_ttl=least,
            max_ttl=most,
            tcp=parsed.choice("protocol", ("udp", "tcp"), "udp") == "tcp",
            timeout=parsed.number("timeout", 5.0),
        )

    async def fetch(self, service: str) -> Snapshot:
        """Ask for the list now; raise `RegistryError` where there is no usable answer."""
        origin = dns.name.root if self._name_servers else None  # None: the search list applies
        try:
            name = dns.name.from_text(self._name.replace(_PLACE, service), origin)
        except (dns.exception.DNSException, UnicodeError):
            return Snapshot((), known=False)  # no record can have such a name
        lookup = _Lookup(self._open(), self._kinds, tcp=self._tcp, before=self._before)
        nodes = await (self._from_srv(lookup, name) if self._srv else self._from_a(lookup, name))
        if lookup.faults and not nodes:
            raise RegistryError(f"{self}: {lookup.faults[0]}")
        shortest, longest = self._ages
        return Snapshot(
            sorted(nodes, key=lambda node: (node.priority, node.id)),
            authoritative=not lookup.faults,
            known=bool(nodes) or name not in lookup.missing,
            max_age=None if lookup.ttl == math.inf else min(max(lookup.ttl, shortest), longest),
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{host} port {port}" for host, port in self._name_servers)
        return f"DnsRegistry({self._name!r}, {shown or 'the name servers of this machine'})"

    async def _from_a(self, lookup: _Lookup, name: Name) -> list[Node]:
        found = await lookup.addresses([name])
        return [Node(address, self._port, scheme=self._scheme) for address in found[name]]

    async def _from_srv(self, lookup: _Lookup, name: Name) -> list[Node]:
        records, given = await lookup.services(name)
        bare = {record.target for record in records} - given.keys()
        addresses = {**given, **await lookup.addresses(bare)}
        weights = _weights(records)
        return [
            Node(
                address,
                record.port,
                scheme=self._scheme,
                priority=record.priority,
                weight=weights[record] / len(addresses[record.target]),
                metadata={"target": record.target.to_text(omit_final_dot=True)},
            )
            for record in records
            for address in addresses[record.target]
            if record.port
        ]

    def _open(self) -> dns.asyncresolver.Resolver:
        if self._resolver is not None:
            return self._resolver
        try:
            resolver = dns.asyncresolver.Resolver(configure=not self._name_servers)
        except (dns.exception.DNSException, OSError) as error:
            raise RegistryError(f"{self}: {error}") from error
        if self._name_servers:
            resolver.nameservers = [
                dns.nameserver.Do53Nameserver(host, port) for host, port in self._name_servers
            ]
            self._resolver = resolver  # that of the machine is not kept: its file changes
        resolver.lifetime = self._timeout
        # A server that is silent must leave time for the others, and UDP for one more try.
        resolver.timeout = self._timeout / (len(resolver.nameservers) + 1)
        return resolver


class _Lookup:
    """The questions of one fetch, with the lowest TTL, what is missing and what went wrong.

    A record type that fails takes nothing away: beside the answer to the other type stands what
    this one gave `before`, and is as good as it was.
    """

    def __init__(
        self,
        resolver: dns.asyncresolver.Resolver,
        kinds: tuple[RdataType, ...],
        *,
        tcp: bool,
        before: _Addresses,
    ) -> None:
        self._before = before
        self._at_once = anyio.CapacityLimiter(_AT_ONCE)
        self.ttl = math.inf
        self.missing: set[Name] = set()
        self.faults: list[str] = []
        self._resolver = resolver
        self._kinds = kinds
        self._tcp = tcp

    async def services(self, name: Name) -> tuple[list[SRV], dict[Name, list[str]]]:
        """Give the SRV records of a name, and the addresses that came along with them."""
        try:
            answer = await self._answer(name, _SRV)
        except Exception as error:  # dnspython may stumble over an answer by errors of any kind
            self.faults.append(str(error) or type(error).__name__)
            return [], {}
        if answer is None or answer.rrset is None:
            return [], {}
        records = [record for record in answer.rrset if record.target != dns.name.root]
        targets = {record.target for record in records}
        given: dict[Name, list[str]] = {}
        for rrset in answer.response.additional:
            if rrset.name in targets and rrset.rdtype in self._kinds:
                given.setdefault(rrset.name, []).extend(record.to_text() for record in rrset)
                self.ttl = min(self.ttl, rrset.ttl)
        return records, given

    async def addresses(self, names: Iterable[Name]) -> dict[Name, list[str]]:
        """Give the addresses of names; an empty list where there are none."""
        found: dict[Name, list[str]] = {name: [] for name in names}

        async def ask(name: Name) -> None:
            found[name] = await self._addresses_of(name)

        async with anyio.create_task_group() as group:
            for name in found:
                group.start_soon(ask, name)
        return found

    async def _addresses_of(self, name: Name) -> list[str]:
        """Ask for each record type at once, and wait for the last only as long as it is worth."""
        given: dict[RdataType, list[str]] = {}
        faults: dict[RdataType, str] = {}

        async def ask(kind: RdataType) -> None:
            try:
                async with self._at_once:
                    answer = await self._answer(name, kind)
            except Exception as error:  # dnspython may stumble over an answer by any error
                faults[kind] = str(error) or type(error).__name__
            else:
                rrset = answer.rrset if answer is not None else None
                given[kind] = [record.to_text() for record in rrset or ()]
            if len(given) + len(faults) == len(self._kinds):
                group.cancel_scope.cancel()
            elif given.get(kind):
                await anyio.sleep(_OTHER_HALF)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for kind in self._kinds:
                group.start_soon(ask, kind)
        return self._settled(name, given, faults)

    def _settled(
        self, name: Name, given: dict[RdataType, list[str]], faults: dict[RdataType, str]
    ) -> list[str]:
        gone = name in self.missing and not any(given.values())  # no name, no record of any type
        for kind, some in given.items():
            # What has never given an address is not kept: it then proves nothing by giving none.
            if some or (name, kind) in self._before:
                self._before[name, kind] = some
        settled = any((name, kind) in self._before for kind in given)
        if faults and not settled:
            self.faults += faults.values()
            return []
        lacking = () if gone else [kind for kind in self._kinds if kind not in given]
        kept = (self._before.get((name, kind), []) for kind in lacking)
        return [address for some in (*given.values(), *kept) for address in some]

    async def _answer(self, name: Name, kind: RdataType) -> dns.resolver.Answer | None:
        # Given by hand: dnspython would keep the library of the first loop for the whole process.
        backend = dns.asyncbackend.get_backend(dns.asyncbackend.sniff())
        try:
            answer = await self._resolver.resolve(
                name, kind, tcp=self._tcp, raise_on_no_answer=False, search=True, backend=backend
            )
        except dns.resolver.NXDOMAIN as missing:
            self.missing.add(name)
            self._keep(missing.responses().values())  # type: ignore[no-untyped-call]
            return None
        self._keep([answer.response])
        self._prefer(answer.nameserver, answer.port)
        return answer

    def _keep(self, responses: Iterable[Any]) -> None:
        # RFC 2308 §5: an absence is kept for as long as its SOA record says, else not at all.
        for found, authority in ((one.resolve_chaining(), one.authority) for one in responses):
            if found.answer or any(one.rdtype == dns.rdatatype.SOA for one in authority):
                self.ttl = min(self.ttl, found.minimum_ttl)

    def _prefer(self, address: str | None, port: int | None) -> None:
        # Else every question would first wait for a name server that is dead.
        self._resolver.nameservers = sorted(
            self._resolver.nameservers, key=lambda server: _place(server) != (address, port)
        )


def _place(server: str | dns.nameserver.Nameserver) -> tuple[str, int]:
    if isinstance(server, str):
        return server, 53
    return server.answer_nameserver(), server.answer_port()


def _weights(records: list[SRV]) -> dict[SRV, float]:
    weighed = {record.priority for record in records if record.weight}
    return {
        record: float(record.weight) or (_LEAST_WEIGHT if record.priority in weighed else 1.0)
        for record in records
    }


def _pattern(parsed: RegistryURL) -> str:
    pattern = unquote(parsed.path).strip("/") or _PATTERNS[parsed.scheme]
    if _PLACE not in pattern:
        raise parsed.invalid(f"the path must name the records of a service, with {_PLACE} in it")
    try:
        dns.name.from_text(pattern.replace(_PLACE, "service"))
    except (dns.exception.DNSException, UnicodeError):
        raise parsed.invalid("the path is no domain name") from None
    return pattern


def _ip(parsed: RegistryURL, host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        raise parsed.invalid(f"name server {host!r} is not an IP address") from None


def _port(parsed: RegistryURL, default: int) -> int:
    port = parsed.query.get("port", str(default))
    if not (port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        raise parsed.invalid("option 'port' must be 1 to 65535")
    return int(port)
