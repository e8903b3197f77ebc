"""The lane of a request goes on to the calls that are made while it is served."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from rpcguard._context.lane import UNHEARD, current_lane
from rpcguard.provider import ContextASGI, ContextWSGI

seen: list[str | None] = []


async def asgi(scope: Any, _: Any, send: Any) -> None:
    """Note the mark that calls would have, now and in a task."""
    if scope["type"] == "http":
        seen.append(current_lane("unset"))
        seen.append(await asyncio.create_task(_of_task()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _of_task() -> str | None:
    return current_lane("unset")


def wsgi(_: Any, start_response: Any) -> Any:
    """Note the mark while the answer is made, and while its body is."""
    seen.append(current_lane("unset"))
    start_response("200 OK", [])
    return _parts()


def _parts() -> Any:
    seen.append(current_lane("unset"))
    yield b"ok"


def ask(kind: str, peer: str | None, sent: dict[str, str], **options: Any) -> str | None:
    """Send a request through the middleware; give the mark that its calls have."""
    seen.clear()
    if kind == "asgi":
        asyncio.run(_ask_asgi(ContextASGI(asgi, **options), peer, sent))
    else:
        transport = httpx.WSGITransport(ContextWSGI(wsgi, **options), remote_addr=peer or "")
        with httpx.Client(transport=transport, base_url="http://app") as client:
            assert client.get("/", headers=sent).text == "ok"
    assert current_lane("unset") == "unset"
    assert len(set(seen)) == 1
    return seen[0]


async def _ask_asgi(app: ContextASGI, peer: str | None, headers: dict[str, str]) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "headers": pairs, "client": peer and (peer, 5)}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, None, send)


BOTH = pytest.mark.parametrize("kind", ["asgi", "wsgi"])


@BOTH
@pytest.mark.parametrize(
    ("headers", "mark"),
    [
        ({}, UNHEARD),
        ({"baggage": "a=b,rpcguard.lane=canary-2"}, "canary-2"),
        ({"baggage": "rpcguard.lane=base"}, None),
        ({"baggage": "rpcguard.lane=a%20b"}, UNHEARD),
        ({"x-mse-tag": "canary-2", "baggage": "rpcguard.lane=other"}, "canary-2"),
        ({"x-mse-tag": "base", "baggage": "rpcguard.lane=other"}, None),
        ({"x-mse-tag": "a b", "baggage": "rpcguard.lane=other"}, "other"),
        ({"x-mse-tag": "x" * 10_000}, UNHEARD),
    ],
)
def test_a_mark_comes_in_by_header_or_baggage(
    kind: str, headers: dict[str, str], mark: str | None
) -> None:
    """What is none is no word; base is the word that there is none."""
    assert ask(kind, "127.0.0.1", headers, headers=["X-Mse-Tag"]) == mark


@BOTH
@pytest.mark.parametrize(
    ("peer", "trust", "heard"),
    [
        ("127.0.0.1", None, True),
        ("::1", None, True),
        (None, None, True),
        ("10.0.0.5", None, False),
        ("10.0.0.5", ["10.0.0.0/8"], True),
        ("::ffff:10.0.0.5", ["10.0.0.0/8"], True),
        ("127.0.0.1", ["10.0.0.0/8"], False),
        ("203.0.113.9", [], False),
        ("testclient", ["10.0.0.0/8"], False),
    ],
)
def test_only_the_word_of_trusted_peers_counts(
    kind: str, peer: str | None, trust: list[str] | None, heard: bool
) -> None:
    """An outsider chooses no lane, whatever it sends."""
    options = {} if trust is None else {"trust": trust}
    mark = ask(kind, peer, {"baggage": "rpcguard.lane=canary-2"}, **options)
    assert mark == ("canary-2" if heard else UNHEARD)


@pytest.mark.parametrize(
    "options", [{"trust": "10.0.0.0/8"}, {"trust": ["ten"]}, {"headers": "x"}, {"baggage": "a b"}]
)
def test_wrong_options_are_told(options: dict[str, Any]) -> None:
    """When the app is wrapped, not with the first request."""
    for wrap, app in ((ContextASGI, asgi), (ContextWSGI, wsgi)):
        with pytest.raises(ValueError, match=next(iter(options))):
            wrap(app, **options)  # type: ignore[arg-type]


def test_what_is_no_request_passes() -> None:
    """Lifespan has no headers and no peer."""
    asyncio.run(ContextASGI(asgi)({"type": "lifespan"}, None, None))
