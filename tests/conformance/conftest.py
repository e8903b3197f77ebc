"""Start each registry once, run every scenario that it can play, and say what is missing."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.conformance.backends import all_backends
from tests.conformance.backends.base import CAPABILITIES, Backend
from tests.conformance.providers import Providers
from tests.support.require import require
from tests.support.servers.kubernetes import ArgoRollouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from rpcguard._core.nodes.node import Node

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): what a registry must be able to do")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    needed = {name for mark in metafunc.definition.iter_markers("needs") for name in mark.args}
    assert needed <= CAPABILITIES.keys()
    able = [name for name, made in all_backends().items() if needed <= made.capabilities]
    metafunc.parametrize("backend", able, indirect=True, scope="session")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Call on asyncio only: the discovery loop is the same whatever the caller runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    """Give a registry with its server running."""
    made = all_backends()[request.param]
    directory = tmp_path_factory.mktemp(made.name)
    server = None
    if made.server_class is not None:
        require(made.server_class)
        server = made.server_class(directory)
        server.start()
    try:
        backend = made(directory, server)
        try:
            yield backend
        finally:
            backend.close()
    finally:
        if server is not None:
            server.stop()


@pytest.fixture(scope="session")
def providers() -> Iterator[Providers]:
    """Give the place where nodes run."""
    running = Providers()
    yield running
    running.close()


@pytest.fixture
def service() -> str:
    """Give a service name that no other test uses."""
    return f"svc{next(_numbers)}"


@pytest.fixture
def new_nodes(backend: Backend, providers: Providers) -> Iterator[Callable[[int], list[Node]]]:
    """Give a function that makes nodes which run; all are stopped at the end."""
    made: list[tuple[str, int]] = []

    def make(count: int) -> list[Node]:
        addresses = [backend.address() for _ in range(count)]
        providers.start(*addresses)
        made.extend(addresses)
        return [backend.node(host, port, number) for number, (host, port) in enumerate(addresses)]

    yield make
    providers.stop(*made)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Give a client of a running Kubernetes API server that knows the kinds of Argo Rollouts."""
    require(ArgoRollouts)
    server = ArgoRollouts(tmp_path_factory.mktemp("kubernetes"))
    server.start()
    with server.client() as made:
        yield made
    server.kill()
