"""Where opening a connection failed: before TCP stood, or after it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class HandshakeFailed(Exception):  # noqa: N818
    """The cause of an error of connecting that came when TCP stood, and TLS did not.

    A TCP connect cannot tell when such a node is well again. Its own cause is the one before.
    """


@contextmanager
def in_handshake(*failures: type[Exception]) -> Iterator[None]:
    """Name the stage in what these failures of a TLS handshake were caused by."""
    try:
        yield
    except failures as failure:
        stage = HandshakeFailed("TCP stood, and the TLS handshake failed")
        stage.__cause__ = failure.__cause__
        failure.__cause__ = stage
        raise
