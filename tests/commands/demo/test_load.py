"""The open-loop load and what is recorded of a call, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx
import pytest

from rpcguard._commands.demo import retrying
from rpcguard._commands.demo.clients import Attempted, RoundRobinCaller, make_call
from rpcguard._commands.demo.load import steady_load
from rpcguard._commands.demo.recording import LETTERS
from rpcguard._commands.demo.registry import EmbeddedRegistry

if TYPE_CHECKING:
    from rpcguard._commands.demo.recording import CallRecord


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class FakeCaller:
    """Answer as told, and remember what was asked."""

    def __init__(self, name="rpcguard", *, answer=None) -> None:
        self.name = name
        self.asked: list[tuple[str, str]] = []
        self.answer = answer or (200, (Attempted("orders-1", 0.005),))

    async def send(self, method: str, path: str):
        self.asked.append((method, path))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock:
    """Stand still but for sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def load(callers, *, seed: int = 1, seconds: float = 10.0) -> list[CallRecord]:
    clock = Clock()
    calls: list[CallRecord] = []
    await steady_load(
        callers,
        gap=lambda _: 0.01,
        seed=seed,
        until=lambda: clock() >= seconds,
        clock=clock,
        sleep=clock.sleep,
        report=lambda call, _: calls.append(call),
    )
    return calls


async def test_both_clients_make_the_same_calls_at_the_same_rate():
    """100 per second each, one in five a POST, with ids that tell the clients apart."""
    ours, plain = FakeCaller("rpcguard"), FakeCaller("httpx")
    calls = await load([ours, plain])
    assert len(ours.asked) == len(plain.asked) == pytest.approx(1000, abs=1)
    assert len(calls) == 2 * len(ours.asked)
    assert [method for method, _ in ours.asked] == [method for method, _ in plain.asked]
    assert 0.15 < [method for method, _ in ours.asked].count("POST") / 1000 < 0.25
    paths = [path for _, path in ours.asked + plain.asked]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith("/work?id=r") for _, path in ours.asked)


async def test_the_seed_decides_what_is_called():
    """The same seed gives the same calls, another one gives others."""
    first, again, other = FakeCaller(), FakeCaller(), FakeCaller()
    await load([first], seed=1)
    await load([again], seed=1)
    await load([other], seed=2)
    assert first.asked == again.asked
    assert first.asked != other.asked


async def test_a_slow_call_holds_nothing_up():
    """The load is open: calls start on time while earlier ones hang, and all are waited for."""
    release = asyncio.Event()

    class Hanging(FakeCaller):
        async def send(self, method: str, path: str):
            self.asked.append((method, path))
            if len(self.asked) >= 99:
                release.set()
            await release.wait()
            return self.answer

    caller = Hanging()
    async with asyncio.timeout(10):
        calls = await load([caller], seconds=1.0)
    assert len(calls) == len(caller.asked) >= 99


@pytest.mark.parametrize(
    ("method", "answer", "error", "saveable"),
    [
        ("GET", httpx.ReadTimeout(""), "ReadTimeout", True),
        ("POST", httpx.ReadTimeout(""), "ReadTimeout", False),
        ("POST", httpx.ConnectError(""), "ConnectError", True),
        ("POST", httpx.ConnectTimeout(""), "ConnectTimeout", True),
        ("POST", httpx.PoolTimeout(""), "PoolTimeout", True),
        ("POST", httpx.WriteError(""), "WriteError", False),
        ("GET", RuntimeError(""), "RuntimeError", True),
        ("GET", (500, ()), "500", True),
        ("POST", (500, ()), "500", False),
        ("POST", (200, ()), None, False),
    ],
)
async def test_what_counts_as_saveable(method, answer, error, saveable):
    """Every failed GET, and a failed POST only where it was provably not sent."""
    call, _ = await make_call(FakeCaller(answer=answer), method, "/work?id=r1", clock=lambda: 1.0)
    assert (call.error, call.saveable) == (error, saveable)


async def test_a_saved_call_names_the_node_that_answered():
    """The last attempt is the one that counts; the number of attempts is kept."""
    attempts = (Attempted("orders-1", 0.1), Attempted("orders-2", 0.005))
    call, seen = await make_call(
        FakeCaller(answer=(200, attempts)), "GET", "/work?id=r1", clock=lambda: 1.0
    )
    assert (call.node, call.attempts, call.error) == ("orders-2", 2, None)
    assert seen == attempts


async def test_round_robin_takes_each_node_of_the_list_in_turn():
    """The comparison is fair: plain httpx reads the same list and spreads evenly."""
    nodes = [{"id": f"orders-{n}", "host": "127.0.0.1", "port": 9000 + n} for n in (1, 2, 3)]
    with EmbeddedRegistry("orders") as registry:
        caller = RoundRobinCaller(registry.url)
        try:
            with pytest.raises(httpx.ConnectError, match="empty"):
                await caller.send("GET", "/work?id=h1")
            for node in nodes:
                registry.put(node)
            await caller.refresh()
            asked: list[str] = []

            async def answer(request: httpx.Request) -> httpx.Response:
                asked.append(request.url.netloc.decode())
                return httpx.Response(200, stream=httpx.ByteStream(b""))

            await caller.client.aclose()
            caller.client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
            sent = [await caller.send("GET", "/work?id=h1") for _ in range(6)]
        finally:
            await caller.aclose()
    assert asked == ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"] * 2
    assert [attempts[0].node for _, attempts in sent][:3] == ["orders-1", "orders-2", "orders-3"]


async def test_a_refresh_follows_the_registry():
    """A node that is taken off is not called after the next poll; a 304 keeps the list."""
    with EmbeddedRegistry("orders") as registry:
        registry.put({"id": "orders-1", "host": "127.0.0.1", "port": 9001})
        caller = RoundRobinCaller(registry.url)
        try:
            await caller.refresh()
            await caller.refresh()
            assert caller.nodes == [("orders-1", "http://127.0.0.1:9001")]
            registry.remove("orders-1")
            await caller.refresh()
            assert caller.nodes == []
        finally:
            await caller.aclose()


async def test_a_retry_of_the_third_client_goes_to_the_next_node(monkeypatch):
    """httpx-retries is compared at its best: its tries are spread, and each is noted."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.port == 9001:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, text=str(request.url))

    monkeypatch.setattr(
        retrying.httpx, "AsyncHTTPTransport", lambda **_: httpx.MockTransport(answer)
    )
    caller = retrying.RetryingCaller("http://127.0.0.1:9/nodes")
    caller.nodes = [(f"orders-{n}", f"http://127.0.0.1:900{n}") for n in (1, 2)]
    async with contextlib.aclosing(caller):
        status, tries = await caller.send("GET", "/work?id=t1")
        assert (status, [one.node for one in tries]) == (200, ["orders-1", "orders-2"])
        with pytest.raises(httpx.ConnectError, match="refused"):
            await caller.send("POST", "/work?id=t2")


def test_the_ids_of_all_clients_begin_differently():
    """The providers' logs are told apart by that one letter."""
    assert len(set(LETTERS.values())) == len(LETTERS)
    assert {len(letter) for letter in LETTERS.values()} == {1}
