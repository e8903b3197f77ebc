"""Prefork under gunicorn: one transport made before the fork, real calls from each worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.calls import echo, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
WORKERS = 3
BOOT = 30
"""Seconds: what it does not say, come to or end within is taken to hang."""


@contextmanager
def gunicorn(
    app: str, registry: str, *options: str, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    listener = socket.create_server(("127.0.0.1", 0))  # so that no one else takes the port
    port = listener.getsockname()[1]
    # The threads that a use before the fork has started stay with the parent: that is the test.
    ours = "ignore:This process:DeprecationWarning"
    quiet = {"PYTHONWARNINGS": f"error,{ours},ignore:unclosed <socket:ResourceWarning"}
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        f"tests.behaviour.processes.app:{app}",
        "--preload",
    ]
    command += ["--bind", f"fd://{listener.fileno()}", "--workers", str(WORKERS)]
    with listener:
        process = subprocess.Popen(
            [*command, "--graceful-timeout", str(BOOT), "--log-level", "warning", *options],
            cwd=ROOT,
            env={**os.environ, **quiet, "RPCGUARD_REGISTRY": registry, **environment},
            stderr=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            text=True,
        )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.communicate()


def until_up(url: str) -> None:
    end = time.monotonic() + BOOT
    while True:
        try:
            httpx.get(f"{url}/up", trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def ask_all(url: str) -> dict[str, int]:
    """Call until each worker has answered; give the most threads that each has told of."""
    threads: dict[str, int] = {}
    end = time.monotonic() + BOOT
    number = 0
    while len(threads) < WORKERS or number < 30:
        assert time.monotonic() < end, f"only {len(threads)} workers answer"
        number += 1
        path = f"/call-{number}"
        pid, got, count = httpx.get(url + path, trust_env=False).raise_for_status().text.split()
        assert got == path
        threads[pid] = max(threads.get(pid, 0), int(count))
    return threads


UVICORN = "uvicorn_worker.UvicornWorker"


@pytest.mark.parametrize(
    ("app", "worker", "used"),
    [("wsgi", "sync", "1"), ("wsgi", "gthread", ""), ("asgi", UVICORN, ""), ("asgi", UVICORN, "1")],
    ids=["sync-used", "gthread-fresh", "uvicorn-fresh", "uvicorn-used"],
)
def test_each_worker_calls(make_node, app, worker, used):
    """Every worker calls through what was made before the fork, and all end without a word."""
    nodes = [make_node(echo) for _ in range(2)]
    registry = "static:///orders=" + ",".join(f"{node.host}:{node.port}" for node in nodes)
    with gunicorn(app, registry, "-k", worker, CALL_BEFORE_FORK=used) as (url, process):
        until_up(url)
        threads = ask_all(url)
        assert str(process.pid) not in threads
        assert all(count <= 12 for count in threads.values())
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=2 * BOOT)
    assert process.returncode == 0
    assert said == ""
    eventually(lambda: sum(node.open for node in nodes) == 0, "a connection was left open")
