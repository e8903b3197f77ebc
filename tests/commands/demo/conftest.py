"""A made-up run for everything that only reads a recording."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from rpcguard._commands.demo.recording import CallRecord, DemoEvent, Recording, Sighting
from rpcguard._commands.demo.script import WHAT, release_script

NODES = ("orders-1", "orders-2", "orders-3", "orders-4", "orders-5")


def made_up_run(*, seconds: float = 45.0, rate: float = 100.0, nodes=NODES) -> Recording:
    """Play the script on paper: httpx loses what goes to a stale node, rpcguard saves it."""
    chance = random.Random(7)
    script = release_script(providers=len(nodes), seconds=seconds)
    recording = Recording(tuple(nodes), rate, 3.0)
    gone: dict[str, list[list[float]]] = {node: [] for node in nodes}
    at = 0.0
    recording.sightings += [Sighting(0.0, node, "available", None) for node in nodes]
    for step in script.steps:
        at += step.pause + (0.6 if step.action == "list" else 0.0)
        node = nodes[step.providers[0]]
        recording.events.append(DemoEvent(at, node, step.action, WHAT[step.action]))
        if step.action in ("stop", "kill", "freeze", "sick"):
            gone[node].append([at, seconds])
        if step.action in ("forget", "well"):
            gone[node][-1][1] = at
        state = {
            "leave": ("offline", "said that it leaves"),
            "kill": ("ejected", "ConnectError"),
            "freeze": ("ejected", "5 failures in a row"),
            "sick": ("ejected", "5 failures in a row"),
            "forget": (None, None),
            "list": ("warming", "new"),
            "well": ("warming", "restored"),
        }.get(step.action)
        if state:
            recording.sightings.append(Sighting(at, node, *state))
        if step.action in ("list", "well"):
            recording.sightings.append(Sighting(at + 2.5, node, "available", None))
    recording.sightings.sort(key=lambda sighting: sighting.at)
    for number in range(int(seconds * rate)):
        at = number / rate
        node = nodes[number % len(nodes)]
        method = "POST" if chance.random() < 0.2 else "GET"
        bad = any(start <= at < end for start, end in gone[node])
        took = chance.lognormvariate(-4.9, 0.3)
        error = "ConnectError" if bad else None
        recording.calls.append(CallRecord("httpx", method, at, took, node, 1, error, saveable=bad))
        attempts, ours = 1, node
        if bad:
            ours = nodes[(number + 1) % len(nodes)]
            attempts = 2 if chance.random() < 0.04 else 1
        recording.calls.append(CallRecord("rpcguard", method, at, took, ours, attempts))
    recording.calls.append(
        CallRecord("rpcguard", "POST", 36.1 / 45 * seconds, 2.0, None, 1, "ReadTimeout")
    )
    recording.seconds = seconds
    return recording


@pytest.fixture
def recording() -> Recording:
    return made_up_run()


@pytest.fixture
def three(recording) -> Recording:
    """Give the same run with httpx-retries, which saves much of it."""
    recording.clients = ("httpx", "httpx-retries", "rpcguard")
    for number, call in enumerate(recording.of("httpx")):
        lost = call.error is not None and number % 10 == 0
        saved = call.error is not None and not lost
        recording.calls.append(
            replace(
                call,
                client="httpx-retries",
                method="GET",
                error="500" if lost else None,
                saveable=lost,
                attempts=2 if saved else 1,
            )
        )
    return recording
