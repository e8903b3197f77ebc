"""The errors that a user can meet are those that the FAQ explains."""

from __future__ import annotations

import httpx
import pytest

import rpcguard
from rpcguard.registries.static import StaticRegistry
from rpcguard.testing import ScriptedRegistry
from tests.docs.blocks import ROOT
from tests.support.calls import PATIENCE

FAQ = (ROOT / "docs/faq.md").read_text()
HEADINGS = [line.removeprefix("### ") for line in FAQ.splitlines() if line.startswith("### ")]


def get(registry, *, patience: float = PATIENCE, **options) -> None:
    extensions = {"rpcguard": options} if options else {}
    transport = rpcguard.Transport(
        registry,
        membership=rpcguard.MembershipPolicy(first_snapshot_timeout=patience),
        node_transport=lambda _: httpx.MockTransport(lambda _: httpx.Response(200)),
    )
    with httpx.Client(transport=transport) as client:
        client.get("http://orders/", extensions=extensions)


def broken() -> ScriptedRegistry:
    registry = ScriptedRegistry()
    registry.fail("orders")
    return registry


def closed() -> None:
    transport = rpcguard.Transport("static://10.0.0.1:80")
    transport.close()
    transport.handle_request(httpx.Request("GET", "http://orders/"))


def unready() -> None:
    with rpcguard.Transport(broken()) as transport:
        transport.wait_ready("orders", timeout=0.05)


def stranger() -> None:
    with rpcguard.Transport("static://10.0.0.1:80") as transport:
        transport.wait_ready("orders", timeout=20)
        transport.mark_offline("orders", "10.0.0.9:80")


DRAINED = {"orders": [rpcguard.Node("10.0.0.1", 80, id="orders-1", weight=0)]}
CASES = {
    "no list": (lambda: get(broken(), patience=0.05), "is the registry up?"),
    "unknown": (lambda: get("static:///billing=10.0.0.1:80"), "its name right?"),
    "empty": (lambda: get(StaticRegistry({"orders": []})), "lists no node of it"),
    "drained": (lambda: get(StaticRegistry(DRAINED)), "orders-1 draining: weight 0"),
    "closed": (closed, "the transport is closed; the call to service 'orders' was not sent"),
    "unready": (unready, "service 'orders': no list from"),
    "bad url": (lambda: rpcguard.Transport("static://"), "a right one looks like"),
    "no scheme": (lambda: rpcguard.Transport("zk://h:1"), "no registry for the scheme 'zk'"),
    "option": (
        lambda: get("static://10.0.0.1:80", attempts=0),
        "rpcguard option attempts must be a whole number, 1 or more, not 0",
    ),
    "stranger": (stranger, "service 'orders' has no node '10.0.0.9:80'; it has ["),
}


@pytest.mark.parametrize("case", CASES)
def test_a_message_is_explained(case):
    """What is raised says what a heading of the FAQ says."""
    provoke, words = CASES[case]
    with pytest.raises((rpcguard.RpcguardError, ValueError)) as caught:
        provoke()
    assert words in str(caught.value)
    assert [heading for heading in HEADINGS if words in heading], f"no heading has {words!r}"


def test_no_registry_is_explained(monkeypatch):
    """A transport without a registry says what a heading of the FAQ says."""
    monkeypatch.delenv("RPCGUARD_REGISTRY", raising=False)
    with pytest.raises(rpcguard.InvalidRegistryURL) as caught:
        rpcguard.Transport()
    assert str(caught.value) in HEADINGS
