"""`wait_ready`: a program that starts waits for nodes, and a name that nobody has fails it."""

from __future__ import annotations

import threading

import pytest

import rpcguard
from rpcguard import Node, Snapshot
from rpcguard.testing import ScriptedRegistry
from tests.support.calls import FLAVOURS, each, settle

THREE = [Node(f"10.0.0.{number}", 80) for number in (1, 2, 3)]


class Names:
    """A registry that tells its names, and is as slow or broken with that as it is told to be."""

    def __init__(self, fault: BaseException | None = None, **services: list[Node]) -> None:
        self._fault, self._services = fault, services

    async def fetch(self, service: str) -> Snapshot:
        return Snapshot(self._services.get(service, []), known=service in self._services)

    async def services(self) -> list[str]:
        if self._fault is not None:
            raise self._fault
        return list(self._services)

    def __repr__(self) -> str:
        return "Names()"


@each(FLAVOURS)
async def test_wait_ready_names_the_nearest_service(flavour, make_caller, monkeypatch):
    """A typo fails at the start, with the name that was meant; not where nobody tells it."""
    for module in ("_discovery.names", "_transport.sync", "_transport.aio"):
        monkeypatch.setattr(f"rpcguard.{module}.NAMES_WITHIN", 20.0)  # on a busy machine too
    known = {"orders": [Node("10.0.0.1", 80)], "billing": [Node("10.0.0.2", 80)]}
    caller = make_caller(listing=Names(**known))
    said = (
        r"'ordres' has no available node after 0\.05 s: Names\(\) does not know .* knows orders\."
    )
    await settle(caller.transport.wait_ready("ordres", timeout=20.0, nodes=0))
    with pytest.raises(rpcguard.NoAvailableNode, match=said):
        await settle(caller.transport.wait_ready("ordres", timeout=0.05))
    for listing in (Names(KeyError("a defect"), **known), Names(), ScriptedRegistry()):
        silent = make_caller(listing=listing)
        await settle(silent.transport.wait_ready("ordres", timeout=20.0, nodes=0))
        with pytest.raises(rpcguard.NoAvailableNode, match=r"is its name right\?$"):
            await settle(silent.transport.wait_ready("ordres", timeout=0.05))


@each(FLAVOURS)
async def test_wait_ready_waits_for_nodes(flavour, make_caller):
    """A list is there at once, and the nodes come later; those that take no calls do not count."""
    listing = ScriptedRegistry()
    listing.set("orders", [Node("10.0.0.1", 80), Node("10.0.0.2", 80, weight=0)])
    caller = make_caller(listing=listing)
    await settle(caller.transport.wait_ready("orders", timeout=20.0))
    said = r"'orders' has 1 of 2 nodes after 0\.05 s: of .*10\.0\.0\.2:80 draining: weight 0"
    with pytest.raises(rpcguard.NoAvailableNode, match=said):
        await settle(caller.transport.wait_ready("orders", timeout=0.05, nodes=2))
    later = threading.Timer(0.1, lambda: listing.set("orders", THREE))
    later.start()
    await settle(caller.transport.wait_ready("orders", timeout=20.0, nodes=3))
    later.join()
    with pytest.raises(ValueError, match="nodes must be a whole number, 0 or more, not True"):
        await settle(caller.transport.wait_ready("orders", timeout=20, nodes=True))


@each(FLAVOURS)
async def test_wait_ready_for_a_host_that_is_called_directly(flavour, make_caller):
    """A call would go to it, so nothing is waited for."""
    caller = make_caller(listing=Names(), unknown_service="direct")
    await settle(caller.transport.wait_ready("api.example.org", timeout=20.0))
