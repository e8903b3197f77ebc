"""The certificates of a connection to a registry, as files that are renewed while it runs."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import httpx

from rpcguard._files import FileStamp, stamp_of
from rpcguard._tls import modern
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.bodies import reason

if TYPE_CHECKING:
    from rpcguard.registries._shared.urls import RegistryURL

TLS_OPTIONS: Final = ("ca", "cert", "key")


Stamp = tuple[FileStamp | None, ...]


class TLSSource(Protocol):
    """What a connection needs of files that may be renewed."""

    def stamp(self) -> Stamp:
        """Give what is another value once one of the files was renewed."""
        ...

    def context(self) -> ssl.SSLContext:
        """Load the files; raise `RegistryError` where one cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The PEM files of a TLS connection: `ca` to trust, `cert` and `key` to show.

    Without `ca`, certifi's list is trusted, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @classmethod
    def from_url(cls, url: RegistryURL, *, secure: bool) -> TLSFiles:
        """Read the options `ca`, `cert` and `key`; raise `InvalidRegistryURL` where they clash."""
        files = cls(*(url.query.get(option) for option in TLS_OPTIONS))
        if files != cls() and not secure:
            raise url.invalid("ca, cert and key need a URL with TLS")
        if files.key and not files.cert:
            raise url.invalid("key needs cert")
        return files

    def stamp(self) -> Stamp:
        """Give what is another value once one of the files was renewed."""
        trusted = self.ca or os.environ.get("SSL_CERT_FILE")
        return tuple(stamp_of(file) for file in (trusted, self.cert, self.key) if file)

    def context(self) -> ssl.SSLContext:
        """Load the files; raise `RegistryError` where one cannot be used."""
        try:
            if self.ca:
                context = ssl.create_default_context(cafile=self.ca)
            else:
                context = httpx.create_ssl_context()
            if self.cert:
                context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise RegistryError(f"{self}: {reason(error)}") from error
        return modern(context)


def _no_password() -> str:
    # Else OpenSSL asks on the terminal, and the event loop stands still.
    raise ValueError("an encrypted key cannot be used")
