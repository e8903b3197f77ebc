"""What a service is called: in a URL, and in the registry."""

from __future__ import annotations

import ssl

import pytest

from rpcguard import MembershipPolicy, Node, Snapshot
from rpcguard._wire.tls import TlsSession
from rpcguard.registries.static import StaticRegistry
from tests.support.library import Transport, http


class Asked:
    """A registry that keeps by which names it is asked, for lists and for single nodes."""

    def __init__(self):
        self.names = set()

    async def fetch(self, service):
        self.names.add(service)
        return Snapshot([Node("127.0.0.1", 1)])

    async def check(self, service, node):
        self.names.add(f"check {service}")
        return node


@pytest.mark.parametrize("given", ["orders", "Orders", "orders."])
def test_a_map_gives_names_that_no_url_can_spell(given):
    """The registry hears its own name, callers and views go on with theirs."""
    registry = Asked()
    with Transport(registry, names={given: "SHOP@@OrderService"}) as transport:
        transport.wait_ready("orders", timeout=20)
        transport.wait_ready("bills", timeout=20)
        assert [view.name for view in transport.services()] == ["orders", "bills"]
    assert registry.names == {"SHOP@@OrderService", "bills"}


def test_a_name_that_is_none_is_an_error():
    """An empty name would stand for a call without a host."""
    with pytest.raises(ValueError, match="names must be names of services, not ''"):
        Transport(Asked(), names={"": "Orders"})


def test_a_dot_at_the_end_is_no_part_of_a_name(make_node):
    """`http://orders./` and `http://orders/` are calls to one service."""
    node = make_node()
    registry = f"static:///orders=127.0.0.1:{node.port}"
    with http.Client(transport=Transport(registry)) as client:
        for host in ("orders..", "orders.", "orders", "ORDERS."):
            assert client.get(f"http://{host}/").status_code == 200
        transport = client._transport
        assert [view.name for view in transport.services()] == ["orders"]
        assert len(transport.nodes("orders.")) == 1


class ByPort(Asked):
    """Such a registry, that is asked by host and port."""

    by_port = True


def test_a_host_is_asked_for_without_a_dot_whoever_comes_first():
    """With one the search list of a resolver is left out, and `/etc/hosts` has no such name."""
    registry = ByPort()
    with http.Client(transport=Transport(registry)) as client:
        for host in ("orders..", "orders"):
            with pytest.raises(http.ConnectError):
                client.get(f"http://{host}:8080/")
        client._transport.nodes("orders.:8080")
    assert registry.names <= {"orders:8080", "check orders:8080"}


def test_an_address_is_one_in_either_case():
    """The letters of an IPv6 address stay in a URL as they are written."""
    registry = Asked()
    with http.Client(transport=Transport(registry)) as client:
        for host in ("[2001:DB8::A]", "[2001:db8::a]"):
            with pytest.raises(http.ConnectError):
                client.get(f"http://{host}/")
        assert len(client._transport.nodes("2001:DB8::A")) == 1
    assert registry.names <= {"2001:db8::a", "check 2001:db8::a"}


LETTERS, ASCII = "shop.bücher.example", "shop.xn--bcher-kva.example"
CALLED = http.URL(f"http://{LETTERS}/").host  # the libraries differ in it


@pytest.mark.parametrize("said", [LETTERS, "SHOP.Bücher.example.", ASCII])
@pytest.mark.parametrize("before", [True, False])
def test_a_service_is_one_however_it_is_spelt(make_node, said, before):
    """A URL has such a host in ASCII; what a user says of it counts for its calls all the same."""
    gone, stays = make_node(), make_node()
    registry = f"static:///{LETTERS}=127.0.0.1:{gone.port},127.0.0.1:{stays.port}"
    with http.Client(transport=Transport(registry)) as client:
        transport = client._transport
        if before:
            transport.wait_ready(said, timeout=20)
        client.get(f"http://{LETTERS}/")
        transport.mark_offline(said, f"127.0.0.1:{gone.port}")
        picked = {
            client.get(f"http://{LETTERS}/").extensions["rpcguard"].node.port for _ in range(20)
        }
        assert picked == {stays.port}
        assert len(transport.services()) == 1
        assert len(transport.explain(said)) == 21


@pytest.mark.parametrize("said", [LETTERS, "SHOP.Bücher.example.", ASCII])
def test_a_registry_hears_the_name_that_calls_have(said):
    """So do sticky shares, which are the same in every process, whatever was said first in it."""
    registry = Asked()
    with Transport(registry) as transport:
        transport.wait_ready(said, timeout=20)
        assert [view.name for view in transport.services()] == [CALLED]
    assert registry.names == {CALLED}


@pytest.mark.parametrize("said", ["xn--a", "bücher..shop", "shop.xn--a", "Bücher/shop"])
def test_what_is_no_host_has_no_nodes(said):
    """No call can have such a name; it is asked for as it is said."""
    with Transport(f"static:///{LETTERS}=127.0.0.1:1") as transport:
        assert transport.nodes(said) == []


@pytest.mark.parametrize("given", [LETTERS, ASCII])
def test_a_map_gives_names_however_they_are_spelt(given):
    """The registry hears its own name for calls to either spelling."""
    registry = Asked()
    made = http.Client(transport=Transport(registry, names={given: "SHOP"}))
    with made as client, pytest.raises(http.ConnectError):
        client.get(f"http://{LETTERS}/")
    assert registry.names <= {"SHOP", "check SHOP"}


def test_a_name_that_is_forgotten_may_come_back(make_node):
    """Room is made by forgetting; the same service is there again, in another spelling too."""
    node = make_node()
    registry = StaticRegistry([Node("127.0.0.1", node.port, scheme="http")])
    few = MembershipPolicy(max_services=1)
    with http.Client(transport=Transport(registry, membership=few)) as client:
        for host in ("bücher", "b", "xn--bcher-kva", "b."):
            assert client.get(f"http://{host}/").status_code == 200
        assert len(client._transport.nodes("B")) == 1


def test_the_certificate_is_that_of_the_name_without_the_dot():
    """Neither SNI nor a certificate has the dot of the root (RFC 6066)."""
    context = ssl.create_default_context()
    assert TlsSession(context, "orders.example.").object.server_hostname == "orders.example"
    assert TlsSession(context, "orders.example").object.server_hostname == "orders.example"
