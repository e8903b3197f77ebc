"""What a user's own child answers ends with the deadline, too, though that child knows none."""

from __future__ import annotations

import time

import pytest

from rpcguard._core.call.timeouts import Timeouts
from rpcguard._transport.bodies import AsyncTimedBody
from rpcguard.testing import ManualClock
from tests.support.calls import FLAVOURS, each, settle
from tests.support.library import NAME, http
from tests.support.slow_end import SlowEnd
from tests.support.telemetry import recorded as recorded

pytestmark = each(FLAVOURS)

SIZE = {"content-length": "6"}


class Slow(http.SyncByteStream, http.AsyncByteStream):
    """Six parts, one in a second; each comes in good time for a read timeout."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.began = clock()
        self.closed = 0

    def __iter__(self):
        for _ in range(6):
            self.clock.advance(1.0)
            yield b"x"

    async def __aiter__(self):
        for part in self:
            yield part

    @property
    def took(self) -> float:
        return round(self.clock() - self.began, 3)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.close()


class Child(http.BaseTransport, http.AsyncBaseTransport):
    """A node whose first answer comes slowly; those after it come with their head."""

    def __init__(self, stream: Slow) -> None:
        self._stream = stream
        self.asked = 0

    def handle_request(self, request):
        self.asked += 1
        if self.asked > 1:
            return http.Response(200, content=b"ok")
        return http.Response(200, headers=SIZE, stream=self._stream)

    async def handle_async_request(self, request):
        return self.handle_request(request)


@pytest.fixture
def call(flavour):
    """Call a service of two nodes; give the text of the answer, and the stream and child."""

    async def call(method, *, providers=None, **options: float):
        clock = ManualClock(time.monotonic())  # the list may have come by the time of the machine
        stream = Slow(clock)
        child = Child(stream)
        url = "static:///orders=10.0.0.1:1,10.0.0.2:1"
        transport = flavour.transport(url, node_transport=lambda _: child, **(providers or {}))
        transport._service("orders").clock = clock
        client = flavour.client(transport=transport)
        try:
            url, extensions = "http://orders/", {"rpcguard": options}
            answer = await settle(client.request(method, url, extensions=extensions))
            return answer.text, stream, child
        except http.TimeoutException as error:
            return error, stream, child
        finally:
            await settle(client.close() if flavour.sync else client.aclose())

    return call


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_parts_that_keep_coming_end_with_the_deadline(method, call):
    """Read ahead or handed out; the child's stream is closed, and nothing is tried again."""
    error, stream, child = await call(method, deadline=3.5)
    assert isinstance(error, http.ReadTimeout)
    assert "the deadline passed" in str(error)
    assert (stream.took, stream.closed > 0, child.asked) == (4.0, True, 1)


async def test_an_attempt_whose_parts_keep_coming_makes_room_for_another(call):
    """An answer that is read ahead ends with its attempt."""
    text, stream, child = await call("GET", deadline=60.0, attempt_timeout=3.5)
    assert (text, stream.took, stream.closed > 0, child.asked) == ("ok", 4.0, True, 2)


def timed(parts: SlowEnd, clock: ManualClock) -> AsyncTimedBody:
    """Make a body that has two seconds."""
    return AsyncTimedBody(parts, Timeouts({}, clock() + 2.0, clock), http.ReadTimeout)


async def test_a_generator_ends_with_the_deadline(flavour):
    """Left to the collector, it would end at any time, or be told of as one that was left."""
    if flavour.sync:
        pytest.skip("the generators of threads end at once")
    parts, clock = SlowEnd(), ManualClock()
    body = timed(parts, clock)
    read = aiter(body)
    await anext(read)
    clock.advance(2.5)
    with pytest.raises(http.ReadTimeout):
        await anext(read)
    assert parts.ended == 1


async def test_two_readers_of_a_body_have_their_own_parts(flavour):
    """As without a deadline, where the child's stream can be read again."""
    if flavour.sync:
        pytest.skip("each reader has a generator")
    body = timed(SlowEnd(), ManualClock())
    one, other = aiter(body), aiter(body)
    assert [await anext(one), await anext(other)] == [b"x", b"x"]
    assert [await anext(one), await anext(other)] == [b"y", b"y"]
    for each_one in (one, other):
        assert await anext(each_one, None) is None


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_answer_that_its_deadline_ends_is_recorded_as_failed(method, call, recorded):
    """Its attempt and its call: with the head they were well."""
    await call(method, providers=recorded.options, deadline=3.5)
    failed = f"{NAME}.ReadTimeout"
    (span,) = recorded.spans()
    assert span.attributes["error.type"] == failed
    for name in ("http.client.request.duration", "rpcguard.call.duration"):
        (point,) = recorded.metrics()[name].data.data_points
        assert point.attributes["error.type"] == failed


@pytest.mark.parametrize(
    ("method", "options"),
    [("GET", {"deadline": 6.5}), ("POST", {"attempt_timeout": 3.5}), ("GET", {})],
)
async def test_parts_in_time_are_given(method, options, call):
    """Where there is no deadline, or it is kept; one of an attempt ends as its answer is there."""
    text, stream, child = await call(method, **options)
    assert (text, stream.took, child.asked) == ("xxxxxx", 6.0, 1)
