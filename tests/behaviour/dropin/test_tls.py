"""TLS by the logical name: what the node must show, and what it is told."""

from __future__ import annotations

import ssl

import pytest

import rpcguard
from rpcguard import Node
from rpcguard.registries.static import StaticRegistry
from tests.support.calls import BOTH_CHILDREN, Peer, each, listed, registry
from tests.support.library import http

pytestmark = each(BOTH_CHILDREN)

HTTPS = {"base_url": "https://orders"}


async def test_name_and_certificate_are_the_services(make_node, make_caller, certified, trusting):
    """SNI and the certificate check use the service's name, whatever the node's address is."""
    node = make_node(tls=certified("orders"))
    caller = make_caller(node, verify=trusting, client=HTTPS)
    assert (await caller.call()).text == "ok"
    assert (await caller.call(method="POST")).text == "ok"
    assert node.names == ["orders"]
    assert node.seen[0].headers["host"] == "orders"


@pytest.mark.parametrize("names", [("billing",), ("127.0.0.1",)])
async def test_a_wrong_certificate_is_refused(names, make_node, make_caller, certified, trusting):
    """A node that shows another name is an ejected node, and the next one is asked."""
    wrong, right = make_node(tls=certified(*names)), make_node(tls=certified("orders"))
    exact = rpcguard.RetryPolicy(exact=True)
    caller = make_caller(wrong, right, verify=trusting, client=HTTPS, retry=exact)
    response = await caller.call(method="POST", content=b"secret")
    assert response.text == "ok"
    assert wrong.seen == []
    assert caller.view(wrong).state == "ejected"
    assert caller.view(wrong).reason == "TLS handshake failed"


async def test_https_to_a_plain_node_names_the_right_url(make_node, make_caller, trusting):
    """OpenSSL speaks of a wrong version number; the note says what that means."""

    def plain(peer: Peer) -> None:
        peer.recv()  # the ClientHello, which is no request
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.until_gone()

    caller = make_caller(make_node(plain), verify=trusting, client=HTTPS)
    with pytest.raises(http.ConnectError) as caught:
        await caller.call()
    (note,) = caught.value.__notes__
    assert note.endswith("; a node that speaks plain HTTP is called by http://orders")


async def test_an_unknown_authority_is_refused(make_node, make_caller, certified):
    """Without trust there is no call, and the error is httpx's."""
    node = make_node(tls=certified("orders"))
    caller = make_caller(node, verify=ssl.create_default_context(), client=HTTPS)
    with pytest.raises(http.ConnectError):
        await caller.call()
    assert node.seen == []
    assert caller.view(node).failures == 1


async def test_a_name_of_the_users_own(make_node, make_caller, certified, trusting):
    """A `sni_hostname` of the caller's is respected."""
    node = make_node(tls=certified("orders.internal"))
    caller = make_caller(node, verify=trusting, client=HTTPS)
    response = await caller.call(extensions={"sni_hostname": "orders.internal"})
    assert response.text == "ok"
    assert node.names == ["orders.internal"]


async def test_two_services_on_one_address(make_node, make_caller, certified, trusting):
    """Two services behind one address never share a connection, nor each other's trust."""
    node = make_node(tls=certified("orders"))
    listing = registry(node, billing=listed([node]))
    caller = make_caller(listing=listing, verify=trusting, client=HTTPS)
    assert (await caller.call()).text == "ok"
    with pytest.raises(http.ConnectError, match="billing"):
        await caller.call("https://billing/")
    assert (await caller.call()).text == "ok"
    assert node.names[:2] == ["orders", "billing"]
    assert [seen.headers["host"] for seen in node.seen] == ["orders", "orders"]


async def test_the_registry_says_that_a_node_is_tls(make_node, make_caller, certified, trusting):
    """A node that the registry lists as https is spoken to over TLS, though the URL says http."""
    secure, plain = make_node(tls=certified("orders")), make_node()
    nodes = [
        Node(secure.host, secure.port, scheme="https", metadata={"place": "1"}),
        Node(plain.host, plain.port, scheme="http", metadata={"place": "2"}),
    ]
    caller = make_caller(listing=StaticRegistry({"orders": nodes}), verify=trusting)
    assert (await caller.call("http://orders/")).text == "ok"
    caller.transport.mark_offline("orders", nodes[0].id)
    assert (await caller.call("http://orders/")).text == "ok"
    assert (len(secure.seen), len(plain.seen)) == (1, 1)


async def test_an_international_name(make_node, make_caller, certified, trusting):
    """A name beyond ASCII is looked up as written and checked as it goes over the wire."""
    node = make_node(tls=certified("xn--bcher-kva.example"))
    listing = StaticRegistry({"bücher.example": listed([node])})
    caller = make_caller(listing=listing, verify=trusting)
    assert (await caller.call("https://bücher.example/")).text == "ok"
    assert node.names == ["xn--bcher-kva.example"]


async def test_both_schemes_of_one_node(make_node, make_caller, certified, trusting):
    """Plain and encrypted calls of a service are kept apart."""
    node = make_node(tls=certified("orders"))
    caller = make_caller(node, verify=trusting)
    assert (await caller.call("https://orders/")).text == "ok"
    with pytest.raises(http.TransportError):
        await caller.call("http://orders/", method="POST", timeout=1.0)
