"""A real uvicorn in a thread."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import uvicorn

PATIENCE = 20.0  # seconds: a hang is told before the test's own timeout


class UvicornServer(uvicorn.Server):
    """Uvicorn as it is, but that it leaves once it is told to; it looks ten times a second."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(uvicorn.Config(app, **{"port": 0, "log_level": "critical"} | options))
        self._up = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)

    def begin(self) -> UvicornServer:
        """Serve; give itself once it is up."""
        self._thread.start()
        assert self._up.wait(PATIENCE), "uvicorn did not start"
        return self

    @property
    def listens_at(self) -> int:
        """Give the port."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets=sockets)
        self._loop, self._leaving = asyncio.get_running_loop(), asyncio.Event()
        self._up.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._leaving.wait()

    def stop(self) -> None:
        """Leave as on a signal, and wait for the end; idempotent."""
        self.should_exit = True
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._leaving.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "uvicorn did not stop"
