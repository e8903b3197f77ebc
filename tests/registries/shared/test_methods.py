"""Registries that somebody else has written: whole, in part, and wrongly."""

from __future__ import annotations

import types
from importlib.metadata import EntryPoint
from typing import Any, Protocol
from unittest.mock import AsyncMock

import httpx
import pytest

import rpcguard
from rpcguard.errors import InvalidRegistryURL
from rpcguard.registries._shared.methods import answer_of, hint_for, misshapen, stream_of
from rpcguard.registries.base import (
    GROUP,
    checks,
    has_rules,
    lists_services,
    pushes,
    pushes_rules,
    registry_from_url,
    watches,
)
from rpcguard.registries.consul import ConsulRegistry
from tests.support.calls import eventually

LIST = rpcguard.Snapshot([rpcguard.Node("10.0.0.1", 80)])


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Ask on asyncio only, as the discovery loop does."""
    return str(request.param)


class Polled:
    async def fetch(self, service: str) -> Any:
        return LIST


class Watched(Polled):
    async def watch(self, service: str) -> Any:
        yield LIST


class Wrapper:
    """Change what another registry gives, and hand all else on to it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def fetch(self, service: str) -> Any:
        return rpcguard.Snapshot((await self._inner.fetch(service)).nodes[:1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Unwatched(Watched):
    watch: Any = None


def test_a_watch_is_enough_to_be_watched() -> None:
    """Proves that a registry without connections needs no `aclose` to be believed that it pushes.

    It was polled in silence.
    """
    assert watches(Watched())
    assert not watches(Polled())
    assert not watches(Unwatched())


def test_a_wrapper_is_never_watched_past_what_it_changes() -> None:
    """Proves that on every Python only methods of its own count, and mocks have none."""
    assert not watches(Wrapper(Watched()))
    assert not watches(AsyncMock())


class AnyName(Polled):
    """What calls another process by whatever name it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: name


@pytest.mark.parametrize("kind", [AnyName, AsyncMock, lambda: Wrapper(AnyName())])
@pytest.mark.parametrize("host", ["orders", "orders.svc"])
def test_what_has_every_name_is_asked_for_its_list_alone(kind: Any, host: str) -> None:
    """Proves that no call goes by what such a registry would say of priorities or of TLS.

    Each call failed, of a service with levels of priority or a dot in its name.
    """
    found = [rpcguard.Node(f"10.0.0.{one}", 80, priority=one) for one in range(2)]
    registry = kind()
    if isinstance(registry, AsyncMock):
        registry.fetch.return_value = rpcguard.Snapshot(found)
    else:
        registry.fetch = _list_of(found)
    child = httpx.MockTransport(lambda _: httpx.Response(200))
    transport = rpcguard.Transport(registry, node_transport=lambda _: child)
    with httpx.Client(transport=transport) as client:
        assert client.get(f"http://{host}/").is_success


def _list_of(nodes: list[rpcguard.Node]) -> Any:
    async def fetch(service: str) -> Any:
        return rpcguard.Snapshot(nodes)

    return fetch


class Grown(dict[str, Any]):
    """A registry that is a table, without an entry yet."""

    async def fetch(self, service: str) -> Any:
        return rpcguard.Snapshot(self.get(service, ()))


def test_a_registry_that_is_empty_is_one() -> None:
    """Proves that what is false is not taken for none: it may have nodes when it is asked."""
    registry = Grown()
    child = httpx.MockTransport(lambda _: httpx.Response(200))
    transport = rpcguard.Transport(registry, node_transport=lambda _: child)
    registry["orders"] = LIST.nodes
    with httpx.Client(transport=transport) as client:
        assert client.get("http://orders/").is_success


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (pushes, ["pushed"]),
        (checks, ["check"]),
        (has_rules, ["routes"]),
        (lists_services, ["services"]),
        (pushes_rules, ["routes", "watch_routes"]),
    ],
)
def test_each_kind_is_told_by_its_methods(kind: Any, names: list[str]) -> None:
    """Proves that all of the methods are wanted, and no more."""
    assert kind(type("Own", (Polled,), dict.fromkeys(names, print))())
    assert not kind(type("Own", (Polled,), dict.fromkeys(names[:-1], print))())


async def _awaited(*_: object) -> Any:
    return LIST


async def _streamed(*_: object) -> Any:
    yield LIST


def _yielded(*_: object) -> Any:
    yield LIST


def _plain(*_: object) -> Any:
    return LIST


AWAITED = ["fetch", "check", "routes", "services", "aclose"]
STREAMED = ["watch", "pushed", "watch_routes"]


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name in AWAITED for method in (_streamed, _yielded)]
    + [(name, method) for name in STREAMED for method in (_awaited, _yielded)],
)
def test_a_method_that_can_never_work_is_told_when_a_transport_is_made(
    name: str, method: Any
) -> None:
    """Proves that nobody waits for a list first, and that the error names the method."""
    registry = type("Own", (Polled,), {name: method})()
    right = "`async def`$" if name in AWAITED else "`async def` with `yield`$"
    with pytest.raises(ValueError, match=f"^registry: `{name}` of Own must be {right}"):
        rpcguard.Transport(registry)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (rpcguard.Registry, "fetch"),
        (rpcguard.WatchableRegistry, "watch"),
        (rpcguard.CheckingRegistry, "check"),
        (rpcguard.RuledRegistry, "routes"),
        (rpcguard.ListingRegistry, "services"),
    ],
)
def test_a_method_that_is_only_declared_is_told(kind: Any, name: str) -> None:
    """Proves that what a protocol declares is not taken for an answer.

    A registry without `check` said by it that each node which failed was gone.
    """
    bases = (kind,) if name == "fetch" else (Polled, kind)
    registry = types.new_class("Own", bases)()
    with pytest.raises(ValueError, match=f"^registry: `{name}` of Own must be .*only declared$"):
        rpcguard.Transport(registry)
    setattr(registry, name, _streamed if name == "watch" else _awaited)
    assert misshapen(registry) is None


class Whole(Protocol):
    """A protocol of somebody else's that is written out."""

    async def fetch(self, service: str) -> Any:
        return LIST


def test_a_protocol_may_be_written_out() -> None:
    """Proves that methods which others have written into theirs are methods."""
    assert misshapen(types.new_class("Own", (Whole,))()) is None


@pytest.mark.parametrize("name", [*AWAITED, *STREAMED])
def test_a_method_that_may_work_is_not_refused(name: str) -> None:
    """Proves that a plain function is waited for: it may hand on what another one gives."""
    right = _awaited if name in AWAITED else _streamed
    for method in (right, _plain, AsyncMock() if name in AWAITED else _plain):
        assert misshapen(type("Own", (Polled,), {name: method})()) is None


async def test_what_cannot_be_waited_for_is_told_with_its_method() -> None:
    """Proves that a method without `async` is an error that says what is wanted."""
    registry: Any = type("Own", (), {"fetch": _plain, "watch": _awaited, "pushed": _yielded})()
    with pytest.raises(TypeError, match="`fetch` of Own must be `async def`: it gave a Snapshot"):
        await answer_of(registry, "fetch", "orders")
    with pytest.raises(TypeError, match=r"`watch` of Own must be .* it gave a coroutine"):
        stream_of(registry, "watch", "orders")  # a coroutine that is left would be a warning
    with pytest.raises(TypeError, match=r"`pushed` of Own must be .* it gave a generator"):
        stream_of(registry, "pushed", "orders")


class Forgetful(ConsulRegistry):
    def __init__(self) -> None:
        pass


class Typo(Polled):
    def wrong(self) -> Any:
        return self.adress  # type: ignore[attr-defined]


class Derived(Typo, rpcguard.Registry):
    pass


async def test_a_subclass_that_forgot_its_base_is_told_so() -> None:
    """Proves that an attribute which `super().__init__()` would set points at the cause."""
    registry = Forgetful()
    with pytest.raises(AttributeError) as caught:
        await registry.fetch("orders")
    assert "super().__init__()" in hint_for(registry, caught.value)
    for kind in (Typo, Derived):
        typo = kind()
        with pytest.raises(AttributeError) as caught:
            typo.wrong()
        assert hint_for(typo, caught.value) == ""
    assert hint_for(registry, OSError()) == ""


def test_a_call_says_what_a_registry_of_ones_own_lacks() -> None:
    """Proves that both faults that only show when asked reach whoever makes a call."""
    cases = [(Forgetful(), r"super\(\)"), (type("Own", (), {"fetch": _plain})(), "`async def`")]
    membership = rpcguard.MembershipPolicy(first_snapshot_timeout=0.5)
    for registry, told in cases:
        transport = rpcguard.Transport(registry, membership=membership)
        with httpx.Client(transport=transport) as client:
            transport.nodes("orders")  # it is asked from now on
            eventually(lambda t=transport: t.services()[0].trouble, "it was not asked")
            with pytest.raises(rpcguard.NoAvailableNode, match=told):
                client.get("http://orders/")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "it must give an object with `fetch`, not NoneType"),
        (Polled, "it must give an object with `fetch`, not type"),
        ("http://a/b", "it must give an object with `fetch`, not str"),
        (type("Own", (Polled,), {"watch": _awaited})(), "`watch` of Own must be `async def` with"),
    ],
)
def test_a_package_that_gives_no_registry_is_named(
    given: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that the entry point is told, of which the user may not know."""
    theirs = EntryPoint("other", "theirs:made", GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [theirs])
    monkeypatch.setattr(EntryPoint, "load", lambda self: lambda url: given)
    with pytest.raises(InvalidRegistryURL, match="other:// is offered by theirs:made: ") as caught:
        registry_from_url("other://a:1")
    assert told in str(caught.value)
