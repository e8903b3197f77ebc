"""A real Eureka whose lists never change: one failed call tells what they do not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.conformance.backends.eureka import EurekaBackend
from tests.conformance.callers import act, calling, traffic
from tests.support.require import require
from tests.support.servers.eureka import Eureka

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpcguard._core.nodes.node import Node
    from tests.conformance.providers import Providers

pytestmark = pytest.mark.timeout(120)

POLLS = 0.6  # seconds, three times the interval of the URL


class CachingEureka(Eureka):
    """Eureka that keeps giving the first list that it gave, as others do for half a minute."""

    cache = 10**9


@pytest.fixture(scope="module")
def eureka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EurekaBackend]:
    require(CachingEureka)
    directory = tmp_path_factory.mktemp("eureka")
    server = CachingEureka(directory)
    server.start()
    try:
        backend = EurekaBackend(directory, server)
        yield backend
        backend.close()
    finally:
        server.stop()


@pytest.fixture
def nodes(eureka: EurekaBackend, providers: Providers, service: str) -> Iterator[list[Node]]:
    """Give three registered nodes that run."""
    addresses = [eureka.address() for _ in range(3)]
    providers.start(*addresses)
    nodes = [eureka.node(*address, number) for number, address in enumerate(addresses)]
    eureka.register_all(service, nodes)
    yield nodes
    providers.stop(*addresses)


def told(eureka: EurekaBackend, service: str) -> dict[str, str]:
    """Give the status of each node in Eureka's list."""
    return {one["instanceId"]: one["status"] for one in eureka.listed(service)}


async def test_out_of_service(
    eureka: EurekaBackend, providers: Providers, nodes: list[Node], service: str
) -> None:
    """A node that the operator took out, and that ended, drains with its first failed call."""
    first = nodes[0]
    async with calling(eureka) as caller:

        def drains() -> bool:
            return caller.nodes(service)[first.id].state == "draining"

        await caller.transport.wait_ready(service, timeout=20)
        await act(eureka.drain, service, first.id)
        await act(providers.stop, (first.host, first.port))
        async with traffic(caller, service):
            await caller.until(drains, what="draining")
            await caller.stays(drains, POLLS)
        assert told(eureka, service)[first.id] == "UP"


async def test_removed(
    eureka: EurekaBackend, providers: Providers, nodes: list[Node], service: str
) -> None:
    """A node that deregistered and ended is off the list with its first failed call, and stays."""
    first, rest = nodes[0], {node.id for node in nodes[1:]}
    async with calling(eureka) as caller:
        await caller.transport.wait_ready(service, timeout=20)
        await act(eureka.deregister, service, first.id)
        await act(providers.stop, (first.host, first.port))
        async with traffic(caller, service):
            await caller.until_listed(service, *rest)
            await caller.stays(lambda: set(caller.nodes(service)) == rest, POLLS)
        assert first.id in told(eureka, service)


async def test_registered_anew(
    eureka: EurekaBackend, providers: Providers, nodes: list[Node], service: str
) -> None:
    """A node that came back under its id elsewhere is called there before the list has it."""
    first = nodes[0]
    host, port = eureka.address()
    async with calling(eureka) as caller:
        await caller.transport.wait_ready(service, timeout=20)
        await act(eureka.deregister, service, first.id)
        await act(providers.start, (host, port))
        await act(eureka.register, service, replace(first, host=host, port=port))
        await act(providers.stop, (first.host, first.port))
        async with traffic(caller, service) as seen:
            await caller.until(lambda: seen.answers[f"{host}:{port}"], what="calls elsewhere")
        await act(providers.stop, (host, port))
        assert eureka.listed(service)[0]["port"]["$"] == first.port


async def test_still_registered(
    eureka: EurekaBackend, providers: Providers, nodes: list[Node], service: str
) -> None:
    """A node that is gone without a word is up in Eureka: it is ejected, and back when it is."""
    first = nodes[0]
    async with calling(eureka) as caller:
        await caller.transport.wait_ready(service, timeout=20)
        await act(providers.stop, (first.host, first.port))
        async with traffic(caller, service):
            await caller.until(lambda: caller.nodes(service)[first.id].state == "ejected")
            await caller.stays(lambda: caller.nodes(service)[first.id].node.status == "up", POLLS)
            await act(providers.start, (first.host, first.port))
            await caller.until(lambda: caller.nodes(service)[first.id].state == "warming")
