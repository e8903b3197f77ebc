"""One side of `benchmarks.registries.streams`: a process that follows a list and nothing else.

It prints a line of JSON for the process before the stream, and one for each list that comes:
resident bytes, seconds of CPU, threads.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import aclosing
from pathlib import Path

import rpcguard  # noqa: F401  # the caller has it before there is a stream

PAGE = os.sysconf("SC_PAGE_SIZE")
PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


def tell() -> None:
    """Print what the process has and has used."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    threads = len(list(Path("/proc/self/task").iterdir()))
    print(json.dumps([resident, time.process_time(), threads]), flush=True)


async def ours(port: int, token: str) -> None:
    """Follow the whole chain, from the listener to nodes."""
    from rpcguard.registries.xds.ads import AdsRegistry

    registry = AdsRegistry(f"xds://:{token}@127.0.0.1:{port}")
    async with aclosing(registry.watch("orders")) as lists:
        async for _ in lists:
            tell()


async def grpcio(port: int, token: str) -> None:
    """Hold a stream of grpc.aio for the endpoints alone, whose bytes nobody reads."""
    import grpc

    from rpcguard.registries.xds.messages import ENDPOINT_TYPE, REQUEST, RESPONSE

    request = {"node": {"id": "grpcio"}, "type_url": ENDPOINT_TYPE, "resource_names": ["orders"]}
    largest = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=largest) as channel:
        stream = channel.stream_stream(PATH)(metadata=[("authorization", f"Bearer {token}")])
        await stream.write(REQUEST.encode(request))
        while (message := await stream.read()) is not grpc.aio.EOF:
            tell()
            # Version and nonce stand around the resources: no time is spent on those.
            found = RESPONSE.decode(message)
            known = {"version_info": found["version_info"], "response_nonce": found["nonce"]}
            await stream.write(REQUEST.encode(request | known))


if __name__ == "__main__":
    tell()
    follow = ours if sys.argv[1] == "rpcguard" else grpcio
    asyncio.run(follow(int(sys.argv[2]), sys.argv[3]))
