"""What breaks the rules of HTTP/1.1, by whose hand."""

from __future__ import annotations


class RemoteViolation(Exception):  # noqa: N818
    """Bytes of the node that are no answer, or an answer that ends too early."""


class NoAnswer(RemoteViolation):
    """A connection that ended before any byte of an answer, or within its head."""


class LocalViolation(Exception):  # noqa: N818
    """A request that cannot be written as HTTP/1.1."""
