"""The load: asyncio, trio and threads, each with a transport of its own, all in one process."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import httpx

import rpcguard
from tests.chaos.ledger import CONNECT, Failed, attempts_of, name_of
from tests.chaos.provider import NONCE, SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.ledger import Attempts

KINDS = ("asyncio", "trio", "threads")
TIMEOUT = httpx.Timeout(CONNECT)
LIMITS = httpx.Limits(max_connections=None, keepalive_expiry=5.0)

# Method, path, and the share of all calls; K is a POST with a key, S an answer of unknown length.
_MIX = {"GET": 60, "PUT": 5, "POST": 20, "K": 10, "S": 5}
_KEYED = "k"
_WORKERS = {"asyncio": 40, "trio": 40, "threads": 20}
_FIRST_LIST = 120.0
"""Seconds to the first list: a caller that never had one can save nothing."""
_SHARES = {"asyncio": 0.4, "trio": 0.35, "threads": 0.25}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One call to be made."""

    call: str
    method: str
    path: str
    headers: dict[str, str]
    repeatable: bool
    nonce: str
    """Drawn for this call alone; the node gives it back in the headers and at both ends of the
    body, so that an answer of another call, or one that is sewn of two, is seen."""

    @property
    def body(self) -> bytes:
        """The nonce once more, where the method has a body."""
        return self.nonce.encode() if self.method in ("POST", "PUT") else b""

    def is_answered_by(self, response: httpx.Response) -> bool:
        """Tell whether an answer is this call's, whatever its status is."""
        try:
            told = response.json()
        except ValueError:
            return False
        own = (self.call, self.nonce, self.body.decode(), self.nonce)
        said = tuple(told.get(part) for part in ("call", "nonce", "body", "end"))
        return said == own and response.headers.get(NONCE) == self.nonce


class Book(Protocol):
    """Take in what became of calls, from any thread."""

    wrong: list[str]

    def answered(self, kind: str, took: float, attempts: Attempts) -> None:
        """Note a call that was answered."""

    def lost(self, kind: str, failed: Failed) -> None:
        """Note a call that failed."""


@dataclass(frozen=True)
class Load:
    """How much is to be called: calls per second over all kinds, until `over`.

    `begun` is called in the event loop of each kind of tasks before it begins.
    """

    url: str
    rate: float
    seed: int
    retry: rpcguard.RetryPolicy
    over: Callable[[], bool]
    book: Book
    begun: Callable[[], object] = lambda: None


def is_keyed(call: str) -> bool:
    """Tell whether a call carries an idempotency key."""
    return call.endswith(_KEYED)


def run_callers(load: Load) -> list[threading.Thread]:
    """Start the three kinds, each in a thread; they end after `over`."""
    works = [
        threading.Thread(target=anyio.run, args=(_tasks, load, "asyncio"), name="asyncio"),
        threading.Thread(
            target=lambda: anyio.run(_tasks, load, "trio", backend="trio"), name="trio"
        ),
        threading.Thread(target=_threads, args=(load,), name="threads"),
    ]
    for work in works:
        work.start()
    return works


def _calls(kind: str, number: int, load: Load) -> Any:
    rng = random.Random(f"{load.seed} {kind} {number}")
    methods, weights = list(_MIX), list(_MIX.values())
    count = 0
    while True:
        count += 1
        what = rng.choices(methods, weights)[0]
        call = f"{kind[:2]}{number}-{count}{_KEYED if what == 'K' else ''}"
        method = {"K": "POST", "S": "GET"}.get(what, what)
        nonce = f"{rng.getrandbits(128):032x}"
        headers = {NONCE: nonce} | ({"Idempotency-Key": call} if what == "K" else {})
        path = f"/stream?id={call}" if what == "S" else f"/work?id={call}"
        yield Wanted(call, method, path, headers, repeatable=what != "POST", nonce=nonce)


class _Pace:
    """Begin a call every so often; one that came late is not made up for."""

    def __init__(self, kind: str, load: Load) -> None:
        self._period = _WORKERS[kind] / (load.rate * _SHARES[kind])
        self._due = time.monotonic() + random.random() * self._period

    def pause(self) -> float:
        now = time.monotonic()
        self._due = max(self._due + self._period, now)
        return self._due - now


def _options() -> dict[str, Any]:
    return {"base_url": f"http://{SERVICE}", "timeout": TIMEOUT, "trust_env": False}


async def _tasks(load: Load, kind: str) -> None:
    load.begun()
    transport = rpcguard.AsyncTransport(load.url, retry=load.retry, limits=LIMITS)
    async with (
        httpx.AsyncClient(transport=transport, **_options()) as client,
        anyio.create_task_group() as group,
    ):
        await transport.wait_ready(SERVICE, timeout=_FIRST_LIST)
        for number in range(_WORKERS[kind]):
            group.start_soon(_work, client, load, kind, number)


async def _work(client: httpx.AsyncClient, load: Load, kind: str, number: int) -> None:
    pace = _Pace(kind, load)
    for wanted in _calls(kind, number, load):
        await anyio.sleep(pace.pause())
        if load.over():
            return
        request = client.build_request(
            wanted.method, wanted.path, headers=wanted.headers, content=wanted.body
        )
        begin, response = time.monotonic(), None
        try:
            response = await client.send(request, stream=True)
            await response.aread()
        except httpx.HTTPError as error:
            _failed(load.book, kind, wanted, begin, error, handed_out=response is not None)
        else:
            _answered(load.book, kind, wanted, begin, response)


def _threads(load: Load) -> None:
    transport = rpcguard.Transport(load.url, retry=load.retry, limits=LIMITS)

    def work(number: int) -> None:
        pace = _Pace("threads", load)
        for wanted in _calls("threads", number, load):
            time.sleep(pace.pause())
            if load.over():
                return
            request = client.build_request(
                wanted.method, wanted.path, headers=wanted.headers, content=wanted.body
            )
            begin, response = time.monotonic(), None
            try:
                response = client.send(request, stream=True)
                response.read()
            except httpx.HTTPError as error:
                handed_out = response is not None
                _failed(load.book, "threads", wanted, begin, error, handed_out=handed_out)
            else:
                _answered(load.book, "threads", wanted, begin, response)

    with httpx.Client(transport=transport, **_options()) as client:
        transport.wait_ready(SERVICE, timeout=_FIRST_LIST)
        count = _WORKERS["threads"]
        workers = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def _answered(
    book: Book, kind: str, wanted: Wanted, begin: float, response: httpx.Response
) -> None:
    end = time.monotonic()
    info: rpcguard.CallInfo = response.extensions["rpcguard"]
    attempts = tuple((name_of(one.node.id), one.outcome, one.duration) for one in info.attempts)
    if not wanted.is_answered_by(response):
        book.wrong.append(f"{wanted.call} got {response.status_code} {response.text[:80]}")
    if response.status_code != 200:
        error = str(response.status_code)
        book.lost(kind, _lost(wanted, begin, end, error, attempts))
        return
    book.answered(kind, end - begin, attempts)


def _failed(
    book: Book,
    kind: str,
    wanted: Wanted,
    begin: float,
    error: httpx.HTTPError,
    *,
    handed_out: bool,
) -> None:
    # An answer of unknown length is handed out before it is read: too late for another try.
    known = replace(wanted, repeatable=wanted.repeatable and not handed_out)
    text = f"{type(error).__name__}: {error}"
    book.lost(kind, _lost(known, begin, time.monotonic(), text, attempts_of(error)))


def _lost(
    wanted: Wanted,
    begin: float,
    end: float,
    error: str,
    attempts: Attempts,
) -> Failed:
    return Failed(wanted.call, wanted.method, wanted.repeatable, begin, end, error, attempts)
