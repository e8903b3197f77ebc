"""Ctrl-C at every place of a whole call, in every flavour: nothing is lost for good."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import time

import httpx
import pytest

import rpcguard
from rpcguard.registries.static import StaticRegistry
from tests.support.calls import eventually
from tests.support.interrupts import Interrupter

# What Ctrl-C took from between two hands ends with the garbage, and says so.
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PACKAGE = os.path.dirname(rpcguard.__file__)
ONE = httpx.Limits(max_connections=1)
SOON = httpx.Timeout(30.0)  # a busy machine is no fault, and what was lost never comes
PATIENCE = 30.0  # seconds; a leak stays as long as its client does
SHARED = 100
"""Calls that share a client: with more services a first call has more places."""

MOST = 3000
"""Places at most: more than a call has, so that the walk ends by itself."""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch) -> None:
    """Keep nothing of what finalizers raise: pytest does, with the frames that it came through."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)


def ours(file: str) -> bool:
    return file.startswith(PACKAGE)


def leaks(transport, name: str) -> list[str]:
    """Tell what a call has left behind for good: another thread may have it for some moments."""
    end = time.monotonic() + PATIENCE
    while (left := _left(transport, name)) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    return left


def _left(transport, name: str) -> list[str]:
    service = next((one for one in transport._services if one.name == name), None)
    if service is None:
        return []
    kept = {
        "calls": service.calls,
        "nodes": sum(view.in_flight for view in transport.nodes(name)),
        "answers owed": sum(live.unanswered for live in service._roster.nodes.values()),
    }
    return [f"{number} {what}" for what, number in kept.items() if number]


def busy(transport, name: str) -> list[str]:
    """Tell which connections are in use, after a call that the next one was to clear up for."""
    counts = [view.connections for view in transport.nodes(name)]
    return [str(one) for one in counts if one is not None and (one.in_use or one.waiting)]


def registry_of_all(node) -> StaticRegistry:
    """Make a registry that lists this node for every name."""
    return StaticRegistry([rpcguard.Node(node.host, node.port)])


@pytest.mark.parametrize("warm", [False, True], ids=["first", "second"])
def test_a_call_of_a_thread(make_node, warm):
    """No place of one GET, the first or a later one, leaks a call, a node or a connection."""
    node = make_node()
    lost: dict[str, list[str]] = {}
    for nth in range(MOST):
        if not nth % SHARED:
            transport = rpcguard.Transport(registry_of_all(node), limits=ONE)
            client = httpx.Client(transport=transport, timeout=SOON, trust_env=False)
        name = f"orders-{nth}"
        if warm:
            client.get(f"http://{name}/")
        with contextlib.suppress(KeyboardInterrupt), Interrupter(nth, ours) as interrupter:
            client.get(f"http://{name}/")
        if left := leaks(transport, name):
            lost[str(interrupter.where)] = left
        assert client.get(f"http://{name}/").text == "ok", interrupter.where
        assert busy(transport, name) == [], interrupter.where
        if interrupter.where is None or nth % SHARED == SHARED - 1:
            client.close()
        if interrupter.where is None:
            break
    assert nth > 100
    assert lost == {}
    gc.collect()
    eventually(lambda: node.open == 0, "a connection was left open")


def run_asyncio(call) -> None:
    asyncio.run(call())


def run_trio(call) -> None:
    import trio

    trio.run(call)


@pytest.mark.parametrize("run", [run_asyncio, run_trio], ids=["asyncio", "trio"])
def test_a_call_of_a_task(make_node, run):
    """The same for a task, whose event loop ends by it; the client lives on, for another loop."""
    node = make_node()
    lost: dict[str, list[str]] = {}
    for nth in range(MOST):
        if not nth % SHARED:
            transport = rpcguard.AsyncTransport(registry_of_all(node), limits=ONE)
            client = httpx.AsyncClient(transport=transport, timeout=SOON, trust_env=False)
        interrupter, name = Interrupter(nth, ours), f"orders-{nth}"

        async def call(client=client, interrupter=interrupter, name=name) -> None:
            with interrupter:
                await client.get(f"http://{name}/")

        async def again(client=client, name=name, last=nth % SHARED == SHARED - 1) -> None:
            assert (await client.get(f"http://{name}/")).text == "ok"
            assert busy(client._transport, name) == []
            if last:
                await client.aclose()

        with contextlib.suppress(KeyboardInterrupt):
            run(call)
        if left := leaks(transport, name):
            lost[str(interrupter.where)] = left
        run(again)
        if interrupter.where is None:
            break
    run(client.aclose)
    assert nth > 100
    assert lost == {}
    gc.collect()
    eventually(lambda: node.open == 0, "a connection was left open")
