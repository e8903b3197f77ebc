"""The TLS context of a transport, made anew when the files behind it are renewed."""

from __future__ import annotations

import errno
import functools
import os
import ssl
import time
from typing import TYPE_CHECKING, Any

from rpcguard._files import FileStamp, stamp_of
from rpcguard._text import logger
from rpcguard._tls import modern

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_LOOK_EVERY = 1.0
"""Seconds between two looks at the files: a new connection costs more than a look, a storm of
them does not need as many."""


class TlsContext:
    """The TLS context for the next connection; any thread may ask.

    Certificates live for hours where a mesh or a cert-manager renews them on disk, under the same
    paths. A file that cannot be read, half written say, leaves the context that was there. A
    context that is given ready-made is the user's to renew.

    Args:
        http: httpx or httpx2, whose `create_ssl_context` makes it.
        verify: As for `httpx.HTTPTransport`: a context, a path, or whether to check at all.
        cert: As for `httpx.HTTPTransport`: the client's certificate.
        trust_env: Whether `SSL_CERT_FILE` and its like count.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        http: ModuleType,
        *,
        verify: ssl.SSLContext | str | bool,
        cert: Any,
        trust_env: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = functools.partial(_context, http, verify, cert, trust_env)
        self._given = verify, cert
        self._files = _files(verify, cert, trust_env=trust_env)
        self._clock = clock
        self._made: tuple[ssl.SSLContext, Any] | None = None
        self._looked = 0.0

    def __call__(self) -> ssl.SSLContext:
        """Give the context that the files stand for now; raises what is wrong with the first."""
        made, now = self._made, self._clock()
        if made is None:
            stamp = self._stamp()
            made = self._made = self._make(), stamp
            self._looked = now
        elif self._files and now - self._looked >= _LOOK_EVERY:
            self._looked = now
            made = self._renewed(made)
        return made[0]

    def prove(self) -> None:
        """Make the first one now; raise `OSError` that names the option whose file is of no use."""
        try:
            self()
        except OSError as error:
            raise _named(error, *self._given) from error

    def _renewed(self, made: tuple[ssl.SSLContext, Any]) -> tuple[ssl.SSLContext, Any]:
        stamp = self._stamp()
        if stamp == made[1]:
            return made
        try:
            made = self._made = self._make(), stamp
        except (OSError, ValueError) as error:  # it is looked at again with the next connection
            logger.warning("renewed TLS files cannot be used yet: %r", error)
        return made

    def _stamp(self) -> list[FileStamp | None]:
        return [stamp_of(path) for path in self._files]


def _context(http: ModuleType, verify: Any, cert: Any, trust_env: bool) -> ssl.SSLContext:
    trusted = verify
    if cert and isinstance(verify, str):
        # httpx does not look at a `cert` beside a path, and httpx2 refuses it.
        file, directory = (None, verify) if os.path.isdir(verify) else (verify, None)
        trusted = ssl.create_default_context(cafile=file, capath=directory)
    context: ssl.SSLContext = http.create_ssl_context(
        verify=trusted, cert=cert, trust_env=trust_env
    )
    return context if context is verify else modern(context)


def _named(error: OSError, verify: Any, cert: Any) -> OSError:
    parts = [cert] if cert is None or isinstance(cert, str) else cert[:2]
    for name, path in [("verify", verify), *(("cert", part) for part in parts)]:
        if isinstance(path, str) and not os.path.exists(path):
            wanted = f"No such file for {name}, which takes the path of a PEM file"
            return FileNotFoundError(errno.ENOENT, wanted, path)
    return ssl.SSLError(f"verify={verify!r}, cert={cert!r} cannot be loaded: {error}")


def _files(verify: Any, cert: Any, *, trust_env: bool) -> list[str]:
    trusted = os.environ.get("SSL_CERT_FILE") if verify is True and trust_env else verify
    given = [trusted, cert] if isinstance(cert, str) else [trusted, *(cert or ())[:2]]
    # With a ready-made context `cert` was loaded into that, and is the user's to renew.
    return (
        []
        if isinstance(verify, ssl.SSLContext)
        else [path for path in given if path and isinstance(path, str)]
    )
