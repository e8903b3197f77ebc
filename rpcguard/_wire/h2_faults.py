"""What may end an HTTP/2 stream before its answer is whole, as errors that carry the fact.

The first argument of each is a named tuple that says what is known, so that whoever judges a failed
attempt needs no class of this file, nor of h2.
"""

from __future__ import annotations

from typing import NamedTuple

REFUSED_STREAM = 7
"""RFC 9113 §8.7: the stream was closed before anything of it was processed."""


class Refusal(NamedTuple):
    """A stream that the node did not process: any method may go again."""

    stream_id: int
    error_code: int = REFUSED_STREAM


class Reset(NamedTuple):
    """A stream that the node broke off."""

    stream_id: int
    error_code: int


class GoAway(NamedTuple):
    """A GOAWAY: streams above `last_stream_id` were not processed."""

    last_stream_id: int
    error_code: int


class Silence(NamedTuple):
    """A stream that a leaving node owes an answer, and for how many seconds it has been silent."""

    stream_id: int
    silent_for: float


class Http2Error(Exception):
    """The end of a stream, with the fact as its first argument."""

    text = "{0}"

    def __str__(self) -> str:
        return self.text.format(self.args[0])


class StreamRefused(Http2Error):  # noqa: N818
    """A stream that the node refused, by RST_STREAM or by a GOAWAY that does not name it.

    `by_goaway` says that it was the connection that ended, not this stream alone.
    """

    text = "the node did not take the stream: {0}"

    def __init__(self, fact: Refusal, *, by_goaway: bool = False) -> None:
        super().__init__(fact)
        self.by_goaway = by_goaway


class StreamBroken(Http2Error):  # noqa: N818
    """A stream that the node reset: it may have been processed."""

    text = "the node reset the stream: {0}"


class WentAway(Http2Error):  # noqa: N818
    """A connection that ended by a GOAWAY; with a last stream of 0 nothing was processed."""

    text = "the node ended the connection: {0}"


class StreamForsaken(Http2Error):  # noqa: N818
    """A stream that a GOAWAY promised to finish, and that got no byte for too long."""

    text = "the node said GOAWAY and then did not answer: {0}"


class Disconnected(Http2Error):  # noqa: N818
    """A connection that ended without a word."""


class PeerFault(Http2Error):  # noqa: N818
    """An answer, or a whole connection, that breaks the rules of HTTP/2."""


class OwnFault(Http2Error):  # noqa: N818
    """A request that HTTP/2 cannot carry; nothing of it was sent."""
