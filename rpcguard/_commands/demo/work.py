"""The program of one provider: a real uvicorn server that can be cold, sick and leaving.

`GET` or `POST /work?id=X` is the service; every execution is written to the log. It says that it
leaves while the file LOG.leaving is there. `POST /-/demo/sick`, `/-/demo/falter` and
`/-/demo/well` switch the 500s. It ends when its standard input ends or, frozen, by the system's
word, so that it never outlives the demo.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TextIO
from urllib.parse import parse_qs

import uvicorn

from rpcguard.provider import OfflineASGI

Message = MutableMapping[str, Any]
READY = b"ready\n"

_WORK_TIME = 0.005
"""Seconds of service, as in the field: fast, and well above the cost of a call."""
_COLD_TIME = 0.06
"""Seconds while cold, twelve times as long: caches are empty."""
_FALTERS = 3
"""Of so many calls of a client a faltering provider fails one: too few to eject the node."""
_COLD_WIDTH = 2
"""Calls at a time that a cold provider serves."""
_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal that a process gets when its parent ends."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a provider of a plan can do, as its rehearsal has it."""

    width: int
    """Calls that it works on at a time."""
    seconds: float
    """Mean of the exponential time that a call takes when it is warm."""
    cold_factor: float
    """How many times as long it takes at first, when it has come back."""

    def draw(self, rng: random.Random, cold: float) -> float:
        """Draw the seconds of a call; `cold` is the share of the cold time that is still ahead."""
        return rng.expovariate(1.0 / (self.seconds * (1.0 + (self.cold_factor - 1.0) * cold)))


class Work:
    """The application of one provider.

    While cold it is slow and narrow, for each client by itself, so that neither client of the
    demo feels the load of the other.
    """

    def __init__(
        self,
        *,
        name: str,
        log: TextIO,
        cold: float,
        capacity: Capacity | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.cold = cold
        self.warm_at: float = time.monotonic() + cold
        self.sick: bool = False
        self.falters: bool = False
        self.calls: Counter[str] = Counter()
        self.capacity = capacity
        self.rng: random.Random = random.Random(name)
        self.gates: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(capacity.width if capacity else _COLD_WIDTH)
        )

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Serve one request of the ASGI interface."""
        while (await receive()).get("more_body"):
            pass
        status = 200
        if scope["path"] == "/work":
            (call,) = parse_qs(scope["query_string"].decode())["id"]
            status = await self._work(scope["method"], call)
        elif scope["path"].startswith("/-/demo/"):
            self.sick = scope["path"] == "/-/demo/sick"
            self.falters = scope["path"] == "/-/demo/falter"
        else:
            status = 404
        body = json.dumps({"node": self.name}).encode()
        length = (b"content-length", str(len(body)).encode())
        headers = [(b"content-type", b"application/json"), length]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _work(self, method: str, call: str) -> int:
        self.calls[call[0]] += 1
        if self.sick or (self.falters and self.calls[call[0]] % _FALTERS == 0):
            return 500
        self.log.write(f"{method} {call}\n")
        if self.capacity is None and time.monotonic() >= self.warm_at:
            await asyncio.sleep(_WORK_TIME)
            return 200
        async with self.gates[call[0]]:
            await asyncio.sleep(self._slow_time())
        return 200

    def _slow_time(self) -> float:
        if self.capacity is None:
            return _COLD_TIME
        ahead = max(self.warm_at - time.monotonic(), 0.0)
        return self.capacity.draw(self.rng, ahead / self.cold if ahead else 0.0)


class _Server(uvicorn.Server):
    """A server that says on standard output when it listens."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        os.write(1, READY)


def _end_with_parent() -> None:
    threading.Thread(target=_end_with_input, daemon=True).start()
    if sys.platform == "linux":
        # A frozen process cannot see the end of its input. Elsewhere a frozen one is left to the
        # system, which wakes and ends a group that no process of its session looks after.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with_input() -> None:
    # Not sys.stdin: a thread that waits in it would break the exit of the interpreter.
    while os.read(0, 1):
        pass
    os._exit(0)


def main() -> None:
    """Run a provider until it is told to stop or its parent is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--cold", type=float, default=0.0)
    parser.add_argument("--capacity", type=float, nargs=3)
    options = parser.parse_args()
    _end_with_parent()
    with open(options.log, "a", buffering=1, encoding="ascii") as log:
        told = options.capacity
        capacity = Capacity(int(told[0]), *told[1:]) if told else None
        work = Work(name=options.name, log=log, cold=options.cold, capacity=capacity)
        config = uvicorn.Config(
            OfflineASGI(work, file=f"{options.log}.leaving"),
            host="127.0.0.1",
            port=options.port,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the demo to handle
        _Server(config).run()


if __name__ == "__main__":
    main()
