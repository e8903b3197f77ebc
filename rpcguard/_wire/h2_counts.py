"""How many streams nodes take on one connection, learned from how they end their connections.

nginx ends a connection of HTTP/2 with its 1,000th request, and refuses those that are on their way;
Hypercorn ends one with its 1,001st, and answers nothing more that is in flight. Neither says so
before. A connection that is left a little sooner loses nothing.
"""

from __future__ import annotations

from typing import Final

LAST_STREAM: Final = 2**31 - 1
"""RFC 9113 §5.1.1: after this number a new connection is needed."""

_SOME: Final = 5
"""Calls below which the same count twice in a row may be chance, as of nodes that drain: these too
end their connections upon the last call that is on its way, but at any number."""

_RECENT: Final = 4
"""Ends of connections in which the same count is looked for. A busy node that reads several calls
at once ends upon one of the next few now and then: one that counts to 120 gave 121, 123, 121."""

_CALLS_EACH: Final = 30
"""Calls of a count for each of these ends: a small one comes again by chance. Where 30 nodes drain
within their first 40 calls, one of four ends is the same in nine cases of ten, the last in four."""

_MARGIN: Final = 8
"""One stream in so many is left: a node may read several before it counts."""


class StreamCount:
    """The number of the last stream to be opened on one connection, by all nodes of a service.

    Any thread may use it.
    """

    def __init__(self) -> None:
        self.last: int = LAST_STREAM
        self._seen: tuple[int, ...] = ()

    def learn(self, last: int) -> bool:
        """Take in that a node ended a connection at a stream that it had just got.

        Tells whether the connection before ended there too: then nodes count.
        """
        calls, seen = (last + 1) // 2, self._seen
        self._seen = (*seen, last)[-_RECENT:]
        recent = max(calls // _CALLS_EACH, 1)
        if calls >= _SOME and last in seen[-recent:]:
            self.last = min(self.last, 2 * (calls - max(calls // _MARGIN, 1)) - 1)
        return seen[-1:] == (last,)


class NodeCount:
    """How the connections of one node end, and what that tells of those of its service.

    `last` is the number of the last stream to be opened on one that ends upon one of the first. Any
    thread may use it.
    """

    def __init__(self, service: StreamCount | None = None) -> None:
        self.service: StreamCount = service or StreamCount()
        self.last: int = LAST_STREAM
        self._before = 0

    def ended(self, last: int, *, upon_call: bool) -> bool:
        """Take in that the node ended a connection that it has had so many streams of.

        Tells whether it did so since it counts: `upon_call`, as the connection before did, be it
        another node's. Nodes that are released one after the other all end what has just begun, so
        one of the first calls tells nothing where the node's own connection before had more.
        """
        before, self._before = self._before, last
        few = (last + 1) // 2 < _SOME
        if not upon_call or (few and last < before):
            return False
        known = self.service.learn(last)
        if few and last == before:
            self.last = last  # by chance, maybe: the first that goes on after it tells
        return known or last == before

    def goes_on(self) -> None:
        """Take in that a connection has answered its last stream, and is not ended by the node."""
        self.last = LAST_STREAM
