"""How to see that a file has become another one: by a write, or by a rename over it."""

from __future__ import annotations

import os
import time

FileStamp = tuple[int, int, int]

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
