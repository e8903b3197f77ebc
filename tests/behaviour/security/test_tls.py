"""TLS: checked unless told otherwise, and by the name of the service, wherever the node is."""

from __future__ import annotations

import ssl

import pytest

from rpcguard import Node
from rpcguard.registries.static import StaticRegistry
from tests.support.calls import FLAVOURS, Caller, each
from tests.support.library import Transport, http


@each(FLAVOURS)
async def test_verification_is_on_by_default(make_node, flavour, certified):
    """A node whose certificate nobody vouches for gets no request."""
    node = make_node(tls=certified("orders"))
    listing = StaticRegistry([Node(node.host, node.port, scheme="https")])
    caller = Caller(flavour, flavour.transport(listing))
    try:
        with pytest.raises(http.ConnectError) as caught:
            await caller.call("https://orders/")
        assert "CERTIFICATE_VERIFY_FAILED" in _chain(caught.value)
    finally:
        await caller.close()
    assert not node.seen


@each(FLAVOURS)
async def test_the_certificate_of_another_service_is_refused(
    make_node, make_caller, certified, trusting
):
    """A registry that lists a node of another service gives it no request of this one."""
    other = make_node(tls=certified("billing", "127.0.0.1", "localhost"))
    caller = make_caller(other, verify=trusting)
    with pytest.raises(http.ConnectError) as caught:
        await caller.call("https://orders/")
    assert "CERTIFICATE_VERIFY_FAILED" in _chain(caught.value)
    assert not other.seen
    assert other.names[0] == "orders"


@each(FLAVOURS)
async def test_the_good_node_is_found_beside_the_wrong_one(
    make_node, make_caller, certified, trusting
):
    """A node with a wrong certificate costs no call while a right one is listed."""
    wrong, right = make_node(tls=certified("billing")), make_node(tls=certified("orders"))
    caller = make_caller(wrong, right, verify=trusting)
    await caller.settle_list()
    assert (await caller.call("https://orders/", method="POST")).status_code == 200
    assert not wrong.seen


@each(FLAVOURS)
async def test_a_registry_cannot_turn_tls_off(make_node, make_caller, trusting):
    """A node that is listed as plain http gets no byte of a call whose URL says https."""
    plain = make_node()
    listing = StaticRegistry([Node(plain.host, plain.port, scheme="http")])
    caller = make_caller(listing=listing, verify=trusting)
    with pytest.raises(http.TransportError):
        await caller.call(
            "https://orders/", headers={"Authorization": "Bearer SECRET"}, timeout=0.2
        )
    assert all(b"SECRET" not in seen.head for seen in plain.seen)
    assert not plain.asked


def test_old_protocols_are_off(monkeypatch):
    """The context that is made without one has TLS 1.2 as the least, and checks names."""
    loose = ssl.create_default_context()
    # What Python leaves a context with where it was built to ask the system, as Debian's is.
    loose.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    monkeypatch.setattr(http, "create_ssl_context", lambda **_: loose)
    transport = Transport("static://127.0.0.1:1")
    made = transport._make._tls()
    transport.close()
    assert made.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.check_hostname


def _chain(error: BaseException | None) -> str:
    told = ""
    while error is not None:
        told, error = f"{told} {error!r}", error.__cause__
    return told
