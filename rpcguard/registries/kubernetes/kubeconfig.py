"""What `kubectl` knows of a cluster: the file of its contexts."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rpcguard._files import FileStamp, stamp_of
from rpcguard._tls import modern
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.documents import ODD_TAGS
from rpcguard.registries._shared.faults import FaultLog

_HOME: Final = "~/.kube/config"
_SERVER: Final = re.compile(
    r"https?://(\[[0-9a-fA-F:.]+\]|[^/?#@\[\]:\s]+)(:[0-9]{1,5})?(/[^?#\s]*)?", re.IGNORECASE
)
_AUTHORITY: Final = "certificate-authority"
_PAIR: Final = ("client-certificate", "client-key")
_UNDONE: Final = ("proxy-url", "tls-server-name")
"""What a cluster may ask for that is not done: without it another server would be asked."""


def kubeconfig_path(given: str | None) -> Path | None:
    """Find the file: the one that is given, that of `KUBECONFIG`, or the user's, if it is there.

    `KUBECONFIG` may name several; the first that exists is read, and they are not merged.
    """
    if given is not None:
        return Path(given)
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    places = [Path(place) for place in named if place] or [Path(_HOME).expanduser()]
    return next((place for place in places if place.exists()), None)


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of a kubeconfig, with its cluster and its user; `repr` shows no secret.

    Files that it names are relative to its folder, as for `kubectl`.
    """

    folder: Path
    namespace: str | None
    cluster: Mapping[str, object] = field(repr=False)
    user: Mapping[str, object] = field(repr=False)
    token: str | None = field(repr=False)
    """The one that stands in the file."""

    @classmethod
    def read(cls, path: Path, context: str | None) -> Kubeconfig:
        """Read a context of a file, the current one by default.

        Raises `OSError`, and `ValueError` that says what is missing or not understood.
        """
        document = _mapping(_parsed(path.read_text(encoding="utf-8")), "the file")
        name = context or document.get("current-context")
        chosen = _named(document, "contexts", "context", name)
        cluster = _named(document, "clusters", "cluster", chosen.get("cluster"))
        user = _named(document, "users", "user", chosen.get("user"))
        namespace = chosen.get("namespace")
        for way in ("exec", "auth-provider", "username"):
            if way in user:
                raise ValueError(
                    f"user {chosen.get('user')!r} logs in by {way!r}, which rpcguard does not do;"
                    " run `kubectl proxy` and give server=http://127.0.0.1:8001"
                )
        for way in _UNDONE:
            if way in cluster:
                raise ValueError(f"its cluster has {way!r}, which rpcguard does not do")
        return cls(
            path.parent, str(namespace) if namespace else None, cluster, user, _token_of(user)
        )

    @property
    def server(self) -> str:
        """Give the URL of the API server."""
        server = self.cluster.get("server")
        if not isinstance(server, str) or _SERVER.fullmatch(server) is None:  # maybe a secret in it
            raise ValueError("its cluster has no server such as https://10.0.0.1:6443")
        return server.rstrip("/")

    @property
    def token_file(self) -> str | None:
        """Give the file that has the token, which comes before one in the kubeconfig."""
        file = self.user.get("tokenFile")
        return None if file is None else str(self.folder / str(file))

    @property
    def files(self) -> list[str]:
        """Give the files with certificates and the key that it names."""
        named = [self.cluster.get(_AUTHORITY), *(self.user.get(name) for name in _PAIR)]
        return [str(self.folder / str(file)) for file in named if file is not None]

    def ssl_context(self) -> ssl.SSLContext | None:
        """Make the context of its CA and its client certificate; None without TLS."""
        if self.server.startswith("http://"):
            return None
        if self.cluster.get("insecure-skip-tls-verify"):
            raise ValueError("insecure-skip-tls-verify: rpcguard does not call a server unproven")
        authority = self._content(self.cluster, _AUTHORITY)
        context = ssl.create_default_context(
            cadata=None if authority is None else authority.decode("ascii")
        )
        certificate, key = (self._content(self.user, name) for name in _PAIR)
        if (certificate is None) != (key is None):
            raise ValueError("of client-certificate and client-key one is missing")
        if certificate is not None and key is not None:
            _show(context, certificate, key)
        return modern(context)

    def _content(self, place: Mapping[str, object], name: str) -> bytes | None:
        """Give what stands in the file itself or in one that it names."""
        data = place.get(f"{name}-data")
        if data is not None:
            return base64.b64decode(str(data), validate=True)
        file = place.get(name)
        return None if file is None else (self.folder / str(file)).read_bytes()


class KubeconfigFile:
    """A context of a kubeconfig that is read again once it was renewed.

    Its certificates may last for a day, and its token for an hour. One that cannot be read, as in
    the middle of a renewal, leaves the last one in use, with a warning.
    """

    def __init__(self, path: Path, context: str | None) -> None:
        self._path = path
        self._context = context
        self._faults = FaultLog()
        self._stamp = stamp_of(str(path))
        self._last = Kubeconfig.read(path, context)

    def current(self) -> Kubeconfig:
        """Give what stands in the file now."""
        stamp = stamp_of(str(self._path))
        if stamp != self._stamp:
            fault: str | None = None
            try:
                self._last = Kubeconfig.read(self._path, self._context)
            except (OSError, ValueError) as error:
                fault = f"{error}; the last one stays in use"
            self._stamp = stamp
            self._faults.report(f"kubeconfig {self._path}", fault)
        return self._last

    def token(self) -> str | None:
        """Give the token that stands in the file now."""
        return self.current().token

    def stamp(self) -> tuple[FileStamp | None, ...]:
        """Give what is another value once the file, or one that it names, was renewed."""
        return tuple(map(stamp_of, [str(self._path), *self.current().files]))

    def context(self) -> ssl.SSLContext:
        """Load the certificates; raise `RegistryError` where one cannot be used."""
        try:
            found = self.current().ssl_context()
        except (OSError, ValueError) as error:
            raise RegistryError(f"kubeconfig {self._path}: {error}") from error
        if found is None:
            raise RegistryError(f"kubeconfig {self._path}: its cluster has no TLS any more")
        return found


def _show(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL takes a chain from a file alone; the folder is the user's own, and goes at once.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pair.pem"
        file.write_bytes(certificate + b"\n" + key)
        context.load_cert_chain(file)


def _token_of(user: Mapping[str, object]) -> str | None:
    token = user.get("token")
    if token is None:
        return None
    if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
        raise ValueError("its token is no text that a header can have")
    return token


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass  # then it is YAML, which most are
    try:
        import yaml
    except ModuleNotFoundError:
        raise ValueError("it is YAML, for which: pip install 'rpcguard[kubernetes]'") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, *ODD_TAGS) as error:
        raise ValueError(f"it is no YAML: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _named(
    document: Mapping[str, object], several: str, one: str, name: object
) -> Mapping[str, object]:
    if not name:
        raise ValueError(f"no {one} is named")
    entries = document.get(several)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and entry.get("name") == name:
            return _mapping(entry.get(one), f"{one} {name!r}")
    raise ValueError(f"there is no {one} {name!r}")


def _mapping(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is no mapping")
    return value
