"""Two nodes of each server are restarted one after the other, under POSTs: none is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rpcguard import Node
from rpcguard.testing import ScriptedRegistry
from tests.support.calls import soon
from tests.support.library import AsyncTransport, http
from tests.support.servers.base import accepts, free_ports

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
APP = "tests.support.rolling_app"
PATIENCE = 100.0  # seconds: so many workers start slowly on a busy machine

UVICORN = f"uvicorn {APP}:asgi --port PORT --lifespan off --log-level warning"
GUNICORN = "gunicorn --bind 127.0.0.1:PORT --workers 2 --log-level warning"
SERVERS = {
    "uvicorn": UVICORN,
    "uvicorn-workers": f"{UVICORN} --workers 2",
    "gunicorn-sync": f"{GUNICORN} -k sync {APP}:wsgi",
    "gunicorn-gthread": f"{GUNICORN} -k gthread --threads 4 {APP}:wsgi",
    "gunicorn-uvicorn": f"{GUNICORN} -k uvicorn_worker.UvicornWorker {APP}:asgi",
    "hypercorn": f"hypercorn --bind 127.0.0.1:PORT --workers 2 --log-level warning {APP}:asgi",
    "granian": f"granian --interface asgi --port PORT --workers 2 --log-level warning {APP}:asgi",
}


class ServerNode:
    """One node: a port and a file for good, and a server that comes and goes."""

    def __init__(self, command: str, directory: Path, port: int) -> None:
        self.port = port
        self.generation = 0
        self.file = directory / f"leaving-{port}"
        self._command = command.replace("PORT", str(port)).split()
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RPCGUARD_OFFLINE_FILE": str(self.file),
            "ROLLING_LOG": str(directory / "log"),
        }
        self._process: Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *self._command),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        await soon(lambda: accepts(self.port), "the server did not start", PATIENCE)
        self.generation += 1

    def entry(self) -> Node:
        """Give what it registers as: a new generation each time."""
        return Node("127.0.0.1", self.port, generation=self.generation)

    async def command(self, name: str) -> None:
        """Run the command of a hook."""
        ran = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rpcguard", name),
            env=self._environment,
            stdout=subprocess.DEVNULL,
        )
        assert await ran.wait() == 0

    async def says_so(self) -> None:
        """Wait until it says of itself to somebody who has not left that it leaves.

        Each worker looks at the file by itself, so the next one may not know yet.
        """
        url, signal = f"http://127.0.0.1:{self.port}/", None
        async with http.AsyncClient() as direct, asyncio.timeout(PATIENCE):
            for number in count():
                call = f"direct-{self.port}-{number}"
                answer = await direct.post(url, content=call.encode(), timeout=PATIENCE)
                if signal := answer.headers.get("x-rpcguard-offline"):
                    break
        assert signal == f"1; at=127.0.0.1:{self.port}"

    async def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(PATIENCE):
            await self._process.wait()

    async def end(self) -> None:
        """End what is left of its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()


@dataclass
class Load:
    """POSTs without a pause, each with a number of its own, and what came of them."""

    client: http.AsyncClient
    sent: int = 0
    failures: list[str] = field(default_factory=list)

    async def run(self, width: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(width):
                tasks.create_task(self._post())

    async def _post(self) -> None:
        while True:
            self.sent += 1
            call = str(self.sent)
            try:
                answer = await self.client.post("/", content=call.encode())
            except http.HTTPError as error:
                self.failures.append(f"{call}: {error!r} {error.__notes__}")
            else:
                if (answer.status_code, answer.text) != (201, call):
                    self.failures.append(f"{call}: {answer.status_code} {answer.text}")


@asynccontextmanager
async def under_load(transport: AsyncTransport) -> AsyncIterator[Load]:
    async with http.AsyncClient(
        transport=transport, base_url="http://orders", timeout=20
    ) as client:
        load = Load(client)
        posting = asyncio.create_task(load.run(4))
        try:
            yield load
        finally:
            posting.cancel()
            await asyncio.wait([posting])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("server", SERVERS)
async def test_a_rolling_restart_loses_nothing(server, tmp_path):
    """Offline by the command, stopped when no call is there, started again: each POST ran once."""
    nodes = [ServerNode(SERVERS[server], tmp_path, port) for port in free_ports(2)]
    registry = ScriptedRegistry()
    transport = AsyncTransport(registry)

    def register() -> None:
        registry.set("orders", [node.entry() for node in nodes])

    def view(node: ServerNode):
        return next(one for one in transport.nodes("orders") if one.node.port == node.port)

    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(node.start() for node in nodes))
        register()
        async with under_load(transport) as load:
            for node in nodes:
                await soon(lambda: load.sent > 20, "no load", PATIENCE)
                await node.command("offline")
                await soon(lambda n=node: _has_left(view(n)), "callers did not leave", PATIENCE)
                await node.says_so()
                await node.stop()
                await node.command("online")
                await node.start()
                register()
                await soon(lambda n=node: _is_back(view(n)), "callers did not return", PATIENCE)
    finally:
        for node in nodes:
            await node.end()
    assert load.failures == []
    ran = Counter((tmp_path / "log").read_text().split())
    # The last calls of the load were cancelled, and may have run or not.
    assert {call: times for call, times in ran.items() if times != 1} == {}
    assert len(ran) >= load.sent - 4


def _has_left(view) -> bool:
    return view.state == "offline" and view.in_flight == 0


def _is_back(view) -> bool:
    return view.state in ("available", "warming") and view.successes > 0
