"""A fork while threads of the parent hold locks: the child makes its calls all the same."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time

import httpx
import pytest

import rpcguard
from rpcguard._core.service.effects import Event
from rpcguard._telemetry.log import EventLog

PATIENCE = 20.0
"""Seconds after which a child is taken to hang."""


def in_child(job) -> None:
    """Run a job in a forked child; it must end well, and end."""
    child = os.fork()
    if not child:
        code = 1
        try:
            job()
            code = 0
        finally:
            os._exit(code)
    late = time.monotonic() + PATIENCE
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > late:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.005)
    assert ended[1] == 0


@pytest.fixture
def client():
    """A client with one service that was called, and answers by itself."""
    answers = httpx.MockTransport(lambda _: httpx.Response(200))
    transport = rpcguard.Transport("static://10.0.0.1:1", node_transport=lambda _: answers)
    with httpx.Client(transport=transport, base_url="http://orders") as client:
        assert client.get("/").status_code == 200
        yield client


def test_every_lock_may_be_held_at_a_fork(client):
    """Each lock of the parent is held by a thread that the child does not have."""
    transport = client._transport
    service = transport._services("orders")
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with service._lock, transport._services._naming, transport._forking:
            held.set()
            go.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(PATIENCE)

    def job() -> None:
        assert client.get("/").status_code == 200
        assert client.get("http://other/").status_code == 200
        client.close()

    try:
        in_child(job)
        in_child(client.close)
    finally:
        go.set()
        thread.join()


def test_an_answer_of_the_parent_may_be_dropped_in_the_child(client):
    """What the child collects as garbage waits for no lock of the parent."""
    transport = client._transport
    service = transport._services("orders")
    lease = service.pick(repeatable=True)
    assert service.begin()
    held = [lease]

    def job() -> None:
        held.clear()
        service.release(lease)
        service.end()

    with service._lock:
        in_child(job)
    service.end()


def test_the_log_of_events_takes_no_lock():
    """A line may be told by a finalizer in the middle of another: nothing is waited for."""
    log = EventLog()
    assert not [name for name, value in vars(log).items() if hasattr(value, "acquire")]
    for number in range(5000):
        log.record(Event("signal", f"name{number}", "a", "foreign", enforced=False))
    assert len(log._told) <= 1024


def test_a_transport_of_the_parent_may_be_dropped_unused_in_the_child(tmp_path, monkeypatch):
    """What it follows is the parent's, whose registry stays open, and its locks may be held."""
    (tmp_path / "routes.json").write_text('{"routes": []}')
    (tmp_path / "services.json").write_text('{"services": {"orders": []}}')
    routing = rpcguard.Routing(source=f"file://{tmp_path}/routes.json")
    held = [rpcguard.Transport(f"file://{tmp_path}/services.json", routing=routing)]
    held[0].wait_ready("orders", timeout=PATIENCE, nodes=0)
    rules = held[0]._rules
    assert rules is not None

    def job() -> None:
        started = []

        def start(thread: threading.Thread) -> None:
            started.append(thread.name)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", start)
        held.clear()
        gc.collect()
        assert not started, "it closes the registry on a loop of its own"

    with rules._lock:
        in_child(job)
    held[0].close()
