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

from rpcguard.registries._shared.documents import ODD_TAGS

_HOME: Final = "~/.kube/config"
_SERVER: Final = re.compile(
    r"https?://(\[[0-9a-fA-F:.]+\]|[^/?#@\[\]:\s]+)(:[0-9]{1,5})?(/[^?#\s]*)?", re.IGNORECASE
)
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
        return cls(path.parent, str(namespace) if namespace else None, cluster, user)

    @property
    def server(self) -> str:
        """Give the URL of the API server."""
        server = self.cluster.get("server")
        if not isinstance(server, str) or _SERVER.fullmatch(server) is None:  # maybe a secret in it
            raise ValueError("its cluster has no server such as https://10.0.0.1:6443")
        return server.rstrip("/")

    @property
    def token(self) -> str | None:
        """Give the token that stands in the file."""
        token = self.user.get("token")
        if token is None:
            return None
        if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
            raise ValueError("its token is no text that a header can have")
        return token

    @property
    def token_file(self) -> str | None:
        """Give the file that has the token, which comes before one in the kubeconfig."""
        file = self.user.get("tokenFile")
        return None if file is None else str(self.folder / str(file))

    def ssl_context(self) -> ssl.SSLContext | None:
        """Make the context of its CA and its client certificate; None without TLS."""
        if self.server.startswith("http://"):
            return None
        if self.cluster.get("insecure-skip-tls-verify"):
            raise ValueError("insecure-skip-tls-verify: rpcguard does not call a server unproven")
        authority = self._content(self.cluster, "certificate-authority")
        context = ssl.create_default_context(
            cadata=None if authority is None else authority.decode("ascii")
        )
        certificate = self._content(self.user, "client-certificate")
        key = self._content(self.user, "client-key")
        if (certificate is None) != (key is None):
            raise ValueError("of client-certificate and client-key one is missing")
        if certificate is not None and key is not None:
            _show(context, certificate, key)
        return context

    def _content(self, place: Mapping[str, object], name: str) -> bytes | None:
        """Give what stands in the file itself or in one that it names."""
        data = place.get(f"{name}-data")
        if data is not None:
            return base64.b64decode(str(data), validate=True)
        file = place.get(name)
        return None if file is None else (self.folder / str(file)).read_bytes()


def _show(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL takes a chain from a file alone; the folder is the user's own, and goes at once.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pair.pem"
        file.write_bytes(certificate + b"\n" + key)
        context.load_cert_chain(file)


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
