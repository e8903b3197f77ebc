"""Deadlines and retry marks go from hop to hop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from typing import TYPE_CHECKING, Any

import pytest

import rpcguard
from rpcguard import DeadlinePolicy, Node, RetryPolicy, Snapshot
from rpcguard._context.hops import (
    TRIED_HEADER,
    Hop,
    due_at,
    hop_at_hand,
    is_retried,
    served,
)
from rpcguard.provider import ContextASGI, ContextWSGI
from tests.support.library import Transport, http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEADER = "x-envoy-expected-rq-timeout-ms"
PATIENT = RetryPolicy(budget_floor=1000.0)


class Listing:
    """Any service has two nodes; hosts with a dot are nobody's."""

    async def fetch(self, service: str) -> Snapshot:
        nodes = [Node("10.0.0.1", 80, id="one"), Node("10.0.0.2", 80, id="two")]
        return Snapshot(() if "." in service else nodes, known="." not in service)


class Hops:
    """A chain of apps, each of which calls the next through a transport of its own.

    `deaf` ones do not learn what an app says of the tries behind it.
    """

    def __init__(
        self,
        count: int,
        deadline: DeadlinePolicy | None,
        last: Callable[..., int],
        *,
        retry: RetryPolicy = PATIENT,
        deaf: bool = False,
    ) -> None:
        self.seen: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        self.last = last
        self.apps: list[ContextWSGI] = []
        self._options: dict[str, Any] = {"deadline": deadline, "retry": retry}
        self._deaf = deaf
        self.clients = [self._client(number) for number in range(count)]

    def _client(self, number: int) -> http.Client:
        app = ContextWSGI(lambda environ, start: self._serve(number, environ, start))
        self.apps.append(app)
        child = http.WSGITransport(without_words(app) if self._deaf else app)
        transport = Transport(Listing(), node_transport=lambda _: child, **self._options)
        return http.Client(transport=transport, base_url=f"http://hop{number}", timeout=20.0)

    def _serve(self, number: int, environ: Any, start: Any) -> Any:
        self.seen[number].append({**environ, "left": due_at(), "retried": is_retried()})
        if number + 1 < len(self.clients):
            status = self.clients[number + 1].get("/").status_code
        else:
            status = self.last(environ)
        start(f"{status} said", [])
        return [b"ok"]

    def close(self) -> None:
        for client in self.clients:
            client.close()


def without_words(app: Any) -> Any:
    """Take from answers what they say of the tries behind them."""

    def quiet(environ: Any, start: Any) -> Any:
        def answer(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start(status, [one for one in headers if one[0] != TRIED_HEADER], *more)

        return app(environ, answer)

    return quiet


@pytest.fixture
def hops() -> Iterator[Callable[..., Hops]]:
    with contextlib.ExitStack() as stack:

        def make(
            count: int,
            deadline: DeadlinePolicy | None,
            last: Callable[..., int] = lambda _: 200,
            **options: Any,
        ) -> Hops:
            made = Hops(count, deadline, last, **options)
            stack.callback(made.close)
            return made

        yield make


def test_a_deadline_goes_over_three_hops_and_shrinks(hops: Callable[..., Hops]) -> None:
    """Each hop is told what is left, in whole milliseconds."""
    chain = hops(3, DeadlinePolicy(margin=0.1))
    chain.clients[0].get("/", extensions={"rpcguard": {"deadline": 60.0}})
    told = [int(seen[0][f"HTTP_{HEADER.upper().replace('-', '_')}"]) for seen in chain.seen]
    assert told[0] <= 60_000
    assert told[0] - 100 >= told[1] >= told[2] + 100
    assert told[2] > 0


def test_without_a_policy_nothing_is_told(hops: Callable[..., Hops]) -> None:
    """Neither deadlines nor retries."""
    chain = hops(2, None, last=lambda _: 503, deaf=True)
    chain.clients[0].get("/", extensions={"rpcguard": {"deadline": 60.0}})
    told = [key for seen in chain.seen for one in seen for key in one if key.startswith("HTTP_X_")]
    assert told == []
    assert len(chain.seen[-1]) == 4


def test_hops_that_retry_do_not_multiply(hops: Callable[..., Hops]) -> None:
    """Of three hops above a dead end the one next to it retries, and what it got says so."""
    chain = hops(3, None, last=lambda _: 503)
    chain.clients[0].get("/")
    assert [len(seen) for seen in chain.seen] == [1, 1, 2]


def test_the_word_of_hops_above_halves_what_is_tried(hops: Callable[..., Hops]) -> None:
    """Where a hop cannot tell what is behind it, such as one of another language."""
    loud = hops(3, None, last=lambda _: 503, deaf=True)
    quiet = hops(3, DeadlinePolicy(), last=lambda _: 503, deaf=True)
    for chain, most in ((loud, 8), (quiet, 4)):
        chain.clients[0].get("/")
        assert len(chain.seen[-1]) == most
    assert [one["retried"] for one in quiet.seen[0]] == [False, True]


def test_a_dead_end_gets_no_more_than_one_hops_budget(hops: Callable[..., Hops]) -> None:
    """A fifth more than it is asked, however many hops are above it."""
    chain = hops(3, DeadlinePolicy(), last=lambda _: 503, retry=RetryPolicy(budget_floor=0.0))
    for _ in range(200):
        chain.clients[0].get("/")
    assert 220 <= len(chain.seen[-1]) <= 240


def test_what_failed_by_itself_is_tried_again(hops: Callable[..., Hops]) -> None:
    """A hop whose calls went well, the last of them at least, is asked once more on another."""
    answers = iter([503, 503, 200, 200, 200])
    chain = hops(2, None, last=lambda _: next(answers))

    def twice(environ: Any, start: Any) -> Any:
        chain.clients[1].get("/")
        chain.clients[1].get("/")
        start("500 of its own", [])
        return []

    chain.apps[0].app = twice
    chain.clients[0].get("/")
    assert len(chain.seen[1]) == 5


def test_a_call_beside_one_that_failed_does_not_make_up_for_it(hops: Callable[..., Hops]) -> None:
    """Of two at once the one that went well was the last to end; the answer is a failure."""
    chain = hops(2, None, last=lambda _: 503)

    def fail_meanwhile(_: http.Request) -> http.Response:
        chain.clients[1].get("/")
        return http.Response(200)

    beside = Transport(Listing(), node_transport=lambda _: http.MockTransport(fail_meanwhile))

    def both(environ: Any, start: Any) -> Any:
        with http.Client(transport=beside) as client:
            client.get("http://stock/")
        start("500 one of the two", [])
        return []

    chain.apps[0].app = both
    chain.clients[0].get("/")
    assert len(chain.seen[1]) == 2


def test_a_strangers_word_of_a_retry_goes_no_further(hops: Callable[..., Hops]) -> None:
    """Neither by baggage that an instrumentation took in, nor by headers that an app copies."""
    chain = hops(1, None)
    told = {"x-rpcguard-retry": "1", "baggage": "rpcguard.retry=1,user=alice"}
    for hop, words in ((None, (None, "user=alice")), (Hop(retried=True), tuple(told.values()))):
        with served(hop):
            chain.clients[0].get("/", headers=told)
        seen = chain.seen[0].pop()
        assert (seen.get("HTTP_X_RPCGUARD_RETRY"), seen["HTTP_BAGGAGE"]) == words
    chain.clients[0].get("/", headers=told)
    assert chain.seen[0].pop()["HTTP_X_RPCGUARD_RETRY"] == "1"  # nobody has looked who says it


def test_a_request_that_failed_in_its_app_is_over() -> None:
    """What it has started, such as a thread with its context, has no deadline any longer."""
    left: list[contextvars.Context] = []

    def app(environ: Any, start: Any) -> Any:
        left.append(contextvars.copy_context())
        assert due_at() is not None
        raise RuntimeError("a bug of its own")

    environ: Any = {"HTTP_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS": "5000", "REMOTE_ADDR": "::1"}
    with pytest.raises(RuntimeError):
        ContextWSGI(app)(environ, lambda *_: lambda _: None)
    assert left[0].run(due_at) is None


def test_an_outsider_is_not_told_what_lies_behind() -> None:
    """Nor does an answer that is no failure say a thing."""
    told: list[Any] = []

    async def app(scope: Any, _: Any, send: Any) -> None:
        hop = hop_at_hand()
        if hop is not None:
            hop.tried = True
        await send({"type": "http.response.start", "status": scope["status"]})

    async def send(message: Any) -> None:
        told.append(message.get("headers"))

    for peer, status in (("203.0.113.9", 500), ("::1", 404), ("::1", 500)):
        scope = {"type": "http", "headers": [], "client": (peer, 1), "status": status}
        asyncio.run(ContextASGI(app)(scope, None, send))
    assert told == [None, None, [(b"x-rpcguard-tried", b"1")]]


def test_a_retry_after_a_refused_connection_is_no_retry(hops: Callable[..., Hops]) -> None:
    """Nothing of it can have run, so nobody below has to hold back."""
    sent: list[http.Headers] = []

    def handle(request: http.Request) -> http.Response:
        sent.append(request.headers)
        if len(sent) == 1:
            raise http.ConnectError("refused")
        return http.Response(503 if len(sent) == 2 else 200)

    transport = Transport(
        Listing(),
        node_transport=lambda _: http.MockTransport(handle),
        deadline=DeadlinePolicy(),
        retry=RetryPolicy(attempts=3, budget_floor=1000.0, exact=True),
    )
    with http.Client(transport=transport) as client:
        client.get("http://orders/")
    assert [one.get("x-rpcguard-retry") for one in sent[:2]] == [None, None]
    for one in sent[2:]:
        assert one["x-rpcguard-retry"] == "1"
        assert one["baggage"] == "rpcguard.retry=1"


def test_what_is_tried_again_above_is_not_tried_again_here(hops: Callable[..., Hops]) -> None:
    """But for what provably did not run."""
    chain = hops(1, DeadlinePolicy(), last=lambda _: 503)
    with served(Hop(retried=True)):
        chain.clients[0].get("/")
    assert len(chain.seen[0]) == 1


def test_a_call_whose_time_is_up_is_not_sent(hops: Callable[..., Hops]) -> None:
    """It may be repeated: nothing has run."""
    chain = hops(1, DeadlinePolicy())
    with (
        served(Hop(time.monotonic() - 1.0, retried=False)),
        pytest.raises(rpcguard.DeadlineExceeded, match="its time was up") as caught,
    ):
        chain.clients[0].get("/")
    assert isinstance(caught.value, http.PoolTimeout)
    assert chain.seen == [[]]
    chain.clients[0].get("/")


def test_the_users_own_header_stays(hops: Callable[..., Hops]) -> None:
    """Whoever says it himself knows better."""
    chain = hops(1, DeadlinePolicy(total=5.0))
    chain.clients[0].get("/", headers={HEADER: "7"})
    assert chain.seen[0][0]["HTTP_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS"] == "7"


def test_a_policy_gives_calls_their_deadlines(hops: Callable[..., Hops]) -> None:
    """For calls that say none; the lesser one counts."""
    chain = hops(1, DeadlinePolicy(total=90.0, attempt=60.0))
    chain.clients[0].get("/")
    chain.clients[0].get("/", extensions={"rpcguard": {"attempt_timeout": 30.0}})
    told = [int(one["HTTP_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS"]) for one in chain.seen[0]]
    assert 30_000 < told[0] <= 60_000
    assert told[1] <= 30_000


def test_background_work_has_no_deadline_after_the_answer() -> None:
    """A task that the request has started goes on, in its lane, and not in its time."""
    seen: list[float | None] = []

    async def app(scope: Any, _: Any, __: Any) -> None:
        seen.append(due_at())
        tasks.append(asyncio.create_task(later()))

    async def later() -> None:
        await over.wait()
        seen.append(due_at())

    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        global over
        over = asyncio.Event()
        scope = {"type": "http", "headers": [(HEADER.encode(), b"5000")], "client": ("::1", 1)}
        await ContextASGI(app)(scope, None, None)
        over.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert seen[0] is not None
    assert seen[1] is None


over: asyncio.Event


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.1"])
def test_an_outsider_sets_no_deadline(peer: str) -> None:
    """Else anybody could make calls fail, or keep them from being tried again."""
    seen: list[Any] = []

    async def app(*_: Any) -> None:
        seen.append((due_at(), is_retried()))

    headers = [(HEADER.encode(), b"1"), (b"x-rpcguard-retry", b"1")]
    scope = {"type": "http", "headers": headers, "client": (peer, 1)}
    asyncio.run(ContextASGI(app)(scope, None, None))
    assert seen == [(None, False)]
