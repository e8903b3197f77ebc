"""The one background loop: one thread, clean contexts, forks, exits, and who closes what."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import subprocess
import sys
import threading
from unittest import mock

import anyio
import pytest

import rpcguard
from rpcguard._discovery import background as background_module
from rpcguard._discovery.background import Background, background
from rpcguard._discovery.following import Subscriptions
from rpcguard._discovery.resolver import BackgroundLoop, DaemonThreads
from rpcguard.testing import ManualClock, ScriptedRegistry
from tests.support.calls import eventually
from tests.support.stage import Stage, nodes

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="clean")


def ignore(service: str, error: str | None) -> None:
    """Hear of a refresh and do nothing."""


def python(script: str) -> str:
    """Run a script in a process of its own; give what it printed."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=50,  # what hangs does so for a minute at least
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout.strip()


def test_one_thread_for_any_number_of_transports():
    """Transports of both kinds share one daemon thread."""
    registry = ScriptedRegistry({name: nodes("a") for name in ("one", "two")})
    transports = [rpcguard.Transport(registry) for _ in range(5)]
    for transport in transports:
        for service in ("one", "two"):
            transport.wait_ready(service, timeout=20)
    found = [one for one in threading.enumerate() if one.name == "rpcguard-discovery"]
    assert len(found) == 1
    assert found[0].daemon
    for transport in transports:
        transport.close()


async def test_tasks_do_not_see_the_callers_context():
    """A task runs in the loop's own context, whatever event loop and variables started it."""

    async def look():
        await anyio.lowlevel.checkpoint()
        return VARIABLE.get(), asyncio.get_running_loop() is not None

    VARIABLE.set("dirty")
    assert background().spawn(look).result(5) == ("clean", True)


def test_a_task_may_start_another():
    """Spawning works from the loop's own thread, as a finalizer may do there."""

    async def outer():
        return background().spawn(inner)

    async def inner():
        return "inner"

    assert background().spawn(outer).result(5).result(5) == "inner"


def test_a_failing_task_is_told(caplog):
    """No exception of a background task is lost."""

    async def fail():
        raise ValueError("broken task")

    future = background().spawn(fail)
    with pytest.raises(ValueError, match="broken task"):
        future.result(5)
    deadline = threading.Event()
    while "a background task of rpcguard failed" not in caplog.text:
        assert not deadline.wait(0.01)
    assert caplog.records[-1].levelno == logging.ERROR


@pytest.mark.parametrize("end", [SystemExit("bye"), KeyboardInterrupt()], ids=repr)
def test_a_task_that_wants_to_exit_ends_itself_alone(end):
    """`sys.exit` in a listener, say, would end the loop, and with it all lists of the process."""

    async def leave():
        raise end

    async def stay():
        await asyncio.sleep(0)
        return "there"

    loop = Background()
    with pytest.raises(type(end)):
        loop.spawn(leave).result(5)
    assert loop.spawn(stay).result(5) == "there"
    loop.stop()
    assert not loop._thread.is_alive()


def test_a_stopped_loop_starts_nothing():
    """After the stop, which may come twice, a task is cancelled rather than lost."""
    loop = Background()
    running = loop.spawn(anyio.sleep_forever)
    loop.stop()
    loop.stop()
    assert running.cancelled()
    assert loop.spawn(anyio.sleep_forever).cancelled()


def test_a_loop_that_cannot_start_says_why(monkeypatch):
    """Out of descriptors, for one: the caller gets an error of the library, and does not hang."""

    def fail(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(background_module.anyio, "run", fail)
    with pytest.raises(rpcguard.RegistryError, match="Too many open files; the limits"):
        Background()


def test_a_loop_that_breaks_later_does_not_hide_it(monkeypatch):
    """What ends the loop in mid-life is raised in its thread, where the interpreter shows it."""
    shown = []
    monkeypatch.setattr(threading, "excepthook", lambda args: shown.append(args.exc_value))

    async def breaks(self):
        await real(self)
        raise RuntimeError("in mid-life")

    real = Background._main
    monkeypatch.setattr(Background, "_main", breaks)
    Background().stop()
    assert [str(error) for error in shown] == ["in mid-life"]


def test_exit_with_an_open_watch_does_not_hang():
    """A process that never closes its transport ends at once, without a word."""
    python(
        """
import httpx, rpcguard
from rpcguard.testing import ManualClock, ScriptedRegistry
transport = rpcguard.Transport(ScriptedRegistry({"orders": [rpcguard.Node("a", 1)]}))
transport.wait_ready("orders", timeout=20)
assert [view.node.host for view in transport.nodes("orders")] == ["a"]
"""
    )


def test_lists_go_on_when_the_main_thread_has_returned():
    """Threads that outlive it still get changes from a registry that is known by name."""
    told = python(
        """
import concurrent.futures.thread, http.server, json, threading, time, rpcguard
listed = [{"host": "127.0.0.1", "port": 1}]
class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"nodes": listed}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Registry)
threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
transport = rpcguard.Transport(
    f"http://localhost:{server.server_port}/{{service}}",
    membership=rpcguard.MembershipPolicy(poll_interval=0.05),
)
transport.wait_ready("orders", timeout=20)
def work():
    while not concurrent.futures.thread._shutdown:
        time.sleep(0.01)
    listed.append({"host": "127.0.0.1", "port": 2})
    end = time.monotonic() + 30
    while len(transport.nodes("orders")) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    print(len(transport.nodes("orders")))
    transport.close()
threading.Thread(target=work).start()
"""
    )
    assert told == "2"


def test_names_are_resolved_side_by_side():
    """One name that takes its time does not keep the others waiting."""
    threads, gate = DaemonThreads(), threading.Event()
    slow = [threads.submit(gate.wait, 10) for _ in range(7)]
    assert threads.submit(int, "3").result(10) == 3
    with pytest.raises(ValueError, match="three"):
        threads.submit(int, "three").result(10)
    gate.set()
    assert all(one.result(10) for one in slow)


@pytest.mark.long("waits for two seconds at an exit")
def test_exit_with_a_fetch_that_ignores_cancellation_does_not_hang():
    """An adapter that blocks the loop for good costs two seconds at exit, not for ever."""
    python(
        """
import time, rpcguard
class Stuck:
    async def fetch(self, service):
        time.sleep(60)
transport = rpcguard.Transport(Stuck())
transport.nodes("orders")
time.sleep(0.2)
"""
    )


def test_a_forked_child_has_a_loop_of_its_own():
    """After `fork` the child follows the list anew, and both end cleanly."""
    told = python(
        """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import rpcguard, threading
transport = rpcguard.Transport("static://10.0.0.1:80,10.0.0.2:80")
transport.wait_ready("orders", timeout=20)
child = os.fork()
views = transport.nodes("orders")
transport.wait_ready("orders", timeout=20)
names = [one.name for one in threading.enumerate()]
assert len(views) == 2
assert names.count("rpcguard-discovery") == 1, names
transport.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("both")
"""
    )
    assert told == "both"


def test_a_fork_while_the_loop_is_being_made_does_not_deadlock(monkeypatch):
    """The child gets a fresh lock: its parent's may have been held."""
    monkeypatch.setattr(background_module, "_background", None)
    held = threading.Lock()
    monkeypatch.setattr(background_module, "_guard", held)
    held.acquire()
    background_module._forget()
    assert background_module._guard is not held
    assert background_module._guard.acquire(timeout=20)


def test_a_transport_that_is_dropped_stops_following():
    """Without `close`, the garbage collector ends the watches of a transport."""
    registry = ScriptedRegistry({"orders": nodes("a")})
    transport = rpcguard.Transport(registry)
    transport.wait_ready("orders", timeout=20)
    assert len(registry._watchers) == 1
    del transport
    registry.set("orders", nodes("b"))

    def is_over() -> bool:
        gc.collect()  # a thread that told of the list may have held it in the last one
        return not registry._watchers

    eventually(is_over, "it is followed on")


class Closing(ScriptedRegistry):
    """Count how often it is closed."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("given", ["url", "object"])
def test_a_registry_made_from_a_url_is_closed_and_a_given_one_is_not(given, monkeypatch):
    """Who makes a registry closes it."""
    registry = Closing({"orders": nodes("a")})
    monkeypatch.setattr("rpcguard._discovery.following.registry_from_url", lambda url: registry)
    following = Subscriptions(
        "any://url" if given == "url" else registry,
        policy=rpcguard.MembershipPolicy(),
        on_refresh=ignore,
    )
    stage = Stage()
    following.follow(stage.service)
    assert stage.service.wait_ready(5)
    assert following.trouble("orders") is None
    assert following.trouble("billing") is None
    eventually(lambda: following.age("orders") is not None, "it has no age")
    assert 0 <= following.age("orders") < 5
    assert following.age("billing") is None
    following.renew()
    assert following.age("orders") is None
    following.follow(stage.service)
    closing = following.stop()
    assert closing is not None
    closing.result(5)
    assert registry.closed == (given == "url")
    assert following.stop() is None


def test_what_is_followed_after_the_stop_is_not_followed():
    """A call that races with the close leaves no watch behind."""
    registry = ScriptedRegistry({"orders": nodes("a")})
    following = Subscriptions(registry, policy=rpcguard.MembershipPolicy(), on_refresh=ignore)
    assert following.stop() is None
    following.follow(Stage().service)
    with registry._changed:
        assert registry._changed.wait_for(lambda: not registry._watchers, 5)
    assert following._feeds == {}


def test_the_scripted_registry_says_what_it_is_told():
    """Set, fail and forget are seen by the next call, from any thread."""
    registry = ScriptedRegistry({"orders": nodes("a")})
    transport = rpcguard.Transport(registry)
    transport.wait_ready("orders", timeout=20)
    registry.set("Orders", nodes("a", "b"))
    assert {view.node.id for view in transport.nodes("orders")} == {"a", "b"}
    other = threading.Thread(target=registry.set, args=("orders", nodes("a", "b", "c")))
    other.start()
    other.join(20)
    assert {view.node.id for view in transport.nodes("orders")} == {"a", "b", "c"}
    registry.fail("orders")
    assert {view.node.id for view in transport.nodes("orders")} == {"a", "b", "c"}
    registry.forget("orders")
    assert repr(registry) == "ScriptedRegistry(orders)"
    transport.close()
    failing = ScriptedRegistry()
    failing.fail("orders", rpcguard.RegistryError("never"))
    with pytest.raises(rpcguard.RegistryError, match="never"):
        anyio.run(failing.fetch, "orders")
    assert anyio.run(ScriptedRegistry().fetch, "orders").known is False


async def test_a_change_between_two_lists_is_not_missed():
    """What is set while the last list is being worked on comes next."""
    registry = ScriptedRegistry({"orders": nodes("a")})
    watching = registry.watch("orders")
    assert (await anext(watching)).nodes[0].id == "a"
    registry.set("orders", nodes("b"))
    assert (await anext(watching)).nodes[0].id == "b"
    await watching.aclose()


async def test_the_scripted_registry_does_not_wait_for_its_own_thread():
    """A watch on the loop of the test itself goes on when the test does."""
    registry = ScriptedRegistry({"orders": nodes("a")})
    seen = []

    async def watch():
        try:
            async for snapshot in registry.watch("orders"):
                seen.append(snapshot.nodes[0].id)  # noqa: PERF401
        except OSError as error:
            seen.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        registry.set("orders", nodes("b"))
        registry.set("orders", nodes("c"))
        await anyio.wait_all_tasks_blocked()
        registry.fail("orders", OSError("as told"))
    assert seen == ["a", "c", "as told"]
    await registry.aclose()


def test_the_scripted_registry_tells_when_nobody_listens(monkeypatch):
    """A transport that does not take a change in time is an error of the test, not a hang."""
    monkeypatch.setattr("rpcguard.testing.registry._PATIENCE", 0.05)
    registry = ScriptedRegistry({"orders": nodes("a")})
    stuck = threading.Event()
    begun = threading.Event()

    async def slow():
        async for _ in registry.watch("orders"):
            begun.set()
            stuck.wait(20)
            return

    thread = threading.Thread(target=anyio.run, args=(slow,))
    thread.start()
    assert begun.wait(20)
    with pytest.raises(TimeoutError, match="no transport took"):
        registry.set("orders", nodes("b"))
    stuck.set()
    thread.join(20)


def test_the_scripted_registry_outlives_the_loops_that_watched_it():
    """A watch whose event loop has ended without closing it is passed over."""
    registry = ScriptedRegistry({"orders": nodes("a")})
    kept = []

    async def begin():
        watching = registry.watch("orders")
        kept.append(watching)
        await anext(watching)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    registry.set("orders", nodes("b"))
    assert anyio.run(registry.fetch, "orders").nodes[0].id == "b"
    kept.clear()
    gc.collect()


def test_the_manual_clock():
    """It stands still until it is advanced, and never goes back."""
    clock = ManualClock(5.0)
    assert clock() == clock() == 5.0
    assert clock.advance(2.5) == clock() == 7.5
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="seconds must be 0 or more"):
            clock.advance(wrong)
    threads = [
        threading.Thread(target=lambda: [clock.advance(1) for _ in range(1000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock() == 4007.5


def test_a_loop_that_waits_is_not_seen():
    """With gevent its thread is the program's: while it waits, what ran before it runs there."""
    seen: list[object] = []
    loop, other = BackgroundLoop(), asyncio.new_event_loop()
    wait = loop._selector.__class__.__mro__[1].select

    def watched(selector, timeout=None):
        seen.append(asyncio._get_running_loop())
        asyncio._set_running_loop(other)  # another greenlet has its turn
        return wait(selector, timeout)

    base = loop._selector.__class__.__mro__[1]
    with mock.patch.object(base, "select", watched):
        loop.run_until_complete(asyncio.sleep(0.01))
    assert seen[0] is None
    assert set(seen[1:]) == {other}
    loop.close()
    other.close()
