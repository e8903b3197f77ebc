"""Say what affinity is worth where a node is slower for a prefix that it has not seen.

`python -m benchmarks.calls.sessions` plays conversations with three model servers on real sockets,
without `Affinity` and with it by the prefix, at the same time and each with nodes of its own; and
once more with nodes that keep every prefix. The next question of a conversation comes from another
client than the last, as from a service that runs three times.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING

import httpx

import rpcguard
from benchmarks.lib.models import HIT, models
from benchmarks.lib.report import Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NODES, CLIENTS = 3, 3

POLICIES = {
    "no affinity": None,
    "Affinity()": rpcguard.Affinity(),
    "Affinity(least=8)": rpcguard.Affinity(least=8),
}
"""The last for nodes that answer many questions at once, as model servers do."""

COLD, WARM = 0.8, 0.15
"""Seconds to the first token that users of model servers report of a prefix of some thousand
tokens that is not in the cache of the node, and of one that is."""

CONVERSATIONS, QUESTIONS = 24, 10

KEPT = 12
"""Prefixes that fit into a node: half as many again as its part of the conversations."""

THINKING = 0.5
"""Mean seconds between an answer and the next question."""


@dataclass(slots=True)
class Heard:
    """What the callers of one side got, without first questions: these are cold everywhere."""

    hits: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, *, hit: bool, seconds: float) -> None:
        self.hits.append(hit)
        self.seconds.append(seconds)

    @property
    def cells(self) -> list[str]:
        cuts = statistics.quantiles(self.seconds, n=100)
        times = (f"{cuts[at - 1] * 1e3:.0f}" for at in (50, 90, 99))
        return [f"{statistics.mean(self.hits):.1%}", *times]


async def converse(clients: Iterator[httpx.AsyncClient], number: int, heard: Heard) -> None:
    """Hold one conversation: each question repeats all that was said, and adds a line."""
    rng = random.Random(number)  # the same pauses on all sides
    said = prefix = f"You are a helpful assistant in conversation {number}."
    extensions = {"rpcguard": {"key": prefix}}  # without a policy nobody looks at it
    for question in range(QUESTIONS):
        await asyncio.sleep(rng.expovariate(1.0 / THINKING))
        said += f"\nQuestion {question}?"
        began = time.perf_counter()
        answer = await next(clients).post("/v1/completions", content=said, extensions=extensions)
        if question:
            heard.add(hit=answer.content == HIT, seconds=time.perf_counter() - began)


async def play(ports: Sequence[int], affinity: rpcguard.Affinity | None) -> Heard:
    """Hold all conversations of a side."""
    heard = Heard()
    registry = "static://" + ",".join(f"127.0.0.1:{port}" for port in ports)
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(CLIENTS):
            transport = rpcguard.AsyncTransport(registry, affinity=affinity)
            client = httpx.AsyncClient(transport=transport, base_url="http://llm", timeout=30.0)
            made.append(await stack.enter_async_context(client))
        clients = cycle(made)
        await asyncio.gather(*(converse(clients, one, heard) for one in range(CONVERSATIONS)))
    return heard


async def play_all(sides: dict[tuple[int, str], list[int]]) -> list[Heard]:
    """Play all sides at the same time, so that each meets the same noise."""
    plays = (play(ports, POLICIES[policy]) for (_, policy), ports in sides.items())
    return await asyncio.gather(*plays)


def conversations() -> Section:
    """Measure the sides."""
    table = Table(["nodes keep", "hits", "p50 ms", "p90 ms", "p99 ms"])
    names = [(kept, policy) for kept in (KEPT, CONVERSATIONS) for policy in POLICIES]
    with models(COLD, WARM, [kept for kept, _ in names for _ in range(NODES)]) as ports:
        sides = {one: ports[at * NODES :][:NODES] for at, one in enumerate(names)}
        for (kept, policy), heard in zip(sides, asyncio.run(play_all(sides)), strict=True):
            table.rows.append([f"{kept} prefixes, {policy}", *heard.cells])
    about = f"{CONVERSATIONS} conversations of {QUESTIONS} questions with {NODES} nodes, from"
    about += f" {CLIENTS} clients in turn; {COLD * 1e3:.0f} ms for a prefix that the node has not,"
    about += f" {WARM * 1e3:.0f} ms for one that it has. First questions are not counted."
    return Section("Conversations with model servers", about, table)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = conversations()
    print(found.about, found.text(), sep="\n\n")


if __name__ == "__main__":
    main()
