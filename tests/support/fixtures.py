"""The fixtures that the folders calls, dropin and leaving share; each conftest imports them."""

from __future__ import annotations

import contextlib
import ssl

import pytest
import trustme

from tests.support.calls import Caller, Flavour, InOrder, Node, registry, settle

__all__ = [
    "anyio_backend",
    "authority",
    "certified",
    "flavour",
    "make_caller",
    "make_node",
    "plain_context",
    "swept_often",
    "trusting",
]


@pytest.fixture
def flavour(request) -> Flavour:
    return getattr(request, "param", Flavour("asyncio"))


@pytest.fixture
def anyio_backend(flavour) -> str:
    return "trio" if flavour.kind == "trio" else "asyncio"


@pytest.fixture
def make_node():
    with contextlib.ExitStack() as stack:

        def make(*scripts, **options) -> Node:
            return stack.enter_context(contextlib.closing(Node(*scripts, **options)))

        yield make


@pytest.fixture(scope="session")
def plain_context() -> ssl.SSLContext:
    return ssl.create_default_context()


@pytest.fixture
async def make_caller(flavour, plain_context):
    """Make callers of the service `orders`; the nodes are asked in the order given."""
    callers: list[Caller] = []

    def make(*nodes, client=None, listing=None, verify=None, **options) -> Caller:
        options = flavour.node_transport(verify or plain_context) | options
        if verify is not None and flavour.child == "stack":
            options["verify"] = verify
        options.setdefault("balancer", InOrder)
        transport = flavour.transport(listing or registry(*nodes), **options)
        callers.append(Caller(flavour, transport, **(client or {})))
        return callers[-1]

    yield make
    for caller in callers:
        await settle(caller.close())


@pytest.fixture
def swept_often(monkeypatch) -> None:
    """Let transports look at their idle connections again and again, so that nobody waits."""
    for room in ("loops", "sync"):
        monkeypatch.setattr(f"rpcguard._transport.{room}.SWEEP_EVERY", 0.02)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def certified(authority):
    """Make the TLS context of a node that has a certificate for these names."""

    def make(*names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        return context

    return make
