"""A registry that does what a test says."""

from __future__ import annotations

import pytest

from rpcguard import Node
from rpcguard.testing import ScriptedRegistry
from tests.support.library import Transport

LETTERS, ASCII = "shop.bücher.example", "shop.xn--bcher-kva.example"


@pytest.mark.parametrize("said", [LETTERS, ASCII])
def test_a_service_is_what_was_set_however_it_is_spelt(said):
    """The client calls it by its ASCII form."""
    registry = ScriptedRegistry()
    registry.set(said, [Node("10.0.0.1", 80)])
    with Transport(registry) as transport:
        transport.wait_ready(ASCII, timeout=20)
        registry.set(said, [Node("10.0.0.2", 80)])
        assert [view.node.host for view in transport.nodes(ASCII)][-1] == "10.0.0.2"
