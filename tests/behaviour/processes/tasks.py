"""What child processes of multiprocessing run; a spawned one imports this module anew."""

from __future__ import annotations

import functools
import os

import anyio
import httpx

import rpcguard


@functools.cache
def client() -> httpx.Client:
    """Give the one client of a process; a forked child has its parent's."""
    return httpx.Client(transport=rpcguard.Transport(), base_url="http://orders", timeout=5)


@functools.cache
def aclient() -> httpx.AsyncClient:
    """Give the same for tasks."""
    return httpx.AsyncClient(
        transport=rpcguard.AsyncTransport(), base_url="http://orders", timeout=5
    )


def call(number: int) -> tuple[int, str, str]:
    """Call through both; give the process and the answers."""
    url = f"/{number}"

    async def one() -> str:
        return (await aclient().get(url)).text

    return os.getpid(), client().get(url).text, anyio.run(one)
