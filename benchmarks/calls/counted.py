"""Count the Python functions that a GET calls: a figure that no busy machine blurs.

`python -m benchmarks.calls.counted`. Functions of C are not counted: what they cost differs by a
hundred times, while a Python call costs about the same everywhere.
"""

from __future__ import annotations

import sys
from typing import Any

import anyio

from benchmarks.calls.overhead import BARE, NULL, async_clients, sync_clients
from benchmarks.lib.nodes import nodes
from benchmarks.lib.report import Check, Section, Table

SIDES = ("rpcguard", BARE, NULL)
CALLS = 100
"""Counted, after a fifth as many that open the connection and fill caches."""
BARS = {"sync": 330, "asyncio": 420}


class Counted:
    """Count the Python functions that this thread calls while it is entered."""

    def __init__(self) -> None:
        self.functions = 0

    def _note(self, _frame: object, event: str, _argument: object) -> None:
        self.functions += event == "call"

    def __enter__(self) -> Counted:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def in_thread(client: Any) -> float:
    """Give the functions per call of a sync client."""
    for _ in range(CALLS // 5):
        client.get("/")
    with Counted() as counted:
        for _ in range(CALLS):
            client.get("/")
    client.close()
    return counted.functions / CALLS


async def in_task(client: Any) -> float:
    """Give the functions per call of an async client, the loop's own included."""
    for _ in range(CALLS // 5):
        await client.get("/")
    with Counted() as counted:
        for _ in range(CALLS):
            await client.get("/")
    await client.aclose()
    return counted.functions / CALLS


async def in_tasks(ports: list[int]) -> dict[str, float]:
    """Count for each async client."""
    return {name: await in_task(it) for name, it in async_clients(ports, SIDES).items()}


def functions_of_a_call() -> Section:
    """Count for sync and asyncio."""
    table, checks = Table(["Python functions per call", *SIDES]), []
    with nodes(1) as ports:
        made = sync_clients(ports)
        found = {
            "sync": {name: in_thread(made[name]) for name in SIDES},
            "asyncio": anyio.run(in_tasks, ports),
        }
    for kind, counts in found.items():
        table.rows.append([f"{kind}", *(f"{counts[name]:.0f}" for name in SIDES)])
        checks.append(Check(f"functions per call, {kind}", counts["rpcguard"], BARS[kind]))
    about = "Counts repeat exactly. What httpx's client alone calls no transport can save."
    return Section("Functions of a call", about, table, checks)


if __name__ == "__main__":
    print(functions_of_a_call().text())
