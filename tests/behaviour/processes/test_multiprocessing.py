"""Children of multiprocessing: forked with a transport in use, and spawned with none."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import httpx
import pytest

import rpcguard
from tests.behaviour.processes import tasks
from tests.support.calls import echo, eventually, registry


@pytest.fixture
def given(make_node, monkeypatch):
    """Name two nodes in the environment, and start and end without clients."""
    nodes = [make_node(echo) for _ in range(2)]
    listed = ",".join(f"{node.host}:{node.port}" for node in nodes)
    monkeypatch.setenv("RPCGUARD_REGISTRY", f"static:///orders={listed}")
    yield nodes
    tasks.client().close()
    tasks.client.cache_clear()
    tasks.aclient.cache_clear()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_call(given, method):
    """Parent and children call at once, each on connections of its own, and get their answers."""
    parent, *_ = tasks.call(0)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        waiting = [pool.submit(tasks.call, number) for number in range(1, 31)]
        for number in range(31, 61):
            assert tasks.call(number)[1:] == (f"/{number}", f"/{number}")
        found = [one.result(30) for one in waiting]
    assert [one[1:] for one in found] == [(f"/{n}", f"/{n}") for n in range(1, 31)]
    assert parent not in {pid for pid, *_ in found}
    assert tasks.call(61)[1:] == ("/61", "/61")
    tasks.client().close()
    eventually(lambda: sum(node.open for node in given) == 0, "a connection was left open")


def test_a_transport_does_not_travel(make_node):
    """A transport that is sent to another process says so, and goes on working."""
    transport = rpcguard.Transport(registry(make_node()))
    with httpx.Client(transport=transport) as client:
        with pytest.raises(TypeError, match="pickle"):
            multiprocessing.reduction.ForkingPickler.dumps(transport)
        assert client.get("http://orders/").text == "ok"
