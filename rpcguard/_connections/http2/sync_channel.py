"""The bytes of one HTTP/2 connection, for the one thread that uses it at a time."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

from rpcguard._connections.http2.channels import Channel
from rpcguard._connections.sync_stream import SyncStream

if TYPE_CHECKING:
    from rpcguard._wire.h2_streams import Http2Stream


class SyncChannel(Channel[SyncStream]):
    """A channel that is read whenever a write must wait.

    Else both ends could wait for each other: a node that answers while it is sent to stops reading
    when nobody takes its answer.
    """

    def wait(self, stream: Http2Stream, timeout: float | None) -> None:
        """Read once, unless the seconds pass before there is anything; the stream may have news."""
        if not self.closed and stream.failure is None:
            self._turn(timeout)

    def drained(self, timeout: float | None) -> bool:
        """Wait until what was pushed has left; False where the seconds have passed before."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.full and not self.closed:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0.0:
                return False
            self._turn(left)
        return True

    def _turn(self, timeout: float | None) -> None:
        sock, writing = self.stream.get_extra_info("socket"), self.full
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock, select.POLLIN | (select.POLLOUT if writing else 0))
            # Rounded up: a poll of no time at all would spin through the last millisecond.
            poll.poll(None if timeout is None else int(timeout * 1000) + 1)
        else:
            select.select([sock], [sock] if writing else [], [], timeout)
        self.take_in()
        if writing:
            self._write()
