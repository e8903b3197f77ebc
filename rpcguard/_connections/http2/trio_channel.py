"""The bytes of one HTTP/2 connection on trio, where one of the waiting calls reads for all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from rpcguard._connections.http2.channels import Channel
from rpcguard._connections.trio_stream import TrioStream

if TYPE_CHECKING:
    from rpcguard._wire.h2_session import Http2Session
    from rpcguard._wire.h2_streams import Http2Stream


class TrioChannel(Channel[TrioStream]):
    """A channel on trio.

    Whoever waits for news of its stream reads, if nobody does, until it has them, its time is up or
    it is cancelled; then the next one in line goes on. What the system does not take at once is
    sent by a system task, for no call may take half of a frame with it when it is cancelled.
    """

    def __init__(self, stream: Any, session: Http2Session) -> None:
        super().__init__(stream, session)
        self._left = trio.Event()
        self._reading = False
        self._waiting: dict[trio.Event, None] = {}

    async def wait(self, stream: Http2Stream, timeout: float | None) -> None:
        """Wait until the stream has news, or the seconds have passed."""
        stream.news = False
        try:
            with trio.move_on_after(math.inf if timeout is None else timeout):
                while not stream.news and not self.closed:
                    if self._reading:
                        await self._wait_for_turn(stream)
                    else:
                        await self._read_for_all(stream)
        finally:
            stream.wake = None
            if not self._reading:
                self._pass_on()  # else a turn that was given to this call would be lost

    async def drained(self, timeout: float | None) -> bool:
        """Wait until what was pushed has left; False where the seconds have passed before."""
        with trio.move_on_after(math.inf if timeout is None else timeout):
            while self.full and not self.closed:
                self._keep_writing()
                await self._left.wait()
        return not self.full

    def abort(self) -> None:
        """Close at once, and let nobody wait any longer."""
        super().abort()
        self._left.set()
        while self._waiting:
            self._pass_on()

    async def _wait_for_turn(self, stream: Http2Stream) -> None:
        event = trio.Event()
        stream.wake = event.set
        self._waiting[event] = None
        try:
            await event.wait()
        finally:
            self._waiting.pop(event, None)

    async def _read_for_all(self, stream: Http2Stream) -> None:
        sock = self.stream.get_extra_info("socket")
        self._reading = True
        try:
            while not stream.news and not self.closed:
                await trio.lowlevel.wait_readable(sock)
                self.take_in()
        except trio.ClosedResourceError:
            pass  # whoever closed it has told the session
        finally:
            self._reading = False

    def _pass_on(self) -> None:
        if self._waiting:
            event = next(iter(self._waiting))
            del self._waiting[event]
            event.set()

    def _write_later(self) -> None:
        self._left = trio.Event()
        trio.lowlevel.spawn_system_task(self._write_out, self._left)

    async def _write_out(self, left: trio.Event) -> None:
        sock = self.stream.get_extra_info("socket")
        try:
            while not self.closed:
                await trio.lowlevel.wait_writable(sock)
                if self._write():
                    return
        except trio.ClosedResourceError:
            pass  # whoever closed it has told the session
        finally:
            self._writing = False
            left.set()
