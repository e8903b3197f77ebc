"""Compare a call through rpcguard with a bare httpx call, on real sockets.

`python benchmarks/overhead.py [--rounds 7]` prints a row for each way of calling: threads or
asyncio, how many nodes, how many calls in flight. The bare client calls one address with
unlimited connections, and again with httpx's default limits. Below 1.00 rpcguard costs less.
"""

from __future__ import annotations

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
from measure import Series, compare, compare_async
from nodes import nodes

import rpcguard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None)


def registry(ports: list[int]) -> str:
    """Give the registry URL of the nodes."""
    return "static://" + ",".join(f"127.0.0.1:{port}" for port in ports)


def threads(ports: list[int], in_flight: int, calls: int, rounds: int) -> dict[str, Series]:
    """Measure the sync clients."""
    base = f"http://127.0.0.1:{ports[0]}"

    def side(client: httpx.Client, *, bare: bool = True) -> Callable[[int], object]:
        def call(_: int) -> None:
            try:
                client.get("/")
            except httpx.TransportError:
                # httpcore's pool may close a connection that another thread has just taken.
                if not bare:
                    raise

        def run(count: int) -> None:
            if in_flight == 1:
                for number in range(count):
                    call(number)
                return
            with ThreadPoolExecutor(in_flight) as pool:
                list(pool.map(call, range(count)))

        return run

    transport = rpcguard.Transport(registry(ports))
    with (
        httpx.Client(base_url="http://orders", transport=transport) as guarded,
        httpx.Client(base_url=base, limits=UNLIMITED) as unlimited,
        httpx.Client(base_url=base) as default,
    ):
        sides = {
            "guarded": side(guarded, bare=False),
            "unlimited": side(unlimited),
            "default": side(default),
        }
        return compare(sides, calls=calls, rounds=rounds)


async def tasks(ports: list[int], in_flight: int, calls: int, rounds: int) -> dict[str, Series]:
    """Measure the async clients."""
    base = f"http://127.0.0.1:{ports[0]}"

    def side(client: httpx.AsyncClient) -> Callable[[int], Awaitable[object]]:
        async def run(count: int) -> None:
            async def several() -> None:
                for _ in range(count // in_flight):
                    await client.get("/")

            await asyncio.gather(*(several() for _ in range(in_flight)))

        return run

    transport = rpcguard.AsyncTransport(registry(ports))
    async with (
        httpx.AsyncClient(base_url="http://orders", transport=transport) as guarded,
        httpx.AsyncClient(base_url=base, limits=UNLIMITED) as unlimited,
        httpx.AsyncClient(base_url=base) as default,
    ):
        sides = {"guarded": side(guarded), "unlimited": side(unlimited), "default": side(default)}
        return await compare_async(sides, calls=calls, rounds=rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print("                              rpcguard                     ÷ unlimited  ÷ default limits")
    measured: Any
    for kind in ("threads", "asyncio"):
        for count in (1, 10, 100):
            for in_flight in (1, 50):
                with nodes(count) as ports:
                    calls = 400 if in_flight == 1 else 1000
                    if kind == "threads":
                        measured = threads(ports, in_flight, calls, rounds)
                    else:
                        measured = asyncio.run(tasks(ports, in_flight, calls, rounds))
                own = measured["guarded"]
                print(
                    f"{kind:8}{count:4} nodes {in_flight:3} in flight {own.text}"
                    f"{own.over(measured['unlimited']):12.2f}{own.over(measured['default']):12.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
