"""What a registry says of one node that failed, against lists that are older."""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import anyio
import httpx
import pytest
from trio.testing import MockClock

import rpcguard
from rpcguard import RegistryError, Snapshot
from rpcguard._discovery.feed import Feed
from rpcguard.testing import ScriptedRegistry
from tests.support.stage import GOOD, REFUSED, Stage, nodes

A, B, C = NODES = nodes("a", "b", "c", generation=1)


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Checking:
    """List the same nodes for ever, until told else, and know better when asked about one."""

    def __init__(self, *listed):
        self.listed = Snapshot(listed or NODES)
        self.known = {}
        self.asked = []

    async def fetch(self, service):
        return self.listed

    async def check(self, service, node):
        assert service == "orders"
        self.asked.append(node.id)
        said = self.known.get(node.id, node)
        if isinstance(said, BaseException):
            raise said
        return await said() if callable(said) else said


@pytest.fixture
async def stage():
    return Stage()


@pytest.fixture
async def registry():
    return Checking()


@pytest.fixture
async def feed(stage, registry):
    """Give a feed that runs and has its first list."""
    feed = Feed(stage.service, registry, rng=random.Random(1))
    async with anyio.create_task_group() as group:
        group.start_soon(feed.run)
        await anyio.sleep(0.1)
        assert stage.service.ready
        yield feed
        group.cancel_scope.cancel()


async def next_list():
    await anyio.sleep(6.0)  # polls are 5 s apart, give or take a tenth


async def test_a_node_that_is_gone_is_out_at_once_and_stays_out(stage, registry, feed):
    """A list out of a cache does not bring back what the registry has lost: not for a minute."""
    registry.known["a"] = None
    stage.on("a", REFUSED)
    await feed.check("a")
    view = stage.view("a")
    assert (view.state, view.node.status) == ("ejected", "down")
    assert stage.picked() == {"b", "c"}
    for _ in range(9):
        await next_list()
        assert stage.listed() == {"b", "c"}
    await anyio.sleep(12.0)
    assert stage.listed() == {"a", "b", "c"}
    assert registry.asked == ["a"]


async def test_a_probe_that_succeeds_does_not_bring_a_lost_node_back(stage, registry, feed):
    """The port may answer, another service's by now: the registry has the word."""
    registry.known["a"] = None
    stage.on("a", REFUSED)
    await feed.check("a")
    stage.probed("a", alive=True, answered=True)
    assert stage.view("a").reason == "down in the registry"
    assert stage.picked() == {"b", "c"}


async def test_the_loss_of_all_nodes_one_by_one_is_believed(stage, registry, feed):
    """The shrink guard doubts what a list leaves out, not what was said of each node alone."""
    registry.known = dict.fromkeys("abc")
    for key in "abc":
        await feed.check(key)
    assert set(stage.states().values()) == {"ejected"}
    await next_list()
    assert stage.listed() == set()
    assert "doubted" not in stage.kinds()


async def test_an_empty_list_is_believed_of_what_was_asked_for(stage, registry, feed):
    """Each node was found gone before; one that only a list had called down is kept."""
    registry.known = dict.fromkeys("ab")
    for key in "ab":
        await feed.check(key)
    registry.listed = Snapshot([A, B, replace(C, status="down")])
    await next_list()
    assert stage.states() == {"c": "ejected"}
    registry.listed = Snapshot()
    await next_list()
    assert stage.listed() == {"c"}


async def test_what_is_left_of_an_empty_list_was_not_asked_for(stage, registry, feed):
    """A list that empties right after the findings takes them with it."""
    registry.known = dict.fromkeys("ab")
    for key in "ab":
        await feed.check(key)
    registry.listed = Snapshot()
    await next_list()
    assert stage.listed() == {"c"}


async def test_a_drained_node_drains_against_the_list(stage, registry, feed):
    """What the operator did is in force before the list says so."""
    registry.known["a"] = replace(A, status="draining")
    await feed.check("a")
    assert stage.states() == {"a": "draining", "b": "available", "c": "available"}
    await next_list()
    assert stage.view("a").state == "draining"


async def test_a_list_that_says_something_new_wins(stage, registry, feed):
    """Once the list of the node has changed it is not the old one any more."""
    registry.known["a"] = None
    await feed.check("a")
    registry.listed = Snapshot([replace(A, generation=2), B, C])
    await next_list()
    assert stage.view("a").node.generation == 2
    assert stage.picked() == {"a", "b", "c"}
    registry.listed = Snapshot(NODES)
    await next_list()
    assert stage.picked() == {"a", "b", "c"}


async def test_a_list_that_leaves_the_node_out_ends_the_finding(stage, registry, feed):
    """A node without a generation that is listed again is a new one, not the old list."""
    registry.known["a"] = None
    await feed.check("a")
    registry.listed = Snapshot([B, C])
    await next_list()
    registry.listed = Snapshot(NODES)
    await next_list()
    assert stage.listed() == {"a", "b", "c"}


async def test_a_list_that_may_lack_nodes_does_not_end_the_finding(stage, registry, feed):
    """A list that is not authoritative says nothing of what it leaves out."""
    registry.known["a"] = replace(A, status="draining")
    await feed.check("a")
    registry.listed = Snapshot([B, C], authoritative=False)
    await next_list()
    registry.listed = Snapshot(NODES)
    await next_list()
    assert stage.view("a").state == "draining"


async def test_a_new_generation_starts_afresh(stage, registry, feed):
    """A node that was replaced under its id is known before the list says so."""
    registry.known["a"] = replace(A, generation=2)
    stage.on("a", GOOD, 3)
    await feed.check("a")
    view = stage.view("a")
    assert (view.node.generation, view.successes) == (2, 0)
    await next_list()
    assert stage.view("a").node.generation == 2


async def test_a_node_that_is_well_in_the_registry_stays_ejected(stage, registry, feed):
    """The caller's own judgement stands where the registry has nothing new."""
    stage.on("a", REFUSED)
    before = stage.view("a")
    await feed.check("a")
    assert registry.asked == ["a"]
    assert stage.view("a") == before


@pytest.mark.parametrize("said", [RegistryError("no"), KeyError(), SystemExit(), "gone", B])
async def test_no_sure_answer_changes_nothing(stage, registry, feed, said, caplog):
    """An adapter that raises, or gives what is no answer, does no harm."""
    caplog.set_level(logging.DEBUG)
    registry.known["a"] = said
    await feed.check("a")
    assert set(stage.states().values()) == {"available"}
    assert "node a cannot be checked" in caplog.text
    await next_list()
    assert feed.trouble is None


async def test_an_answer_that_never_comes_is_given_up(stage, registry, feed):
    """A registry that hangs costs 10 seconds of a task, and may be asked again."""
    registry.known["a"] = anyio.sleep_forever
    began = anyio.current_time()
    await feed.check("a")
    assert anyio.current_time() - began == pytest.approx(10.0, abs=0.1)
    registry.known["a"] = None
    await feed.check("a")
    assert stage.view("a").state == "ejected"


async def test_what_a_list_says_meanwhile_is_newer(stage, registry, feed):
    """An answer that took longer than the next list does not undo it."""

    async def late():
        await next_list()
        return replace(A, status="draining")

    registry.known["a"] = late
    registry.listed = Snapshot([replace(A, weight=2.0), B, C])
    await feed.check("a")
    assert (stage.view("a").state, stage.view("a").weight) == ("available", 2.0)


async def test_few_are_asked_about_at_a_time():
    """A rack that fails does not come over the registry all at once, nor wait without bound."""
    many = nodes(*map(str, range(100)))
    stage, registry = Stage(), Checking(*many)
    feed = Feed(stage.service, registry, rng=random.Random(1))
    running, most = 0, 0

    async def slow():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.1)
        running -= 1

    registry.known = {node.id: slow for node in many}
    async with anyio.create_task_group() as group:
        group.start_soon(feed.run)
        await anyio.sleep(0.1)
        assert stage.service.ready
        async with anyio.create_task_group() as checks:
            for node in many:
                checks.start_soon(feed.check, node.id)
                checks.start_soon(feed.check, node.id)
        assert most == 4
        assert len(registry.asked) == len(set(registry.asked)) == 64
        await feed.check(next(node.id for node in many if node.id not in registry.asked))
        assert len(registry.asked) == 65
        group.cancel_scope.cancel()


async def test_a_node_is_asked_about_once_in_three_seconds(stage, registry, feed):
    """Ejections that are only counted, or held back, can come many times a second."""
    for _ in range(100):
        await feed.check("a")
        await anyio.sleep(0.1)
    assert registry.asked == ["a"] * 4
    await feed.check("b")
    assert registry.asked[-1] == "b"


async def test_a_node_that_no_list_names_is_not_asked_about(registry, feed):
    """What was struck off meanwhile is no question."""
    await feed.check("z")
    assert registry.asked == []


# From a failed call to the list


class Scripted(ScriptedRegistry):
    """Push lists, and know better of some nodes."""

    def __init__(self, services):
        super().__init__(services)
        self.known = {}
        self.asked = []

    async def check(self, service, node):
        self.asked.append((service, node.id))
        said = self.known.get(node.id, node)
        return await said() if callable(said) else said


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.002)


def answering(node):
    """Make the transport of a node: "dead" refuses, the others answer."""

    def answer(request):
        if node.id == "dead":
            raise httpx.ConnectError("refused")
        return httpx.Response(500 if node.id == "sick" else 200, text=node.id)

    return httpx.MockTransport(answer)


@contextmanager
def calling(registry, **options):
    transport = rpcguard.Transport(registry, node_transport=answering, **options)
    with httpx.Client(transport=transport, base_url="http://orders") as client:
        transport.wait_ready("orders", timeout=20)
        yield transport, client


def states(transport):
    return {view.node.id: (view.state, view.node.status) for view in transport.nodes("orders")}


def test_a_failed_call_lets_the_registry_be_asked():
    """One question for the ejection, and none for any other node; its answer is in the list."""
    registry = Scripted({"orders": nodes("dead", "fine", "good")})
    registry.known["dead"] = None
    with calling(registry) as (transport, client):
        for _ in range(20):
            assert client.get("/").status_code == 200
        until(lambda: states(transport)["dead"] == ("ejected", "down"))
        assert registry.asked == [("orders", "dead")]


def test_failures_that_only_add_up_to_an_ejection_are_asked_about_once():
    """A node that answers 500 is asked about when it is ejected, not with each failure."""
    registry = Scripted({"orders": nodes("sick", "fine")})
    registry.known["sick"] = replace(nodes("sick")[0], status="draining")
    ejection = rpcguard.EjectionPolicy(consecutive=2)
    retry = rpcguard.RetryPolicy(attempts=1)
    with calling(registry, retry=retry, ejection=ejection) as (transport, client):
        statuses = [client.get("/").status_code for _ in range(60)]
        assert statuses.count(500) == 2
        until(lambda: states(transport)["sick"][0] == "draining")
        assert registry.asked == [("orders", "sick")]


def test_a_node_that_the_cap_keeps_in_use_is_asked_about_too():
    """The only node is never ejected on judgement; that it is gone is the registry's own word."""
    registry = Scripted({"orders": nodes("dead")})
    registry.known["dead"] = None
    with calling(registry) as (transport, client):
        for _ in range(5):
            with pytest.raises(httpx.ConnectError):
                client.get("/")
        # The next list, for which the failed calls ask as well, has it no more.
        until(lambda: states(transport).get("dead") in (None, ("ejected", "down")))
        assert registry.asked == [("orders", "dead")]


def test_a_registry_without_the_method_is_not_asked():
    """Nothing is started for a registry that only lists."""
    with calling(ScriptedRegistry({"orders": nodes("dead", "fine")})) as (transport, client):
        assert {client.get("/").text for _ in range(5)} == {"fine"}
        assert states(transport)["dead"][0] == "ejected"
        assert not transport._following._checks


def test_close_gives_up_what_is_still_asked():
    """A question that hangs neither holds up the close nor outlives it."""
    registry = Scripted({"orders": nodes("dead", "fine")})
    ended = threading.Event()

    async def hang():
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    registry.known["dead"] = hang
    with calling(registry) as (_, client):
        for _ in range(5):
            client.get("/")
        until(lambda: registry.asked)
    assert ended.wait(20)
