"""What connections take from httpcore, under its names, for programs that have not loaded it.

Nobody who has not loaded httpcore can ask whether an error or a stream is of it; and loading it
takes as long as everything else that a transport needs, for trio and h2 come with it.
"""

from __future__ import annotations


class TimeoutException(Exception):  # noqa: N818
    """Something that was not done in its time."""


class ConnectTimeout(TimeoutException):
    """A connection that did not stand in time."""


class ReadTimeout(TimeoutException):
    """Bytes that did not come in time."""


class WriteTimeout(TimeoutException):
    """Bytes that were not taken in time."""


class PoolTimeout(TimeoutException):
    """A connection that did not become free in time."""


class NetworkError(Exception):
    """Something that went wrong on the network."""


class ConnectError(NetworkError):
    """A connection that could not be opened."""


class ReadError(NetworkError):
    """A connection that broke while it was read."""


class WriteError(NetworkError):
    """A connection that broke while it was written."""


class ProxyError(Exception):
    """A proxy that refused."""


class UnsupportedProtocol(Exception):  # noqa: N818
    """A scheme that is not spoken."""


class ProtocolError(Exception):
    """Something that the protocol forbids."""


class LocalProtocolError(ProtocolError):
    """A request that the protocol forbids."""


class RemoteProtocolError(ProtocolError):
    """An answer that the protocol forbids."""


class NetworkStream:
    """The base of a stream for threads."""


class AsyncNetworkStream:
    """The base of a stream for tasks."""
