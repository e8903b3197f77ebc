"""Real Envoy, nginx and hypercorn as nodes: load, limits, and every way in which they leave."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread

from tests.behaviour.http2.load import Provider, load, providing, twice
from tests.behaviour.http2.proxies import EnvoyNode, HypercornNode
from tests.support.calls import soon
from tests.support.library import AsyncTransport, http
from tests.support.require import require
from tests.support.servers.nginx import Nginx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers.base import Server

KINDS = ("sync", "asyncio", "trio")

# So much load takes minutes on a busy machine; a load that stands still is told before.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def anyio_backend(kind: str) -> str:
    return "trio" if kind == "trio" else "asyncio"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


@pytest.fixture
def start(provider, tmp_path) -> Iterator[Callable[..., list]]:
    """Start so many proxies of a kind in front of the provider."""
    started: list[Server] = []
    provider.executed.clear()
    provider.together, provider.pause = None, 0.01

    def begin(made, count: int, **options) -> list:
        require(made)
        fresh = [
            made(tmp_path / f"{made.name}-{len(started)}-{number}", provider.server_port, **options)
            for number in range(count)
        ]
        for node in fresh:
            started.append(node)
            node.start()
        return fresh

    yield begin
    for node in started:
        node.kill()


def listed(nodes: list) -> str:
    return "static://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


async def test_envoys_drain_under_load_and_no_call_fails(kind, provider, start):
    """One after the other says GOAWAY twice, ends, and comes back: not even a POST is lost."""
    nodes = start(EnvoyNode, 4)  # so that both may be marked offline
    async with load(kind, listed(nodes)) as going:
        await going.more(100)
        for node in nodes[:2]:
            await to_thread.run_sync(node.drain)
            await to_thread.run_sync(node.wait_drained)
            await to_thread.run_sync(node.stop)
            await going.more(50)
            await to_thread.run_sync(node.start)
            await going.more(100)
    assert going.made > 300
    assert going.failed == {}
    assert twice(provider) == []


@pytest.mark.parametrize("kind", KINDS[1:], indirect=True)
async def test_a_slow_post_on_a_draining_envoy_is_answered(provider, start):
    """It takes longer than any patience after the GOAWAY, is waited for, and runs once."""
    (node,) = start(EnvoyNode, 1, drain_timeout=0.2, drain_time=20)
    transport = AsyncTransport(listed([node]), http1=False, http2=True)
    answers = []

    async def pay() -> None:
        answers.append(await client.post("/pay", content=b"pay", timeout=20))

    async with http.AsyncClient(transport=transport, base_url="http://orders") as client:
        for number in range(20):  # so that it is known to be quick
            await client.get(f"/{number}")
        provider.pause = 3.0
        async with anyio.create_task_group() as group:
            group.start_soon(pay)
            await soon(lambda: provider.executed["POST /pay"] == 1, "it is under way")
            await to_thread.run_sync(node.drain)
    assert [answer.status_code for answer in answers] == [200]
    assert provider.executed["POST /pay"] == 1


async def test_an_envoy_that_is_killed_costs_no_saveable_call(kind, provider, start):
    """SIGTERM without a drain cuts what is in flight: GETs are saved, no POST runs twice."""
    nodes = start(EnvoyNode, 2)
    async with load(kind, listed(nodes)) as going:
        await going.more(100)
        await to_thread.run_sync(nodes[0].stop)
        await going.more(100)
    assert going.saveable() == {}
    assert twice(provider) == []


async def test_nginx_ends_connections_and_reloads_and_no_call_fails(kind, provider, start):
    """GOAWAY after every 40th request, new workers, and an orderly end."""
    nodes = start(Nginx, 2, requests=40)
    async with load(kind, listed(nodes)) as going:
        await going.more(200)
        for node in nodes:
            node.reload()
            await going.more(100)
        await to_thread.run_sync(nodes[0].leave)
        await going.more(100)
    assert going.failed == {}
    assert twice(provider) == []


@pytest.mark.parametrize("requests", [10, 20, 100])
async def test_an_nginx_that_takes_fewer_calls_than_are_made_at_once(
    requests, kind, provider, start
):
    """What it refuses goes to fresh connections, until it is known how many calls fit on one."""
    (node,) = start(Nginx, 1, requests=requests)
    async with load(kind, listed([node]), workers=60) as going:
        await going.more(600)
    assert going.failed == {}
    assert twice(provider) == []


@pytest.mark.parametrize("kind", KINDS[1:], indirect=True)
async def test_nginxes_that_keep_no_connection_stay_in_use(kind, provider, start):
    """Each ends every connection upon its first call: after the first one, that is known."""
    transport = AsyncTransport(listed(start(Nginx, 4, requests=1)), http1=False, http2=True)
    async with http.AsyncClient(transport=transport, base_url="http://orders") as client:
        for number in range(30):
            assert (await client.post(f"/{number}", content=b"pay")).is_success
        states = [view.state for view in transport.nodes("orders")]
    assert states.count("offline") <= 1


async def test_a_hypercorn_that_counts_loses_calls_until_it_is_known(kind, provider, start):
    """It answers nothing more on a connection as it ends it: so that is left before, once known.

    How often it is seen before depends on how many calls it reads at once. Each stretch is of so
    many calls that every node ends connections in it.
    """
    nodes = start(HypercornNode, 2, requests=120)
    lost = [-1, 0]
    async with load(kind, listed(nodes)) as going:
        while lost[-2] != lost[-1] and len(lost) < 10:
            await going.more(3000 if kind == "sync" else 600)
            lost.append(len(going.failed))
    assert lost[-2] == lost[-1], f"it still loses calls: {lost}"
    assert going.saveable() == {}
    assert twice(provider) == []


async def test_hypercorns_leave_under_load_and_no_saveable_call_fails(kind, provider, start):
    """On SIGTERM it takes no stream more, answers, says GOAWAY; idle connections just end."""
    nodes = start(HypercornNode, 3)
    async with load(kind, listed(nodes)) as going:
        await going.more(100)
        for node in nodes[:2]:
            await to_thread.run_sync(node.stop)
            await going.more(60)
            await to_thread.run_sync(node.start)
            await going.more(60)
    assert going.made > 340
    assert going.saveable() == {}
    assert twice(provider) == []


@pytest.mark.parametrize("made", [EnvoyNode, Nginx, HypercornNode])
async def test_stream_limits_are_kept(made, kind, provider, start):
    """Twelve callers share a node that takes three streams per connection: none is refused."""
    nodes = start(made, 1, streams=3)
    async with load(kind, listed(nodes), workers=12) as going:
        await going.more(200)
    assert going.failed == {}
    assert going.retries == 0


@pytest.mark.parametrize("made", [EnvoyNode, HypercornNode])
@pytest.mark.parametrize("kind", KINDS[1:], indirect=True)
async def test_calls_are_multiplexed(made, provider, start):
    """Many calls at once on one connection: none is answered before half of them are there."""
    (node,) = start(made, 1)
    limits = http.Limits(max_connections=1)
    transport = AsyncTransport(listed([node]), http1=False, http2=True, limits=limits)
    answers = []

    async def get(number: int) -> None:
        answers.append(await client.get(f"/{number}", timeout=20))

    async with http.AsyncClient(transport=transport, base_url="http://orders") as client:
        await client.get("/")
        provider.together = threading.Barrier(25)
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(get, number)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.http_version for answer in answers} == {"HTTP/2"}
    assert len({answer.extensions["stream_id"] for answer in answers}) == 50
