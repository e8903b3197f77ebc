"""What stands in for the other side of a registry, and drives it without a network."""

from __future__ import annotations

import os
import stat
from io import BytesIO
from typing import TYPE_CHECKING, Any

import httpx

from rpcguard.errors import RegistryError
from rpcguard.registries._shared.bodies import Lines
from rpcguard.registries._shared.client import HttpReply
from tests.fuzz.draw import Draw, Template
from tests.fuzz.templates import VALUE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

_STATUSES = (200, 200, 200, 200, 404, 304, 401, 403, 405, 500, 204, 302)
_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"etag": '"1"', "cache-control": "max-age=5"},
    {"cache-control": "private,max-age=99999999999999"},
    {"x-consul-index": "7", "x-consul-knownleader": "true", "x-consul-lastcontact": "0"},
    {"x-consul-index": "99999999999999999999", "x-consul-lastcontact": "²"},
    {"x-consul-index": "-1", "x-consul-knownleader": "false"},
    {"x-consul-results-filtered-by-acls": "true", "x-consul-index": "1"},
    {"x-consul-query-backend": "streaming"},
)
_READY = [
    httpx.Headers([(name.encode(), value.encode("latin-1")) for name, value in one.items()])
    for one in _HEADERS
]


def written(draw: Draw, template: Template) -> bytes:
    """Give bytes: a template that is bent, cut or damaged, or what is left of the input."""
    mode = draw.byte() % 8
    if mode == 7:
        return draw.rest()
    body = template.bent(draw).encode("utf-8", "surrogatepass")
    if mode == 6:
        place = (draw.byte() << 8 | draw.byte()) % (len(body) + 1)
        return body[:place] + (draw.rest()[:8] + body[place + 1 :] if place % 2 else b"")
    return body


class Client:
    """Be a `RegistryClient` whose answers come from an input."""

    def __init__(self) -> None:
        self.draw = Draw(b"")
        self.template = Template({})
        self.lines: list[bytes] = []
        self.value = b""

    async def request(self, method: str, target: str, **_: Any) -> HttpReply:
        return self.answer()

    async def stream(self, method: str, target: str, **_: Any) -> Lines:
        return Broadcast(self.lines)

    def answer(self) -> HttpReply:
        """Make the next answer."""
        draw = self.draw
        status = draw.choice(_STATUSES)
        headers = draw.choice(_READY)
        body = written(draw, self.template)
        if self.value:
            body = body.replace(VALUE.encode(), self.value)
        return HttpReply("http://registry/path", status, headers, body)


class Broadcast(Lines):
    """Be an answer that goes on, and breaks off."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = iter(lines)

    async def __anext__(self) -> bytes:
        for line in self._lines:
            return line
        raise RegistryError("cut")

    async def aclose(self) -> None:
        pass


class File:
    """Be the path of a file that has these bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stat(self) -> os.stat_result:
        return os.stat_result((stat.S_IFREG | 0o600, 1, 1, 1, 0, 0, len(self._data), 0, 0, 0))

    def open(self, _mode: str) -> BytesIO:
        return BytesIO(self._data)

    def __str__(self) -> str:
        return "/etc/services.json"


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits, without an event loop; give its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("it waits for something")


def drained(snapshots: AsyncIterator[Any], most: int = 8) -> list[Any]:
    """Take what a watch gives until it raises, at most so many."""
    found = []
    try:
        for _ in range(most):
            found.append(finished(snapshots.__anext__()))  # noqa: PERF401  kept when it raises
    except (RegistryError, StopAsyncIteration):
        pass
    finally:
        finished(snapshots.aclose())  # type: ignore[attr-defined]
    return found
