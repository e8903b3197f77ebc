"""A JSON API that answers from a script, path by path, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator


@dataclass(frozen=True)
class Asked:
    """One request; `form` and `query` hold the last value of each name."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return _last(self.body.decode())

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class JsonApi:
    """Hold for each path the answers to give in turn, of which the last repeats.

    An answer is a status and a document, or bytes as they are. A path without one answers 404.
    """

    port: int = 0
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def say(self, path: str, *answers: tuple[int, Any]) -> None:
        self.answers[path] = list(answers)

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def answer(self, asked: Asked) -> tuple[int, bytes]:
        self.asked.append(asked)
        script = self.answers.get(asked.path, [(404, {"status": 404, "error": "Not Found"})])
        status, said = script.pop(0) if len(script) > 1 else script[0]
        return status, said if isinstance(said, bytes) else json.dumps(said).encode()


@contextmanager
def running_api(tls: ssl.SSLContext | None = None) -> Iterator[JsonApi]:
    """Start an API, over TLS if a context is given; it ends with the block."""
    api = JsonApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            length = int(self.headers["Content-Length"] or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            content = self.rfile.read(length)
            status, body = api.answer(Asked(self.command, path, _last(query), headers, content))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    api.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _last(text: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
