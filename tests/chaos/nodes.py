"""The providers and the registry as chaos handles them: real processes that are hurt."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.chaos.provider import READY
from tests.support.servers.consul import Consul

if TYPE_CHECKING:
    from pathlib import Path

START_TIMEOUT = 300.0
STOP_TIMEOUT = 15.0


class Registry(Consul):
    """Run Consul, which can be frozen too; it keeps its ports for good."""

    @property
    def agent(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def registry_url(self) -> str:
        return f"consul://:{self.token}@{self.agent}"

    def signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(number)


class Provider:
    """Hold one provider: an address for good, and a process that comes and goes."""

    def __init__(self, number: int, port: int, *, registry: Registry, directory: Path) -> None:
        self.name = f"n{number}"
        self.host, self.port = f"127.0.0.{10 + number}", port
        self.log = directory / f"{self.name}.log"
        self._registry = registry
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, cold: float = 0.0) -> None:
        """Start the process; `wait` waits for it."""
        arguments = {
            "name": self.name,
            "host": self.host,
            "port": self.port,
            "log": self.log,
            "agent": self._registry.agent,
            "token": self._registry.token,
            "cold": cold,
        }
        options = [part for key, value in arguments.items() for part in (f"--{key}", str(value))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.provider", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> None:
        """Return when the process listens and is registered."""
        process = self._running()
        assert process.stdout
        end = time.monotonic() + START_TIMEOUT
        while not select.select([process.stdout], [], [], 1.0)[0]:
            if time.monotonic() > end:
                raise RuntimeError(f"provider {self.name} did not come up")
        if os.read(process.stdout.fileno(), len(READY)) != READY:
            raise RuntimeError(f"provider {self.name} ended at its start")

    def say(self, line: str) -> None:
        """Tell the process how to behave."""
        process = self._running()
        assert process.stdin
        os.write(process.stdin.fileno(), line.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def stop(self) -> None:
        """Stop in good order and wait for the end."""
        self.signal(signal.SIGTERM)
        self.ended(STOP_TIMEOUT)

    def kill(self) -> None:
        """End the process at once, frozen or not."""
        self.signal(signal.SIGKILL)
        self.ended(STOP_TIMEOUT)

    def ended(self, timeout: float) -> bool:
        """Wait for the end of the process; False when it did not come."""
        process = self._running()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._part()
        return True

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._part()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _part(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.stdout.close()
