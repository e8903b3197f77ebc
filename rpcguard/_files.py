"""How to read small files that others renew, and see that one has become another.

They are read on the discovery loop, which keeps the lists of the whole process live.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

FileStamp = tuple[int, int, int]

_LONGEST_SECRET = 1 << 16
"""Bytes of a token; those of Kubernetes have a kilobyte."""

_SETTLED_NS = 1_000_000_000
"""Age from which two writes cannot have one time: file systems tick in 10 ms, NFS in a second."""


def stamp_of(path: str) -> FileStamp | None:
    """Give what is another value once a file was renewed; None where there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    # The inode too: what is renewed by a rename may well be as old and as long as before.
    return found.st_mtime_ns, found.st_size, found.st_ino


def signature_of(found: os.stat_result) -> tuple[int, ...]:
    """Give what tells two contents of a file apart.

    Two writes within one tick of the file system's clock look alike. A young file therefore has a
    signature of its own: it is read once more when it has settled.
    """
    settled = time.time_ns() - found.st_mtime_ns > _SETTLED_NS
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, settled


def opened(path: str | os.PathLike[str], *, flags: int = 0) -> BinaryIO:
    """Open a file to be read, without waiting for the other end of a pipe.

    By an opener: a descriptor that is handed over stays open where `open` finds a folder.
    """
    return open(path, "rb", opener=lambda name, own: os.open(name, own | os.O_NONBLOCK | flags))


def secret_in(path: str) -> str:
    """Read a token, without the line break at its end.

    Raises `ValueError` that says what is wrong and shows nothing of it, for what cannot be read too
    and for what is no plain file: a pipe would be waited for, and with it all lists of the process.
    """
    try:
        secret = _text_in(path)
    except UnicodeDecodeError:
        raise ValueError("it is not ASCII") from None
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    if not secret:
        raise ValueError("it is empty")
    if not secret.isprintable():
        raise ValueError("it has more than one line, or what is no text")
    return secret


def _text_in(path: str) -> str:
    with opened(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a regular file")
        secret = file.read(_LONGEST_SECRET + 1)
    if len(secret) > _LONGEST_SECRET:
        raise ValueError(f"it has more than {_LONGEST_SECRET} bytes")
    return secret.decode("ascii").strip()
