"""Measure what rpcguard takes while nothing is called: memory, idle CPU time, time to import.

`python -m benchmarks.footprint.measure [--rounds 5]`.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc

import anyio
import httpx

import rpcguard
from benchmarks.calls.overhead import registry
from benchmarks.lib.command import show
from benchmarks.lib.measure import ROUNDS
from benchmarks.lib.nodes import nodes
from benchmarks.lib.report import Check, Section, Table
from rpcguard.testing import ScriptedRegistry

KEPT = httpx.Limits(keepalive_expiry=None)
USED = 200
SERVICES = 1000
WATCHED = 8.0
RESYNC = 4.0
IMPORT = """
import time, httpx
begin = time.process_time()
import rpcguard
print(time.process_time() - begin)
"""

FIRST = """
import asyncio, time, httpx, rpcguard
client = {client}
async def main():
    begin = time.thread_time()
    await client.get("{url}")
    print(time.thread_time() - begin)
    await client.aclose()
asyncio.run(main())
"""
GUARDED = 'httpx.AsyncClient(transport=rpcguard.AsyncTransport("static://127.0.0.1:{}"))'
BARE = "httpx.AsyncClient()"


def used_nodes(_: int = ROUNDS) -> Section:
    """Measure the memory of a node with one idle connection, its place in the list included."""
    table, checks = Table(["bytes per node", "with one idle connection"]), []
    with nodes(USED) as ports:
        for kind in ("sync", "asyncio", "trio"):
            if kind == "sync":
                held = _used_by_threads(ports)
            else:
                held = anyio.run(_used_by_tasks, ports, backend=kind)
            table.rows.append([kind, f"{held:,.0f}"])
            checks.append(Check(f"a used node, {kind}", held / 1024, 16.0, "KiB"))
    about = f"By tracemalloc, {USED} nodes; what the kernel and OpenSSL hold is not in it."
    return Section("Memory of a used node", about, table, checks)


def _used_by_threads(ports: list[int]) -> float:
    url = "http://orders/"
    with httpx.Client(transport=rpcguard.Transport(registry(ports[:1]), limits=KEPT)) as first:
        first.get(url)  # pays for imports
        before = _traced()
        transport = rpcguard.Transport(registry(ports), limits=KEPT)
        with httpx.Client(transport=transport) as client:
            while _idle(transport) < USED:
                client.get(url)
            return (_traced() - before) / USED


async def _used_by_tasks(ports: list[int]) -> float:
    url = "http://orders/"
    one = rpcguard.AsyncTransport(registry(ports[:1]), limits=KEPT)
    async with httpx.AsyncClient(transport=one) as first:
        await first.get(url)
        before = _traced()
        transport = rpcguard.AsyncTransport(registry(ports), limits=KEPT)
        async with httpx.AsyncClient(transport=transport) as client:
            while _idle(transport) < USED:
                await client.get(url)
            return (_traced() - before) / USED


def _idle(transport: rpcguard.Transport | rpcguard.AsyncTransport) -> int:
    return sum(view.successes > 0 for view in transport.nodes("orders"))


def _traced() -> int:
    gc.collect()
    if tracemalloc.is_tracing():
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return held
    tracemalloc.start()
    return 0


def watched_services(_: int = ROUNDS) -> Section:
    """Measure 1,000 services that are watched on one registry while nothing changes."""
    names = [f"service-{number}" for number in range(SERVICES)]
    idle, threads = _watching(names, rpcguard.MembershipPolicy())
    busy, _threads = _watching(names, rpcguard.MembershipPolicy(resync_interval=RESYNC))
    share = idle + (busy - idle) * RESYNC / rpcguard.MembershipPolicy().resync_interval
    table = Table(["1,000 services", "share of a core"])
    table.rows.append(["watched, between two resyncs", f"{idle:.3%}"])
    table.rows.append([f"watched, resync every {RESYNC:.0f} s", f"{busy:.3%}"])
    table.rows.append(["watched, resync every 60 s (default), from these", f"{share:.3%}"])
    checks = [
        Check("CPU for 1,000 watched services", share * 100, 2.0, "%"),
        Check("threads of it", threads, 1),
    ]
    about = "A registry in memory that pushes, ten nodes each, nothing changes: what an adapter"
    about += " spends on its own connections comes on top."
    return Section("Watching", about, table, checks)


def _watching(names: list[str], policy: rpcguard.MembershipPolicy) -> tuple[float, int]:
    listed = [rpcguard.Node(f"10.0.0.{number}", 80) for number in range(1, 11)]
    before = threading.active_count()
    following = any(one.name == "rpcguard-discovery" for one in threading.enumerate())
    transport = rpcguard.Transport(
        ScriptedRegistry(dict.fromkeys(names, listed)), membership=policy
    )
    for name in names:
        transport.nodes(name)
    for name in names:
        transport.wait_ready(name, timeout=30)
    gc.collect()
    began = time.process_time()
    time.sleep(WATCHED)
    share = (time.process_time() - began) / WATCHED
    threads = threading.active_count() - before + following
    transport.close()
    return share, threads


def importing(rounds: int = ROUNDS) -> Section:
    """Measure how much longer `import rpcguard` takes than `import httpx`."""
    command = [sys.executable, "-c", IMPORT]
    answers = [
        subprocess.run(command, capture_output=True, check=True).stdout for _ in range(rounds + 1)
    ]
    spans = [float(answer) * 1000 for answer in answers[1:]]
    table = Table(["ms of CPU time", "median", "lowest", "highest"])
    shown = (statistics.median(spans), min(spans), max(spans))
    table.rows.append(["import rpcguard after import httpx", *(f"{one:.0f}" for one in shown)])
    check = Check("import", shown[0], 20.0, "ms", (shown[1], shown[2]))
    return Section("Importing", "A fresh interpreter each time.", table, [check])


def first_call(rounds: int = ROUNDS) -> Section:
    """Measure how long the first call of a process holds its event loop."""
    sides = {"rpcguard": (GUARDED, "http://orders/"), "bare httpx": (BARE, "http://127.0.0.1:{}/")}
    spans: dict[str, list[float]] = {name: [] for name in sides}
    with nodes(1) as [port]:
        for _ in range(rounds):
            for name, (client, url) in sides.items():
                program = FIRST.format(client=client.format(port), url=url.format(port))
                told = subprocess.run(
                    [sys.executable, "-c", program], capture_output=True, check=True
                ).stdout
                spans[name].append(float(told) * 1000)
    table = Table(["ms of CPU time of the loop's thread", "median", "lowest", "highest"])
    for name, took in spans.items():
        shown = (statistics.median(took), min(took), max(took))
        table.rows.append([f"first call, {name}", *(f"{one:.1f}" for one in shown)])
    ratios = [mine / its for mine, its in zip(*spans.values(), strict=True)]
    check = Check(
        "first call ÷ bare httpx's",
        statistics.median(ratios),
        1.3,
        spread=(min(ratios), max(ratios)),
    )
    about = "A fresh interpreter each time; client and transport are made before the loop runs."
    return Section("The first call of a process", about, table, [check])


if __name__ == "__main__":
    show(__doc__, used_nodes, watched_services, importing, first_call)
