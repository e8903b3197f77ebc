"""The DNS registries against a name server that says exactly what a test wants."""

from __future__ import annotations

import socketserver
import sys
import threading
import time
from typing import TYPE_CHECKING

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.dns import DnsRegistry
from tests.support.calls import unhurried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOA = "rpcguard.test. 600 IN SOA ns.rpcguard.test. root.rpcguard.test. 1 3600 600 86400 7"
A = "orders.rpcguard.test. 20 IN A 10.0.0.2\norders.rpcguard.test. 20 IN A 10.0.0.1"
AAAA = "orders.rpcguard.test. 12 IN AAAA fd00::1"
SRV = "_http._tcp.orders.rpcguard.test."


class NameServer:
    """Answer from records in zone-file form; `rcodes` and `special` come before them."""

    def __init__(self) -> None:
        self.records = ""
        self.additional = ""
        self.rcodes: dict[str, dns.rcode.Rcode] = {}
        self.special: Callable[[dns.message.Message, bool], bytes | None] | None = None
        self.asked: list[str] = []
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answer(self, wire: bytes, *, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{question.name} {kind}{' tcp' if tcp else ''}")
        if self.special is not None:
            return self.special(query, tcp)
        return self.response(query).to_wire()

    def response(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        question = query.question[0]
        code = self.rcodes.get(f"{question.name} {dns.rdatatype.to_text(question.rdtype)}")
        if code is not None:
            response.set_rcode(code)
            return response
        zone = rrsets(self.records)
        name = question.name
        for rrset in zone:
            if rrset.name == name and rrset.rdtype == dns.rdatatype.CNAME:
                response.answer.append(rrset)
                name = rrset[0].target
        response.answer += [r for r in zone if (r.name, r.rdtype) == (name, question.rdtype)]
        response.additional += rrsets(self.additional)
        if not response.answer:
            response.authority += rrsets(SOA)
            known = any(rrset.name == question.name for rrset in zone)
            response.set_rcode(dns.rcode.NOERROR if known else dns.rcode.NXDOMAIN)
        return response


def rrsets(text: str) -> list[dns.rrset.RRset]:
    found: dict[tuple[str, str], list[str]] = {}
    ttls: dict[tuple[str, str], int] = {}
    for line in text.splitlines():
        name, ttl, _, kind, data = line.split(maxsplit=4)
        found.setdefault((name, kind), []).append(data)
        ttls[name, kind] = int(ttl)
    return [
        dns.rrset.from_text_list(name, ttls[name, kind], "IN", kind, data)
        for (name, kind), data in found.items()
    ]


class _UDP(socketserver.BaseRequestHandler):
    server: _UDPServer

    def handle(self) -> None:
        data, sock = self.request
        answer = self.server.name_server.answer(data, tcp=False)
        if answer is not None:
            sock.sendto(answer, self.client_address)


class _TCP(socketserver.StreamRequestHandler):
    server: _TCPServer

    def handle(self) -> None:
        data = self.rfile.read(int.from_bytes(self.rfile.read(2)))
        answer = self.server.name_server.answer(data, tcp=True)
        if answer is not None:
            self.wfile.write(len(answer).to_bytes(2) + answer)


class _UDPServer(socketserver.ThreadingUDPServer):
    daemon_threads = True
    name_server: NameServer


class _TCPServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    name_server: NameServer


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the second record type for as long as a busy machine may take to give it."""
    monkeypatch.setattr("rpcguard.registries.dns._OTHER_HALF", 20.0)


@pytest.fixture
def new_name_server() -> Iterator[Callable[[], NameServer]]:
    running: list[socketserver.BaseServer] = []

    def start() -> NameServer:
        made = NameServer()
        tcp = _TCPServer(("127.0.0.1", 0), _TCP)
        made.port = tcp.server_address[1]
        udp = _UDPServer(("127.0.0.1", made.port), _UDP)
        for server in (tcp, udp):
            server.name_server = made
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            running.append(server)
        return made

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def ns(new_name_server: Callable[[], NameServer]) -> NameServer:
    return new_name_server()


def registry_of(ns: NameServer, timeout: float = 20.0) -> DnsRegistry:
    return DnsRegistry.from_url(f"dns://{ns.address}/{{service}}.rpcguard.test?timeout={timeout}")


async def fetch(
    ns: NameServer, options: str = "", service: str = "orders", scheme: str = "dns"
) -> Snapshot:
    path = "{service}.rpcguard.test" if scheme == "dns" else "_http._tcp.{service}.rpcguard.test"
    options = options if "timeout=" in options else f"timeout=20&{options}"
    registry = registry_from_url(f"{scheme}://{ns.address}/{path}?{options}")
    return await registry.fetch(service)


async def fetch_srv(ns: NameServer, options: str = "") -> Snapshot:
    return await fetch(ns, options, scheme="dns+srv")


# --- addresses


async def test_both_families_are_listed_in_order(ns: NameServer) -> None:
    """Proves that A and AAAA make one sorted list, with the port and scheme of the URL."""
    ns.records = f"{A}\n{AAAA}"
    snapshot = await fetch(ns, "port=8080&scheme=https")
    assert snapshot.nodes == (
        Node("10.0.0.1", 8080, scheme="https"),
        Node("10.0.0.2", 8080, scheme="https"),
        Node("fd00::1", 8080, scheme="https"),
    )
    assert [node.id for node in snapshot.nodes][::2] == ["10.0.0.1:8080", "[fd00::1]:8080"]
    assert snapshot.authoritative
    assert snapshot.known


@pytest.mark.parametrize(("options", "port"), [("", 80), ("scheme=https", 443)])
async def test_the_port_follows_the_scheme(ns: NameServer, options: str, port: int) -> None:
    """Proves the port of nodes where the URL gives none."""
    ns.records = A
    assert {node.port for node in (await fetch(ns, options)).nodes} == {port}


@pytest.mark.parametrize(("family", "count"), [("4", 2), ("6", 1), ("any", 3)])
async def test_only_the_wanted_family_is_asked_for(ns: NameServer, family: str, count: int) -> None:
    """Proves that `family` saves the other question."""
    ns.records = f"{A}\n{AAAA}"
    assert len((await fetch(ns, f"family={family}")).nodes) == count
    assert len(ns.asked) == (2 if family == "any" else 1)


@pytest.mark.parametrize(
    ("options", "age"), [("", 12), ("max_ttl=10", 10), ("min_ttl=15", 15), ("family=4", 20)]
)
async def test_the_lowest_ttl_within_bounds_is_the_interval(
    ns: NameServer, options: str, age: float
) -> None:
    """Proves that TTLs become the advised interval, with floor and cap."""
    ns.records = f"{A}\n{AAAA}"
    assert (await fetch(ns, options)).max_age == age


async def test_the_ttl_of_an_alias_counts(ns: NameServer) -> None:
    """Proves that a CNAME is followed and that its TTL bounds the interval."""
    ns.records = (
        "orders.rpcguard.test. 3 IN CNAME real.rpcguard.test.\nreal.rpcguard.test. 20 IN A 10.0.0.9"
    )
    snapshot = await fetch(ns)
    assert [node.host for node in snapshot.nodes] == ["10.0.0.9"]
    assert snapshot.max_age == 3


async def test_a_name_that_does_not_exist_is_an_unknown_service(ns: NameServer) -> None:
    """Proves NXDOMAIN, with the negative TTL of the SOA record (7 s) as the interval."""
    assert await fetch(ns) == Snapshot((), known=False, max_age=7)


async def test_a_name_without_addresses_is_an_empty_service(ns: NameServer) -> None:
    """Proves NODATA: known, and empty with authority."""
    ns.records = 'orders.rpcguard.test. 20 IN TXT "here"'
    assert await fetch(ns) == Snapshot((), max_age=7)


@pytest.mark.parametrize("code", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
async def test_an_absence_without_soa_is_not_kept(ns: NameServer, code: dns.rcode.Rcode) -> None:
    """RFC 2308, section 5: what no SOA record gives a time to is asked again at the next poll."""
    ns.rcodes = {f"orders.rpcguard.test. {kind}": code for kind in ("A", "AAAA")}
    known = code == dns.rcode.NOERROR
    assert await fetch(ns) == Snapshot((), known=known, max_age=None)


@pytest.mark.parametrize("service", ["", "a..b", "x" * 64, "ü\udc80"])
async def test_a_name_that_no_record_can_have_is_never_asked_for(
    ns: NameServer, service: str
) -> None:
    """Proves that impossible names are unknown services, not errors."""
    assert not (await fetch(ns, service=service)).known
    assert ns.asked == []


# --- answers that are none


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
async def test_a_refusal_is_an_error_and_no_empty_list(
    ns: NameServer, code: dns.rcode.Rcode
) -> None:
    """Proves that the last list stays in use while a server cannot answer."""
    ns.rcodes = {f"orders.rpcguard.test. {kind}": code for kind in ("A", "AAAA")}
    with pytest.raises(RegistryError, match=dns.rcode.to_text(code)):
        await fetch(ns)


async def test_a_record_type_that_always_fails_stops_no_removal(ns: NameServer) -> None:
    """Nodes come, leave, and are all gone by A alone, though AAAA is SERVFAIL each time."""
    ns.rcodes = {"orders.rpcguard.test. AAAA": dns.rcode.SERVFAIL}
    registry = registry_of(ns)
    for records, addresses in (
        (A, ["10.0.0.1", "10.0.0.2"]),
        ("orders.rpcguard.test. 20 IN A 10.0.0.3", ["10.0.0.3"]),
        ('orders.rpcguard.test. 20 IN TXT "nobody"', []),
        ('orders.rpcguard.test. 20 IN TXT "nobody"', []),
        ("", []),
        (A, ["10.0.0.1", "10.0.0.2"]),
    ):
        ns.records = records
        snapshot = await registry.fetch("orders")
        assert [node.host for node in snapshot.nodes] == addresses
        assert snapshot.authoritative


async def test_what_a_record_type_gave_stays_while_it_fails(ns: NameServer) -> None:
    """An outage of AAAA costs no IPv6 node, and A goes on to be believed."""
    ns.records = f"{A}\n{AAAA}"
    registry = registry_of(ns)
    await registry.fetch("orders")
    ns.rcodes = {"orders.rpcguard.test. AAAA": dns.rcode.SERVFAIL}
    ns.records = "orders.rpcguard.test. 20 IN A 10.0.0.3"
    snapshot = await registry.fetch("orders")
    assert [node.host for node in snapshot.nodes] == ["10.0.0.3", "fd00::1"]
    assert snapshot.authoritative
    ns.rcodes = {}
    assert [node.host for node in (await registry.fetch("orders")).nodes] == ["10.0.0.3"]
    ns.rcodes = {f"orders.rpcguard.test. {kind}": dns.rcode.SERVFAIL for kind in ("A", "AAAA")}
    with pytest.raises(RegistryError):
        await registry.fetch("orders")


@pytest.mark.parametrize("silent", [dns.rdatatype.A, dns.rdatatype.AAAA])
async def test_a_record_type_that_is_never_answered_delays_nothing(
    ns: NameServer, silent: dns.rdatatype.RdataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One type has given addresses: the other, for which a question has an hour, is let go."""
    monkeypatch.setattr("rpcguard.registries.dns._OTHER_HALF", 0.3)
    ns.records = f"{A}\n{AAAA}"

    def reply(query: dns.message.Message, _tcp: bool) -> bytes | None:
        return None if query.question[0].rdtype == silent else ns.response(query).to_wire()

    ns.special = reply
    snapshot = await registry_of(ns, timeout=3600).fetch("orders")
    assert len(snapshot.nodes) == (1 if silent == dns.rdatatype.A else 2)
    assert snapshot.authoritative


async def test_an_empty_half_waits_for_the_other(
    ns: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service with IPv6 alone is found however late its addresses come."""
    monkeypatch.setattr("rpcguard.registries.dns._OTHER_HALF", 0.0)
    ns.records = AAAA

    def reply(query: dns.message.Message, _tcp: bool) -> bytes | None:
        if query.question[0].rdtype == dns.rdatatype.AAAA:
            time.sleep(0.2)
        return ns.response(query).to_wire()

    ns.special = reply
    assert [node.host for node in (await fetch(ns)).nodes] == ["fd00::1"]


async def test_no_address_and_a_failed_question_is_an_error(ns: NameServer) -> None:
    """Proves that an empty family is no list while the other one is not known."""
    ns.records = 'orders.rpcguard.test. 20 IN TXT "here"'
    ns.rcodes = {"orders.rpcguard.test. AAAA": dns.rcode.SERVFAIL}
    with pytest.raises(RegistryError):
        await fetch(ns)


def _garbage(query: dns.message.Message, tcp: bool) -> bytes:
    return b"\xff" * 40


def _other_id(query: dns.message.Message, tcp: bool) -> bytes:
    response = dns.message.make_response(query)
    response.id = query.id ^ 1
    return response.to_wire()


def _cut(query: dns.message.Message, tcp: bool) -> bytes:
    response = dns.message.make_response(query)
    response.answer += rrsets(A)
    return response.to_wire()[:-3]


def _silence(query: dns.message.Message, tcp: bool) -> None:
    return None


@pytest.mark.parametrize("special", [_garbage, _other_id, _cut, _silence])
async def test_a_broken_answer_is_an_error_in_time(
    ns: NameServer, special: Callable[[dns.message.Message, bool], bytes | None]
) -> None:
    """Proves that nonsense, strangers' answers and silence end with an error within the timeout."""
    ns.special = special
    with pytest.raises(RegistryError):
        await fetch(ns, "family=4&timeout=0.1")


async def test_a_cut_answer_is_asked_for_by_tcp(ns: NameServer) -> None:
    """Proves that a truncated UDP answer is never taken for the list."""
    records = "\n".join(
        f"orders.rpcguard.test. 20 IN A 10.0.{i // 250}.{i % 250}" for i in range(900)
    )

    def cut_on_udp(query: dns.message.Message, tcp: bool) -> bytes:
        ns.records = records if tcp else A
        response = ns.response(query)
        if not tcp:
            response.flags |= dns.flags.TC
        return response.to_wire()

    ns.special = cut_on_udp
    assert len((await fetch(ns, "family=4")).nodes) == 900
    assert ns.asked == ["orders.rpcguard.test. A", "orders.rpcguard.test. A tcp"]


async def test_tcp_can_be_asked_for(ns: NameServer) -> None:
    """Proves `protocol=tcp`, for servers that cut UDP answers without saying so."""
    ns.records = A
    assert len((await fetch(ns, "family=4&protocol=tcp")).nodes) == 2
    assert ns.asked == ["orders.rpcguard.test. A tcp"]


async def test_the_server_that_answers_is_asked_first(
    new_name_server: Callable[[], NameServer],
) -> None:
    """Proves that a failing name server is passed over, and from then on not waited for."""

    async def scenario(seconds: float) -> bool:
        bad, good = new_name_server(), new_name_server()
        bad.special = _silence
        good.records = A
        places = f"dns://{bad.address},{good.address}"
        registry = registry_from_url(
            f"{places}/{{service}}.rpcguard.test?family=4&timeout={seconds}"
        )
        try:
            found = [len((await registry.fetch("orders")).nodes) for _ in range(3)]
        except RegistryError:  # the good one had a third of the time
            return False
        assert found == [2, 2, 2]
        return (len(bad.asked), len(good.asked)) == (1, 3)

    await unhurried(scenario, 0.9)


# --- SRV


async def test_srv_records_give_port_priority_weight_and_target(ns: NameServer) -> None:
    """Proves the mapping, with addresses from the additional section and no more questions."""
    ns.records = f"{SRV} 20 IN SRV 10 60 8080 n1.rpcguard.test.\n" + (
        f"{SRV} 20 IN SRV 20 5 9090 n2.rpcguard.test."
    )
    ns.additional = "n1.rpcguard.test. 15 IN A 10.0.0.1\nn2.rpcguard.test. 20 IN AAAA fd00::2"
    snapshot = await fetch_srv(ns)
    first, second = snapshot.nodes
    assert (first.id, first.priority, first.weight) == ("10.0.0.1:8080", 10, 60.0)
    assert (second.id, second.priority, second.weight) == ("[fd00::2]:9090", 20, 5.0)
    assert first.metadata == {"target": "n1.rpcguard.test"}
    assert snapshot.max_age == 15
    assert ns.asked == [f"{SRV} SRV"]


async def test_targets_without_addresses_are_asked_for(ns: NameServer) -> None:
    """Proves that targets are resolved, and that their addresses share the weight."""
    ns.records = (
        f"{SRV} 20 IN SRV 0 8 8080 n1.rpcguard.test.\n"
        "n1.rpcguard.test. 20 IN A 10.0.0.1\nn1.rpcguard.test. 20 IN A 10.0.0.2"
    )
    snapshot = await fetch_srv(ns)
    assert [(node.host, node.weight) for node in snapshot.nodes] == [
        ("10.0.0.1", 4.0),
        ("10.0.0.2", 4.0),
    ]


async def test_a_weight_of_zero_is_little_and_not_none(ns: NameServer) -> None:
    """Proves that 0, which would drain a node here, keeps the meaning of RFC 2782."""
    ns.records = "\n".join(
        f"{SRV} 20 IN SRV {priority} {weight} 80 n{number}.rpcguard.test."
        for number, (priority, weight) in enumerate([(0, 0), (0, 9), (1, 0), (1, 0)])
    )
    ns.additional = "\n".join(f"n{i}.rpcguard.test. 20 IN A 10.0.0.{i}" for i in range(4))
    assert [node.weight for node in (await fetch_srv(ns)).nodes] == [0.01, 9.0, 1.0, 1.0]


async def test_the_root_as_target_means_not_offered(ns: NameServer) -> None:
    """Proves that `.` gives a known, empty service."""
    ns.records = f"{SRV} 20 IN SRV 0 0 0 ."
    assert await fetch_srv(ns) == Snapshot((), max_age=20)


async def test_a_target_that_does_not_exist_is_left_out(ns: NameServer) -> None:
    """Proves that one dangling record costs only itself, and its negative TTL is short."""
    ns.records = (
        f"{SRV} 20 IN SRV 0 1 80 n1.rpcguard.test.\n{SRV} 20 IN SRV 0 1 80 gone.rpcguard.test."
    )
    ns.additional = "n1.rpcguard.test. 20 IN A 10.0.0.1"
    snapshot = await fetch_srv(ns)
    assert [node.host for node in snapshot.nodes] == ["10.0.0.1"]
    assert snapshot.authoritative
    assert snapshot.max_age == 7


async def test_only_dangling_targets_is_a_known_service(ns: NameServer) -> None:
    """Proves that NXDOMAIN of a target says nothing of the service."""
    ns.records = f"{SRV} 20 IN SRV 0 1 80 gone.rpcguard.test."
    assert await fetch_srv(ns) == Snapshot((), max_age=7)


async def test_a_target_that_cannot_be_asked_for_takes_authority(ns: NameServer) -> None:
    """Proves that a failing target does not remove its nodes."""
    ns.records = (
        f"{SRV} 20 IN SRV 0 1 80 n1.rpcguard.test.\n{SRV} 20 IN SRV 0 1 80 n2.rpcguard.test."
    )
    ns.additional = "n1.rpcguard.test. 20 IN A 10.0.0.1"
    ns.rcodes = {"n2.rpcguard.test. A": dns.rcode.SERVFAIL}
    snapshot = await fetch_srv(ns, "family=4")
    assert [node.host for node in snapshot.nodes] == ["10.0.0.1"]
    assert not snapshot.authoritative


async def test_an_unknown_srv_name_is_an_unknown_service(ns: NameServer) -> None:
    """Proves NXDOMAIN for SRV."""
    assert not (await fetch_srv(ns)).known


# --- the machine's own name servers, and URLs


async def test_the_search_list_of_the_machine_applies(
    ns: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that `dns:///` asks as the machine does, and reads its file anew each time."""
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\nsearch nowhere.test rpcguard.test\n")
    make = dns.asyncresolver.Resolver

    def machine(configure: bool) -> dns.asyncresolver.Resolver:
        resolver = make(filename=str(conf), configure=configure)
        resolver.port = ns.port
        return resolver

    monkeypatch.setattr(dns.asyncresolver, "Resolver", machine)
    ns.records = A
    registry = registry_from_url("dns:///?family=4")
    assert len((await registry.fetch("orders")).nodes) == 2
    conf.write_text("")
    with pytest.raises(RegistryError):
        await registry.fetch("orders")


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("dns://ns.example.org/", "not an IP address"),
        ("dns://user:pw@10.0.0.53/", "no user or password"),
        ("dns://10.0.0.53/orders.example.org", "{service}"),
        ("dns://10.0.0.53/a..{service}", "no domain name"),
        ("dns:///?port=0", "'port'"),
        ("dns:///?port=http", "'port'"),
        ("dns+srv:///?port=80", "unknown option 'port'"),
        ("dns:///?family=5", "'family' must be one of any, 4, 6"),
        ("dns:///?scheme=ftp", "'scheme'"),
        ("dns:///?protocol=quic", "'protocol'"),
        ("dns:///?min_ttl=0", "'min_ttl'"),
        ("dns:///?min_ttl=31", "min_ttl"),
        ("dns:///?timeout=-1", "'timeout'"),
    ],
)
def test_a_wrong_url_is_told_in_full(url: str, part: str) -> None:
    """Proves that the wrong part is named, a right URL shown, and no password repeated."""
    with pytest.raises(InvalidRegistryURL) as raised:
        registry_from_url(url)
    assert part in str(raised.value)
    assert f"a right one looks like {url.partition(':')[0]}://10.0.0.53/" in str(raised.value)
    assert "pw" not in str(raised.value)


def test_wrong_arguments_are_refused() -> None:
    """Proves that the constructor checks what no URL has checked."""
    with pytest.raises(ValueError, match="family"):
        DnsRegistry(family="5")
    with pytest.raises(ValueError, match="min_ttl"):
        DnsRegistry(min_ttl=0)


def test_it_says_what_it_asks() -> None:
    """Proves a repr that tells one registry from another in a log."""
    registry = registry_from_url("dns+srv://10.0.0.53,[fd00::53]:5353/")
    shown = "DnsRegistry('_http._tcp.{service}', 10.0.0.53 port 53, fd00::53 port 5353)"
    assert repr(registry) == shown


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that whoever has not installed the extra is told how."""
    monkeypatch.setitem(sys.modules, "dns.asyncbackend", None)
    monkeypatch.delitem(sys.modules, "rpcguard.registries.dns")
    with pytest.raises(ImportError, match=r"pip install 'rpcguard\[dns\]'"):
        registry_from_url("dns://10.0.0.1/")
