"""A real etcd that has forgotten what a watch wants to begin with."""

from __future__ import annotations

from base64 import b64encode
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from rpcguard.registries.etcd.registry import EtcdRegistry
from tests.conformance.callers import act
from tests.support.require import require
from tests.support.servers.etcd import Etcd, NewerEtcd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=[Etcd, NewerEtcd], ids=["3.4", "3.5"])
def etcd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Etcd]:
    made: type[Etcd] = request.param
    require(made)
    server = made(tmp_path_factory.mktemp("etcd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def registry(etcd: Etcd) -> AsyncIterator[EtcdRegistry]:
    registry = EtcdRegistry(f"etcd://{etcd.address}")
    yield registry
    await registry.aclose()


def put(etcd: Etcd, *names: str) -> int:
    """Register nodes; give the revision after it."""
    for name in names:
        said = ask(etcd, "put", key=base64(f"web/{name}"), value=base64(f"{name}:80"))
    return int(said["header"]["revision"])


def ask(etcd: Etcd, what: str, **fields: object) -> dict[str, dict[str, str]]:
    answer = httpx.post(f"http://{etcd.address}/v3/kv/{what}", json=fields)
    said: dict[str, dict[str, str]] = answer.raise_for_status().json()
    return said


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


async def test_compaction(etcd: Etcd, registry: EtcdRegistry) -> None:
    """What came between the list and a watch that begins too late is not lost."""
    await act(put, etcd, "a")
    async with aclosing(registry.watch("web")) as watch:  # type: ignore[type-var]
        assert [node.id for node in (await anext(watch)).nodes] == ["a"]
        revision = await act(put, etcd, "b", "c")
        await act(lambda: ask(etcd, "compaction", revision=str(revision), physical=True))
        with anyio.fail_after(10):
            assert [node.id for node in (await anext(watch)).nodes] == ["a", "b", "c"]
            await act(put, etcd, "d")
            assert [node.id for node in (await anext(watch)).nodes] == ["a", "b", "c", "d"]


async def test_a_store_that_is_younger_than_the_list(etcd: Etcd, registry: EtcdRegistry) -> None:
    """A watch from a revision that is still to come would say nothing: the list is read anew."""
    await act(put, etcd, "a", "b", "c")
    async with aclosing(registry.watch("web")) as watch:  # type: ignore[type-var]
        assert len((await anext(watch)).nodes) == 3
        await act(etcd.stop)
        await act(etcd.wipe)
        await act(etcd.start)
        await act(put, etcd, "d")
        with anyio.fail_after(10):
            assert [node.id for node in (await anext(watch)).nodes] == ["d"]
            await act(put, etcd, "e")
            assert [node.id for node in (await anext(watch)).nodes] == ["d", "e"]
