"""The switch: whether this node says that it leaves."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Literal

from rpcguard.provider.file import OfflineFile, offline_path

if TYPE_CHECKING:
    import os
    from collections.abc import Callable


class OfflineSwitch:
    """Whether this node says that it leaves: by the word of this process, or by a file.

    The file is there for all workers of a node: each looks at it, and whatever can make a file
    turns the switch of them all. Give one switch to a middleware that a framework constructs, to
    have a handle: `app.add_middleware(OfflineASGI, switch=switch)`. Thread-safe. A file that is
    there already is told by a warning.

    Args:
        file: path of the file; None: that of `RPCGUARD_OFFLINE_FILE`, else
            `/tmp/rpcguard-offline`; False: no file, the switch is of this process alone.
        clock: seconds that only grow, for the time between two looks at the file.
        wall: epoch seconds, for the age of the file.

    Raises:
        ValueError: `file` is no path, or the environment gives a relative one.
    """

    def __init__(
        self,
        *,
        file: str | os.PathLike[str] | Literal[False] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._said: str | None = None
        self._file: OfflineFile | None = None
        if file is not False:
            self._file = OfflineFile(offline_path(file), clock=clock, wall=wall)
            self._file.look_at_start()

    @property
    def offline(self) -> bool:
        """Tell whether responses carry the notice."""
        return self.notice() is not None

    @property
    def file(self) -> str | None:
        """Give the path of the file, if there is one."""
        return None if self._file is None else self._file.path

    def go_offline(self, *, ttl: float | None = None) -> None:
        """Mark every later response of this process; the app serves as before.

        `ttl` is for how many seconds callers should stay away, rounded up to whole ones; None
        leaves it to them. Raises `ValueError` for a ttl that is not above 0.
        """
        if ttl is None:
            self._said = "1"
            return
        if not (math.isfinite(ttl) and ttl > 0):
            raise ValueError(f"ttl must be a number of seconds above 0, not {ttl!r}")
        self._said = f"1; ttl={math.ceil(ttl)}"

    def online(self) -> None:
        """Take back what `go_offline` said; a file goes on speaking for itself."""
        self._said = None

    def tell_all(self, *, offline: bool) -> None:
        """Turn the switch of every worker of the node, by the file if there is one.

        Raises `OSError` when the file cannot be written or removed; this process then has followed
        all the same.
        """
        if offline and self._file is None:
            self.go_offline()
        elif self._file is None:
            self.online()
        elif offline:
            self._write(self._file)
        else:
            self.online()
            self._file.remove()

    def _write(self, file: OfflineFile) -> None:
        try:
            file.write()
        except OSError:
            self.go_offline()
            raise

    def notice(self) -> str | None:
        """Give what responses carry as `X-RpcGuard-Offline`, without the name of the node."""
        if self._said is not None:
            return self._said
        return "1" if self._file is not None and self._file.says_offline() else None
