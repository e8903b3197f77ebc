"""What a steady call does is counted, not timed: counts repeat on the busiest machine."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

import rpcguard
from benchmarks.lib.nodes import nodes
from rpcguard._connections.aio import AsyncExchange
from rpcguard._connections.exchange import Exchange
from rpcguard._connections.socket_stream import SocketStream
from rpcguard._connections.sync import SyncExchange
from rpcguard._telemetry import telemetry
from rpcguard._transport.loops import LoopChildren

if TYPE_CHECKING:
    from collections.abc import Iterator

UNLIMITED = httpx.Limits(max_connections=None, keepalive_expiry=None)
CALLS = 300
# Bare httpx makes 1,380 calls in threads and 2,100 on asyncio; its client alone, over no connection
# at all, 560. A line more here or there is no failure, a layer more is. Counts differ by less than
# one from run to run, however busy the machine is.
MOST = {"threads": 819, "asyncio": 903, "trio": 973}
FLAT = 0.1

pytestmark = pytest.mark.timeout(300)  # a loaded machine takes ten times as long, and may


class Profile:
    """Count the calls that this thread makes, of Python and of C, those of C by name too."""

    def __init__(self) -> None:
        self.calls = 0
        self.by_name: Counter[str] = Counter()

    def __call__(self, _frame: object, event: str, called: object) -> None:
        self.calls += event in ("call", "c_call")
        if event == "c_call":
            self.by_name[getattr(called, "__name__", "")] += 1

    def __enter__(self) -> Profile:
        self._before = sys.getprofile()
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)


def registry(ports: list[int]) -> str:
    return "static://" + ",".join(f"127.0.0.1:{port}" for port in ports)


def warm_up(ports: list[int], in_flight: int) -> int:
    """Give the calls after which every node has its connections, in all likelihood."""
    return 40 + 4 * len(ports) + 4 * in_flight


def stop_time(transport: rpcguard.Transport | rpcguard.AsyncTransport) -> None:
    """Let all nodes be equally quick from now on: which one is slow is a matter of the machine."""
    stopped = time.monotonic()
    transport._service("orders").clock = lambda: stopped


@pytest.fixture(autouse=True)
def by_calls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is done now and then: how often beside some calls is the machine's, too."""
    monkeypatch.setattr(LoopChildren, "sweep", lambda _: None)
    monkeypatch.setattr(telemetry, "_ASK_EVERY", math.inf)


def in_threads(ports: list[int], in_flight: int, calls: int) -> Profile:
    """Call from so many threads until every node has a connection, then count."""
    total = Profile()

    def some(client: httpx.Client, numbers: Iterator[int], *, counted: bool) -> None:
        if not counted:
            for _ in numbers:
                client.get("http://orders/")
            return
        with Profile() as profile:
            for _ in numbers:
                client.get("http://orders/")
        with lock:
            total.calls += profile.calls
            total.by_name += profile.by_name

    def many(client: httpx.Client, count: int, *, counted: bool) -> None:
        numbers = iter(range(count))
        options = {"target": some, "args": (client, numbers), "kwargs": {"counted": counted}}
        threads = [threading.Thread(**options) for _ in range(in_flight)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    lock = threading.Lock()
    transport = rpcguard.Transport(registry(ports), limits=UNLIMITED)
    with httpx.Client(transport=transport, timeout=60) as client:
        many(client, warm_up(ports, in_flight), counted=False)
        stop_time(transport)
        many(client, calls, counted=True)
    return total


async def in_tasks(ports: list[int], in_flight: int, calls: int) -> Profile:
    """Do the same from so many tasks."""

    async def some(client: httpx.AsyncClient, numbers: Iterator[int]) -> None:
        for _ in numbers:
            await client.get("http://orders/")

    async def many(client: httpx.AsyncClient, count: int) -> None:
        numbers = iter(range(count))
        async with anyio.create_task_group() as group:
            for _ in range(in_flight):
                group.start_soon(some, client, numbers)

    transport = rpcguard.AsyncTransport(registry(ports), limits=UNLIMITED)
    async with httpx.AsyncClient(transport=transport, timeout=60) as client:
        await many(client, warm_up(ports, in_flight))
        stop_time(transport)
        with Profile() as profile:
            await many(client, calls)
    return profile


def count(kind: str, ports: list[int], *, in_flight: int = 1, calls: int = CALLS) -> Profile:
    if kind == "threads":
        return in_threads(ports, in_flight, calls)
    return anyio.run(in_tasks, ports, in_flight, calls, backend=kind)


@pytest.fixture(scope="module")
def few() -> Iterator[list[int]]:
    with nodes(3) as ports:
        yield ports


@pytest.fixture(scope="module")
def many() -> Iterator[list[int]]:
    with nodes(1000) as ports:
        yield ports


@pytest.mark.parametrize("kind", MOST)
def test_a_steady_call_makes_few_calls(kind, few):
    """No layer has crept into the path of a call."""
    assert count(kind, few).calls / CALLS <= MOST[kind]


@pytest.mark.parametrize("kind", MOST)
def test_a_call_costs_the_same_on_a_thousand_nodes(kind, few, many):
    """What a call does depends on nothing that grows with the list."""
    assert count(kind, many).calls == pytest.approx(count(kind, few).calls, rel=FLAT)


@pytest.mark.parametrize("kind", MOST)
def test_a_call_costs_the_same_with_many_in_flight(kind, few):
    """What a call does depends on nothing that grows with the calls in flight."""
    calls = 1000
    one = count(kind, few, calls=calls).calls
    assert count(kind, few, in_flight=200, calls=calls).calls == pytest.approx(one, rel=FLAT)


KINDS = ("threads", "asyncio", "trio")


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_inspects_one_connection(kind, few, monkeypatch):
    """Only the connection that is used is asked whether it still lives, once."""
    inspected = []
    ask = SocketStream.ended

    def counted(stream):
        inspected.append(stream)
        return ask(stream)

    for swept in (SyncExchange, AsyncExchange):  # which looks at all, once a second
        monkeypatch.setattr(swept, "sweep", lambda _: None)
    monkeypatch.setattr(SocketStream, "ended", counted)
    count(kind, few, in_flight=10, calls=1000)
    assert len(inspected) == warm_up(few, 10) + 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_polls_one_socket(kind, few):
    """One poll asks for life, one waits for the answer; asyncio turns once more for that."""
    most = {"threads": 2, "asyncio": 3, "trio": 2}[kind]
    assert count(kind, few).by_name["poll"] == pytest.approx(most * CALLS, rel=FLAT)


@pytest.mark.parametrize("kind", KINDS)
def test_steady_calls_open_no_connection(kind, few, monkeypatch):
    """A thousand calls, one after the other, use the connections that are there."""
    opened = count_opened(monkeypatch)
    count(kind, few, calls=1000)
    assert len(opened) == len(few)


def count_opened(monkeypatch) -> list[object]:
    """Note each connection that is opened from now on."""
    opened: list[object] = []
    open_one = Exchange._opened

    def noted(self, *args):
        opened.append(self)
        return open_one(self, *args)

    monkeypatch.setattr(Exchange, "_opened", noted)
    return opened
