"""Ctrl-C at every point of a synchronous call over HTTP/2."""

from __future__ import annotations

import contextlib
import gc

import httpx
import pytest

from rpcguard._connections import (
    book_keeping,
    dial,
    exchange,
    socket_stream,
    stack,
    sync_stream,
)
from rpcguard._connections import sync as sync_http11
from rpcguard._connections.http2 import (
    calls,
    channels,
    connection,
    sync,
    sync_channel,
    sync_connection,
)
from rpcguard._httpx import HTTPX
from rpcguard._wire import h2_arrivals, h2_headers, h2_session, h2_streams
from tests.support.calls import eventually
from tests.support.interrupts import Interrupter

OURS = {
    module.__file__
    for module in (
        *(book_keeping, dial, exchange, socket_stream, stack, sync_http11, sync_stream),
        *(calls, channels, connection, sync, sync_channel, sync_connection),
        *(h2_arrivals, h2_headers, h2_session, h2_streams),
    )
}


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "reused"])
def test_an_interrupt_at_each_step(make_h2, warm):
    """It leaves no slot taken, no socket open for good, and the next call served."""
    node = make_h2()
    lost = []
    for nth in range(3000):
        transport = HTTPX.derive(sync.SyncHttp2Exchange, "BaseTransport")(
            HTTPX,
            scheme="http",
            host="127.0.0.1",
            port=node.port,
            limits=httpx.Limits(max_connections=1),
            http1=False,
        )
        with httpx.Client(transport=transport, trust_env=False) as client:
            if warm:
                client.get("http://orders/")
            with (
                contextlib.suppress(KeyboardInterrupt),
                Interrupter(nth, OURS.__contains__) as interrupter,
            ):
                client.get("http://orders/")
            if interrupter.where is None:
                break
            if transport.counts.in_use:
                lost.append(interrupter.where)
            else:
                assert client.get("http://orders/").text == "ok"
    assert 100 < nth < 2999
    assert lost == []
    gc.collect()
    eventually(lambda: node.open == 0, "connections are left open")
