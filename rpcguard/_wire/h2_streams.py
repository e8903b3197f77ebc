"""The books of one HTTP/2 stream, on the client's side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._wire.h2_faults import PeerFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard._wire.h2_headers import Head, Pairs

_WITHOUT_BODY = (204, 304)
"""RFC 9110 §6.4.1: whatever length these tell, none of it comes. HEAD likewise."""


class Http2Stream:
    """One request and what came of its answer so far.

    `head` is the answer's start, `body` what of whole DATA frames nobody took yet, `trailers` what
    came after it; `ended` says that the answer is whole, `failure` that it will not be.
    `wake` is called whenever one of them changes, or when more may be sent; its owner sets it
    before it waits. `heard_at` is when the last frame of the stream came, on the session's clock.
    """

    __slots__ = (
        "_expected",
        "_received",
        "bodiless",
        "body",
        "ended",
        "failure",
        "head",
        "heard_at",
        "id",
        "news",
        "sent_end",
        "stopped",
        "trailers",
        "uncredited",
        "unread",
        "wake",
    )

    def __init__(self, stream_id: int, now: float, *, bodiless: bool, sent_end: bool) -> None:
        self.id: int = stream_id
        self.bodiless: bool = bodiless
        self.sent_end: bool = sent_end
        self.stopped: bool = False
        self.head: Head | None = None
        self.body: bytearray = bytearray()
        self.trailers: Pairs = []
        self.ended: bool = False
        self.failure: Exception | None = None
        self.heard_at: float = now
        self.wake: Callable[[], object] | None = None
        self.news: bool = False
        self.unread: int = 0
        self.uncredited: int = 0
        self._expected: int | None = None
        self._received = 0

    @property
    def answered_early(self) -> bool:
        """Tell whether the rest of the request is not wanted: it was answered, or refused."""
        head = self.head
        return self.ended or self.stopped or (head is not None and head.status >= 400)

    def notify(self) -> None:
        """Tell the owner that there is something new."""
        self.news = True
        if self.wake is not None:
            self.wake()

    def begin(self, head: Head) -> None:
        """Take in the start of the answer."""
        self.head = head
        if self.bodiless or head.status in _WITHOUT_BODY:
            self._expected = 0
        else:
            self._expected = head.length

    def check(self, size: int, *, end: bool) -> None:
        """Raise `PeerFault` where so many bytes more do not go with the length that was told."""
        expected = self._expected
        if self.head is None:
            raise PeerFault("a body came before the headers of its answer")
        if expected is None:
            return
        total = self._received + size
        if total > expected or (end and total < expected):
            raise PeerFault(f"the answer has {total} bytes, and told a length of {expected}")

    def append(self, data: bytes, flow: int) -> None:
        """Take in a piece of the body, which took `flow` bytes of the window."""
        self._received += len(data)
        self.unread += flow
        self.body += data  # one buffer: a million frames of a byte each would cost fifty times that
