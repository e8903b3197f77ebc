"""Nodes of a service `orders` on ports that a page names."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from rpcguard.provider import OfflineASGI
from tests.support.uvicorn_server import UvicornServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


async def orders(scope, receive, send) -> None:
    """Answer as the pages' service does: an order for a GET, 201 for a POST."""
    while (await receive()).get("more_body"):
        pass
    number = scope["path"].rpartition("/")[2]
    order = {"id": int(number) if number.isdigit() else 7, "state": "paid"}
    status = 201 if scope["method"] == "POST" else 200
    body = json.dumps(order).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def running(port: int) -> Iterator[None]:
    server = UvicornServer(OfflineASGI(orders, file=False), port=port, lifespan="off").begin()
    try:
        yield
    finally:
        server.stop()


@pytest.fixture
def nodes_at() -> Iterator[Callable[[list[int]], None]]:
    """Start a node on each of the ports given."""
    with ExitStack() as stack:

        def start(ports: list[int]) -> None:
            for port in ports:
                stack.enter_context(running(port))

        yield start
