"""Rules that a registry pushes."""

from __future__ import annotations

import pytest

from rpcguard._core.policies.routing import Route
from rpcguard._discovery.rule_sources import WatchedRules
from rpcguard.errors import RegistryError
from rpcguard.registries.base import RuleWatchableRegistry


@pytest.fixture
def anyio_backend():
    return "asyncio"


ONE = [Route("one", to={"version": "1"})]
TWO = [Route("two", to={"version": "2"})]


class Pushing:
    """A registry that pushes one script of rules after the other; an exception is raised."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.open = 0

    async def fetch(self, service):
        raise NotImplementedError

    async def routes(self, service):
        raise NotImplementedError

    async def watch_routes(self, service):
        self.open += 1
        try:
            for told in self.scripts.pop(0):
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            self.open -= 1


def watched(*scripts, may_fail=False):
    registry = Pushing(*scripts)
    assert isinstance(registry, RuleWatchableRegistry)
    return registry, WatchedRules(registry, "orders", "ORDERS", may_fail=may_fail)


async def test_each_push_is_read_at_once():
    """There is no pause between a reading and the next."""
    registry, rules = watched([ONE, TWO])
    for wanted in (ONE, TWO):
        assert await rules.read() == tuple(wanted)
        assert rules.interval == 0.0
    assert registry.open == 1


async def test_rules_are_about_the_service_by_the_name_that_calls_have():
    """A registry that knows it by another one says that; those of others stay theirs."""
    names = "ORDERS", "billing", "*"
    _, rules = watched([[Route(name, service=name, mark="a") for name in names]])
    assert [one.service for one in await rules.read()] == ["orders", "billing", "*"]


@pytest.mark.parametrize("end", [[], [RegistryError("down")]])
async def test_a_watch_that_ends_is_begun_anew(end):
    """After a pause, and the old one is closed."""
    registry, rules = watched([ONE, *end], [TWO])
    assert await rules.read() == tuple(ONE)
    with pytest.raises(RegistryError):
        await rules.read()
    assert rules.interval > 0.0
    assert registry.open == 0
    assert await rules.read() == tuple(TWO)
    assert rules.interval == 0.0


class Row:
    """An iterator that is no generator, and cannot be closed."""

    def __init__(self, told):
        self.told = list(told)

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.told:
            raise StopAsyncIteration
        if isinstance(self.told[0], Exception):
            raise self.told.pop(0)
        return self.told.pop(0)


class Rows(Row):
    """What is only iterable, as often as one likes."""

    def __aiter__(self):
        return Row(self.told)


class Clamped(Row):
    """An iterator whose end is one more error."""

    async def aclose(self):
        raise OSError("it does not close")


@pytest.mark.parametrize("kind", [Row, Rows, Clamped])
@pytest.mark.parametrize("end", [[], [RegistryError("down")]])
async def test_what_pushes_need_be_no_generator(kind, end):
    """Proves that any iterator will do, and that its own end is told, not that of its close."""
    registry, rules = watched()
    registry.watch_routes = lambda _: kind([ONE, *end])
    for _ in range(2):
        assert await rules.read() == tuple(ONE)
        with pytest.raises(RegistryError, match="down" if end else "ended"):
            await rules.read()


async def test_rules_that_are_no_good_do_not_end_it():
    """The next push is heard."""
    failing = [Route("bad", to={"version": "1"}, otherwise="fail")]
    registry, rules = watched([[*ONE, *ONE], failing, TWO])
    with pytest.raises(ValueError, match="unique"):
        await rules.read()
    with pytest.raises(ValueError, match="may_fail"):
        await rules.read()
    assert await rules.read() == tuple(TWO)
    assert registry.open == 1
