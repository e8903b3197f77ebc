"""Feeds and probes: how lists are kept coming, by trio's clock, which jumps over every pause."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import math
import random
import socket
import subprocess
import sys
import weakref
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from trio.testing import MockClock

from rpcguard import RegistryError, Snapshot
from rpcguard._core.policies.ejection import LISTENS
from rpcguard._discovery import probes as probing
from rpcguard._discovery.feed import Backoff, Feed
from rpcguard._discovery.probes import probe
from rpcguard._discovery.store import SnapshotStore
from rpcguard.testing import ScriptedRegistry
from tests.support.stage import REFUSED, Stage, ids, leaving, nodes

LIST = Snapshot(nodes("a", "b"))
STAGES = {}


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Polled:
    """Answer each fetch with the next of the script, the last for ever; note the times."""

    def __init__(self, *script):
        self.script = list(script)
        self.times = []

    async def fetch(self, service):
        assert service == "orders"
        self.times.append(anyio.current_time())
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, BaseException):
            raise said
        return await said() if callable(said) else said

    @property
    def pauses(self):
        return [after - before for before, after in pairwise(self.times)]


class Watched(Polled):
    """Let each watch live by the next of `watches`, an async generator function."""

    def __init__(self, *script, watches):
        super().__init__(*script)
        self.watches = list(watches)
        self.begun = []

    def watch(self, service):
        self.begun.append(anyio.current_time())
        return (self.watches.pop(0) if len(self.watches) > 1 else self.watches[0])()

    @property
    def restarts(self):
        return [after - before for before, after in pairwise(self.begun)]


class Panic(BaseException):
    """What an extension in Rust raises, for one."""


class UnspeakableError(Exception):
    """Fail once more when it is asked what it says."""

    def __str__(self):
        raise LookupError


def feed_of(stage, registry, **options):
    feed = Feed(stage.service, registry, rng=random.Random(1), **options)
    STAGES[feed] = stage
    return feed


@pytest.fixture(autouse=True)
def stages():
    """Keep the services of the feeds alive until a test drops them."""
    yield STAGES
    STAGES.clear()


async def run_for(seconds, feed):
    with anyio.move_on_after(seconds):
        await feed.run()


async def forever():
    yield LIST
    await anyio.sleep_forever()


def warnings(caplog):
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]


# Polling


async def test_a_list_is_polled_every_five_seconds_give_or_take():
    """The interval has 10 % jitter, so that many callers do not come at once."""
    stage, registry = Stage(), Polled(LIST)
    await run_for(500, feed_of(stage, registry))
    assert stage.listed() == {"a", "b"}
    assert all(4.5 <= pause <= 5.5 for pause in registry.pauses)
    assert max(registry.pauses) - min(registry.pauses) > 0.5


@pytest.mark.parametrize(
    ("max_age", "least", "most"),
    [(60.0, 54, 66), (0.0, 0.9, 1.1), (math.nan, 4.5, 5.5), (-3.0, 4.5, 5.5), (2.0, 1.8, 2.2)],
)
async def test_the_registry_may_advise_the_interval(max_age, least, most):
    """`max_age` is the interval, but never less than a second, and only if it is a time."""
    registry = Polled(Snapshot(nodes("a"), max_age=max_age))
    await run_for(300, feed_of(Stage(), registry))
    assert len(registry.pauses) >= 4
    assert all(least <= pause <= most for pause in registry.pauses)


async def test_a_list_that_never_changes_is_asked_for_once():
    """An infinite `max_age` says that the list is fixed."""
    registry = Polled(Snapshot(nodes("a"), max_age=math.inf))
    await run_for(10_000, feed_of(Stage(), registry))
    assert len(registry.times) == 1


@pytest.mark.parametrize(
    "said",
    [
        RegistryError("down"),
        KeyError("nodes"),
        ExceptionGroup("two", [ValueError(), OSError()]),
        SystemExit("the configuration is missing"),
        KeyboardInterrupt(),
        Panic("unwrap on None"),
        BaseExceptionGroup("two", [Panic(), OSError()]),
        UnspeakableError(),
        None,
        ["a:1"],
        Snapshot.__new__(Snapshot),
    ],
    ids=lambda said: type(said).__name__,
)
async def test_whatever_a_registry_does_the_feed_goes_on(said, caplog):
    """Errors and nonsense are one warning, then growing pauses, and the last list stays."""
    stage = Stage("z")
    registry = Polled(*[said] * 12, LIST)
    feed = feed_of(stage, registry)
    await run_for(100, feed)
    assert len(warnings(caplog)) == 1
    assert "the last one stays in use" in caplog.text
    assert feed.trouble is not None
    assert stage.listed() == {"z"}
    for at, pause in enumerate(registry.pauses):
        longest = min(0.2 * 2**at, 30.0)
        assert longest / 2 <= pause <= longest
    caplog.clear()
    caplog.set_level(logging.INFO)
    await run_for(500, feed)
    assert feed.trouble is None
    assert stage.listed() >= {"a", "b"}
    assert "answers again" in caplog.text


async def cancelled():
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    return await future


async def cancelled_watch():
    yield await cancelled()


@pytest.mark.parametrize(
    "registry",
    [
        lambda: Polled(cancelled, LIST),
        lambda: Watched(LIST, watches=[cancelled_watch, forever]),
    ],
    ids=["poll", "watch"],
)
def test_a_cancellation_of_the_adapters_own_is_trouble_like_any_other(registry, caplog):
    """A future that somebody else has cancelled ends neither the poll nor the watch."""

    async def main():
        running = asyncio.create_task(feed_of(stage, registry()).run())
        while not stage.listed():  # noqa: ASYNC110 - the feed meets it
            await asyncio.sleep(0.01)
        running.cancel()  # this one is meant, and ends it
        with pytest.raises(asyncio.CancelledError):
            await running

    stage = Stage()
    asyncio.run(asyncio.wait_for(main(), 10))
    assert "CancelledError" in caplog.text


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, Panic])
def test_whatever_a_watch_raises_as_it_is_closed_the_feed_goes_on(error):
    """A watch that gave nonsense is closed, and its own end is no end of the feed."""

    async def broken():
        try:
            yield "nonsense"
        finally:
            raise error

    async def main():
        running = asyncio.create_task(feed_of(stage, registry).run())
        while not stage.listed():
            assert not running.done()
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    stage, registry = Stage(), Watched(LIST, watches=[broken, forever])
    asyncio.run(asyncio.wait_for(main(), 10))


async def test_trouble_that_comes_back_is_told_again(caplog):
    """Each time that the registry is lost there is one warning, and the pauses begin anew."""
    registry = Polled(RegistryError("1"), RegistryError("2"), LIST, RegistryError("3"), LIST)
    refreshed = []
    feed = feed_of(Stage(), registry, on_refresh=lambda *said: refreshed.append(said))
    await run_for(13, feed)
    assert len(warnings(caplog)) == 2
    assert registry.pauses[3] <= 0.2
    assert refreshed[:4] == [
        ("orders", "RegistryError"),
        ("orders", "RegistryError"),
        ("orders", None),
        ("orders", "RegistryError"),
    ]


@pytest.mark.parametrize("watched", [False, True], ids=["polled", "watched"])
async def test_a_registry_that_is_not_there_yet_is_missed_by_two_seconds_at_most(watched):
    """Until there is a list calls wait for it: no pause grows beyond what they wait."""

    async def starting():
        if anyio.current_time() - begun < 100.0:
            raise RegistryError("it starts")
        yield LIST

    stage, begun = Stage(), anyio.current_time()
    failing = [RegistryError("it starts")] * 1000
    registry = Watched(*failing, watches=[starting]) if watched else Polled(*failing)
    await run_for(103, feed_of(stage, registry))
    pauses = registry.restarts if watched else registry.pauses
    assert 40 < len(pauses) < 80
    assert max(pauses) <= 2.2
    assert stage.service.ready == watched


async def test_a_disproved_list_is_asked_for_amid_a_long_pause():
    """The registry may be back, whose list has the nodes that have replaced the dead ones."""
    registry = Polled(RegistryError("down"))
    stage = Stage("z")
    feed = feed_of(stage, registry, clock=anyio.current_time)
    async with anyio.create_task_group() as group:
        group.start_soon(feed.run)
        await anyio.sleep(60)
        asked = len(registry.times)
        while len(registry.times) == asked:  # noqa: ASYNC110 - the feed meets it
            await anyio.sleep(0.1)
        await anyio.sleep(2)  # of fifteen at least
        asked = len(registry.times)
        registry.script = [LIST]
        assert feed.may_ask
        await feed.ask_again()
        await anyio.sleep(0.1)
        assert len(registry.times) == asked + 1
        assert {"a", "b"} <= stage.listed()
        group.cancel_scope.cancel()


async def test_a_registry_that_hangs_is_given_up_after_half_a_minute(caplog):
    """A fetch that never ends is a failure like others."""
    registry = Polled(anyio.sleep_forever, LIST)
    stage = Stage()
    await run_for(29, feed_of(stage, registry))
    assert not stage.service.ready
    registry.script = [anyio.sleep_forever, LIST]
    await run_for(31, feed_of(stage, registry))
    assert stage.service.ready
    assert "TimeoutError" in caplog.text


def test_the_back_off():
    """0.2 s doubling to 30 s, each jittered down to half, from the start after a reset."""
    backoff = Backoff(random.Random(1))
    for _ in range(2):
        spans = [backoff.pause() for _ in range(12)]
        assert all(
            longest / 2 <= span <= longest
            for span, longest in zip(spans, [min(0.2 * 2**n, 30.0) for n in range(12)], strict=True)
        )
        backoff.reset()


# Watching


async def test_a_watch_pushes():
    """Every list that a watch yields is taken at once, from whatever thread it was set."""
    registry = ScriptedRegistry({"orders": nodes("a")})
    stage = Stage()
    seen = []

    async def change():
        for listed in (["a", "b"], ["b", "c"], ["c"]):
            await anyio.sleep(1)
            registry.set("orders", nodes(*listed))
            await anyio.sleep(0.001)
            seen.append(stage.listed())

    async with anyio.create_task_group() as group:
        group.start_soon(feed_of(stage, registry).run)
        await change()
        group.cancel_scope.cancel()
    assert seen == [{"a", "b"}, {"b", "c"}, {"c"}]


async def test_a_watch_that_never_waits_leaves_room_for_others():
    """An adapter that yields at once, for ever, does not keep the loop to itself."""
    yielded = []

    async def hasty():
        while len(yielded) < 1000:
            yielded.append(LIST)
            yield LIST
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(feed_of(Stage(), Watched(LIST, watches=[hasty])).run)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        assert 0 < len(yielded) < 1000
        group.cancel_scope.cancel()


async def test_a_watch_that_ends_at_once_is_restarted_at_growing_intervals(caplog):
    """A watch that ends as soon as it has given its list is no trouble, but no reason to hammer."""

    async def brief():
        yield LIST

    stage, registry = Stage(), Watched(LIST, watches=[brief])
    await run_for(200, feed_of(stage, registry))
    assert stage.listed() == {"a", "b"}
    assert warnings(caplog) == []
    for at, pause in enumerate(registry.restarts):
        longest = min(0.2 * 2**at, 30.0)
        assert longest / 2 <= pause <= longest


async def test_a_watch_that_lived_is_restarted_at_once():
    """A stream that breaks after a while begins again with the shortest pause."""

    async def a_minute():
        yield LIST
        await anyio.sleep(57)

    registry = Watched(LIST, watches=[a_minute])
    await run_for(1000, feed_of(Stage(), registry))
    assert len(registry.restarts) > 10
    assert all(57.1 <= pause <= 57.2 for pause in registry.restarts)


@pytest.mark.parametrize("how", ["raises", "ends", "cannot begin", "is none", "yields nonsense"])
async def test_a_broken_watch_is_told_once_and_tried_again(how, caplog):
    """Whatever breaks a watch, it is one warning, and the list comes as soon as it can."""

    async def bad():
        if how == "raises":
            raise OSError("reset")
        if how == "yields nonsense":
            yield "nodes"
        return
        yield

    def cannot():
        raise RuntimeError("no stream")

    start = {"cannot begin": cannot, "is none": lambda: None}.get(how, bad)
    stage = Stage()
    registry = Watched(LIST, watches=[start] * 5 + [forever])
    await run_for(20, feed_of(stage, registry))
    assert stage.listed() == {"a", "b"}
    assert len(registry.begun) == 6
    assert len(warnings(caplog)) == 1


async def test_a_watch_need_not_be_a_generator():
    """Any async iterator does, with or without `aclose`, even if that fails."""

    class Plain:
        def __init__(self):
            self.left = [LIST]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    class Nasty(Plain):
        async def aclose(self):
            raise OSError("already closed")

    stage, registry = Stage(), Watched(LIST, watches=[Plain, Nasty, forever])
    await run_for(5, feed_of(stage, registry))
    assert len(registry.begun) == 3
    assert stage.listed() == {"a", "b"}


async def test_a_silent_watch_is_found_out_and_restarted(caplog):
    """A full answer that says more than the watch did means that the watch is broken."""
    registry = Watched(Snapshot(nodes("a", "b", "c")), watches=[forever])
    stage = Stage()
    feed = feed_of(stage, registry)
    await run_for(50, feed)
    assert (len(registry.begun), len(registry.times)) == (1, 0)
    registry.begun.clear()
    await run_for(80, feed)
    assert len(registry.times) == 1
    assert len(registry.begun) == 2
    assert 54 < registry.restarts[0] < 66.3
    assert warnings(caplog) == []
    assert feed.trouble is None


async def test_a_resync_that_agrees_leaves_the_watch_alone():
    """Neither the same list nor the end of a doubted node restarts a watch."""

    async def shrinks():
        yield LIST
        await anyio.sleep(5)
        yield Snapshot(())
        await anyio.sleep_forever()

    stage, registry = Stage(), Watched(Snapshot(()), watches=[shrinks])
    feed = feed_of(stage, registry)
    async with anyio.create_task_group() as group:
        group.start_soon(feed.run)
        await anyio.sleep(10)
        assert stage.listed() == {"a", "b"}
        stage.clock.advance(61)
        await anyio.sleep(60)
        assert stage.listed() == set()
        group.cancel_scope.cancel()
    assert len(registry.begun) == 1


async def test_a_resync_that_fails_is_told_and_does_no_harm(caplog):
    """The watch goes on when the full answer cannot be had."""
    stage, registry = Stage(), Watched(RegistryError("busy"), watches=[forever])
    feed = feed_of(stage, registry)
    await run_for(200, feed)
    assert len(registry.begun) == 1
    assert len(warnings(caplog)) == 1
    assert stage.listed() == {"a", "b"}


@pytest.mark.parametrize("registry", [Polled(LIST), Watched(LIST, watches=[forever])])
async def test_a_feed_ends_when_its_service_is_gone(registry):
    """A transport that was dropped without being closed leaves no feed behind."""
    stage = Stage()
    feed = feed_of(stage, registry)
    gone = weakref.ref(stage.service)

    async def drop():
        nonlocal stage
        await anyio.sleep(1)
        del stage
        STAGES.clear()
        gc.collect()
        assert gone() is None

    with anyio.fail_after(70):
        async with anyio.create_task_group() as group:
            group.start_soon(feed.run)
            await drop()


# The snapshots on disk


async def test_the_list_on_disk_serves_a_cold_start(tmp_path, caplog):
    """With the registry down from the start the last good list is used, and marked as doubtful."""
    store = SnapshotStore(tmp_path)
    stage = Stage()
    await run_for(1, feed_of(stage, Polled(LIST), store=store))
    cold = Stage()
    await run_for(0.1, feed_of(cold, Polled(RegistryError("down")), store=store))
    assert cold.listed() == {"a", "b"}
    assert "using the list kept on disk" in caplog.text


async def test_a_registry_that_is_slow_at_the_start_is_not_waited_for(tmp_path):
    """After a second without an answer the list on disk is used, and the answer then counts."""
    store = SnapshotStore(tmp_path)
    store.save("orders", tuple(nodes("old", "a")))

    async def slow():
        await anyio.sleep(3)
        return Snapshot(nodes("a", "new"))

    stage = Stage()
    feed = feed_of(stage, Polled(slow), store=store)
    await run_for(0.9, feed)
    assert not stage.service.ready
    await run_for(2.9, feed)
    assert stage.listed() == {"a", "old"}
    await run_for(3.1, feed)
    assert stage.listed() == {"a", "new"}


async def test_the_list_on_disk_is_not_used_when_there_is_a_better_one(tmp_path, caplog):
    """Once the registry has answered, an old file does not matter any more."""
    store = SnapshotStore(tmp_path)
    store.save("orders", tuple(nodes("old")))
    stage = Stage()
    await run_for(3, feed_of(stage, Polled(LIST, RegistryError("down")), store=store))
    assert stage.listed() == {"a", "b"}
    assert "disk" not in caplog.text


async def test_only_what_is_whole_is_kept_on_disk(tmp_path):
    """Neither an empty list nor one that may lack nodes replaces the last good one."""
    store = SnapshotStore(tmp_path)
    partly = Snapshot(nodes("c"), authoritative=False)
    await run_for(30, feed_of(Stage(), Polled(LIST, Snapshot(), partly, LIST), store=store))
    kept = store.load("orders")
    assert kept is not None
    assert {node.id for node in kept.nodes} == {"a", "b"}


async def test_what_is_doubted_is_not_kept_on_disk(tmp_path):
    """A glitch of the registry does not cost the list of the next start; a true loss shows."""

    def kept():
        return {node.id for node in store.load("orders").nodes}

    store, stage = SnapshotStore(tmp_path), Stage()
    whole, rest = Snapshot(nodes("a", "b", "c", "d")), Snapshot(nodes("d"))
    feed = feed_of(stage, Polled(whole, rest), store=store)
    await run_for(20, feed)
    assert (stage.listed(), kept()) == ({"a", "b", "c", "d"}, {"a", "b", "c", "d"})
    stage.clock.advance(61)
    assert stage.listed() == {"d"}
    await run_for(20, feed)
    assert (stage.listed(), kept()) == ({"d"}, {"d"})


async def test_without_a_file_a_cold_start_waits(tmp_path):
    """No list on disk is no error."""
    stage = Stage()
    store = SnapshotStore(tmp_path / "none")
    await run_for(5, feed_of(stage, Polled(RegistryError("down")), store=store))
    assert not stage.service.ready


# Probes


class Probes:
    """Answer probes by a script and note when they came."""

    def __init__(self, monkeypatch, *script):
        self.script = list(script)
        self.times = []
        monkeypatch.setattr(probing, "_connects", self.connects)

    async def connects(self, host, port, timeout, *, uds):
        assert (host, port, timeout, uds) == ("10.0.0.1", 80, 1.0, None)
        self.times.append(anyio.current_time())
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    @property
    def pauses(self):
        return [after - before for before, after in pairwise(self.times)]


def by_trio(stage):
    """Let the service of a stage live by trio's clock."""
    stage.service.clock = anyio.current_time
    return stage


async def probe_for(seconds, stage, node="n0"):
    live = next(one for one in stage.probing if one.node.id == node)
    with anyio.move_on_after(seconds) as scope:
        await probe(weakref.ref(stage.service), live)
    return not scope.cancelled_caught


async def test_probes_double_from_one_second_to_sixty(monkeypatch):
    """At once, then 1, 2, 4, ... 60 s, each a little early at random, while the node is dead."""
    probes = Probes(monkeypatch, False)
    stage = by_trio(Stage(*ids(4)))
    stage.on("n0", REFUSED)
    assert not await probe_for(600, stage)
    for at, pause in enumerate(probes.pauses):
        assert 0.9 * min(2**at, 60) <= pause <= min(2**at, 60)
    assert len(probes.times) > 12


async def test_a_probe_that_works_is_the_last(monkeypatch):
    """The node is back with the first connection that works."""
    probes = Probes(monkeypatch, False, False, True)
    stage = by_trio(Stage(*ids(4)))
    stage.on("n0", REFUSED)
    assert await probe_for(600, stage)
    assert len(probes.times) == 3
    assert LISTENS.reason in stage.view("n0").reason


async def test_a_leaving_node_is_probed_each_second_while_its_mark_lasts(monkeypatch):
    """The short downtime of a fast restart does not fall between growing pauses."""
    probes = Probes(monkeypatch, True, True, True, True, False, False, True)
    stage = by_trio(Stage(*ids(4)))
    stage.on("n0", leaving())
    assert await probe_for(600, stage)
    assert len(probes.pauses) == 6
    assert max(probes.pauses) <= 1.0
    assert LISTENS.reason in stage.view("n0").reason


async def test_a_mark_that_runs_out_is_probed_at_that_moment(monkeypatch):
    """A node that was never down is back when its time is over, not when a long pause is."""
    probes = Probes(monkeypatch, True)
    stage = by_trio(Stage(*ids(4)))
    began = anyio.current_time()
    stage.on("n0", leaving(20))
    assert await probe_for(600, stage)
    assert probes.times[-1] - began == pytest.approx(20, abs=0.01)
    assert LISTENS.reason in stage.view("n0").reason


async def test_in_panic_probes_come_every_second(monkeypatch):
    """With nothing eligible no return is missed by more than a second."""
    probes = Probes(monkeypatch, False)
    stage = by_trio(Stage("n0", "n1"))
    stage.on("n0", REFUSED)
    stage.on("n1", REFUSED)
    stage.probed("n1", alive=False)
    assert not await probe_for(100, stage)
    assert all(pause < 1.001 for pause in probes.pauses)
    assert len(probes.pauses) > 95


async def test_what_is_wrong_here_says_nothing_of_the_node(monkeypatch):
    """A probe that could not be made neither restores nor condemns, and is repeated."""
    probes = Probes(monkeypatch, None, None, None, True)
    stage = by_trio(Stage("n0", "n1"))
    stage.on("n1", REFUSED)
    stage.on("n0", REFUSED)
    assert stage.states() == {"n0": "available", "n1": "ejected"}
    assert await probe_for(100, stage)
    assert len(probes.times) == 4
    assert stage.states()["n0"] == "available"


async def test_probes_end_with_their_service_or_node(monkeypatch):
    """Nothing is probed for a transport that is closed or gone, or a node that has left."""
    probes = Probes(monkeypatch, False)
    stage = by_trio(Stage(*ids(4)))
    stage.on("n0", REFUSED)
    live = stage.probing[0]
    stage.list("n1", "n2", "n3")
    with anyio.fail_after(20):
        await probe(weakref.ref(stage.service), live)
    stage.on("n1", REFUSED)
    stage.service.close()
    assert await probe_for(5, stage, "n1")
    count = len(probes.times)
    gone = Stage(*ids(4))  # of its own: trio keeps frames of waits that it has ended
    gone.on("n1", REFUSED)
    waiting = probe(weakref.ref(gone.service), gone.probing[0])
    del gone
    gc.collect()
    await waiting
    assert len(probes.times) == count


async def test_a_service_that_goes_during_a_probe_ends_it(monkeypatch):
    """The probe holds its service weakly while it waits."""
    stage = by_trio(Stage(*ids(4)))
    stage.on("n0", REFUSED)
    ref, live = weakref.ref(stage.service), stage.probing[0]

    async def connects(*_, uds):
        nonlocal stage
        stage = None
        gc.collect()
        return False

    monkeypatch.setattr(probing, "_connects", connects)
    with anyio.fail_after(20):
        await probe(ref, live)
    assert ref() is None


def test_a_connection_shows_that_a_node_is_there():
    """A port that listens is alive, one that does not is not, nor is a name nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert anyio.run(probing._connects, "127.0.0.1", port, 5.0) is True
        assert anyio.run(probing._connects, "localhost", port, 5.0) is True
    assert anyio.run(probing._connects, "127.0.0.1", port, 5.0) is False
    assert anyio.run(probing._connects, "localhost", port, 5.0) is False
    assert anyio.run(probing._connects, "x" * 64 + ".invalid", port, 5.0) is False


async def test_a_node_that_does_not_answer_is_not_there(monkeypatch):
    """A connection that is not made within the timeout counts as none."""

    async def hang(*_):
        await anyio.sleep_forever()

    monkeypatch.setattr(anyio, "connect_tcp", hang)
    began = anyio.current_time()
    assert await probing._connects("10.255.255.1", 80, 1.0) is False
    assert anyio.current_time() - began == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("error", "alive"),
    [
        (OSError(errno.EMFILE, "too many"), None),
        (socket.gaierror(socket.EAI_AGAIN, "no resolver"), None),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), False),
        (OSError(errno.ECONNREFUSED, "refused"), False),
    ],
    ids=["EMFILE", "EAI_AGAIN", "EAI_NONAME", "ECONNREFUSED"],
)
@pytest.mark.parametrize("wrapped", ["bare", "cause", "group"])
async def test_local_errors_are_told_from_the_nodes(monkeypatch, error, alive, wrapped):
    """Errors of this process are found in whatever anyio wraps them."""

    async def fail(*_):
        if wrapped == "bare":
            raise error
        many = ExceptionGroup("two addresses", [OSError(errno.ECONNREFUSED, "refused"), error])
        raise OSError("all failed") from (error if wrapped == "cause" else many)

    monkeypatch.setattr(anyio, "connect_tcp", fail)
    assert await probing._connects("10.0.0.1", 80, 1.0) is alive


async def test_a_probe_that_cannot_be_made_is_told_and_condemns_nobody(monkeypatch, caplog):
    """Whatever goes wrong in here, the node is probed again."""

    async def fail(*_):
        raise RuntimeError("no thread to resolve names in")

    monkeypatch.setattr(anyio, "connect_tcp", fail)
    assert await probing._connects("orders-1", 80, 1.0) is None
    assert warnings(caplog) == [
        "a probe of orders-1:80 could not be made: RuntimeError('no thread to resolve names in')"
    ]


def test_a_process_out_of_descriptors_condemns_nobody():
    """With every file descriptor in use a probe says nothing, for real."""
    script = """
import anyio, resource, socket
from rpcguard._discovery.probes import _connects
server = socket.create_server(("127.0.0.1", 0))
async def main():
    await anyio.sleep(0)
    assert await _connects("127.0.0.1", server.getsockname()[1], 1.0) is True
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    files = []
    try:
        while True:
            files.append(open("/dev/null"))
    except OSError:
        pass
    print(await _connects("127.0.0.1", server.getsockname()[1], 1.0))
anyio.run(main)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ran.stdout.strip(), ran.returncode) == ("None", 0), ran.stderr


class Pushes(Polled):
    """A polled registry that pushes lists by the next of `scripts`, an async generator function."""

    def __init__(self, *script, scripts):
        super().__init__(*script)
        self.scripts = list(scripts)

    def pushed(self, service):
        assert service == "orders"
        return (self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0])()


async def test_what_is_pushed_beside_polls_is_taken():
    """At once, and polls go on as before."""
    stage = Stage()

    async def push():
        await anyio.sleep(2.5)
        yield Snapshot(nodes("a", "b", "c"))
        await anyio.sleep_forever()

    registry = Pushes(LIST, scripts=[push])
    feed = feed_of(stage, registry)
    await run_for(2.6, feed)
    assert stage.listed() == {"a", "b", "c"}
    assert len(registry.times) == 1


class Slow:
    """A registry that takes 20 seconds to answer, and says something else meanwhile."""

    def __init__(self):
        self.asked = anyio.Event()
        self.begun = 0

    async def fetch(self, service):
        self.asked.set()
        await anyio.sleep(20.0)
        return LIST

    async def watch(self, service):
        self.begun += 1
        yield LIST
        await self.asked.wait()
        await anyio.sleep(1.0)
        yield Snapshot(nodes("b", "c"))
        await anyio.sleep_forever()

    async def aclose(self):
        pass


class SlowPushes(Slow):
    """One that is polled, and pushes what it says meanwhile."""

    pushed = Slow.watch
    watch = None


@pytest.mark.parametrize(("kind", "seconds"), [(Slow, 90.0), (SlowPushes, 24.0)])
async def test_an_older_answer_does_not_replace_what_was_said_meanwhile(kind, seconds):
    """The nodes that it lacks are new, not gone, and a watch that speaks is not silent."""
    stage = Stage()
    registry = kind()
    feed = feed_of(stage, registry)
    await run_for(seconds, feed)
    assert registry.asked.is_set()
    assert registry.begun == 1
    assert stage.listed() == {"b", "c"}
    assert feed.trouble is None


async def test_a_push_that_breaks_costs_no_poll(caplog):
    """It is begun anew after a pause that grows, and no warning tells of it."""
    stage = Stage()
    begun = []

    async def push():
        begun.append(anyio.current_time())
        raise RegistryError("closed")
        yield LIST

    registry = Pushes(LIST, scripts=[push])
    feed = feed_of(stage, registry)
    await run_for(60.0, feed)
    assert feed.trouble is None
    assert warnings(caplog) == []
    assert len(registry.times) > 8
    pauses = [after - before for before, after in pairwise(begun)]
    assert pauses[0] < 0.3
    assert max(pauses) > 10.0
