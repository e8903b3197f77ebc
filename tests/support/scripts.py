"""What nodes do in the tests about leaving."""

from __future__ import annotations

import threading

from tests.support.calls import OK, Peer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Gate:
    """Hold answers back until it is opened; `waiting` counts the requests that are held."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.waiting = 0

    def open(self) -> None:
        self._open.set()

    def _wait(self) -> None:
        with self._lock:
            self.waiting += 1
        self._open.wait(50)

    def answer(self, peer: Peer) -> None:
        """Hold the whole answer back."""
        while peer.request() is not None:
            self._wait()
            peer.send(OK)

    def stream(self, peer: Peer) -> None:
        """Send the head and a first part, and hold the rest back."""
        while peer.request() is not None:
            peer.send(CHUNKED + b"5\r\nfirst\r\n")
            self._wait()
            peer.send(b"4\r\nlast\r\n0\r\n\r\n")


def hang(peer: Peer) -> None:
    """Never answer."""
    peer.request()
    peer.until_gone()


def hang_in_body(peer: Peer) -> None:
    """Begin an answer and never end it."""
    peer.answer(CHUNKED + b"5\r\nfirst\r\n")
    peer.until_gone()
