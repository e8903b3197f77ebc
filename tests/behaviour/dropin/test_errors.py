"""Errors: caught as before, telling what to do, and fit to travel."""

from __future__ import annotations

import copy
import pickle

import httpx
import httpx2
import pytest

import rpcguard
import rpcguard.httpx2
from rpcguard import Node
from rpcguard.registries.static import StaticRegistry
from tests.support.calls import FLAVOURS, Dead, each
from tests.support.library import NoAvailableNode, http

ERRORS = [
    rpcguard.NoAvailableNode,
    rpcguard.TransportClosed,
    rpcguard.RegistryError,
    rpcguard.InvalidRegistryURL,
    rpcguard.httpx2.NoAvailableNode,
    rpcguard.httpx2.TransportClosed,
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_errors_travel(kind):
    """Every error can be pickled and copied, with its message and notes."""
    error = kind("service 'orders' has no node")
    error.add_note("rpcguard: attempt 1")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert twin.__notes__ == error.__notes__
        assert isinstance(twin, rpcguard.RpcguardError)


@pytest.mark.parametrize(
    ("kind", "parents"),
    [
        (rpcguard.NoAvailableNode, (httpx.ConnectError, httpx.TransportError)),
        (rpcguard.TransportClosed, (httpx.TransportError,)),
        (rpcguard.InvalidRegistryURL, (ValueError,)),
        (rpcguard.httpx2.NoAvailableNode, (httpx2.ConnectError, rpcguard.NoAvailableNode)),
        (rpcguard.httpx2.TransportClosed, (httpx2.TransportError, rpcguard.TransportClosed)),
    ],
)
def test_errors_are_caught_as_before(kind, parents):
    """Whatever caught the error of httpx catches ours."""
    assert issubclass(kind, parents)
    assert all(issubclass(kind, parent) for parent in parents)


@each(FLAVOURS)
async def test_an_unknown_service(make_node, make_caller):
    """The error names the service and the registry, and is the library's own `ConnectError`."""
    caller = make_caller(make_node())
    with pytest.raises(rpcguard.NoAvailableNode) as caught:
        await caller.call("http://oders/")
    assert type(caught.value) is NoAvailableNode
    assert isinstance(caught.value, http.ConnectError)
    assert str(caught.value) == (
        "service 'oders' has no available node: StaticRegistry(orders: 1 nodes) does not know "
        "this service; is its name right?"
    )
    assert caught.value.request.url == "http://oders/"
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


@each(FLAVOURS)
async def test_an_empty_service(make_caller):
    """The error tells an empty list from an unknown name."""
    caller = make_caller()
    with pytest.raises(rpcguard.NoAvailableNode, match="lists no node of it; is one registered"):
        await caller.call()


@each(FLAVOURS)
async def test_drained_nodes(make_caller):
    """The error gives each node's reason, up to ten of them."""
    nodes = [Node("10.0.0.1", port, weight=0) for port in range(1, 15)]
    caller = make_caller(listing=StaticRegistry({"orders": nodes}))
    with pytest.raises(rpcguard.NoAvailableNode) as caught:
        await caller.call()
    message = str(caught.value)
    assert "10.0.0.1:1 draining: weight 0; 10.0.0.1:2" in message
    assert message.count("draining: weight 0") == 10
    assert message.endswith("; and 4 more")


@each(FLAVOURS)
async def test_a_failed_call_travels(make_caller):
    """The httpx error of a failed call keeps its note and its request through a pickle."""
    caller = make_caller(Dead())
    with pytest.raises(http.ConnectError) as caught:
        await caller.call("/x")
    twin = pickle.loads(pickle.dumps(caught.value))
    assert twin.__notes__ == caught.value.__notes__
    assert twin.request.url == "http://orders/x"


@each(FLAVOURS)
async def test_call_info_travels(make_node, make_caller):
    """What a response tells of its call can be pickled and compared."""
    response = await make_caller(make_node()).call()
    info = response.extensions["rpcguard"]
    assert pickle.loads(pickle.dumps(info)).service == "orders"
    with pytest.raises(AttributeError):
        info.service = "billing"


@each(FLAVOURS)
async def test_a_wrong_node_is_named(make_node, make_caller):
    """Marking a node that is not listed says which are."""
    caller = make_caller(node := make_node())
    await caller.call()
    with pytest.raises(ValueError, match=f"no node '10.9.9.9:1'; it has .*:{node.port}"):
        caller.transport.mark_offline("orders", "10.9.9.9:1")
