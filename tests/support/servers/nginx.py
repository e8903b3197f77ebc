"""nginx from Debian in front of a provider: as a node that speaks HTTP/2, and as by default."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.support.servers.base import Server, accepts, cache, debian_package, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CONFIG = """\
daemon off;
pid {directory}/pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {data}/body;
    proxy_temp_path {data}/proxy;
    fastcgi_temp_path {data}/fastcgi;
    uwsgi_temp_path {data}/uwsgi;
    scgi_temp_path {data}/scgi;
    keepalive_requests {requests};
    http2_max_concurrent_streams {streams};
    upstream provider {{ server 127.0.0.1:{provider}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port} http2;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream off;
        }}
    }}
}}
"""


_BARE = """\
daemon off;
pid {directory}/pid;
error_log stderr;
worker_processes 1;
user root;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {data}/body;
    proxy_temp_path {data}/proxy;
    fastcgi_temp_path {data}/fastcgi;
    uwsgi_temp_path {data}/uwsgi;
    scgi_temp_path {data}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {provider}; {more} }}
    }}
}}
"""


class Nginx(Server):
    """Forward to the provider on a port; a connection ends after so many requests."""

    name = "nginx"

    def __init__(
        self, directory: Path, provider: int = 9, *, streams: int = 128, requests: int = 1000
    ) -> None:
        super().__init__(directory)
        self.port = free_ports(1)[0]
        self._settings = {"provider": provider, "streams": streams, "requests": requests}

    @classmethod
    def get(cls) -> None:
        debian_package("nginx", ("nginx",))

    @classmethod
    def available(cls) -> bool:
        return os.access(cls._binary(), os.X_OK)

    def command(self) -> Sequence[str | Path]:
        settings = {"directory": self.directory, "data": self.data, "port": self.port}
        config = self.directory / "nginx.conf"
        config.write_text(_CONFIG.format(**settings, **self._settings))
        return [self._binary(), "-c", config, "-e", "stderr", "-p", self.directory]

    def answers(self) -> bool:
        return accepts(self.port)

    def kill(self) -> None:
        """End the master, which alone can end its workers."""
        self._end(signal.SIGTERM)

    def reload(self) -> None:
        """Let new workers take over, and the old ones finish what they have."""
        self._processes[0].send_signal(signal.SIGHUP)

    def leave(self) -> None:
        """Take no new connections, finish what is there, and end."""
        self._end(signal.SIGQUIT)

    @staticmethod
    def _binary() -> Path:
        return cache("nginx/usr/sbin/nginx")


class BareNginx(Nginx):
    """Forward to a provider at a URL by nothing but a `proxy_pass`, and what `more` says."""

    def __init__(self, directory: Path, provider: str, *, more: str = "") -> None:
        super().__init__(directory)
        self._provider, self._more = provider, more

    def command(self) -> Sequence[str | Path]:
        config = self.directory / "nginx.conf"
        places = {"directory": self.directory, "data": self.data, "port": self.port}
        config.write_text(_BARE.format(provider=self._provider, more=self._more, **places))
        return [self._binary(), "-c", config, "-e", "stderr", "-p", self.directory]


servers = (Nginx,)
