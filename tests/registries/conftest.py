"""A web server that says exactly what a test wants, broken answers included."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.require import require
from tests.support.servers.kubernetes import Kubernetes


@dataclass
class Seen:
    """One request as the server read it."""

    target: str
    headers: dict[str, str]
    body: bytes = b""


Script = Callable[[Seen], bytes | Iterable[bytes]]


@dataclass
class ScriptedServer:
    """Answer with the bytes that `script` gives; an iterable is sent until the client is gone."""

    port: int
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    script: Script = lambda _: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def say(self, body: bytes | str, status: int = 200, **headers: str) -> None:
        """Give this answer to every request."""
        self.script = lambda _: self.answer(body, status, **headers)

    @staticmethod
    def answer(body: bytes | str, status: int = 200, **headers: str) -> bytes:
        """Put an answer together; `Content_Encoding` stands for `Content-Encoding`."""
        data = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + data


def _handler(server: Callable[[], ScriptedServer]) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            server().connections += 1
            try:
                while first := self.rfile.readline():
                    lines = iter(lambda: self.rfile.readline().decode("latin-1").strip(), "")
                    headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}
                    body = self.rfile.read(int(headers.get("content-length", "0")))
                    seen = Seen(first.split()[1].decode(), headers, body)
                    server().seen.append(seen)
                    answer = server().script(seen)
                    for chunk in [answer] if isinstance(answer, bytes) else answer:
                        self.wfile.write(chunk)
                    if not isinstance(answer, bytes):
                        return
            except OSError:
                return  # the client had enough

    return Handler


class _Threading(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


@pytest.fixture
def new_server() -> Iterator[Callable[[], ScriptedServer]]:
    """Give a function that starts servers; all are stopped at the end."""
    running: list[_Threading] = []

    def start() -> ScriptedServer:
        scripted: ScriptedServer
        tcp = _Threading(("127.0.0.1", 0), _handler(lambda: scripted))
        scripted = ScriptedServer(tcp.server_address[1])
        running.append(tcp)
        threading.Thread(target=tcp.serve_forever, args=(0.01,), daemon=True).start()
        return scripted

    yield start
    for tcp in running:
        tcp.shutdown()
        tcp.server_close()


@pytest.fixture(scope="session")
def kubernetes_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """Run an API server; its namespace has what the tests before have put there."""
    require(Kubernetes)
    api = Kubernetes(tmp_path_factory.mktemp("kubernetes"))
    api.start()
    yield api
    api.kill()


@pytest.fixture
def server(new_server: Callable[[], ScriptedServer]) -> ScriptedServer:
    """Give one running server."""
    return new_server()
