"""The same scenarios for every registry, through the public API, with real nodes behind it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

import rpcguard
from rpcguard._core.nodes.node import Node
from tests.conformance.callers import Caller, act, calling, traffic

if TYPE_CHECKING:
    from tests.conformance.backends.base import Backend
    from tests.conformance.providers import Providers

PATIENCE = 60.0  # seconds: as long as the longest back-off, twice
OUTAGE = float(os.environ.get("RPCGUARD_OUTAGE", "3"))

needs = pytest.mark.needs
pytestmark = pytest.mark.timeout(240 + 2 * OUTAGE)

NewNodes = Callable[[int], list[Node]]


def addresses(nodes: list[Node]) -> set[str]:
    return {node.address for node in nodes}


def ids(nodes: list[Node]) -> list[str]:
    return [node.id for node in nodes]


async def call_all(caller: Caller, service: str, nodes: list[Node]) -> None:
    """Call until every node has answered, and nobody else did."""
    answered: set[str] = set()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answered.add(await caller.call(service))
        if answered == addresses(nodes):
            return
    raise AssertionError(f"answers came from {answered}, not {addresses(nodes)}")


def assert_described(backend: Backend, found: Node, wanted: Node) -> None:
    """Compare the fields that the registry can hold."""
    assert (found.id, found.address) == (wanted.id, wanted.address)
    for field in ("weight", "zone", "version"):
        if field in backend.capabilities:
            assert getattr(found, field) == getattr(wanted, field), field
    if "metadata" in backend.capabilities:
        assert wanted.metadata.items() <= found.metadata.items()


async def test_first_list(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """The first call finds the list; every node of it answers and is described in full."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)
        found = caller.nodes(service)
        assert set(found) == set(ids(nodes))
        for node in nodes:
            assert_described(backend, found[node.id].node, node)
            assert found[node.id].state == "available"


async def test_services_are_listed(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """A registry that can tell its services names the one that has registered."""
    await act(backend.register_all, service, new_nodes(1))
    registry = rpcguard.registry_from_url(backend.url())
    if not isinstance(registry, rpcguard.ListingRegistry):
        return  # docs/registries.md names those that cannot tell
    try:
        with anyio.fail_after(PATIENCE):
            named: set[str] = set()
            while service not in named:
                await anyio.sleep(0.1)
                named = {name.lower() for name in await registry.services()}
    finally:
        if hasattr(registry, "aclose"):
            await registry.aclose()


@needs("change")
async def test_node_added(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """A node that registers is called soon, in slow start, and no call fails meanwhile."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes[:2])
    async with calling(backend) as caller:
        await call_all(caller, service, nodes[:2])
        async with traffic(caller, service) as seen:
            await act(backend.register, service, nodes[2])
            await caller.until(
                lambda: seen.answers[nodes[2].address],
                timeout=PATIENCE,
                what="an answer of the new",
            )
        assert caller.nodes(service)[nodes[2].id].state == "warming"


@needs("change")
async def test_node_leaves(
    backend: Backend, providers: Providers, new_nodes: NewNodes, service: str
) -> None:
    """A node that deregisters is off the list while it still serves, then ends: no failed call."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)
        async with traffic(caller, service) as seen:
            await act(backend.deregister, service, nodes[0].id)
            await caller.until_listed(service, *ids(nodes[1:]))
            seen.forget()
            await act(providers.stop, (nodes[0].host, nodes[0].port))
            await caller.until(lambda: sum(seen.answers.values()) > 30)
            assert set(seen.answers) <= addresses(nodes[1:])


@needs("change", "crash")
async def test_node_crashes(
    backend: Backend, providers: Providers, new_nodes: NewNodes, service: str
) -> None:
    """A node that dies costs no call, and the registry's own word of it arrives."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)

        def told() -> bool:
            view = caller.nodes(service).get(nodes[0].id)
            return view is None or view.node.status == "down"

        async with traffic(caller, service):
            await act(providers.stop, (nodes[0].host, nodes[0].port))
            assert not told()
            await act(backend.crash, service, nodes[0].id)
            await caller.until(told, timeout=backend.crash_settle, what="the loss is known")
        assert caller.usable(service) == set(ids(nodes[1:]))


@needs("change", "update")
async def test_fields_change(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """Changed weight, zone, version and metadata arrive, and what was learned of a node stays."""
    nodes = new_nodes(2)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)
        before = caller.nodes(service)[nodes[0].id]
        changed = replace(
            nodes[0], weight=5.0, zone="moved", version="2.0", metadata={"team": "red"}
        )
        assert before.successes
        await act(backend.register, service, changed)
        await caller.until(
            lambda: caller.nodes(service)[nodes[0].id].node != before.node, what="the change"
        )
        after = caller.nodes(service)[nodes[0].id]
        assert_described(backend, after.node, changed)
        assert after.successes >= before.successes
        assert after.node.generation == before.node.generation
        if "weight" in backend.capabilities:
            assert after.weight == 5.0


@needs("change", "status")
async def test_status_changes(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """A node that the registry calls down gets no call, and gets calls again once it is up."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)
        async with traffic(caller, service) as seen:
            await act(backend.set_status, service, nodes[0].id, "down")
            await caller.until(lambda: nodes[0].id not in caller.usable(service), what="down")
            seen.forget()
            await caller.until(lambda: sum(seen.answers.values()) > 30)
            assert nodes[0].address not in seen.answers
            await act(backend.set_status, service, nodes[0].id, "up")
            await caller.until(
                lambda: seen.answers[nodes[0].address], timeout=PATIENCE, what="up again"
            )


@needs("change", "drain")
async def test_operator_drains(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """The operator takes a node out of use at once, and back, without a failed call."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)
        async with traffic(caller, service) as seen:
            await act(backend.drain, service, nodes[0].id)
            await caller.until(
                lambda: caller.nodes(service)[nodes[0].id].state == "draining", what="draining"
            )
            seen.forget()
            await caller.until(lambda: sum(seen.answers.values()) > 30)
            assert nodes[0].address not in seen.answers
            await act(backend.undrain, service, nodes[0].id)
            await caller.until(
                lambda: seen.answers[nodes[0].address], timeout=PATIENCE, what="calls again"
            )


@needs("change", "hide")
async def test_operator_hides(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """A node that the operator takes off the list gets no call, and warms up when it is back."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)
        async with traffic(caller, service) as seen:
            await act(backend.hide, service, nodes[0].id)
            await caller.until_listed(service, *ids(nodes[1:]))
            seen.forget()
            await caller.until(lambda: sum(seen.answers.values()) > 30)
            assert nodes[0].address not in seen.answers
            await act(backend.show, service, nodes[0].id)
            await caller.until(
                lambda: seen.answers[nodes[0].address], timeout=PATIENCE, what="calls again"
            )
        assert caller.nodes(service)[nodes[0].id].state == "warming"


@needs("change", "drain")
async def test_all_drained(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """Drained nodes that still serve are the last resort; those of weight 0 get no call at all."""
    nodes = new_nodes(2)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)
        for node in nodes:
            await act(backend.drain, service, node.id)
        await caller.until(lambda: not caller.usable(service), what="all drained")
        if any(view.node.weight for view in caller.nodes(service).values()):
            await caller.call(service)
        else:
            with pytest.raises(rpcguard.NoAvailableNode, match="weight 0"):
                await caller.call(service)


@needs("change", "generation")
async def test_node_registers_anew(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """The same id registered anew is a new generation: nothing of the old one is kept."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)
        before = caller.nodes(service)[nodes[0].id]
        assert before.successes
        await act(backend.deregister, service, nodes[0].id)
        await act(backend.register, service, nodes[0])

        def fresh() -> bool:
            view = caller.nodes(service).get(nodes[0].id)
            return view is not None and view.node.generation != before.node.generation

        await caller.until(fresh, what="a new generation")
        assert caller.nodes(service)[nodes[0].id].successes == 0
        await caller.until_listed(service, *ids(nodes))


async def test_unknown_service(backend: Backend, service: str) -> None:
    """A service that nobody registered fails at once, with its name and no secret."""
    async with calling(backend) as caller:
        with pytest.raises(rpcguard.NoAvailableNode, match=service) as raised:
            await caller.call(service)
        assert not [secret for secret in backend.secrets() if secret in str(raised.value)]
        if "unknown" in backend.capabilities:
            assert "does not know" in str(raised.value)


@needs("change")
async def test_unknown_service_appears(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """A service that registers its first node after the first call is found by itself."""
    async with calling(backend) as caller:
        with pytest.raises(rpcguard.NoAvailableNode):
            await caller.call(service)
        nodes = new_nodes(1)
        await act(backend.register, service, nodes[0])
        await caller.until_listed(service, nodes[0].id)
        assert await caller.call(service) == nodes[0].address


@needs("change", "empty")
async def test_empty_service(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """A service without a node fails at once, and works as soon as there is one."""
    await act(backend.empty, service)
    async with calling(backend) as caller:
        with pytest.raises(rpcguard.NoAvailableNode, match="no available node"):
            await caller.call(service)
        nodes = new_nodes(1)
        await act(backend.register, service, nodes[0])
        await caller.until_listed(service, nodes[0].id)
        assert await caller.call(service) == nodes[0].address


@needs("change", "outage")
async def test_server_stopped_and_back(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """While the registry is down the list stays and no call fails; then changes arrive again."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes[:2])
    async with calling(backend) as caller:
        await call_all(caller, service, nodes[:2])
        async with traffic(caller, service):
            await act(backend.stop_server)
            await anyio.sleep(OUTAGE)
            assert caller.usable(service) == set(ids(nodes[:2]))
            await act(backend.start_server)
            await act(backend.register, service, nodes[2])
            await caller.until_listed(
                service, *ids(nodes), timeout=backend.settle + PATIENCE + 2 * OUTAGE
            )
        await call_all(caller, service, nodes)


@needs("change", "outage", "wipe")
async def test_server_back_with_an_emptied_store(
    backend: Backend, new_nodes: NewNodes, service: str
) -> None:
    """A registry that lost its data takes nobody's nodes away: they are doubted and still used."""
    nodes = new_nodes(3)
    await act(backend.register_all, service, nodes)
    async with calling(backend) as caller:
        await call_all(caller, service, nodes)
        async with traffic(caller, service) as seen:
            await act(backend.stop_server)
            await act(backend.wipe_server)
            await act(backend.start_server)
            await caller.stays(lambda: caller.usable(service) == set(ids(nodes)), 1.0)
            await act(backend.register_all, service, nodes)
            added = new_nodes(1)
            await act(backend.register, service, added[0])
            await caller.until(
                lambda: seen.answers[added[0].address],
                timeout=PATIENCE,
                what="a node after the loss",
            )
        assert caller.usable(service) == set(ids(nodes + added))


@needs("auth")
async def test_wrong_credentials(
    backend: Backend, new_nodes: NewNodes, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong credentials give a clear error, and neither right nor wrong ones are ever shown."""
    caplog.set_level(logging.DEBUG)
    nodes = new_nodes(1)
    await act(backend.register, service, nodes[0])
    async with calling(backend, wrong_credentials=True) as caller:
        caller.nodes(service)  # it is followed from now on
        await caller.until(lambda: caller.trouble(service), what="the refusal")
        with pytest.raises(rpcguard.NoAvailableNode) as raised:
            await caller.call(service)
    async with calling(backend) as caller:
        assert await caller.call(service) == nodes[0].address
    shown = f"{raised.value} {raised.value!r} {caplog.text}"
    assert "credentials" in shown
    assert not [secret for secret in backend.secrets() if secret in shown]


@needs("bulk")
async def test_many_nodes(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """Hundreds of nodes arrive as one list; one change among them arrives alone."""
    nodes = new_nodes(backend.bulk_nodes + 1)
    first, last = nodes[:-1], nodes[-1]
    await act(backend.register_all, service, first)
    async with calling(backend) as caller:
        await caller.transport.wait_ready(service, timeout=60.0)
        assert set(caller.nodes(service)) == set(ids(first))
        answered = {await caller.call(service) for _ in range(100)}
        assert len(answered) > 50
        if "change" not in backend.capabilities:
            return
        await act(backend.register, service, last)
        await act(backend.deregister, service, first[0].id)
        await caller.until_listed(service, *ids(nodes[1:]), timeout=60.0)


async def test_two_services(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """Two services of one transport have each their own nodes, and change apart."""
    nodes, other = new_nodes(2), f"{service}b"  # one name begins with the other
    await act(backend.register, service, nodes[0])
    await act(backend.register, other, nodes[1])
    async with calling(backend) as caller:
        for _ in range(10):
            assert await caller.call(service) == nodes[0].address
            assert await caller.call(other) == nodes[1].address
        if "change" not in backend.capabilities:
            return
        added = new_nodes(1)
        await act(backend.register, other, added[0])
        await caller.until_listed(other, nodes[1].id, added[0].id)
        assert set(caller.nodes(service)) == {nodes[0].id}


@needs("cluster")
async def test_dead_member(backend: Backend, new_nodes: NewNodes, service: str) -> None:
    """A member of the cluster that is dead, and first in the URL, is passed over."""
    nodes = new_nodes(2)
    await act(backend.register, service, nodes[0])
    async with calling(backend, dead_member=True) as caller:
        assert await caller.call(service) == nodes[0].address
        await act(backend.register, service, nodes[1])
        await caller.until_listed(service, *ids(nodes))
