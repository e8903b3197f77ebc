"""Where the API server is and as whom it is asked: by the URL, the pod or a kubeconfig."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rpcguard.registries._shared.tls import TLS_OPTIONS, TLSFiles
from rpcguard.registries.kubernetes.kubeconfig import KubeconfigFile, kubeconfig_path

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from rpcguard.registries._shared.tls import TLSSource
    from rpcguard.registries._shared.urls import RegistryURL

OPTIONS: Final = ("server", "token", "kubeconfig", "context", *TLS_OPTIONS)
_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SERVER: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[^/?#@\[\]:\s]+)(:[0-9]{1,5})?/?")
_OWN: Final = ("server", "token", *TLS_OPTIONS)
"""What a kubeconfig says itself: an option beside it would be half of two accounts."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the API server is reached; `repr` shows no secret.

    `servers` are `http(s)://host:port`; `token_file` is read anew for each request, since a
    service account's token is replaced every hour or so; `token` gives what stands in a kubeconfig;
    `namespace` is the one of who asks.
    """

    servers: tuple[str, ...]
    tls: TLSSource | ssl.SSLContext | None = field(default=None, repr=False)
    token_file: str | None = None
    token: Callable[[], str | None] | None = field(default=None, repr=False)
    namespace: str | None = None

    @classmethod
    def from_url(cls, url: RegistryURL) -> Access:
        """Find it: by option `server`, else the pod's account, else a kubeconfig.

        Raises `InvalidRegistryURL` where none of them is there or one cannot be understood.
        """
        asked = "kubeconfig" in url.query or "context" in url.query
        if "server" in url.query:
            if asked:
                raise url.invalid("give server or kubeconfig, not both")
            return cls._of_server(url)
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}") for name in ("HOST", "PORT"))
        if host and port and not asked:
            return cls._of_pod(url, f"https://{f'[{host}]' if ':' in host else host}:{port}")
        return cls._of_kubeconfig(url)

    @classmethod
    def _of_server(cls, url: RegistryURL) -> Access:
        servers = tuple(server.rstrip("/") for server in url.query["server"].split(","))
        if not all(_SERVER.fullmatch(server) for server in servers):
            raise url.invalid("option 'server' must be http(s)://host:port, or several with commas")
        secure = any(server.startswith("https") for server in servers)
        tls = TLSFiles.from_url(url, secure=secure)
        return cls(servers, tls, url.query.get("token"), namespace=_namespace_of_pod())

    @classmethod
    def _of_pod(cls, url: RegistryURL, server: str) -> Access:
        tls = TLSFiles.from_url(url, secure=True)
        if tls.ca is None:
            tls = TLSFiles(str(_POD / "ca.crt"), tls.cert, tls.key)
        token = url.query.get("token", str(_POD / "token"))
        return cls((server,), tls, token, namespace=_namespace_of_pod())

    @classmethod
    def _of_kubeconfig(cls, url: RegistryURL) -> Access:
        path = kubeconfig_path(url.query.get("kubeconfig"))
        if path is None:
            raise url.invalid(
                "outside of a pod, option 'server' or 'kubeconfig' must be given, or KUBECONFIG set"
            )
        for option in _OWN:
            if option in url.query:
                raise url.invalid(f"option {option!r} is for a URL with server, not a kubeconfig")
        try:
            file = KubeconfigFile(path, url.query.get("context"))
            found = file.current()
            return cls(
                (found.server,),
                None if found.ssl_context() is None else file,
                found.token_file,
                file.token,
                found.namespace or "default",
            )
        except (OSError, ValueError) as error:
            raise url.invalid(f"kubeconfig {path}: {error}") from error


def _namespace_of_pod() -> str | None:
    try:
        return (_POD / "namespace").read_text().strip()
    except OSError:
        return None
