"""Show where the CPU time of one GET goes, by whose code runs.

`python -m benchmarks.calls.shares`. A timer that counts CPU time looks at the stack every few
milliseconds, so nothing is slowed down that is measured, as a profile of every function does; what
runs in C counts as its caller's. Each look is of the innermost code that is rpcguard's or httpx's.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio

from benchmarks.calls.overhead import async_clients, sync_clients
from benchmarks.lib.nodes import nodes
from benchmarks.lib.report import Section, Table

if TYPE_CHECKING:
    from types import FrameType

CALLS = 40_000
"""Some 2,500 looks: a share of 5 % is then known to half a per cent."""
WARM_UP = 300
EVERY = 0.001
"""Seconds of CPU time between two looks; most systems make it their clock's tick, 4 ms."""

CLIENT = "httpx's client: request, URL, cookies, reading the response"
MADE = "httpx's objects that any transport makes: response, headers, URL parts"
LOOP = "the event loop"
SYSTEM = "system calls: send, poll, recv"
_SERVICE = "rpcguard, the service: a node picked, what came of it taken in"
ROOMS = {
    "_wire": "rpcguard, HTTP/1.1: the answer parsed and checked, the request written",
    "_connections": "rpcguard, connections: one taken, looked at, driven and given back",
    "_core/service": _SERVICE,
    "_core/nodes": _SERVICE,
    "_core/balancing": _SERVICE,
    "_core": "rpcguard, the call: its plan, steps, attempts and verdicts",
    "": "rpcguard, the transport: the service found, steps driven, the response handed out",
}
"""What the rooms of rpcguard do for a call; the first that fits counts."""
_ASKS = frozenset({"_send_raw", "_receive_raw", "wait_readable", "_is_readable"})
"""Functions that do little but ask the system."""


def whose(frame: FrameType | None) -> str:
    """Say whose code runs: that of the innermost frame which is rpcguard's or httpx's."""
    by_httpx = False
    while frame is not None:
        package, _, module = frame.f_globals.get("__name__", "").partition(".")
        if package == "rpcguard":
            if by_httpx:
                return MADE
            if frame.f_code.co_name in _ASKS:
                return SYSTEM
            room = module.replace(".", "/")
            return next(told for name, told in ROOMS.items() if room.startswith(name))
        by_httpx = by_httpx or package == "httpx"
        frame = frame.f_back
    return CLIENT if by_httpx else LOOP


class Looks:
    """Look at the stack by CPU time while it is entered; `seconds` of that have passed."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.seconds = 0.0

    def _look(self, _: int, frame: FrameType | None) -> None:
        self.found[whose(frame)] += 1

    def __enter__(self) -> Looks:
        self._before = signal.signal(signal.SIGPROF, self._look)
        self._began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        self.seconds = time.process_time() - self._began
        signal.signal(signal.SIGPROF, self._before)


def in_thread(client: Any) -> Looks:
    """Look at the calls of a sync client."""
    for _ in range(WARM_UP):
        client.get("/")
    with Looks() as looks:
        for _ in range(CALLS):
            client.get("/")
    client.close()
    return looks


async def in_task(ports: list[int]) -> Looks:
    """Look at the calls of an async client."""
    client = async_clients(ports, ("rpcguard",))["rpcguard"]
    for _ in range(WARM_UP):
        await client.get("/")
    with Looks() as looks:
        for _ in range(CALLS):
            await client.get("/")
    await client.aclose()
    return looks


def where_time_goes() -> Section:
    """Look at a sync GET, and at one on asyncio."""
    with nodes(1) as ports:
        looks = {
            "sync": in_thread(sync_clients(ports)["rpcguard"]),
            "asyncio": anyio.run(in_task, ports),
        }
    table = Table(["", *(f"{kind}, {unit}" for kind in looks for unit in ("share", "CPU µs"))])
    for what in dict.fromkeys([CLIENT, MADE, SYSTEM, LOOP, *ROOMS.values()]):
        cells = []
        for one in looks.values():
            share = one.found[what] / one.found.total()
            cells += [f"{share:.0%}", f"{share * one.seconds / CALLS * 1e6:.0f}"]
        table.rows.append([what, *cells])
    about = (
        "One node, one call in flight, by `python -m benchmarks.calls.shares`: whose code runs when"
        " a timer of CPU time looks at the stack, some thousand times. The first three rows are"
        " there whatever a transport does: it saves nothing of httpx's client, and asks the system"
        " no less than once to send, to wait and to receive."
    )
    return Section("Where a call's CPU time goes", about, table)


if __name__ == "__main__":
    print(where_time_goes().text())
