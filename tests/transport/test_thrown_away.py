"""Answers that are thrown away, and break as they are: the call has no part in it."""

from __future__ import annotations

import pytest

from tests.support.calls import FLAVOURS, each, settle
from tests.support.library import http

pytestmark = each(FLAVOURS)


class Breaking(http.SyncByteStream, http.AsyncByteStream):
    """A body of a user's own child that fails at its end, or as it is closed."""

    def __init__(self, error, *, closing):
        self._error = error
        self._closing = closing

    def __iter__(self):
        yield b"ba"
        if not self._closing:
            raise self._error

    async def __aiter__(self):
        for part in self:
            yield part

    def close(self):
        if self._closing:
            raise self._error

    async def aclose(self):
        self.close()


class Child(http.BaseTransport, http.AsyncBaseTransport):
    """A node that answers the first call of all by 503, and the others well."""

    answered = 0

    def __init__(self, stream):
        self._stream = stream

    def handle_request(self, request):
        Child.answered += 1
        if Child.answered > 1:
            return http.Response(200, content=b"ok")
        return http.Response(503, headers={"content-length": "3"}, stream=self._stream)

    async def handle_async_request(self, request):
        return self.handle_request(request)


@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, OSError, http.ReadError])
async def test_an_answer_that_breaks_as_it_is_thrown_away_costs_nothing(
    error, closing, flavour, monkeypatch
):
    """Another node answers, whatever the first answer's stream raises: it counts no more."""
    monkeypatch.setattr(Child, "answered", 0)
    stream = Breaking(error("gone"), closing=closing)
    url = "static://10.0.0.1:1,10.0.0.2:1"
    transport = flavour.transport(url, node_transport=lambda _: Child(stream))
    client = flavour.client(transport=transport)
    response = await settle(client.get("http://orders/"))
    assert response.text == "ok"
    await settle(client.close() if flavour.sync else client.aclose())
