"""The providers as real processes: how they start, how they suffer, and that they end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import io
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock

import httpx
import pytest

from rpcguard._commands.demo.providers import ProviderProcess, executed_posts, free_ports
from rpcguard._commands.demo.work import Work
from rpcguard.testing import ManualClock
from tests.support.virtual import run_by

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def started(tmp_path: Path, *, cold: float = 0.0):
    provider = ProviderProcess("orders-1", free_ports(1)[0], tmp_path / "orders-1")
    try:
        await provider.start(cold=cold)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{provider.port}") as client:
            yield provider, client
    finally:
        await provider.kill()


def state_of(pid: int) -> str:
    """Give the letter of the state of a process, X for one that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, reaped or not."""
    return state_of(pid) in "ZX"


def is_frozen(pid: int) -> bool:
    """Tell whether a process is stopped: the signal alone does not make it so at once."""
    return state_of(pid) == "T"


def wait_until(holds: Callable[[int], bool], *pids: int, timeout: float = 10.0) -> bool:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if all(map(holds, pids)):
            return True
        time.sleep(0.02)
    return False


async def test_a_provider_works_logs_and_says_that_it_leaves(tmp_path):
    """It answers, counts each execution, and carries the notice once it is told to."""
    async with started(tmp_path) as (provider, client):
        assert (await client.get("/work?id=r1")).json() == {"node": "orders-1"}
        await client.post("/work?id=r2", json={})
        await client.post("/work?id=r3", json={})
        await client.post("/work?id=r3", json={})
        provider.leave()
        async with asyncio.timeout(10):
            while not (said := (await client.get("/work?id=r4")).headers.get("x-rpcguard-offline")):
                pass
        assert said == f"1; at=127.0.0.1:{provider.port}"
        await provider.stop()
        assert executed_posts([provider.log, tmp_path / "none"]) == {"r2": 1, "r3": 2}


async def test_a_sick_provider_answers_500_and_executes_nothing(tmp_path):
    """The 500 comes at once and is not logged; it ends when it is told to."""
    async with started(tmp_path) as (provider, client):
        await provider.post("/-/demo/sick")
        assert (await client.post("/work?id=r1", json={})).status_code == 500
        await provider.post("/-/demo/well")
        assert (await client.post("/work?id=r2", json={})).status_code == 200
        assert executed_posts([provider.log]) == {"r2": 1}


async def test_a_cold_provider_is_slow_and_narrow(tmp_path):
    """Ten calls at once queue two by two."""
    async with started(tmp_path, cold=60.0) as (_, client):
        begin = time.monotonic()
        await asyncio.gather(*(client.get(f"/work?id=r{number}") for number in range(10)))
        assert time.monotonic() - begin > 0.25


def test_a_cold_provider_is_narrow_for_each_client():
    """The other client's call does not wait for ten of the one, which do for each other."""
    clock, ended = ManualClock(), {}
    work = Work(name="orders-1", log=io.StringIO(), cold=60.0)

    async def finished(call: str) -> None:
        scope = {"path": "/work", "method": "GET", "query_string": f"id={call}".encode()}
        await work(scope, AsyncMock(return_value={}), AsyncMock())
        ended[call] = clock()

    async def main() -> None:
        await asyncio.gather(*(finished(f"r{number}") for number in range(10)), finished("h1"))

    run_by(clock, main)
    assert ended.pop("h1") == pytest.approx(0.06)
    assert sorted(ended.values()) == pytest.approx([0.06 * (1 + at // 2) for at in range(10)])


async def test_it_comes_back_on_its_port_as_a_new_generation(tmp_path):
    """After SIGTERM and a start it registers the same address anew."""
    async with started(tmp_path) as (provider, client):
        first = provider.entry()
        await provider.stop()
        with pytest.raises(httpx.TransportError):
            await client.get("/work?id=r1")
        await provider.start(cold=0.0)
        assert (await client.get("/work?id=r2")).status_code == 200
        second = provider.entry()
        assert (second["port"], second["generation"]) == (first["port"], 2)
        assert second["started_at"] > first["started_at"]


async def test_a_provider_that_cannot_start_is_an_error(tmp_path):
    """A taken port ends in a clear error, not in waiting."""
    async with started(tmp_path) as (provider, _):
        rival = ProviderProcess("orders-2", provider.port, tmp_path / "orders-2")
        with pytest.raises(RuntimeError, match=f"orders-2 did not start on port {provider.port}"):
            await rival.start(cold=0.0)


PR_SET_CHILD_SUBREAPER = 36
PARENT = """
import asyncio, signal, sys
from pathlib import Path
from rpcguard._commands.demo.providers import ProviderProcess, free_ports

async def main():
    providers = [ProviderProcess(f"p{n}", port, Path(sys.argv[1]) / f"p{n}") for n, port in
                 enumerate(free_ports(2))]
    for provider in providers:
        await provider.start(cold=0.0)
    providers[1].signal(signal.SIGSTOP)
    print(*(provider._process.pid for provider in providers), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def takes_in_orphans():
    """This process is given what a killed child leaves, as the first process of a container is."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


@pytest.mark.usefixtures("takes_in_orphans")
def test_no_provider_outlives_a_killed_parent(tmp_path):
    """SIGKILL on the demo ends its providers, the frozen one too, whoever is their next parent."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        try:
            assert len(pids) == 2
            assert not any(map(is_gone, pids))
            assert wait_until(is_frozen, pids[1])
            parent.kill()
            parent.wait()
            assert wait_until(is_gone, *pids)
        finally:
            parent.kill()
            parent.wait()
            for pid in pids:
                # A thread of the parent that waits for it may have reaped it in its last moment.
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)


def test_free_ports_are_free_and_not_for_outgoing_connections():
    """They differ, and lie where the system never takes a port by itself."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(20000 <= port < 30000 for port in ports)
