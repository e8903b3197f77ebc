"""The course of `rpcguard get`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import httpx

from rpcguard._commands.base import CommandError, one_line
from rpcguard._httpx import Transport
from rpcguard._text import plain, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rpcguard._core.call.info import Attempt, CallInfo


def run_get(
    url: str, registry: str | None, headers: Sequence[tuple[str, str]], *, timeout: float
) -> int:
    """Make the call and print it; give the exit status. Raises what a transport raises."""
    with (
        Transport(registry) as transport,
        httpx.Client(transport=transport, timeout=timeout) as client,
    ):
        try:
            with client.stream("GET", url, headers=list(headers)) as response:
                _tell(response)
                _hand_on(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            notes = " ".join(getattr(error, "__notes__", ()))
            raise CommandError(
                f"{one_line(error) or type(error).__name__} {notes}".strip()
            ) from error
    return 1 if response.is_error else 0


def _tell(response: httpx.Response) -> None:
    lines = [f"{response.http_version} {response.status_code} {response.reason_phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.multi_items()]
    info: CallInfo | None = response.extensions.get("rpcguard")
    if info is not None:
        lines += ["", *(_attempt(one) for one in info.attempts)]
        if info.route is not None:
            lines.append(f"route {info.route}")
    print("\n".join(map(plain, [*lines, ""])), file=sys.stderr, flush=True)


def _attempt(attempt: Attempt) -> str:
    node = attempt.node
    name = node.id if node.id == node.address else f"{node.id} ({node.address})"
    return f"attempt: {name}: {attempt.outcome}, {seconds(attempt.duration)}"


def _hand_on(response: httpx.Response) -> None:
    """Write the body as it comes; to a terminal only as text that cannot steer it."""
    out = sys.stdout
    if not out.isatty():
        for piece in response.iter_bytes():
            _write(out, piece)
        return
    for text in response.iter_text():
        out.write("\n".join(map(plain, text.split("\n"))))
    out.write("\n")


def _write(out: TextIO, piece: bytes) -> None:
    out.buffer.write(piece)
