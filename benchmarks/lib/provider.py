"""A provider that takes its time, is cold after its start, and notes what it was asked to do.

`python provider.py PORT LOG SECONDS COLD` answers `/work/ID` after so many seconds. In its first
`COLD` seconds two calls at a time are served, each of which takes four times as long.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

CAP, FACTOR = 2, 4.0
"""Calls at a time, and how much longer one takes, while it is cold: an empty pool and cache."""
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Provider:
    """Serve one connection after the other, and write each call that was begun into a file."""

    def __init__(self, log: Path, seconds: float, cold: float) -> None:
        self._log = log.open("a", buffering=1)
        self._seconds, self._cold = seconds, cold
        self._gate = asyncio.Semaphore(CAP)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until the caller has gone."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.split(b" ", 2)[1])
                writer.write(_ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, target: bytes) -> None:
        if target == b"/health":
            return
        print(target.decode(), file=self._log)
        if time.monotonic() > self._cold:
            await asyncio.sleep(self._seconds)
            return
        async with self._gate:
            await asyncio.sleep(self._seconds * FACTOR)


async def main(port: int, log: Path, seconds: float, cold: float) -> None:
    """Listen for ever."""
    provider = Provider(log, seconds, time.monotonic() + cold)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
