"""One HTTP/2 connection of a pool, by itself."""

from __future__ import annotations

import socket

import httpcore
import httpcore2
import pytest

from rpcguard._connections.http2.pools import patient_pool
from tests.support.calls import Flavour, each
from tests.support.library import http


@each([Flavour("asyncio"), Flavour("trio")])
@pytest.mark.parametrize("core", [httpcore, httpcore2], ids=["httpcore", "httpcore2"])
async def test_all_calls_of_a_connection_that_cannot_be_made_fail_alike(core):
    """Those that were given to it before it failed, and come to it after, get a ConnectError."""
    limits = http.Limits()
    plain = core.AsyncConnectionPool()
    pool = patient_pool(plain, verify=None, limits=limits, http1=False, http2=True)
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        port = refusing.getsockname()[1]
        connection = pool.create_connection(core.Origin(b"http", b"127.0.0.1", port))
        for _ in range(2):
            with pytest.raises(core.ConnectError):
                await connection.handle_async_request(
                    core.Request("GET", f"http://127.0.0.1:{port}/")
                )
