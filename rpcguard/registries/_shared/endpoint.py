"""Where a registry is: what its URL may look like, and what follows from it, once for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from rpcguard._text import host_and_port
from rpcguard.registries._shared.client import RegistryClient
from rpcguard.registries._shared.documents import MAX_BYTES
from rpcguard.registries._shared.tls import TLS_OPTIONS, TLSFiles
from rpcguard.registries._shared.urls import RegistryURL, parse_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class URLForm:
    """What the URLs of one registry may look like.

    Options of TLS, and those schemes that end in `https` or `tls` have it, are known to all.
    """

    example: str
    """A right URL, which every error shows."""

    ports: Mapping[str, int]
    """The schemes, each with the port of an address that has none."""

    options: tuple[str, ...] | None = ()
    """The options besides `ca`, `cert` and `key`; None takes any."""

    path: Literal["none", "name", "any"] = "none"
    """Whether the path is nothing, one name, or what comes before that of every request."""

    credentials: Literal["basic", "login", "token"] = "basic"
    """What user and password are: sent with each request, exchanged for a token, or, the password
    alone, a token."""

    def read(self, url: str, ssl_context: ssl.SSLContext | None = None) -> Endpoint:
        """Take a URL apart; raise `InvalidRegistryURL` naming the part that is wrong.

        An `ssl_context` replaces the files that the URL may name.
        """
        options = None if self.options is None else (*self.options, *TLS_OPTIONS)
        port = self.ports.get(url.partition("://")[0].lower(), 1)
        parsed = parse_url(url, example=self.example, default_port=port, options=options)
        if parsed.scheme not in self.ports:
            schemes = " or ".join(self.ports)
            raise parsed.invalid(f"the scheme must be {schemes}, not {parsed.scheme!r}")
        if not parsed.hosts:
            raise parsed.invalid("no address is given")
        self._check_path(parsed)
        self._check_credentials(parsed)
        secure = parsed.scheme.endswith(("https", "tls"))
        tls = TLSFiles.from_url(parsed, secure=secure)
        return Endpoint(parsed, secure=secure, tls=ssl_context or tls, credentials=self.credentials)

    def _check_path(self, parsed: RegistryURL) -> None:
        path = parsed.path.strip("/")
        if path and self.path == "none":
            raise parsed.invalid(f"there is no path, but {parsed.path!r} is given")
        if "/" in path and self.path == "name":
            raise parsed.invalid("the path is one name alone")

    def _check_credentials(self, parsed: RegistryURL) -> None:
        if parsed.username and self.credentials == "token":
            raise parsed.invalid("there are no users: write the token as password, ':TOKEN@'")
        if parsed.username == "" and self.credentials == "login":
            raise parsed.invalid("the password has no user")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a registry is and how it is reached, as its URL says; `repr` shows no secret."""

    url: RegistryURL
    secure: bool = field(kw_only=True)
    tls: TLSFiles | ssl.SSLContext = field(kw_only=True, repr=False)
    credentials: str = field(kw_only=True)

    @property
    def bases(self) -> tuple[str, ...]:
        """Give `http(s)://host:port` of each address."""
        scheme = "https" if self.secure else "http"
        return tuple(f"{scheme}://{place}" for place in self._places)

    @property
    def name(self) -> str:
        """Give the path as one name, decoded; empty without one."""
        return unquote(self.url.path.strip("/"))

    @property
    def token(self) -> str | None:
        """Give the token that stands in place of the password."""
        return self.url.password or None

    @property
    def shown(self) -> str:
        """Give the URL without user, password and options."""
        return self.at(self.url.path.rstrip("/"))

    def at(self, path: str) -> str:
        """Give the URL with another path, and without user, password and options."""
        return f"{self.url.scheme}://{','.join(self._places)}{path}"

    @property
    def _places(self) -> list[str]:
        return [host_and_port(*pair) for pair in self.url.hosts]

    def client(
        self,
        bases: Sequence[str] | None = None,
        *,
        prefix: str = "",
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        max_bytes: int = MAX_BYTES,
    ) -> RegistryClient:
        """Make the client of all addresses, or of some `bases`.

        `prefix` comes before the path of every request.
        """
        basic = self.credentials == "basic"
        return RegistryClient(
            [f"{base}{prefix}" for base in bases or self.bases],
            username=self.url.username if basic else None,
            password=self.url.password if basic else None,
            headers=headers,
            tls=self.tls,
            timeout=timeout,
            max_bytes=max_bytes,
        )
