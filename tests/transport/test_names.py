"""What a service is called: in a URL, and in the registry."""

from __future__ import annotations

import ssl

import pytest

from rpcguard import Node, Snapshot
from rpcguard._wire.tls import TlsSession
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
        for host in ("orders.", "orders", "ORDERS."):
            assert client.get(f"http://{host}/").status_code == 200
        transport = client._transport
        assert [view.name for view in transport.services()] == ["orders"]
        assert len(transport.nodes("orders.")) == 1


def test_the_certificate_is_that_of_the_name_without_the_dot():
    """Neither SNI nor a certificate has the dot of the root (RFC 6066)."""
    context = ssl.create_default_context()
    assert TlsSession(context, "orders.example.").object.server_hostname == "orders.example"
    assert TlsSession(context, "orders.example").object.server_hostname == "orders.example"
