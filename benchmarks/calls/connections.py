"""Compare the connection stack of one node with httpx's own transport, CPU time per call.

Run `python -m benchmarks.calls.connections`; both sides take turns in one process against a node in
another, and what is printed is the median over the rounds. `--rounds` and `--scale` make it longer.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import httpx

from rpcguard._connections.aio import AsyncExchange
from rpcguard._connections.sync import SyncExchange
from rpcguard._httpx import HTTPX

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nhello world"
UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None)
DEFAULT = httpx.Limits(max_connections=100, max_keepalive_connections=20)
SIDES = {"stack": UNLIMITED, "httpx, no limits": UNLIMITED, "httpx, default": DEFAULT}
# in flight: calls per round; httpx without limits takes tens of milliseconds for each at 200
SHAPES = {1: 300, 50: 500, 200: 1000}


class Answering(asyncio.Protocol):
    """Answer each request, at the least cost that Python allows."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.pending = transport, b""

    def data_received(self, data: bytes) -> None:
        *heads, self.pending = (self.pending + data).split(b"\r\n\r\n")
        self.transport.write(ANSWER * len(heads))


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def node() -> Iterator[int]:
    """Run the node in another process and yield its port."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def transport(side: str, port: int, *, sync: bool) -> httpx.BaseTransport:
    if side == "stack":
        ours, theirs = (
            (SyncExchange, "BaseTransport") if sync else (AsyncExchange, "AsyncBaseTransport")
        )
        kind = partial(HTTPX.derive(ours, theirs), HTTPX)
        return kind(scheme="http", host="127.0.0.1", port=port, limits=SIDES[side])
    return (httpx.HTTPTransport if sync else httpx.AsyncHTTPTransport)(
        limits=SIDES[side], verify=False
    )


def sync_round(client: httpx.Client, url: str, in_flight: int, calls: int) -> int:
    """Return how many calls failed: httpcore's pool closes connections that threads still use."""
    failed: list[httpx.TransportError] = []

    def work() -> None:
        for _ in range(calls // in_flight):
            try:
                client.get(url)
            except httpx.TransportError as error:
                failed.append(error)

    if in_flight == 1:
        work()
        return len(failed)
    threads = [threading.Thread(target=work) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(failed)


async def async_round(client: httpx.AsyncClient, url: str, in_flight: int, calls: int) -> None:
    async def work() -> None:
        for _ in range(calls // in_flight):
            await client.get(url)

    async with anyio.create_task_group() as group:
        for _ in range(in_flight):
            group.start_soon(work)


def sync_costs(port: int, in_flight: int, calls: int, rounds: int) -> dict[str, list[float]]:
    url = f"http://127.0.0.1:{port}/"
    clients = {
        side: httpx.Client(transport=transport(side, port, sync=True), timeout=60) for side in SIDES
    }
    costs: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(rounds + 1):
        for side, client in clients.items():
            started = time.process_time()
            failed = sync_round(client, url, in_flight, calls)
            if turn:
                costs[side].append((time.process_time() - started) / calls * 1e6)
            if failed:
                print(f"{side}: {failed} of {calls} calls failed")
    for client in clients.values():
        client.close()
    return costs


async def async_costs(port: int, in_flight: int, calls: int, rounds: int) -> dict[str, list[float]]:
    url = f"http://127.0.0.1:{port}/"
    costs: dict[str, list[float]] = {side: [] for side in SIDES}
    clients = {
        side: httpx.AsyncClient(transport=transport(side, port, sync=False), timeout=60)
        for side in SIDES
    }
    for turn in range(rounds + 1):
        for side, client in clients.items():
            started = time.process_time()
            await async_round(client, url, in_flight, calls)
            if turn:
                costs[side].append((time.process_time() - started) / calls * 1e6)
    for client in clients.values():
        await client.aclose()
    return costs


class Counter:
    """Count the Python and C calls of this thread, which repeat exactly."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _frame: object, event: str, _arg: object) -> None:
        self.count += event in ("call", "c_call")

    def __enter__(self) -> Counter:
        sys.setprofile(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        sys.setprofile(None)


def sync_calls(side: str, port: int) -> float:
    with httpx.Client(transport=transport(side, port, sync=True)) as client:
        sync_round(client, f"http://127.0.0.1:{port}/", 1, 3)
        with Counter() as counter:
            sync_round(client, f"http://127.0.0.1:{port}/", 1, 100)
    return counter.count / 100


async def async_calls(side: str, port: int) -> float:
    url = f"http://127.0.0.1:{port}/"
    async with httpx.AsyncClient(transport=transport(side, port, sync=False)) as client:
        for _ in range(3):
            await client.get(url)
        with Counter() as counter:
            for _ in range(100):
                await client.get(url)
    return counter.count / 100


async def memory(port: int, *, sync: bool) -> float:
    """Return the bytes that a stack with one idle connection holds."""
    request = httpx.Request("GET", f"http://127.0.0.1:{port}/")
    tracemalloc.start()
    stacks = []
    for number in range(120):
        if number == 20:  # the first ones pay for imports and caches
            before = tracemalloc.get_traced_memory()[0]
        stacks.append(transport("stack", port, sync=sync))
        if sync:
            stacks[-1].handle_request(request).read()
        else:
            await (await stacks[-1].handle_async_request(request)).aread()
    held = (tracemalloc.get_traced_memory()[0] - before) / 100
    tracemalloc.stop()
    for stack in stacks:
        assert stack.counts.idle == 1
        stack.close() if sync else await stack.aclose()
    return held


def report(port: int, rounds: int, scale: float) -> None:
    print(f"{'':10}{'in flight':>10}" + "".join(f"{side:>18}" for side in SIDES) + "   ratios")
    for kind in ("sync", "asyncio", "trio"):
        for in_flight, calls in SHAPES.items():
            shape = (port, in_flight, int(calls * scale) // in_flight * in_flight, rounds)
            if kind == "sync":
                costs = sync_costs(*shape)
            else:
                costs = anyio.run(async_costs, *shape, backend=kind)
            stack, *others = costs.values()
            ratios = [
                statistics.median(a / b for a, b in zip(stack, other, strict=True))
                for other in others
            ]
            line = "".join(f"{statistics.median(costs[side]):15.0f} us" for side in SIDES)
            print(f"{kind:10}{in_flight:10}{line}   " + "  ".join(f"{r:.3f}" for r in ratios))
    print("\ncalls per request, Python and C")
    for kind in ("sync", "asyncio", "trio"):
        for side in ("stack", "httpx, no limits"):
            if kind == "sync":
                count = sync_calls(side, port)
            else:
                count = anyio.run(async_calls, side, port, backend=kind)
            print(f"{kind:10}{side:20}{count:8.0f}")
    print("\nmemory of a node with one idle connection, bytes")
    print(f"{'sync':10}{asyncio.run(memory(port, sync=True)):8.0f}")
    for kind in ("asyncio", "trio"):
        print(f"{kind:10}{anyio.run(partial(memory, port, sync=False), backend=kind):8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="calls per round, times this")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    with node() as port:
        report(port, options.rounds, options.scale)


if __name__ == "__main__":
    main()
