"""The file by which every worker of a node, and the hook that stops it, know that it leaves."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from rpcguard._clock import lasting
from rpcguard._process import process_began
from rpcguard._text import logger

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "RPCGUARD_OFFLINE_FILE"

DEFAULT_PATH = "/tmp/rpcguard-offline"
"""One place for app and hook: it is writable in most containers, and does not follow `TMPDIR`,
which a hook need not have."""

LIFETIME = 600.0
"""Seconds. Longer than any grace period, and short enough that a file which was left behind, in a
folder that outlives its container, does not keep a node off for good."""

_OVER = f"it counts for {LIFETIME:.0f} s"

_INTERVAL = 0.1
"""Seconds between two looks: a hook waits for seconds, and a request must not pay for a look."""


class OfflineFile:
    """A file whose presence says that a node leaves.

    It counts for ten minutes after its mtime, if it is a plain file that was not there before this
    container was started; in a folder where everybody may write, such as `/tmp`, only if it belongs
    to this user or root. What cannot be looked at says what it said before. Thread-safe.

    Args:
        path: where it is.
        clock: seconds that only grow, for the age of a file and the time between two looks.
        wall: epoch seconds, as the file system gives them to files.
        began: when this container was started, in epoch seconds; None: not known.
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Callable[[], float] = lasting,
        wall: Callable[[], float] = time.time,
        began: Callable[[], float | None] | None = None,
    ) -> None:
        self.path = path
        self._clock = clock
        self._wall = wall
        self._began = began or (lambda: container_began(wall))
        self._next_look = -math.inf
        self._last = _ABSENT

    def says_offline(self) -> bool:
        """Tell whether the file counts now, by a look that is at most 0.1 s old."""
        now = self._clock()
        if now >= self._next_look:
            # Before the look, so that other threads do not look as well.
            self._next_look = now + _INTERVAL
            self._take(self._look())
        return self._last.counts

    def look_at_start(self) -> None:
        """Warn about a file that is there before this process has served anything."""
        self._next_look = self._clock() + _INTERVAL
        self._last = self._look()
        if self._last is not _ABSENT:
            logger.warning("found at start: %s", self._last.told)

    def write(self) -> None:
        """Make the file, or renew its mtime; raises `OSError`, also for what is no plain file."""
        # No link is followed and no pipe waited for, whoever made them in a folder of everybody.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # it would count for nobody
                raise OSError(errno.EINVAL, "it is no plain file", self.path)
            os.utime(descriptor)
        finally:
            os.close(descriptor)
        self._next_look = -math.inf

    def remove(self) -> None:
        """Remove the file if it is there; raises `OSError`."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._next_look = -math.inf

    def _take(self, found: _Found) -> None:
        before, self._last = self._last, found
        if found.reason == before.reason:
            return
        if found is _ABSENT:
            logger.info("%s is gone: this node serves as before", self.path)
        else:
            logger.log(logging.INFO if found.counts else logging.WARNING, "%s", found.told)

    def _look(self) -> _Found:
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return _ABSENT
        except OSError as error:
            return self._unseen(error)
        now, last, file = self._clock(), self._last, (status.st_mtime_ns, status.st_ino)
        # What its times say of a file is said once: afterwards it grows old by the clock that only
        # grows, for the other may be set, and would call a node back or off when nobody meant it.
        is_new = last.file != file
        born = now - (self._wall() - status.st_mtime) if is_new else last.born
        stale = self._staleness(status.st_mtime) if is_new else last.stale
        age = now - born
        said = f"{self.path}, {age:.0f} s old, "
        doubt = self._oddness(status) or stale or (_OVER if age >= LIFETIME else "")
        if doubt:
            told = f"{said}does not count: {doubt}"
            return _Found(False, doubt, told, born, file, stale)
        left = f"for {LIFETIME - age:.0f} s more, or until `rpcguard online`"
        told = f"{said}says that this node leaves, {left}"
        return _Found(True, "", told, born, file)

    def _unseen(self, error: OSError) -> _Found:
        # A folder that is mounted or locked in the middle of a release calls no node back.
        last = self._last
        counts = last.counts and self._clock() - last.born < LIFETIME
        does = "leaves as it said" if counts else "serves on"
        told = f"{self.path} cannot be looked at: {error.strerror}; this node {does}"
        reason = f"errno {error.errno}, {does}"
        return _Found(counts, reason, told, last.born, last.file, last.stale)

    def _oddness(self, status: os.stat_result) -> str:
        if not stat.S_ISREG(status.st_mode):
            return "it is no plain file"
        if status.st_uid not in (0, os.geteuid()) and self._is_in_folder_of_everybody():
            return f"in a folder where everybody may write, it belongs to user {status.st_uid}"
        return ""

    def _staleness(self, mtime: float) -> str:
        if mtime - self._wall() >= LIFETIME:
            return "it is from the future: the clock was set back since"
        began = self._began()
        if began is not None and mtime < began:
            return "it is from before this container was started"
        return ""

    def _is_in_folder_of_everybody(self) -> bool:
        try:
            return bool(os.stat(os.path.dirname(self.path)).st_mode & stat.S_ISVTX)
        except OSError:
            return True


class _Found(NamedTuple):
    """What one look has found."""

    counts: bool
    reason: str
    """Why it does not count."""
    told: str
    """What the log says."""
    born: float = 0.0
    """When it was written, by the clock that only grows."""
    file: tuple[int, int] | None = None
    """By what it is known to be the same file, unchanged."""
    stale: str = ""
    """Why it never counts, by its times."""


_ABSENT = _Found(False, "absent", "")


def offline_path(given: str | os.PathLike[str] | None = None) -> str:
    """Give the absolute path of the file: the one given, that of the environment, or the default.

    Raises `ValueError` for one that is empty, and for a relative one in the environment.
    """
    if given is None:
        path = os.environ.get(VARIABLE) or DEFAULT_PATH
        if not os.path.isabs(path):
            raise ValueError(f"{VARIABLE} must be an absolute path, not {path!r}")
    else:
        path = os.fspath(given)
    if not path or "\0" in path:
        raise ValueError(f"file must be a path, not {path!r}")
    return os.path.abspath(path)


def container_began(wall: Callable[[], float] = time.time) -> float | None:
    """Give when process 1 was started, in epoch seconds; None where the system does not tell.

    That is the start of this container, elsewhere of the machine. A worker that takes another's
    place during the release is in the same one, so the file still counts for it; a container that
    was restarted in a folder which outlived it is a new one.
    """
    return process_began(1, wall)
