"""A list without names: whose calls go to it, and whose do not."""

from __future__ import annotations

import pytest

import rpcguard
from rpcguard.registries.static import StaticRegistry
from tests.support.calls import FLAVOURS, each
from tests.support.library import http

pytestmark = each(FLAVOURS)
URLS = [
    "http://auth.example.com/token",
    "ws://auth.example.com./",
    "http://10.0.0.9/",
    "http://[::9]/",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("made", ["url", "code"])
async def test_another_host_gets_nothing_over_plain_http(url, made, make_node, make_caller):
    """A token for it would go to the wrong nodes; the error shows the form with names."""
    node = make_node()
    short = f"static://127.0.0.1:{node.port}"
    listing = short if made == "url" else StaticRegistry([rpcguard.Node("127.0.0.1", node.port)])
    caller = make_caller(listing=listing)
    host = http.URL(url).host.removesuffix(".")
    said = rf"was not sent: .*without a dot.*static:///{host}=127\.0\.0\.1:{node.port}$"
    with pytest.raises(rpcguard.NoAvailableNode, match=said):
        await caller.call(url, headers={"Authorization": "secret"})
    assert node.peers == []


async def test_names_without_a_dot_and_its_own_addresses_are_served(make_node, make_caller):
    """As is any name by the form with names."""
    node = make_node()
    caller = make_caller(listing=f"static://127.0.0.1:{node.port}")
    for url in ("http://orders/", "http://orders./", f"http://127.0.0.1:{node.port}/"):
        assert (await caller.call(url)).text == "ok"
    caller = make_caller(listing=f"static:///orders.shop.example=127.0.0.1:{node.port}")
    assert (await caller.call("http://orders.shop.example./")).text == "ok"


@pytest.mark.parametrize("option", ["", "?scheme=https"])
async def test_over_tls_the_certificate_proves_the_name(
    option, make_node, make_caller, certified, trusting
):
    """Whether the URL or the list wants TLS; nodes of another name are refused by it."""
    node = make_node(tls=certified("orders.shop.example"))
    caller = make_caller(listing=f"static://127.0.0.1:{node.port}{option}", verify=trusting)
    scheme = "http" if option else "https"
    for host in ("orders.shop.example", "orders.shop.example."):
        assert (await caller.call(f"{scheme}://{host}/")).text == "ok"
    with pytest.raises(http.ConnectError):
        await caller.call(f"{scheme}://auth.example.com/")
    assert len(node.seen) == 2
