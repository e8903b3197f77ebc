"""The providers as the demo handles them: real processes that are started, stopped and hurt."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from dataclasses import astuple
from typing import TYPE_CHECKING

import httpx

from rpcguard._commands.demo.work import READY, Capacity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_START_TIMEOUT = 30.0
"""Seconds. Five processes import uvicorn at once, which takes long on a busy machine."""
_STOP_TIMEOUT = 10.0
"""Seconds to answer what is in flight; then the process is killed, so that none outlives the
demo."""


class ProviderProcess:
    """One provider: a name and a port for good, and a process that comes and goes."""

    def __init__(
        self,
        name: str,
        port: int,
        log: Path,
        *,
        capacity: Capacity | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.log = log
        self.capacity = capacity
        self._facts = dict(facts or {})
        self._leaving = log.with_name(f"{log.name}.leaving")
        self.generation: int = 0
        self.started_at: float = 0.0
        self._process: Process | None = None

    def entry(self) -> dict[str, object]:
        """Give what the provider registers as."""
        return {
            "id": self.name,
            "host": "127.0.0.1",
            "port": self.port,
            "generation": self.generation,
            "started_at": self.started_at,
            **self._facts,
        }

    async def start(self, *, cold: float) -> None:
        """Start the process and return when it listens; it is slow for `cold` seconds.

        Raises `RuntimeError` when it does not come up.
        """
        self._leaving.unlink(missing_ok=True)
        arguments = ["--name", self.name, "--port", self.port, "--log", self.log, "--cold", cold]
        if self.capacity is not None:
            arguments += ["--capacity", *astuple(self.capacity)]
        # Its own process group: Ctrl-C must not reach it.
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rpcguard._commands.demo.work", *map(str, arguments)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            process_group=0,
        )
        self.generation += 1
        self.started_at = time.time()
        if not await self._listens(self._process):
            await self.kill()
            raise RuntimeError(f"provider {self.name} did not start on port {self.port}")

    async def _listens(self, process: Process) -> bool:
        assert process.stdout
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                return await process.stdout.readline() == READY
        except TimeoutError:
            return False

    def leave(self) -> None:
        """Have it say that it leaves, as a preStop hook does."""
        self._leaving.touch()

    async def post(self, path: str) -> None:
        """Send a control request straight to the process."""
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.post(f"http://127.0.0.1:{self.port}{path}", timeout=5)
            response.raise_for_status()

    async def stop(self) -> None:
        """Send SIGTERM and wait for the end, by force if it takes too long."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await self._ended()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """Send SIGKILL, which a frozen process obeys too, and wait for the end."""
        self.signal(signal.SIGKILL)
        await self._ended()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process is still there."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _ended(self) -> None:
        if self._process is not None:
            await self._process.wait()


def executed_posts(logs: Iterable[Path]) -> Counter[str]:
    """Count how often each POST was executed, by its id, from the providers' own logs."""
    count: Counter[str] = Counter()
    for log in logs:
        if log.exists():
            entries = (line.split() for line in log.read_text(encoding="ascii").splitlines())
            count.update(call for method, call in entries if method == "POST")
    return count


def free_ports(count: int) -> list[int]:
    """Find ports that a provider can come back to.

    They lie below the range that systems take for outgoing connections: a port from that range
    could be taken, or connect to itself, while its provider is down.
    """
    ports: list[int] = []
    candidates = random.SystemRandom().sample(range(20000, 30000), 1000)
    for port in candidates:
        if len(ports) == count:
            return ports
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # taken: the next one
                continue
        ports.append(port)
    raise RuntimeError("no free ports between 20000 and 30000")
