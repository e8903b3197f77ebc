"""Hosts that the registry does not know, in any number."""

from __future__ import annotations

import pytest

import rpcguard
from rpcguard.testing import ScriptedRegistry
from tests.support.library import Transport, http


def test_only_so_many_unknown_services_are_followed():
    """Names that come from anywhere do not pile up, and the services that are known stay."""
    registry = ScriptedRegistry()
    registry.set("orders", [rpcguard.Node("127.0.0.1", 1)])
    answers = http.MockTransport(lambda _: http.Response(200))
    transport = Transport(registry, node_transport=lambda _: answers)
    with http.Client(transport=transport) as client:
        assert client.get("http://orders").status_code == 200
        for number in range(300):
            with pytest.raises(rpcguard.NoAvailableNode, match="does not know this service"):
                client.get(f"http://host-{number}")
        assert len(transport._services) <= 258
        assert client.get("http://orders").status_code == 200
        assert "host-0" not in {one.name for one in transport._services}
